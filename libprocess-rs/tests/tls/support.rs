//! What the tests of TLS share: runtimes with TLS, and the programs of others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use libprocess::{
    Context, Pid, Process, Response, ReverseLookup, RouteOptions, Runtime, RuntimeConfig,
    TlsConfig, Upid,
};

use crate::certificates::{Authority, Identity};
use crate::common::{DEADLINE, Guard, Log, Recorder, loopback, record, start, sync, until};

pub(crate) const FAILED: &str = "libprocess/tls_handshakes_failed";
pub(crate) const REFUSED: &str = "libprocess/tls_connections_plain_refused";
pub(crate) const DOWNGRADED: &str = "libprocess/tls_connections_downgraded";

/// What a client of a plain port says to one with TLS gets this answer.
pub(crate) const SPEAKS_TLS: &str = "This port speaks TLS: use https";

pub(crate) fn with_tls(tls: TlsConfig) -> RuntimeConfig {
    RuntimeConfig {
        tls: Some(tls),
        ..loopback()
    }
}

/// Says hello, long or short.
struct Web;

pub(crate) const LONG: usize = 8 * 1024 * 1024;

impl Process for Web {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let text = |text: String| Response::text(http::StatusCode::OK, text).into();
        let options = RouteOptions::default;
        ctx.route("/hello", options(), move |_, _, _| text("hello".to_owned()));
        ctx.route("/long", options(), move |_, _, _| text("x".repeat(LONG)));
    }
}

pub(crate) fn web(config: RuntimeConfig) -> Guard {
    let runtime = start(config);
    sync(&runtime.spawn("web", Web).unwrap());
    runtime
}

pub(crate) fn name_of_all(name: &'static str) -> ReverseLookup {
    ReverseLookup::new(move |_| Ok(name.to_owned()))
}

/// What a program says and how it ends.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A client that is refused may not read it.
    stdin.write_all(input.as_bytes()).ok();
    let output = child.wait_with_output();
    drop(stdin);
    output.unwrap()
}

pub(crate) fn curl(
    runtime: &Runtime,
    scheme: &str,
    path: &str,
    arguments: &[&str],
) -> Result<String, String> {
    let url = format!("{scheme}://{}/{path}", runtime.address());
    let limit = DEADLINE.as_secs().to_string();
    let mut all = vec!["-sS", "--max-time", &limit, &url];
    all.extend(arguments);
    let output = run("curl", &all, "");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

/// What `/web/hello` answers to `openssl s_client`.
pub(crate) fn s_client(runtime: &Runtime, arguments: &[&str]) -> Option<String> {
    let address = runtime.address().to_string();
    let mut all = vec![
        "s_client",
        "-quiet",
        "-verify_return_error",
        "-connect",
        &address,
    ];
    all.extend(arguments);
    let request = "GET /web/hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let output = run("openssl", &all, request);
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    answer.split("\r\n\r\n").nth(1).map(str::to_owned)
}

pub(crate) fn link(pid: &Pid<Recorder>, to: &Upid) {
    let to = to.clone();
    pid.dispatch(move |_, ctx| ctx.link(&to));
}

pub(crate) fn send(pid: &Pid<Recorder>, to: &Upid, body: &'static str) {
    let to = to.clone();
    pid.dispatch(move |_, ctx| ctx.send_raw(&to, "note", Bytes::from(body)));
}

/// Whether a message by a link from one runtime to the other arrives; else the link must break.
pub(crate) fn arrives(near: &Runtime, far: &Runtime) -> bool {
    let (sender, exits) = record(near, "");
    let (receiver, received) = record(far, "");
    link(&sender, receiver.upid());
    send(&sender, receiver.upid(), "hello");
    until("the message or the end of the link arrives", || {
        received.len() + exits.len() > 0
    });
    exits.len() == 0
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A TLS client on this stream that trusts the CA.
pub(crate) fn tls_client<S: Read + Write>(
    stream: S,
    ca: &Authority,
) -> rustls::StreamOwned<rustls::ClientConnection, S> {
    let session = rustls::ClientConnection::new(client_config(ca), server_name()).unwrap();
    rustls::StreamOwned::new(session, stream)
}

pub(crate) fn server_name() -> rustls::pki_types::ServerName<'static> {
    "127.0.0.1".try_into().unwrap()
}

pub(crate) fn client_config(ca: &Authority) -> Arc<rustls::ClientConfig> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_file(ca.file()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// `openssl s_server`, which prints what it gets.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    output: Log,
}

impl Server {
    pub(crate) fn start(identity: &Identity, arguments: &[&str]) -> Self {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0"])
            .args(["-cert", &path(&identity.cert), "-key", &path(&identity.key)])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address =
            lines.find_map(|line| Some(line.unwrap().strip_prefix("ACCEPT ")?.to_owned()));
        let output = Log::default();
        let log = output.clone();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| log.add(line));
        });
        let address = address.unwrap().parse().unwrap();
        Self {
            child,
            address,
            output,
        }
    }
}

impl Server {
    pub(crate) fn has_message(&self) -> bool {
        let lines = self.output.lines();
        lines
            .iter()
            .any(|line| line.starts_with("POST /far/note HTTP/1.1"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Whether a message by a link arrives at `openssl s_server`; else the link must break.
pub(crate) fn reaches(near: &Runtime, server: &Server) -> bool {
    let (sender, exits) = record(near, "");
    let far = Upid::new("far", server.address);
    link(&sender, &far);
    send(&sender, &far, "hello");
    until("the message or the end of the link arrives", || {
        server.has_message() || exits.len() > 0
    });
    server.has_message()
}
