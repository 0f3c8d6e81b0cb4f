//! TLS on the port of a runtime and on its connections, also against OpenSSL and curl.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/certificates.rs"]
#[allow(unreachable_pub, reason = "as the other common parts")]
mod certificates;
mod common;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use certificates::{Authority, Identity};
use common::{
    Client, DEADLINE, Guard, Log, Recorder, loopback, metric, record, start, sync, until,
};
use libprocess::{
    Clock, Context, HostnameValidation, Pid, Process, Response, ReverseLookup, RouteOptions,
    Runtime, RuntimeConfig, TlsConfig, Upid,
};
use parking_lot::Mutex;

const FAILED: &str = "libprocess/tls_handshakes_failed";
const REFUSED: &str = "libprocess/tls_connections_plain_refused";
const DOWNGRADED: &str = "libprocess/tls_connections_downgraded";

/// What a client of a plain port says to one with TLS gets this answer.
const SPEAKS_TLS: &str = "This port speaks TLS: use https";

fn with_tls(tls: TlsConfig) -> RuntimeConfig {
    RuntimeConfig {
        tls: Some(tls),
        ..loopback()
    }
}

/// Says hello, long or short.
struct Web;

const LONG: usize = 8 * 1024 * 1024;

impl Process for Web {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let text = |text: String| Response::text(http::StatusCode::OK, text).into();
        let options = RouteOptions::default;
        ctx.route("/hello", options(), move |_, _, _| text("hello".to_owned()));
        ctx.route("/long", options(), move |_, _, _| text("x".repeat(LONG)));
    }
}

fn web(config: RuntimeConfig) -> Guard {
    let runtime = start(config);
    sync(&runtime.spawn("web", Web).unwrap());
    runtime
}

fn name_of_all(name: &'static str) -> ReverseLookup {
    ReverseLookup::new(move |_| Ok(name.to_owned()))
}

