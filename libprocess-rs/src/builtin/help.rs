//! `/help`: what routes there are and what they are for.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;

use crate::{Context, Process, Request, Response, RouteOptions};

/// Not shown in help.
const HIDDEN: [&str; 2] = ["help", "__processes__"];

pub(super) struct HelpEndpoint;

impl Process for HelpEndpoint {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let all = RouteOptions::default().catch_all();
        ctx.route("/", all, |_, ctx, request| {
            help(&pages(ctx), &request).into()
        });
    }
}

/// Markdown by route name by actor id.
type Pages = BTreeMap<String, BTreeMap<String, String>>;

fn pages(ctx: &Context<HelpEndpoint>) -> Pages {
    let inner = ctx.runtime().inner();
    let mut pages = Pages::new();
    for actor in inner.registry.all() {
        let id = actor.upid.id();
        let helps = actor.routes.helps();
        if HIDDEN.contains(&id) || helps.is_empty() {
            continue;
        }
        let delegated = inner.delegate.as_deref() == Some(id);
        let texts = helps.into_iter().map(|(name, help)| {
            let text = match help {
                Some(help) => help.markdown(id, &name, delegated),
                None => format!("## No help page for `/{id}{name}`\n"),
            };
            (name, text)
        });
        pages.insert(id.to_owned(), texts.collect());
    }
    pages
}

fn help(pages: &Pages, request: &Request) -> Response {
    let path = request.path.trim_matches('/');
    let mut tokens = path.split('/').skip(1);
    let id = tokens.next();
    let name = tokens.collect::<Vec<_>>().join("/");
    let Some(id) = id else {
        return index(pages, request);
    };
    let Some(routes) = pages.get(id) else {
        return bad_request(format!("No help available for '/{id}'.\n"));
    };
    if name.is_empty() {
        let title = format!("`/{id}` ##");
        let paths = routes.keys().map(|route| format!("{id}{route}"));
        return page(&list(&title, "", paths), request);
    }
    match routes.get(&format!("/{name}")) {
        Some(text) => page(&format!("{text}\n"), request),
        None => bad_request(format!("No help available for '/{id}/{name}'.\n")),
    }
}

fn index(pages: &Pages, request: &Request) -> Response {
    if request.query.get("format") == Some("json") {
        let processes: Vec<_> = pages
            .iter()
            .map(|(id, routes)| {
                let endpoints: Vec<_> = routes
                    .iter()
                    .map(|(name, text)| json!({"name": name, "text": text}))
                    .collect();
                json!({"id": id, "endpoints": endpoints})
            })
            .collect();
        return Response::json(json!({ "processes": processes }));
    }
    page(&list("HELP", "help/", pages.keys().cloned()), request)
}

/// Links to `paths`, whose targets begin with `base`.
fn list(title: &str, base: &str, paths: impl Iterator<Item = String>) -> String {
    let mut text = format!("## {title}\n");
    let mut references = String::new();
    for path in paths {
        let path = path.trim_end_matches('/');
        // Writing to memory cannot fail.
        let _ = writeln!(text, "> [/{path}][{path}]");
        let _ = writeln!(references, "[{path}]: {base}{path}");
    }
    format!("{text}\n{references}")
}

fn bad_request(text: String) -> Response {
    Response::text(StatusCode::BAD_REQUEST, text)
}

/// Markdown for command line clients, else a page that renders it.
fn page(markdown: &str, request: &Request) -> Response {
    let agent = request.header("User-Agent").unwrap_or_default();
    if agent.starts_with("curl") || agent.starts_with("HTTPie") {
        return Response::text(StatusCode::OK, markdown).header(CONTENT_TYPE, "text/x-markdown");
    }
    Response::text(StatusCode::OK, html(markdown)).header(CONTENT_TYPE, "text/html")
}

/// The little of Markdown that help texts use.
fn html(markdown: &str) -> String {
    let (references, lines): (Vec<_>, Vec<_>) = markdown
        .lines()
        .partition(|line| line.starts_with('[') && line.contains("]: "));
    let references: HashMap<&str, &str> = references
        .iter()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
        .collect();
    let mut body = String::new();
    for line in lines {
        let _ = writeln!(body, "{}", html_line(line, &references));
    }
    format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>Help</title>\n</head>\n\
         <body style=\"font-family: sans-serif; white-space: pre-wrap\">\n{body}</body>\n</html>\n"
    )
}

fn html_line(line: &str, references: &HashMap<&str, &str>) -> String {
    let link = line
        .strip_prefix("> [")
        .and_then(|line| line.strip_suffix(']'));
    if let Some((text, reference)) = link.and_then(|link| link.split_once("][")) {
        let target = references.get(reference).unwrap_or(&reference);
        return format!("<a href=\"{}\">{}</a>", escape(target), escape(text));
    }
    let title = |line: &str| escape(line.trim_end_matches('#').trim_end());
    if let Some(line) = line.strip_prefix("### ") {
        return format!("<h3>{}</h3>", title(line));
    }
    if let Some(line) = line.strip_prefix("## ") {
        return format!("<h2>{}</h2>", title(line));
    }
    match line.strip_prefix('>') {
        Some(code) => format!("<code>{}</code>", escape(code.trim_start())),
        None => escape(line),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_lines() {
        let references = HashMap::from([("a", "help/a")]);
        let check = |line: &str, expected: &str| {
            assert_eq!(html_line(line, &references), expected);
        };
        check("### USAGE ###", "<h3>USAGE</h3>");
        check(">        /a?b<c", "<code>/a?b&lt;c</code>");
        check("> [/a][a]", "<a href=\"help/a\">/a</a>");
        check("plain & simple", "plain &amp; simple");
    }
}
