//! Time and faults, for tests of actors. With the cargo feature `testing`, which belongs among the development dependencies:
//!
//! ```toml
//! [dev-dependencies]
//! libprocess = { version = "1", features = ["testing"] }
//! ```
//!
//! # A tour
//!
//! ## A simulation runs several OS processes in one thread
//!
//! A [`Simulation`] starts runtimes on hosts of their own, with a network in memory between them, on a clock that only it moves.
//! Nothing happens but in its methods, so a test needs no sleeps and no deadlines, and hours cost what happens in them.
//!
//! ```
//! use libprocess::testing::{Break, Crash, Events, Faults, Simulation, message};
//! use libprocess::{Context, Process, Upid};
//! use std::time::Duration;
//!
//! /// Watches another actor, and counts what it hears.
//! struct Watcher {
//!     other: Upid,
//!     heard: u64,
//!     lost: bool,
//! }
//!
//! impl Process for Watcher {
//!     fn initialize(&mut self, ctx: &mut Context<Self>) {
//!         ctx.install_raw("news", |watcher: &mut Watcher, _, _, _| watcher.heard += 1);
//!         ctx.link(&self.other);
//!     }
//!
//!     fn exited(&mut self, _: &Upid, _: &mut Context<Self>) {
//!         self.lost = true;
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let second = Duration::from_secs(1);
//! let mut sim = Simulation::new(42);
//! let (near, far) = (sim.start()?, sim.start()?);
//! let other = Upid::new("other", far.address());
//! let watcher = Watcher { other: other.clone(), heard: 0, lost: false };
//! let watcher = near.spawn("watcher", watcher)?;
//!
//! // The clock is at 0 s, and the link is made. Time moves when the test says so.
//! sim.run_for(second);
//! far.send(&other, watcher.upid(), "news", "1".into());
//! sim.run_for(second);
//! assert_eq!(sim.block_on(watcher.ask(|watcher, _| watcher.heard))?, 1);
//!
//! // ## Faults
//! // What is sent into a partition arrives when it is healed, as over TCP.
//! let (here, there) = (near.address().ip(), far.address().ip());
//! sim.network().partition(&[here], &[there]);
//! far.send(&other, watcher.upid(), "news", "2".into());
//! sim.run_for(60 * second);
//! sim.network().heal_all();
//! sim.run_for(second);
//! assert_eq!(sim.block_on(watcher.ask(|watcher, _| watcher.heard))?, 2);
//!
//! // A slow network that breaks a connection in a hundred writes.
//! let delay = Duration::from_millis(10)..=Duration::from_millis(300);
//! sim.network().set_faults(Faults { delay, reset: 0.01, ..Faults::default() });
//!
//! // A connection that is half open: neither side is told that the other is gone, for hours.
//! sim.network().break_connections(here, there, Break::HalfOpen);
//! sim.run_for(3600 * second);
//! assert!(!sim.block_on(watcher.ask(|watcher, _| watcher.lost))?);
//! // A new link gets a new connection. If the other process is killed, this one is told at once.
//! let again = other.clone();
//! watcher.dispatch(move |_, ctx| ctx.relink(&again));
//! sim.run_for(60 * second);
//! sim.crash(far.address(), Crash::Process);
//! sim.run_for(second);
//! assert!(sim.block_on(watcher.ask(|watcher, _| watcher.lost))?);
//!
//! // ## Filters
//! // Events of a runtime are waited for, dropped, held back: here the next message.
//! let dropped = Events::of(&near).drop_next(message("news").to("watcher"));
//! near.send(&other, watcher.upid(), "news", "3".into());
//! assert_eq!(sim.block_on(dropped).body().map(|body| &body[..]), Some(&b"3"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! ## A seed repeats a run
//!
//! All chances of the network come from the seed of the simulation, and a test that wants chances of its own takes them from
//! [`Random`]. Then the same seed gives the same run, to the last event: [`Simulation::trace`] tells. [`run_seeds`] runs a
//! scenario under many seeds; when one fails it prints how to repeat that one, by the environment variable `LIBPROCESS_SEED`.
//! With `LIBPROCESS_TRACE` set each event is printed.
//!
//! What must be avoided for that: the real time, threads, and the order of a `HashMap`.
//!
//! ## Filters and the clock work on any runtime
//!
//! [`Events`] are those of the actors of any [`Runtime`](crate::Runtime), on whatever threads, and each kind of event can be
//! [matched](Match): messages, dispatches, HTTP requests, exited events. A [`Clock`](crate::Clock) that is paused can be
//! [advanced to its next timer](crate::Clock::advance_to_next) or [run until](crate::Clock::run_until) something is the case. And
//! a [`SimNetwork`] can carry the bytes of any runtime that is given its [transport](SimNetwork::transport).
//!
//! | in tests of Mesos | here |
//! |---|---|
//! | `Clock::pause`, `advance`, `settle` | [`Clock::pause`](crate::Clock::pause), [`advance`](crate::Clock::advance), [`settle`](crate::Clock::settle) |
//! | `FUTURE_MESSAGE`, `FUTURE_DISPATCH`, `FUTURE_EXITED`, `FUTURE_HTTP_REQUEST` | [`Events::next`] |
//! | `DROP_MESSAGE`, `DROP_DISPATCH`, `DROP_EXITED` | [`Events::drop_next`] |
//! | `DROP_MESSAGES`, `DROP_DISPATCHES` | [`Events::drop_all`] |
//! | `EXPECT_NO_FUTURE_MESSAGES`, `EXPECT_NO_FUTURE_DISPATCHES` | [`Events::expect_none`] |
//! | `FUTURE_PROTOBUF`, `DROP_PROTOBUF`, `DROP_PROTOBUFS`, `EXPECT_NO_FUTURE_PROTOBUFS` | the same with [`protobuf`], or [`protobuf_when`] |
//! | `FUTURE_HTTP_PROTOBUF`, `FUTURE_HTTP_CALL` | [`Events::next`] with [`http_request`] and a condition ([`Match::when`]) on the [body](Event::body) |
//!
//! # What a simulation does not cover
//!
//! Files, subprocesses and sockets of the OS take real time, which a simulation does not wait for.

mod clock;
mod events;
mod hooks;
mod matcher;
mod network;
mod random;
mod seeds;
mod simulation;
mod tasks;
mod trace;

pub use events::{Counted, Events, Held, Unseen, Upcoming};
pub use hooks::{Event, What};
pub use matcher::{Match, any, dispatch, exited, http_request, message, protobuf, protobuf_when};
pub use network::{Break, Faults, SimNetwork};
pub use random::Random;
pub use seeds::run_seeds;
pub use simulation::{Crash, Simulation};
pub use trace::Trace;

pub(crate) use hooks::Hooks;
