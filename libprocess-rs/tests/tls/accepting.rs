//! The port with TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::mpsc;

use libprocess::{Clock, ReverseLookup, RuntimeConfig, TlsConfig};
use parking_lot::Mutex;

use crate::certificates::{Authority, Identity};
use crate::common::{Client, DEADLINE, get, loopback, metric, record, start, until};
use crate::support::*;

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

#[test]
fn a_hello_may_come_byte_by_byte() {
    let ca = Authority::new("ca");
    let runtime = web(with_tls(TlsConfig {
        support_downgrade: true,
        ..ca.sign("web", &["127.0.0.1"]).config()
    }));
    let mut client = tls_client(Dribble(connect(runtime.address())), &ca);
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
    let stream = connect(runtime.address());
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
    assert_eq!(get(&runtime, "/web/hello").text(), "hello");
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
                let mut stream = connect(runtime.address());
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