/// What a program says and how it ends.
fn run(program: &str, arguments: &[&str], input: &str) -> Output {
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

fn curl(runtime: &Runtime, scheme: &str, path: &str, arguments: &[&str]) -> Result<String, String> {
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
fn s_client(runtime: &Runtime, arguments: &[&str]) -> Option<String> {
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

fn link(pid: &Pid<Recorder>, to: &Upid) {
    let to = to.clone();
    pid.dispatch(move |_, ctx| ctx.link(&to));
}

fn send(pid: &Pid<Recorder>, to: &Upid, body: &'static str) {
    let to = to.clone();
    pid.dispatch(move |_, ctx| ctx.send_raw(&to, "note", Bytes::from(body)));
}

/// Whether a message by a link from one runtime to the other arrives; else the link must break.
fn arrives(near: &Runtime, far: &Runtime) -> bool {
    let (sender, exits) = record(near, "");
    let (receiver, received) = record(far, "");
    link(&sender, receiver.upid());
    send(&sender, receiver.upid(), "hello");
    until("the message or the end of the link arrives", || {
        received.len() + exits.len() > 0
    });
    exits.len() == 0
}

#[test]
fn curl_gets_answers_only_by_tls() {
    let ca = Authority::new("ca");
    let runtime = web(with_tls(ca.sign("web", &["127.0.0.1"]).config()));
    let ca_file = ca.file();
    let trusting = ["--cacert", ca_file.to_str().unwrap()];
    assert_eq!(
        curl(&runtime, "https", "web/hello", &trusting).unwrap(),
        "hello"
    );
    let long = curl(&runtime, "https", "web/long", &trusting).unwrap();
    assert_eq!(long.len(), LONG);
    // Without the CA it is curl that refuses.
    let error = curl(&runtime, "https", "web/hello", &[]).unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    until("the failed handshake is counted", || {
        metric(&runtime, FAILED) == 1.0
    });
    assert_eq!(
        curl(&runtime, "http", "web/hello", &[]).unwrap(),
        SPEAKS_TLS
    );
    assert_eq!(metric(&runtime, REFUSED), 1.0);
}

#[test]
fn a_plain_message_is_refused_with_an_answer() {
    let ca = Authority::new("ca");
    let far = start(with_tls(ca.sign("far", &["127.0.0.1"]).config()));
    let mut client = Client::connect(far.address());
    client.send("POST /x/note HTTP/1.1\r\nLibprocess-From: a@127.0.0.1:1\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.code(), answer.text().as_str()), (400, SPEAKS_TLS));
    assert_eq!(client.read_to_end(), "");
    let near = start(loopback());
    assert!(!arrives(&near, &far));
}

#[test]
fn versions_can_be_switched_off() {
    let ca = Authority::new("ca");
    let identity = ca.sign("web", &["127.0.0.1"]);
    let ca_file = ca.file();
    let check = |tls_v1_2, tls_v1_3, expected: [bool; 2]| {
        let runtime = web(with_tls(TlsConfig {
            tls_v1_2,
            tls_v1_3,
            ..identity.config()
        }));
        let speaks = |version| {
            let arguments = [version, "-CAfile", ca_file.to_str().unwrap()];
            s_client(&runtime, &arguments).as_deref() == Some("hello")
        };
        assert_eq!([speaks("-tls1_2"), speaks("-tls1_3")], expected);
    };
    check(true, true, [true, true]);
    check(true, false, [true, false]);
    check(false, true, [false, true]);
}

#[test]
fn ciphers_and_curves_can_be_chosen() {
    let ca = Authority::new("ca");
    let runtime = web(with_tls(TlsConfig {
        ciphers: vec!["ECDHE-ECDSA-AES128-GCM-SHA256".parse().unwrap()],
        curves: vec!["P-384".parse().unwrap()],
        ..ca.sign("web", &["127.0.0.1"]).config()
    }));
    let check = |arguments: &[&str], expected: bool| {
        let answered = s_client(&runtime, arguments).as_deref() == Some("hello");
        assert_eq!(answered, expected, "{arguments:?}");
    };
    let ca_file = ca.file();
    let ca_file = ca_file.to_str().unwrap();
    let with = |cipher| ["-tls1_2", "-CAfile", ca_file, "-cipher", cipher];
    check(&with("ECDHE-ECDSA-AES128-GCM-SHA256"), true);
    check(&with("ECDHE-ECDSA-AES256-GCM-SHA384"), false);
    // Those of TLS 1.3 are a matter of their own.
    check(&["-tls1_3", "-CAfile", ca_file], true);
    check(&["-CAfile", ca_file, "-curves", "P-384"], true);
    check(&["-CAfile", ca_file, "-curves", "X25519:P-256"], false);
}

#[test]
fn clients_may_have_to_show_a_certificate() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let runtime = web(with_tls(TlsConfig {
        require_client_cert: true,
        ca_file: Some(ca.file()),
        reverse_lookup: name_of_all("client.example"),
        ..ca.sign("web", &["127.0.0.1"]).config()
    }));
    let ca_file = ca.file();
    let trusting = ["--cacert", ca_file.to_str().unwrap()];
    let ask = |identity: Option<Identity>| {
        let paths = identity.map(|identity| (identity.cert, identity.key));
        let mut arguments = trusting.to_vec();
        if let Some((cert, key)) = &paths {
            arguments.extend(["--cert", cert.to_str().unwrap()]);
            arguments.extend(["--key", key.to_str().unwrap()]);
        }
        curl(&runtime, "https", "web/hello", &arguments)
    };
    assert_eq!(
        ask(Some(ca.sign("x", &["client.example"]))).unwrap(),
        "hello"
    );
    assert_eq!(ask(Some(ca.sign("client.example", &[]))).unwrap(), "hello");
    ask(None).unwrap_err();
    ask(Some(other.sign("x", &["client.example"]))).unwrap_err();
    ask(Some(ca.sign("x", &["another.example", "127.0.0.1"]))).unwrap_err();
    until("the failed handshakes are counted", || {
        metric(&runtime, FAILED) == 3.0
    });
}

#[test]
fn certificates_of_clients_are_not_looked_at_unless_required() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let far = start(with_tls(ca.sign("far", &["127.0.0.1"]).config()));
    let near = start(with_tls(other.sign("near", &[]).config()));
    assert!(arrives(&near, &far));
}

#[test]
fn downgrade_serves_both_on_one_port() {
    let ca = Authority::new("ca");
    let runtime = web(with_tls(TlsConfig {
        support_downgrade: true,
        ..ca.sign("web", &["127.0.0.1"]).config()
    }));
    let ca_file = ca.file();
    let trusting = ["--cacert", ca_file.to_str().unwrap()];
    assert_eq!(
        curl(&runtime, "https", "web/hello", &trusting).unwrap(),
        "hello"
    );
    assert_eq!(curl(&runtime, "http", "web/hello", &[]).unwrap(), "hello");
    let plain = start(loopback());
    assert!(arrives(&plain, &runtime));
    let secure = start(with_tls(ca.sign("secure", &[]).config()));
    assert!(arrives(&secure, &runtime));
    assert_eq!(metric(&runtime, REFUSED), 0.0);
    let mut client = Client::connect(runtime.address());
    client.send("\x16\x03 not a hello");
    assert_eq!(client.response().code(), 400);
}

/// Sends each byte in a packet of its own.
struct Dribble(TcpStream);

impl Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Dribble {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A TLS client on this stream that trusts the CA.
fn tls_client<S: Read + Write>(
    stream: S,
    ca: &Authority,
) -> rustls::StreamOwned<rustls::ClientConnection, S> {
    use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca.file()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    rustls::StreamOwned::new(session, stream)
}

#[test]
fn a_hello_may_come_byte_by_byte() {
    let ca = Authority::new("ca");
    let runtime = web(with_tls(TlsConfig {
        support_downgrade: true,
        ..ca.sign("web", &["127.0.0.1"]).config()
    }));
    let mut client = tls_client(Dribble(connect(runtime.address().into())), &ca);
    let request = "GET /web/hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}

#[test]
fn a_peer_that_reads_late_gets_every_answer() {
    const MESSAGES: usize = 20_000;
    let ca = Authority::new("ca");
    let runtime = start(with_tls(ca.sign("far", &["127.0.0.1"]).config()));
    let (_, received) = record(&runtime, "a");
    let stream = connect(runtime.address().into());
    let mut client = tls_client(stream.try_clone().unwrap(), &ca);
    // Both answers are needed in turn, since equal ones in a row are kept as one.
    let message =
        |to: &str| format!("POST /{to}/note HTTP/1.1\r\nLibprocess-From: b@127.0.0.1:1\r\n\r\n");
    let pair = message("a") + &message("nobody");
    // The session buffers what it writes, so writing and reading in turn cannot block each other for good.
    client.sock.set_nonblocking(true).unwrap();
    let mut unsent = pair.repeat(MESSAGES).into_bytes();
    let mut answers = Vec::new();
    let mut scratch = vec![0; 64 * 1024];
    let count = |answers: &[u8]| {
        String::from_utf8_lossy(answers)
            .matches("HTTP/1.1 ")
            .count()
    };
    while !unsent.is_empty() || count(&answers) < 2 * MESSAGES {
        let mut stuck = true;
        match client.write(&unsent[..unsent.len().min(16 * 1024)]) {
            Ok(written) => {
                unsent.drain(..written);
                stuck = written == 0;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        // It reads only when it cannot write any more.
        while stuck {
            match client.read(&mut scratch) {
                Ok(read) => {
                    assert!(read > 0, "closed");
                    answers.extend_from_slice(&scratch[..read]);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    stuck = false;
                }
            }
        }
    }
    assert_eq!(received.len(), MESSAGES);
}

/// Checks that the numbers come in order.
struct Counting {
    next: Arc<Mutex<u32>>,
}

impl Process for Counting {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("number", |counting: &mut Counting, _, _, body| {
            let number = u32::from_be_bytes(body[..].try_into().unwrap());
            let mut next = counting.next.lock();
            assert_eq!(number, *next);
            *next += 1;
        });
    }
}

#[test]
fn a_hundred_thousand_messages_keep_their_order() {
    const MESSAGES: u32 = 100_000;
    let ca = Authority::new("ca");
    let verifying = |identity: Identity| {
        start(with_tls(TlsConfig {
            require_client_cert: true,
            ca_file: Some(ca.file()),
            verify_ipadd: true,
            ..identity.config()
        }))
    };
    let near = verifying(ca.sign("near", &["127.0.0.1"]));
    let far = verifying(ca.sign("far", &["127.0.0.1"]));
    let next = Arc::new(Mutex::new(0));
    let counting = far
        .spawn("counting", Counting { next: next.clone() })
        .unwrap();
    let (sender, exits) = record(&near, "sender");
    link(&sender, counting.upid());
    let to = counting.upid().clone();
    sender.dispatch(move |_, ctx| {
        for number in 0..MESSAGES {
            ctx.send_raw(&to, "number", Bytes::copy_from_slice(&number.to_be_bytes()));
        }
    });
    until("all have arrived", || *next.lock() == MESSAGES);
    assert!(exits.lines().is_empty());
    assert_eq!(metric(&near, "libprocess/messages_dropped"), 0.0);
    // A clean end, and the exited event that goes with it.
    far.shutdown();
    exits.wait_for(&["exited counting"]);
}

#[test]
fn a_connection_to_a_plain_peer_is_downgraded_if_allowed() {
    let ca = Authority::new("ca");
    let identity = ca.sign("near", &["127.0.0.1"]);
    let far = start(loopback());
    let check = |support_downgrade: bool| {
        let near = start(with_tls(TlsConfig {
            support_downgrade,
            ..identity.config()
        }));
        assert_eq!(arrives(&near, &far), support_downgrade);
        assert_eq!(metric(&near, FAILED), 1.0);
        assert_eq!(
            metric(&near, DOWNGRADED),
            f64::from(u8::from(support_downgrade))
        );
    };
    check(true);
    check(false);
}

/// `openssl s_server`, which prints what it gets.
struct Server {
    child: Child,
    address: SocketAddr,
    output: Log,
}

impl Server {
    fn start(identity: &Identity) -> Self {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0"])
            .args(["-cert", &path(&identity.cert), "-key", &path(&identity.key)])
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

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn openssl_gets_messages_and_its_death_is_noticed() {
    let ca = Authority::new("ca");
    let near = start(with_tls(TlsConfig {
        verify_server_cert: true,
        ca_file: Some(ca.file()),
        reverse_lookup: name_of_all("far.example"),
        ..ca.sign("near", &[]).config()
    }));
    let server = Server::start(&ca.sign("x", &["far.example"]));
    let (sender, exits) = record(&near, "sender");
    let far = Upid::new("far", server.address);
    link(&sender, &far);
    send(&sender, &far, "hello");
    until("the message arrives", || {
        let lines = server.output.lines();
        lines
            .iter()
            .any(|line| line.starts_with("POST /far/note HTTP/1.1"))
    });
    assert!(exits.lines().is_empty());
    drop(server);
    exits.wait_for(&["exited far"]);
}

#[test]
fn an_openssl_server_with_a_wrong_certificate_is_refused() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let near = start(with_tls(TlsConfig {
        verify_server_cert: true,
        ca_file: Some(ca.file()),
        reverse_lookup: name_of_all("far.example"),
        ..ca.sign("near", &[]).config()
    }));
    let check = |identity: Identity, expected: f64| {
        let server = Server::start(&identity);
        let (sender, exits) = record(&near, "");
        link(&sender, &Upid::new("far", server.address));
        exits.wait_for(&["exited far"]);
        assert_eq!(metric(&near, FAILED), expected);
        assert!(
            server
                .output
                .lines()
                .iter()
                .all(|line| !line.starts_with("POST"))
        );
    };
    check(other.sign("x", &["far.example"]), 1.0);
    check(ca.sign("x", &["wrong.example"]), 2.0);
}

/// Which server certificates a client accepts that verifies them.
#[test]
fn servers_are_checked_as_configured() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let client = ca.sign("client", &[]);
    let check = |server: Identity, change: &dyn Fn(&mut TlsConfig), expected: bool| {
        let far = start(with_tls(server.config()));
        let mut tls = TlsConfig {
            verify_server_cert: true,
            ca_file: Some(ca.file()),
            reverse_lookup: name_of_all("far.example"),
            ..client.config()
        };
        change(&mut tls);
        let near = start(with_tls(tls.clone()));
        assert_eq!(arrives(&near, &far), expected, "{tls:?}");
    };
    let legacy = |_: &mut TlsConfig| {};
    let legacy_ip = |tls: &mut TlsConfig| tls.verify_ipadd = true;
    let openssl = |tls: &mut TlsConfig| tls.hostname_validation = HostnameValidation::OpenSsl;
    let openssl_ip = |tls: &mut TlsConfig| {
        tls.verify_ipadd = true;
        tls.hostname_validation = HostnameValidation::OpenSsl;
    };
    let nameless = |tls: &mut TlsConfig| {
        tls.reverse_lookup = ReverseLookup::new(|_| Err(ErrorKind::NotFound.into()));
    };
    check(ca.sign("x", &["far.example"]), &legacy, true);
    check(ca.sign("x", &["a.example", "far.example"]), &legacy, true);
    check(ca.sign("far.example", &["a.example"]), &legacy, true);
    check(ca.sign("x", &["*.example"]), &legacy, false);
    check(ca.sign("x", &["127.0.0.1"]), &legacy, false);
    check(ca.sign("x", &["127.0.0.1"]), &legacy_ip, true);
    check(ca.sign("x", &["127.0.0.2"]), &legacy_ip, false);
    check(ca.sign("x", &["127.0.0.1"]), &openssl_ip, true);
    check(ca.sign("x", &["far.example"]), &openssl_ip, false);
    check(ca.sign("x", &["127.0.0.1"]), &openssl, false);
    check(ca.sign("x", &["a.example"]), &nameless, true);
    check(other.sign("x", &["far.example"]), &legacy, false);
    check(other.sign("x", &["127.0.0.1"]), &openssl_ip, false);
    let trusting = |tls: &mut TlsConfig| tls.verify_server_cert = false;
    check(other.sign("x", &["a.example"]), &trusting, true);
}

#[test]
fn certificates_lead_to_trusted_ones() {
    let root = Authority::new("root");
    let middle = root.intermediate("middle");
    let issuing = middle.intermediate("issuing");
    let client = root.sign("client", &[]);
    let check = |server: &Identity, depth: usize, trusted: &dyn Fn(&mut TlsConfig), expected| {
        let far = start(with_tls(server.config()));
        let mut tls = TlsConfig {
            verify_server_cert: true,
            verification_depth: depth,
            verify_ipadd: true,
            hostname_validation: HostnameValidation::OpenSsl,
            ..client.config()
        };
        trusted(&mut tls);
        let near = start(with_tls(tls));
        assert_eq!(arrives(&near, &far), expected, "depth {depth}");
    };
    let file = |tls: &mut TlsConfig| tls.ca_file = Some(root.file());
    let folder = |tls: &mut TlsConfig| tls.ca_dir = Some(root.folder());
    let host = ["127.0.0.1"];
    check(&root.sign("x", &host), 0, &file, true);
    check(&middle.sign("x", &host), 0, &file, false);
    check(&middle.sign("x", &host), 1, &file, true);
    check(&issuing.sign("x", &host), 1, &folder, false);
    check(&issuing.sign("x", &host), 2, &folder, true);
    // What stands in the trusted file itself needs no CA.
    let alone = root.self_signed("127.0.0.1");
    check(&alone, 0, &file, false);
    let itself = |tls: &mut TlsConfig| tls.ca_file = Some(alone.cert.clone());
    check(&alone, 0, &itself, true);
}

#[test]
fn a_slow_name_lookup_holds_nothing_up() {
    let ca = Authority::new("ca");
    let (release, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let slow = ReverseLookup::new(move |_: IpAddr| {
        wait.lock().recv_timeout(DEADLINE).ok();
        Ok("client.example".to_owned())
    });
    let runtime = web(RuntimeConfig {
        workers: 1,
        ..with_tls(TlsConfig {
            require_client_cert: true,
            support_downgrade: true,
            ca_file: Some(ca.file()),
            reverse_lookup: slow,
            ..ca.sign("web", &["127.0.0.1"]).config()
        })
    });
    let near = start(with_tls(ca.sign("client.example", &[]).config()));
    let (sender, _) = record(&near, "sender");
    let (receiver, received) = record(&runtime, "receiver");
    send(&sender, receiver.upid(), "hello");
    assert_eq!(common::get(&runtime, "/web/hello").text(), "hello");
    assert!(received.lines().is_empty());
    release.send(()).unwrap();
    received.wait_for(&["sender hello"]);
}

fn is_open(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    matches!(stream.read(&mut [0; 64]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_stuck_handshake_disturbs_nobody_and_ends() {
    let ca = Authority::new("ca");
    let ca_file = ca.file();
    let check = |support_downgrade: bool, begins: &[(&[u8], bool)]| {
        let clock = Clock::paused();
        let runtime = web(RuntimeConfig {
            workers: 1,
            clock: clock.clone(),
            ..with_tls(TlsConfig {
                support_downgrade,
                ..ca.sign("web", &["127.0.0.1"]).config()
            })
        });
        let limit = loopback().header_timeout;
        let mut streams: Vec<TcpStream> = begins
            .iter()
            .map(|(begin, _)| {
                let mut stream = connect(runtime.address().into());
                stream.write_all(begin).unwrap();
                stream
            })
            .collect();
        // With one worker, this comes after the others have been looked at.
        let trusting = ["--cacert", ca_file.to_str().unwrap()];
        assert_eq!(
            curl(&runtime, "https", "web/hello", &trusting).unwrap(),
            "hello"
        );
        clock.advance(limit / 2);
        assert!(streams.iter_mut().all(is_open));
        clock.advance(limit / 2);
        let ended = begins.iter().filter(|(_, ends)| *ends).count();
        until("they are given up", || {
            metric(&runtime, FAILED) == ended as f64
        });
        for (stream, (begin, ends)) in streams.iter_mut().zip(begins) {
            until(&format!("{begin:?} is closed: {ends}"), || {
                is_open_now(stream) != *ends
            });
        }
        assert_eq!(
            curl(&runtime, "https", "web/hello", &trusting).unwrap(),
            "hello"
        );
    };
    let half: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00";
    check(false, &[(b"", true), (b"\x16\x03", true), (half, true)]);
    // A link without TLS may be silent.
    check(true, &[(b"", false), (b"\x16\x03", true), (half, true)]);
}

fn is_open_now(stream: &TcpStream) -> bool {
    is_open(&mut stream.try_clone().unwrap())
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let ca = Authority::new("ca");
    let clock = Clock::paused();
    let near = start(RuntimeConfig {
        clock: clock.clone(),
        ..with_tls(ca.sign("near", &[]).config())
    });
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (sender, exits) = record(&near, "sender");
    link(&sender, &Upid::new("far", silent.local_addr().unwrap()));
    let (_stream, _) = silent.accept().unwrap();
    until("the handshake is timed", || clock.next_deadline().is_some());
    assert!(exits.lines().is_empty());
    clock.advance(loopback().header_timeout);
    exits.wait_for(&["exited far"]);
    assert_eq!(metric(&near, FAILED), 1.0);
}

#[test]
fn what_cannot_be_used_is_a_start_error() {
    let ca = Authority::new("ca");
    let identity = ca.sign("x", &[]);
    let other = ca.sign("x", &[]);
    let check = |change: &dyn Fn(&mut TlsConfig), expected: &str| {
        let mut tls = identity.config();
        change(&mut tls);
        let error = Runtime::start(with_tls(tls)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let empty = ca.folder().join("empty");
    std::fs::write(&empty, "").unwrap();
    check(
        &|tls| tls.cert_file = "/no/cert".into(),
        "failed to read '/no/cert'",
    );
    check(
        &|tls| tls.cert_file = empty.clone(),
        "no certificate in PEM",
    );
    check(
        &|tls| tls.key_file = identity.cert.clone(),
        "no private key",
    );
    check(
        &|tls| tls.key_file = other.key.clone(),
        "do not work together",
    );
    check(&|tls| tls.curves = Vec::new(), "do not work together");
    let verifying = |tls: &mut TlsConfig| tls.verify_server_cert = true;
    check(
        &|tls| {
            verifying(tls);
            tls.ca_dir = Some("/no/folder".into());
        },
        "failed to read '/no/folder'",
    );
    check(
        &|tls| {
            verifying(tls);
            tls.ca_file = Some(identity.key.clone());
        },
        "no certificate in PEM",
    );
}
