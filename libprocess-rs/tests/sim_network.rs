//! The network in memory of the test kit by itself, and HTTP over it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use common::record;
use libprocess::client::{self, Client, Url};
use libprocess::testing::{Crash, Faults, Simulation, Trace};
use libprocess::{
    Context, Listener, Process, Reply, Response, RouteOptions, Runtime, StreamWriter, Upid,
    WriteError,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1));

const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2));

/// A port without a runtime.
fn listen(sim: &Simulation) -> (SocketAddr, Box<dyn Listener>) {
    let address = SocketAddr::new(FAR, 5050);
    let port = sim.network().transport(FAR).bind(address).unwrap();
    (address, port)
}

#[test]
fn a_write_arrives_in_two_portions() {
    let check = |seed: u64, delay: Duration, split: f64, expected: usize| {
        let mut sim = Simulation::new(seed);
        sim.network().set_faults(Faults {
            delay: delay..=delay,
            split,
            ..Faults::default()
        });
        let (address, mut port) = listen(&sim);
        let connect = sim.network().transport(NEAR).connect(address);
        let portions = sim.block_on(async move {
            let mut client = connect.await.unwrap();
            let server = poll_fn(|cx| port.poll_accept(cx)).await.unwrap();
            let mut server = server.open().unwrap();
            client.write_all(&[7; 100]).await.unwrap();
            let mut portions = Vec::new();
            while portions.iter().sum::<usize>() < 100 {
                portions.push(server.read(&mut [0; 1000]).await.unwrap());
            }
            portions
        });
        assert_eq!(portions.len(), expected, "{portions:?}");
        assert!(!portions.contains(&0), "{portions:?}");
    };
    for seed in 0..20 {
        check(seed, Duration::from_millis(1), 1.0, 2);
        check(seed, Duration::ZERO, 1.0, 2);
    }
    check(1, Duration::from_millis(1), 0.0, 1);
}

#[test]
fn connections_have_twins() {
    let check = |twin: f64, expected: usize| {
        let mut sim = Simulation::new(1);
        sim.network().set_faults(Faults {
            twin,
            ..Faults::default()
        });
        let (address, mut port) = listen(&sim);
        let runtime = sim.start().unwrap();
        let (a, _) = record(&runtime, "a");
        a.dispatch(move |_, ctx| ctx.link(&Upid::new("b", address)));
        sim.run_for(Duration::from_secs(1));
        let mut cx = TaskContext::from_waker(Waker::noop());
        let mut accepted = 0;
        while let Poll::Ready(stream) = port.poll_accept(&mut cx) {
            stream.unwrap();
            accepted += 1;
        }
        assert_eq!(accepted, expected);
    };
    check(0.0, 1);
    check(1.0, 2);
}

#[test]
fn connections_that_are_open_have_addresses_of_their_own() {
    let mut sim = Simulation::new(1);
    sim.network().set_faults(Faults {
        delay: Duration::ZERO..=Duration::ZERO,
        ..Faults::default()
    });
    let (address, mut port) = listen(&sim);
    let transport = sim.network().transport(NEAR);
    // More than there are ports for clients.
    sim.block_on(async move {
        let mut connect = async || {
            let stream = transport.connect(address).await.unwrap();
            let accepted = poll_fn(|cx| port.poll_accept(cx)).await.unwrap();
            (stream, accepted.peer().unwrap())
        };
        let (_open, first) = connect().await;
        for _ in 0..=u16::MAX / 2 {
            assert_ne!(connect().await.1, first);
        }
    });
    assert_eq!(sim.network().connections(), 0);
}

/// Streams a piece a second to everyone who asks, until that fails.
struct Ticker {
    streams: Vec<StreamWriter>,
    refused: Arc<Mutex<Vec<WriteError>>>,
}

const PIECE: [u8; 1000] = [b'x'; 1000];

impl Ticker {
    fn tick(&mut self, _: &mut Context<Self>) {
        self.streams.retain(|stream| {
            let written = stream.write(&PIECE[..]);
            self.refused.lock().extend(written.err());
            written.is_ok()
        });
    }
}

impl Process for Ticker {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.route("/ticks", RouteOptions::default(), |ticker, _, _| {
            let (response, writer) = Response::stream("text/plain");
            ticker.streams.push(writer);
            Reply::from(response)
        });
        ctx.route("/large", RouteOptions::default(), |_, _, _| {
            Reply::from(Response::text(http::StatusCode::OK, "x".repeat(100_000)))
        });
        ctx.every(Duration::from_secs(1), Self::tick);
    }
}

