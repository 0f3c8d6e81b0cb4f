//! A peer that does only what the test tells it to, over a real runtime.
#![allow(clippy::unwrap_used, reason = "a failing test shall panic")]

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use libprocess::{Context, Pid, Process, Runtime, RuntimeConfig, Upid};

/// How long anything that is waited for may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A message that came in.
pub(crate) struct Received {
    pub(crate) from: Upid,
    pub(crate) name: String,
    pub(crate) body: bytes::Bytes,
}

/// An actor that hands all messages of the given names to the test.
pub(crate) struct Peer {
    runtime: Runtime,
    pid: Pid<Recorder>,
    received: Receiver<Received>,
}

struct Recorder {
    names: Vec<String>,
    sender: mpsc::Sender<Received>,
}

impl Process for Recorder {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        for name in self.names.clone() {
            ctx.install_raw(name.clone(), move |recorder, _, from, body| {
                let received = Received {
                    from: from.clone(),
                    name: name.clone(),
                    body,
                };
                // The test may be over.
                let _ = recorder.sender.send(received);
            });
        }
    }
}

impl Peer {
    /// A peer with the given id at `port` (0 for any).
    pub(crate) fn start(id: &str, port: u16, names: &[&str]) -> Self {
        let config = RuntimeConfig {
            port,
            workers: 1,
            ..RuntimeConfig::loopback()
        };
        let runtime = Runtime::start(config).unwrap();
        let (sender, received) = mpsc::channel();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let pid = runtime.spawn(id, Recorder { names, sender }).unwrap();
        Peer {
            runtime,
            pid,
            received,
        }
    }

    pub(crate) fn upid(&self) -> &Upid {
        self.pid.upid()
    }

    pub(crate) fn port(&self) -> u16 {
        self.runtime.address().port()
    }

    /// The next message, which must be an `M`.
    #[track_caller]
    pub(crate) fn expect<M: prost::Message + prost::Name + Default>(&self) -> (Upid, M) {
        self.expect_past("")
    }

    /// The next `M`, which only messages called `passed` may precede.
    #[track_caller]
    pub(crate) fn expect_past<M: prost::Message + prost::Name + Default>(
        &self,
        passed: &str,
    ) -> (Upid, M) {
        loop {
            let received = self.received.recv_timeout(DEADLINE).unwrap();
            if received.name != passed {
                assert_eq!(received.name, M::full_name());
                return (received.from, M::decode(received.body).unwrap());
            }
        }
    }

    /// Sends from this peer.
    pub(crate) fn send<M: prost::Message + prost::Name>(&self, to: &Upid, message: &M) {
        self.runtime.send_message(self.upid(), to, message);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.runtime.shutdown();
    }
}

/// A runtime on loopback for a driver under test, with a thread of its own.
pub(crate) fn loopback() -> Runtime {
    let config = RuntimeConfig {
        workers: 1,
        ..RuntimeConfig::loopback()
    };
    Runtime::start(config).unwrap()
}
