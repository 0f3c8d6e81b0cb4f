//! The examples do what they say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;

use common::{Answer, Client, DEADLINE};

/// An example that runs until it is dropped.
struct Example {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Self {
        // Examples are built beside the folder of this program.
        let own = std::env::current_exe().unwrap();
        let program = own.ancestors().nth(2).unwrap().join("examples").join(name);
        let mut child = Command::new(&program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                let program = program.display();
                panic!("{program}: {error}: cargo build -p libprocess --examples")
            });
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (line, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for text in stdout.lines() {
                let _ = line.send(text.unwrap());
            }
        });
        Self {
            stdin: child.stdin.take(),
            child,
            lines,
        }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap()
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Tells it that no more is to come, and waits until it ends.
    fn end(mut self) {
        self.stdin = None;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn ping_pong() {
    let example = Example::start("ping_pong", &["100"]);
    for title in ["within one runtime", "between two runtimes"] {
        let line = example.line();
        assert!(
            line.starts_with(&format!("{title}: 100 rounds, ")),
            "{line}"
        );
    }
    example.end();
}

#[test]
fn http_counter() {
    let example = Example::start("http_counter", &["0"]);
    let line = example.line();
    let authority = line.strip_prefix("http://").unwrap();
    let authority = authority.strip_suffix("/counter").unwrap();
    let ask = |method: &str, target: &str| -> Answer {
        let mut client = Client::connect(authority.parse().unwrap());
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8\r\n\r\n"
        ));
        client.response()
    };
    assert_eq!(ask("GET", "/counter").json()["total"], 0);
    assert_eq!(ask("POST", "/counter/add?n=5").json()["total"], 5);
    assert_eq!(ask("GET", "/counter/add?n=5").code(), 405);
    let help = ask("GET", "/help/counter").text();
    assert!(help.contains("[/counter/add]"), "{help}");
    assert!(help.contains("Shows the count."), "{help}");
    let metrics = ask("GET", "/metrics/snapshot").json();
    assert_eq!(metrics["counter/requests"], 2.0);
}

#[test]
fn remote_chat() {
    let ann = Example::start("remote_chat", &["ann"]);
    let line = ann.line();
    let room = line.rsplit(' ').next().unwrap();
    let mut bob = Example::start("remote_chat", &["bob", room]);
    assert_eq!(ann.line(), "bob has joined");
    bob.say("hello");
    assert_eq!(ann.line(), "bob: hello");
    bob.end();
    assert_eq!(ann.line(), "bob has left");
    ann.end();
}