/// A client on one host, and on another a server, which notes what it was refused.
struct Web {
    sim: Simulation,
    near: Runtime,
    far: Runtime,
    refused: Arc<Mutex<Vec<WriteError>>>,
}

impl Web {
    fn new(seed: u64) -> Self {
        let mut sim = Simulation::new(seed);
        let (near, far) = (sim.start().unwrap(), sim.start().unwrap());
        let refused = Arc::default();
        let ticker = Ticker {
            streams: Vec::new(),
            refused: Arc::clone(&refused),
        };
        far.spawn("ticker", ticker).unwrap();
        Self {
            sim,
            near,
            far,
            refused,
        }
    }

    fn request(&self, path: &str) -> (Client, client::Request) {
        let url = format!("http://{}/ticker{path}", self.far.address());
        let url: Url = url.parse().unwrap();
        (Client::new(&self.near), client::Request::get(&url))
    }

    fn stream(&mut self) -> client::Body {
        let (client, request) = self.request("/ticks");
        let response = self.sim.block_on(client.stream(request));
        response.unwrap().into_body()
    }

    /// Reads this many bytes, and returns how long that takes.
    fn read(&mut self, body: &mut client::Body, bytes: usize) -> Duration {
        let begin = self.sim.now();
        self.sim.block_on(async {
            let mut left = bytes;
            while left > 0 {
                left -= body.next().await.unwrap().unwrap().len();
            }
        });
        self.sim.now() - begin
    }
}

#[test]
fn compression_takes_no_time() {
    let mut web = Web::new(1);
    let begin = web.sim.now();
    let (client, request) = web.request("/large");
    let response = web
        .sim
        .block_on(client.request(request.header("Accept-Encoding", "gzip")));
    let response = response.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    // There and back for the connection, and for the request.
    assert_eq!(web.sim.now() - begin, Duration::from_millis(4));
}

#[test]
fn streams_survive_a_bad_network() {
    let run = |seed: u64| -> (Vec<Duration>, Trace) {
        let mut web = Web::new(seed);
        web.sim.network().set_faults(Faults {
            delay: Duration::from_millis(1)..=Duration::from_millis(300),
            split: 0.5,
            bandwidth: Some(10_000),
            ..Faults::default()
        });
        let mut body = web.stream();
        let first = web.read(&mut body, 10 * PIECE.len());
        let hosts = [&web.near, &web.far].map(|host| host.address().ip());
        web.sim.network().partition(&hosts[..1], &hosts[1..]);
        web.sim.run_for(Duration::from_secs(60));
        web.sim.network().heal_all();
        let rest = web.read(&mut body, 60 * PIECE.len());
        assert_eq!(*web.refused.lock(), []);
        (vec![first, rest], web.sim.trace())
    };
    let (times, trace) = run(1);
    assert!((8..11).contains(&times[0].as_secs()), "{times:?}");
    // What was stopped on its way arrives at once.
    assert!(times[1] < Duration::from_secs(1), "{times:?}");
    assert_eq!(run(1), (times.clone(), trace));
    assert_ne!(run(2).0, times);
}

#[test]
fn the_writer_of_a_stream_learns_what_became_of_its_reader() {
    let mut web = Web::new(1);
    // One who does not read is held back, then given up.
    let mut slow = web.stream();
    let refused = web.refused.clone();
    let hours = Duration::from_secs(2 * 3600);
    assert!(web.sim.run_until(hours, || !refused.lock().is_empty()));
    assert_eq!(*refused.lock(), [WriteError::Full]);
    let rest = web.sim.block_on(async {
        let mut bytes = 0;
        while let Some(piece) = slow.next().await {
            bytes += piece.unwrap().len();
        }
        bytes
    });
    assert!(rest > 4096 * PIECE.len(), "{rest}");

    let crashed = web.stream();
    web.sim.run_for(Duration::from_secs(10));
    let near = web.near.address();
    assert!(web.sim.crash(near, Crash::Process));
    web.sim.run_for(Duration::from_secs(2));
    assert_eq!(*refused.lock(), [WriteError::Full, WriteError::Closed]);
    drop(crashed);
}
