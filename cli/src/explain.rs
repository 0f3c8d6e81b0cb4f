//! `mesos explain`.

use libprocess::client::percent_encode;

use crate::args::ExplainArgs;
use crate::leader;
use crate::ps::{find_master, parse, print};

/// Prints why frameworks are offered nothing.
pub(crate) async fn explain(args: ExplainArgs) -> anyhow::Result<()> {
    let path = path(&args);
    let mut client = find_master(args.master).await?;
    let answer = leader::ask(&mut client, &path).await?;
    if !args.json {
        return print(|out| out.write_all(&answer.body));
    }
    let answer: serde_json::Value = parse(&answer.body, &client)?;
    print(|out| {
        serde_json::to_writer_pretty(&mut *out, &answer)?;
        out.write_all(b"\n")
    })
}

/// What to ask the master for.
fn path(args: &ExplainArgs) -> String {
    let format = if args.json { "json" } else { "text" };
    let mut path = format!("/allocator/explain?format={format}");
    let limit = args.limit.map(|limit| limit.to_string());
    for (name, value) in [
        ("framework", &args.framework),
        ("role", &args.role),
        ("agent", &args.agent),
        ("limit", &limit),
    ] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", percent_encode(value)));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::MasterArgs;

    #[test]
    fn asks_for_what_is_meant() {
        let args = |framework: Option<&str>, role: Option<&str>, limit, json| ExplainArgs {
            master: MasterArgs { master: None },
            framework: framework.map(str::to_owned),
            role: role.map(str::to_owned),
            agent: None,
            limit,
            json,
        };
        let check = |args, expected: &str| assert_eq!(path(&args), expected);
        check(
            args(None, None, None, false),
            "/allocator/explain?format=text",
        );
        check(
            args(Some("f 1"), Some("a/b&c"), Some(7), true),
            "/allocator/explain?format=json&framework=f%201&role=a%2Fb%26c&limit=7",
        );
    }
}
