//! `/help`: what routes there are and what they are for.

use std::collections::BTreeMap;
use std::fmt::Write;

use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use pulldown_cmark::{Event, Parser, Tag};
use serde_json::json;

use crate::http::percent_decode;
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
    let path = percent_decode(&request.path);
    let path = path.as_deref().unwrap_or(&request.path);
    let mut tokens = path.split('/').filter(|token| !token.is_empty()).skip(1);
    let id = tokens.next();
    let name = tokens.collect::<Vec<_>>().join("/");
    let Some(id) = id else {
        return index(pages, request);
    };
    let Some(routes) = pages.get(id) else {
        return bad_request(format!("No help available for '/{id}'.\n"));
    };
    if name.is_empty() {
        return page(&overview(id, routes), request);
    }
    match routes.get(&format!("/{name}")) {
        Some(text) => page(&format!("{text}\n"), request),
        None => bad_request(format!("No help available for '/{id}/{name}'.\n")),
    }
}

/// The routes of an actor and, since it has this path, the help of its root route.
fn overview(id: &str, routes: &BTreeMap<String, String>) -> String {
    let paths = routes.keys().filter(|route| *route != "/");
    let paths = paths.map(|route| format!("{id}{route}"));
    let list = list(&format!("`/{id}` ##"), "", paths);
    match routes.get("/") {
        Some(text) => format!("{list}\n{text}\n"),
        None => list,
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
    // Links are relative to a page without a slash at its end.
    let base = match request.path.ends_with('/') {
        true => "<base href=\"../\">\n",
        false => "",
    };
    Response::text(StatusCode::OK, html(markdown, base))
        .header(CONTENT_TYPE, "text/html")
        .header(CONTENT_SECURITY_POLICY, POLICY)
}

/// A page needs nothing from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = "\
body { margin: 2em auto; padding: 0 1em; max-width: 50em; color: #222; background: #fff; \
font: 15px/1.5 Helvetica, Arial, sans-serif; }
h2, h3 { margin: 1.5em 0 0.5em; border-bottom: 1px solid #ddd; }
blockquote { margin: 0.5em 0; padding: 0.1em 1em; border-left: 4px solid #ddd; }
pre, code { font: 13px/1.5 Menlo, Consolas, monospace; }
pre { margin: 0; overflow-x: auto; }
a { color: #0068a8; text-decoration: none; }
a:hover { text-decoration: underline; }
";

fn html(markdown: &str, base: &str) -> String {
    let events = Parser::new(markdown).map(|event| match event {
        // Whatever looks like HTML is meant as text.
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::SoftBreak => Event::HardBreak,
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            title,
            id,
        }) if !is_plain_link(&dest_url) => Event::Start(Tag::Link {
            link_type,
            dest_url: "#".into(),
            title,
            id,
        }),
        other => other,
    });
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Help</title>\n\
         {base}<style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    pulldown_cmark::html::push_html(&mut page, events);
    page.push_str("</body>\n</html>\n");
    page
}

/// A link to a page, not to a script.
fn is_plain_link(target: &str) -> bool {
    match target.split_once(':') {
        Some((scheme, _)) => matches!(scheme, "http" | "https") || scheme.contains('/'),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_rendered_and_escaped() {
        let check = |markdown: &str, expected: &str| {
            let page = html(markdown, "");
            assert!(page.contains(expected), "{markdown:?} gives {page}");
            assert!(!page.contains("<script"), "{page}");
        };
        check("### USAGE ###", "<h3>USAGE</h3>");
        check(
            "### USAGE ###\n>        /a?b<c\n>        /d\n",
            "<blockquote>\n<pre><code>   /a?b&lt;c\n   /d\n</code></pre>",
        );
        check(
            "> [/a(1)][a(1)]\n\n[a(1)]: help/a(1)\n",
            "<a href=\"help/a(1)\">/a(1)</a>",
        );
        check("plain & simple\nnext", "plain &amp; simple<br />\nnext");
        check("a <script>alert(1)</script>", "&lt;script&gt;");
        check("<script>\nalert(1)\n</script>", "&lt;script&gt;");
        check("[x](javascript:alert(1))", "<a href=\"#\">x</a>");
        check("[x](https://y/z)", "<a href=\"https://y/z\">x</a>");
        check("* one `two`", "<li>one <code>two</code></li>");
    }
}
