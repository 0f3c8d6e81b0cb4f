//! Memory of idle connections. Another OS process serves them and tells how much it needs, while this one holds the other ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use bytes::Bytes;
use libprocess::{Context, Process, Response, RouteOptions, Runtime, RuntimeConfig};

use crate::Options;
use crate::child::Child;
use crate::memory::resident;
use crate::report::Report;

/// Stays below the usual limit of 1024 open files.
const CONNECTIONS: usize = 900;

/// Opened before anything is measured, for what is set up once.
const FIRST: usize = 20;

struct Silent;

impl Process for Silent {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("note", |_, _, _, _: Bytes| {});
        ctx.route("/hello", RouteOptions::default(), |_, _, _| {
            Response::ok().into()
        });
    }
}

const MESSAGE: &str = "POST /silent/note HTTP/1.1\r\nUser-Agent: libprocess/x@127.0.0.1:1\r\n\
    Libprocess-From: x@127.0.0.1:1\r\nConnection: Keep-Alive\r\nHost: \r\n\r\n";

const GET: &str = "GET /silent/hello HTTP/1.1\r\nHost: localhost\r\n\r\n";

pub(crate) fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let count = options.scaled(CONNECTIONS).max(2);
    report.bytes("an idle message connection", measure(count, MESSAGE)?);
    report.bytes("an idle HTTP connection", measure(count, GET)?);
    Ok(())
}

/// Bytes per connection that has had one such request.
fn measure(count: usize, request: &str) -> anyhow::Result<f64> {
    let mut server = Server::start()?;
    let _first = open(server.address, FIRST, request)?;
    let before = server.resident()?;
    let _connections = open(server.address, count, request)?;
    let after = server.resident()?;
    Ok((after - before) / count as f64)
}

fn open(address: SocketAddr, count: usize, request: &str) -> anyhow::Result<Vec<TcpStream>> {
    (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(request.as_bytes())?;
            // The begin of the answer: the request has been served.
            stream.read_exact(&mut [0; 16])?;
            Ok(stream)
        })
        .collect()
}

/// The OS process that serves the connections.
struct Server {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--child", "server"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the server")?;
        let output = child.stdout.take().context("no output")?;
        let child = Child(child);
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let address = line.trim().parse().context("the server's address")?;
        Ok(Self {
            child,
            output,
            address,
        })
    }

    /// Its resident memory in bytes.
    fn resident(&mut self) -> anyhow::Result<f64> {
        let input = self.child.0.stdin.as_mut().context("no input")?;
        input.write_all(b"\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

/// What the server does until its input ends.
pub(crate) fn serve() -> anyhow::Result<()> {
    let runtime = Runtime::start(RuntimeConfig {
        workers: 2,
        ..RuntimeConfig::loopback()
    })?;
    runtime.spawn("silent", Silent)?;
    println!("{}", runtime.bound_address());
    for line in std::io::stdin().lines() {
        line?;
        println!("{}", resident()?);
    }
    runtime.shutdown();
    Ok(())
}
