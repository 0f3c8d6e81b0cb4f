//! Connections to other runtimes by TLS.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use libprocess::{
    Clock, Context, HostnameValidation, Process, ReverseLookup, Runtime, RuntimeConfig, TlsConfig,
    Upid,
};
use parking_lot::Mutex;

use crate::certificates::{Authority, Identity};
use crate::common::{loopback, metric, record, start, until};
use crate::support::*;

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
        assert!(metric(&near, FAILED) >= 1.0);
        assert_eq!(
            metric(&near, DOWNGRADED),
            f64::from(u8::from(support_downgrade))
        );
    };
    check(true);
    check(false);
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
    let server = Server::start(&ca.sign("x", &["far.example"]), &[]);
    let (sender, exits) = record(&near, "sender");
    let far = Upid::new("far", server.address);
    link(&sender, &far);
    send(&sender, &far, "hello");
    until("the message arrives", || server.has_message());
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
    let check = |identity: Identity| {
        let failed = metric(&near, FAILED);
        let server = Server::start(&identity, &[]);
        assert!(!reaches(&near, &server));
        // The message may try again on a connection of its own when that of the link has failed.
        assert!(metric(&near, FAILED) > failed);
    };
    check(other.sign("x", &["far.example"]));
    check(ca.sign("x", &["wrong.example"]));
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
fn a_peer_that_is_asked_for_by_name_may_have_a_certificate_for_it() {
    let ca = Authority::new("ca");
    let far = start(with_tls(ca.sign("x", &["localhost"]).config()));
    let near = start(with_tls(TlsConfig {
        verify_server_cert: true,
        ca_file: Some(ca.file()),
        hostname_validation: HostnameValidation::OpenSsl,
        ..ca.sign("near", &[]).config()
    }));
    let (receiver, received) = record(&far, "receiver");
    let (sender, exits) = record(&near, "sender");
    let named = |id: &str| Upid::resolve(&format!("{id}@localhost:{}", far.address().port()));
    let named = named(receiver.upid().id()).unwrap();
    assert_eq!(named, *receiver.upid());
    // By its address it cannot be recognized.
    link(&sender, receiver.upid());
    exits.wait_for(&["exited receiver"]);
    send(&sender, &named, "sent");
    received.wait_for(&["sender sent"]);
    let to = named.clone();
    sender.dispatch(move |_, ctx| ctx.relink(&to));
    send(&sender, &named, "linked");
    received.wait_for(&["sender sent", "sender linked"]);
    assert_eq!(metric(&near, FAILED), 1.0);
}

#[test]
fn addresses_may_be_ipv6() {
    let ca = Authority::new("ca");
    let check = |verified: &str, expected: bool| {
        let far = start(RuntimeConfig {
            ip: "::1".parse().unwrap(),
            ..with_tls(ca.sign("x", &[verified]).config())
        });
        let near = start(with_tls(TlsConfig {
            verify_server_cert: true,
            ca_file: Some(ca.file()),
            verify_ipadd: true,
            reverse_lookup: name_of_all("far.example"),
            ..ca.sign("near", &[]).config()
        }));
        assert_eq!(arrives(&near, &far), expected, "{verified}");
    };
    check("::1", true);
    check("::2", false);
}

/// A session that is resumed shows no certificates, but both sides still know those of the first time.
#[test]
fn a_renewed_connection_is_checked_again() {
    let ca = Authority::new("ca");
    let name = Arc::new(Mutex::new("x.example"));
    let check = |tls_v1_3: bool| {
        let with = |common: &str| {
            let name = name.clone();
            start(with_tls(TlsConfig {
                require_client_cert: true,
                ca_file: Some(ca.file()),
                reverse_lookup: ReverseLookup::new(move |_| Ok((*name.lock()).to_owned())),
                tls_v1_3,
                ..ca.sign(common, &["x.example"]).config()
            }))
        };
        let (near, far) = (with("near"), with("far"));
        assert!(arrives(&near, &far));
        let (sender, exits) = record(&near, "sender");
        let (receiver, received) = record(&far, "receiver");
        let to = receiver.upid().clone();
        let relink = || {
            let to = to.clone();
            sender.dispatch(move |_, ctx| ctx.relink(&to));
            send(&sender, receiver.upid(), "hello");
        };
        relink();
        received.wait_for(&["sender hello"]);
        *name.lock() = "y.example";
        relink();
        exits.wait_for(&["exited receiver"]);
        *name.lock() = "x.example";
    };
    check(true);
    check(false);
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
    // No setting allows more than 6.
    let mut long = root.intermediate("1");
    for n in 2..=6 {
        long = long.intermediate(&n.to_string());
    }
    check(&long.sign("x", &host), 100, &file, true);
    check(&long.intermediate("7").sign("x", &host), 100, &file, false);
    // What stands in the trusted file itself needs no CA.
    let alone = root.self_signed("127.0.0.1");
    check(&alone, 0, &file, false);
    let itself = |tls: &mut TlsConfig| tls.ca_file = Some(alone.cert.clone());
    check(&alone, 0, &itself, true);
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
