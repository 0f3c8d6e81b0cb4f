//! What the integration tests share: runtimes on loopback, a recording actor, and a raw TCP client.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses a part of it"
)]

use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libprocess::{Context, Pid, Process, Runtime, RuntimeConfig, Upid};
use parking_lot::Mutex;

/// Everything that is awaited comes within this time, or the test fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Starts a runtime that is shut down at the end of the test.
pub fn start(config: RuntimeConfig) -> Guard {
    Guard(Runtime::start(config).unwrap())
}

pub fn loopback() -> RuntimeConfig {
    RuntimeConfig::loopback()
}

pub struct Guard(pub Runtime);

impl std::ops::Deref for Guard {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

/// Runs a future to its end, within the deadline.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(DEADLINE, future).await })
        .expect("deadline passed")
}

/// Waits until `condition` holds.
#[track_caller]
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What has happened, in order.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn add(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    /// How many hold it.
    pub fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    #[track_caller]
    pub fn wait_for(&self, expected: &[&str]) {
        let start = Instant::now();
        while self.lines() != expected && start.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(self.lines(), expected);
    }
}

/// Records the messages named `note` and the exited events it gets.
#[derive(Default)]
pub struct Recorder {
    pub log: Log,
}

impl Process for Recorder {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("note", |recorder: &mut Recorder, _, from, body| {
            let body = String::from_utf8_lossy(&body);
            recorder.log.add(format!("{} {body}", from.id()));
        });
    }

    fn finalize(&mut self, _: &mut Context<Self>) {
        self.log.add("finalized");
    }

    fn exited(&mut self, pid: &Upid, _: &mut Context<Self>) {
        self.log.add(format!("exited {}", pid.id()));
    }
}

pub fn record(runtime: &Runtime, id: &str) -> (Pid<Recorder>, Log) {
    let log = Log::default();
    let recorder = Recorder { log: log.clone() };
    (runtime.spawn(id, recorder).unwrap(), log)
}

/// Turns done by the actor so far, as a way to wait until it has done what was queued.
pub fn sync<P: Process>(pid: &Pid<P>) {
    block_on(pid.ask(|_, _| ())).unwrap();
}

/// A client that says exactly what it is told to.
pub struct Client {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Everything until the server closes.
    pub fn read_to_end(&mut self) -> String {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// One response with its body.
    pub fn response(&mut self) -> Answer {
        self.response_to("GET")
    }

    pub fn response_to(&mut self, method: &str) -> Answer {
        let head = self.until("\r\n\r\n");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap();
                (name.to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if method != "HEAD" {
            answer.body = self.body(&answer);
        }
        answer
    }

    fn body(&mut self, answer: &Answer) -> Vec<u8> {
        if answer.header("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk() {
                body.extend(chunk);
            }
            return body;
        }
        let length = answer.header("content-length").unwrap_or("0");
        self.exactly(length.parse().unwrap())
    }

    /// One chunk of a chunked body; none at its end.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.until("\r\n");
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let chunk = self.exactly(size);
        self.exactly(2);
        (size > 0).then_some(chunk)
    }

    fn exactly(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub fn until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            assert!(self.reader.read_until(b'\n', &mut text).unwrap() > 0);
        }
        String::from_utf8(text).unwrap()
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        self.response()
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn code(&self) -> u16 {
        self.status.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One GET on a connection of its own.
pub fn get(runtime: &Runtime, target: &str) -> Answer {
    Client::connect(runtime.address()).get(target)
}

/// The value of one metric.
pub fn metric(runtime: &Runtime, name: &str) -> f64 {
    runtime.metrics().snapshot()[name]
}
