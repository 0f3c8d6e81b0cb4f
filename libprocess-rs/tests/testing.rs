//! The test kit: the clock, simulations and the faults of their network.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use common::{Log, Recorder, block_on, loopback, metric, record, start, sync};
use libprocess::testing::{Break, Crash, Faults, Simulation, run_seeds};
use libprocess::{Clock, Pid, Runtime, RuntimeConfig};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Two hosts with a recorder each, `a` on the first and `b` on the second.
struct Pair {
    sim: Simulation,
    a: Pid<Recorder>,
    a_log: Log,
    b: Pid<Recorder>,
    b_log: Log,
    near: Runtime,
    far: Runtime,
}

fn pair(seed: u64, near: RuntimeConfig) -> Pair {
    let mut sim = Simulation::new(seed);
    let (near, far) = (sim.start_with(near).unwrap(), sim.start().unwrap());
    let (a, a_log) = record(&near, "a");
    let (b, b_log) = record(&far, "b");
    sim.settle();
    Pair {
        sim,
        a,
        a_log,
        b,
        b_log,
        near,
        far,
    }
}

impl Pair {
    fn new() -> Self {
        pair(1, RuntimeConfig::default())
    }

    fn send(&self, body: impl Into<String>) {
        let to = self.b.upid().clone();
        let body = Bytes::from(body.into());
        self.a
            .dispatch(move |_, ctx| ctx.send_raw(&to, "note", body));
    }

    fn link(&self) {
        let to = self.b.upid().clone();
        self.a.dispatch(move |_, ctx| ctx.link(&to));
    }

    fn relink(&self) {
        let to = self.b.upid().clone();
        self.a.dispatch(move |_, ctx| ctx.relink(&to));
    }

    fn faults(&self, faults: Faults) {
        self.sim.network().set_faults(faults);
    }

    fn break_connections(&self, how: Break) -> usize {
        let (near, far) = (self.near.address().ip(), self.far.address().ip());
        self.sim.network().break_connections(near, far, how)
    }
}

#[test]
fn messages_take_as_long_as_the_network_says() {
    let mut pair = Pair::new();
    pair.faults(Faults {
        delay: millis(10)..=millis(10),
        ..Faults::default()
    });
    let begin = pair.sim.now();
    pair.send("1");
    let log = pair.b_log.clone();
    assert!(pair.sim.run_until(secs(1), || log.len() == 1));
    // There and back for the connection, and there for the message.
    assert_eq!(pair.sim.now() - begin, millis(30));
    assert_eq!(log.lines(), ["a 1"]);
    // A step is as long as nothing happens.
    pair.send("2");
    assert!(pair.sim.step());
    assert_eq!(pair.sim.now() - begin, millis(40));
    assert_eq!(log.lines(), ["a 1", "a 2"]);
}

#[test]
fn links_may_be_slow_in_one_direction() {
    let mut pair = Pair::new();
    let (near, far) = (pair.near.address().ip(), pair.far.address().ip());
    let back = pair.a.upid().clone();
    pair.link();
    pair.b.dispatch(move |_, ctx| ctx.link(&back));
    pair.sim.run_for(secs(1));
    let slow = Faults {
        delay: secs(10)..=secs(10),
        ..Faults::default()
    };
    let network = pair.sim.network().clone();
    network.set_link_faults(near, far, Some(slow));
    pair.send("slow");
    let back = pair.a.upid().clone();
    pair.b
        .dispatch(move |_, ctx| ctx.send_raw(&back, "note", Bytes::from("fast")));
    pair.sim.run_for(millis(1));
    assert_eq!(pair.a_log.lines(), ["b fast"]);
    pair.sim.run_for(millis(9_998));
    assert_eq!(pair.b_log.len(), 0);
    pair.sim.run_for(millis(1));
    assert_eq!(pair.b_log.lines(), ["a slow"]);
    network.set_link_faults(near, far, None);
    pair.send("fast");
    pair.sim.run_for(millis(1));
    assert_eq!(pair.b_log.lines(), ["a slow", "a fast"]);
}

#[test]
fn writes_may_break_their_connection() {
    let mut pair = Pair::new();
    pair.link();
    pair.sim.run_for(secs(1));
    pair.faults(Faults {
        reset: 1.0,
        ..Faults::default()
    });
    assert_eq!(pair.a_log.len(), 0);
    pair.send("x".repeat(1000));
    pair.sim.run_for(secs(1));
    assert_eq!(pair.a_log.lines(), ["exited b"]);
    assert_eq!(pair.sim.network().connections(), 0);
}

#[test]
fn a_paused_clock_is_moved_from_timer_to_timer() {
    let clock = Clock::paused();
    let runtime = start(RuntimeConfig {
        clock: clock.clone(),
        ..loopback()
    });
    let (a, log) = record(&runtime, "a");
    sync(&a);
    a.dispatch(|_, ctx| {
        ctx.delay(secs(10), |_, ctx| {
            ctx.delay(secs(3600), |a: &mut Recorder, _| a.log.add("late"));
        });
    });
    sync(&a);
    let begin = clock.now();
    assert_eq!(clock.advance_to_next(), Some(begin + secs(10)));
    assert!(!block_on(clock.run_until(secs(1800), || log.len() > 0)));
    assert!(block_on(clock.run_until(secs(1800) * 2, || log.len() > 0)));
    assert_eq!(clock.now(), begin + secs(3610));
    clock.resume();
    assert_eq!(clock.advance_to_next(), None);
}

#[test]
fn a_partition_delays_and_a_long_one_breaks() {
    let mut pair = Pair::new();
    pair.link();
    pair.sim.run_for(secs(1));
    let (near, far) = (pair.near.address().ip(), pair.far.address().ip());
    let network = pair.sim.network().clone();
    network.partition(&[near], &[far]);
    pair.send("1");
    pair.sim.run_for(secs(600));
    assert_eq!(pair.b_log.len(), 0);
    network.heal_all();
    pair.sim.run_for(secs(1));
    assert_eq!(pair.b_log.lines(), ["a 1"]);

    network.cut(far, near);
    pair.send("2");
    pair.sim.run_for(secs(1));
    assert_eq!(pair.b_log.lines(), ["a 1", "a 2"]);
    assert_eq!(pair.a_log.len(), 0);
    // What is not confirmed is given up in the end.
    pair.sim.run_for(secs(924));
    assert_eq!(pair.a_log.lines(), ["exited b"]);
    // And nobody can connect.
    pair.link();
    pair.sim.run_for(secs(9));
    assert_eq!(pair.a_log.len(), 1);
    pair.sim.run_for(secs(1));
    assert_eq!(pair.a_log.len(), 2);
    network.heal(&[near], &[far]);
    pair.send("3");
    pair.sim.run_for(secs(1));
    assert_eq!(pair.b_log.lines(), ["a 1", "a 2", "a 3"]);
}

#[test]
fn crashes_are_noticed_as_the_network_tells() {
    let check = |how: Crash, silent: Duration, noticed: Duration| {
        let mut pair = Pair::new();
        pair.link();
        pair.sim.run_for(secs(1));
        let far = pair.far.address();
        assert!(pair.sim.crash(far, how));
        assert!(!pair.sim.crash(far, how));
        pair.sim.run_for(silent);
        assert_eq!(pair.a_log.len(), 0, "{how:?}");
        pair.sim.run_for(noticed);
        assert_eq!(pair.a_log.lines(), ["exited b"], "{how:?}");
        // Actors have had no last turn.
        assert_eq!(pair.b_log.len(), 0);

        let far = pair.sim.restart(far).unwrap();
        let (_, again) = record(&far, "b");
        pair.send("1");
        pair.sim.run_for(secs(1));
        assert_eq!(again.lines(), ["a 1"]);
    };
    check(Crash::Process, Duration::ZERO, millis(2));
    check(Crash::Machine, secs(7200), secs(9 * 75));
}

#[test]
fn a_restarted_machine_resets_what_it_does_not_know() {
    let mut pair = Pair::new();
    pair.link();
    pair.sim.run_for(secs(1));
    let far = pair.far.address();
    pair.sim.crash(far, Crash::Machine);
    pair.sim.restart(far).unwrap();
    pair.sim.run_for(secs(60));
    assert_eq!(pair.a_log.len(), 0);
    pair.send("lost");
    pair.sim.run_for(millis(2));
    assert_eq!(pair.a_log.lines(), ["exited b"]);
    // One who has nothing to say learns of it by a probe.
    pair.link();
    pair.sim.run_for(secs(1));
    pair.sim.crash(far, Crash::Machine);
    pair.sim.restart(far).unwrap();
    pair.sim.run_for(secs(7200));
    assert_eq!(pair.a_log.len(), 1);
    pair.sim.run_for(secs(9 * 75));
    assert_eq!(pair.a_log.len(), 2);
}

#[test]
fn a_runtime_that_is_stopped_ends_in_good_order() {
    let mut pair = Pair::new();
    pair.link();
    pair.send("1");
    let near = pair.near.address();
    assert!(pair.sim.stop(near));
    assert_eq!(pair.a_log.lines(), ["finalized"]);
    pair.sim.run_for(secs(1));
    assert_eq!(pair.b_log.lines(), ["a 1"]);
    assert_eq!(pair.sim.network().connections(), 0);
}

#[test]
fn relinking_escapes_a_half_open_connection() {
    let mut pair = Pair::new();
    pair.link();
    pair.send("1");
    pair.sim.run_for(secs(1));
    assert_eq!(pair.break_connections(Break::HalfOpen), 1);
    pair.send("lost");
    pair.sim.run_for(secs(60));
    assert_eq!(pair.b_log.lines(), ["a 1"]);
    assert_eq!(pair.a_log.len(), 0);
    pair.relink();
    pair.send("2");
    pair.sim.run_for(secs(1));
    assert_eq!(pair.b_log.lines(), ["a 1", "a 2"]);
    // The half open one is given up without an exit: the link is that of the new connection.
    pair.sim.run_for(secs(3 * 3600));
    assert_eq!(pair.a_log.len(), 0);
    assert_eq!(pair.sim.network().connections(), 1);
    assert_eq!(pair.break_connections(Break::Reset), 1);
    pair.sim.run_for(secs(1));
    assert_eq!(pair.a_log.lines(), ["exited b"]);
}

#[test]
fn half_open_connections_are_given_up() {
    let check = |send: bool, patience: u64| {
        let mut pair = Pair::new();
        pair.link();
        pair.sim.run_for(secs(1));
        pair.break_connections(Break::HalfOpen);
        if send {
            pair.send("lost");
        }
        pair.sim.run_for(secs(patience - 1));
        assert_eq!(pair.a_log.len(), 0);
        pair.sim.run_for(secs(1));
        assert_eq!(pair.a_log.lines(), ["exited b"]);
    };
    check(true, 924);
    check(false, 7200 + 9 * 75);
}

#[test]
fn messages_for_a_slow_reader_are_dropped_beyond_the_bound() {
    let config = RuntimeConfig {
        max_queue_bytes: 10_000,
        ..RuntimeConfig::default()
    };
    let mut pair = pair(1, config);
    pair.faults(Faults {
        bandwidth: Some(1_000),
        window: 2_000,
        ..Faults::default()
    });
    pair.link();
    pair.sim.run_for(secs(1));
    for _ in 0..100 {
        pair.send("x".repeat(800));
        pair.sim.settle();
    }
    let dropped = metric(&pair.near, "libprocess/messages_dropped");
    let sent = metric(&pair.near, "libprocess/messages_sent");
    assert_eq!(sent + dropped, 100.0);
    // What the network has taken, what is being sent, and what waits.
    let mut message = bytes::BytesMut::new();
    let (from, to) = (pair.a.upid(), pair.b.upid());
    let body = [b'x'; 800];
    libprocess::fuzzing::encode_message(&mut message, from, to, "note", &body);
    let bytes = sent as usize * message.len();
    let bound = 10_000 + 2_000;
    assert!(
        (bound - 2 * message.len()..bound + message.len()).contains(&bytes),
        "{bytes}"
    );
    pair.sim.run_for(secs(60));
    assert_eq!(pair.b_log.len(), sent as usize);
    // It was slow, not broken, and takes more now.
    pair.send("last");
    pair.sim.run_for(secs(1));
    assert_eq!(pair.b_log.lines().last().unwrap(), "a last");
    assert_eq!(pair.a_log.len(), 0);
}

#[test]
fn messages_that_cannot_be_sent_are_counted() {
    let check = |cut: &dyn Fn(&mut Pair)| {
        let mut pair = Pair::new();
        pair.faults(Faults {
            window: 2_000,
            ..Faults::default()
        });
        pair.link();
        pair.sim.run_for(secs(1));
        // More than the network takes at once, and then more behind.
        let many = |pair: &mut Pair| {
            let to = pair.b.upid().clone();
            pair.a.dispatch(move |_, ctx| {
                for _ in 0..10 {
                    ctx.send_raw(&to, "note", Bytes::from_static(&[b'x'; 800]));
                }
            });
            pair.sim.settle();
        };
        many(&mut pair);
        many(&mut pair);
        cut(&mut pair);
        pair.sim.run_for(secs(3 * 3600));
        assert_eq!(metric(&pair.near, "libprocess/messages_sent"), 20.0);
        let dropped = metric(&pair.near, "libprocess/messages_dropped");
        (dropped as usize, pair.b_log.len())
    };
    let breaking = |how: Break| move |pair: &mut Pair| assert_eq!(pair.break_connections(how), 1);
    assert_eq!(check(&breaking(Break::HalfOpen)), (20, 0));
    // What waits goes with the new connection; only what was being sent is lost.
    let replaced = |pair: &mut Pair| {
        pair.break_connections(Break::HalfOpen);
        pair.relink();
    };
    assert_eq!(check(&replaced), (10, 10));
}

#[test]
fn connections_that_break_in_a_message_lose_it_and_the_rest() {
    let check = |how: Break| {
        let mut pair = Pair::new();
        pair.link();
        pair.send("1");
        pair.sim.run_for(secs(1));
        pair.send("2".repeat(1000));
        // It is under way.
        pair.sim.settle();
        assert_eq!(pair.break_connections(how), 1);
        pair.sim.run_for(secs(60));
        assert_eq!(pair.b_log.lines(), ["a 1"], "{how:?}");
        assert_eq!(pair.a_log.lines(), ["exited b"], "{how:?}");
        assert_eq!(pair.sim.network().connections(), 0);
        pair.send("3");
        pair.sim.run_for(secs(1));
        assert_eq!(pair.b_log.lines(), ["a 1", "a 3"], "{how:?}");
    };
    check(Break::Reset);
    check(Break::Truncate);
}

#[test]
fn connects_are_refused_and_doubled() {
    let mut pair = Pair::new();
    pair.faults(Faults {
        refuse: 1.0,
        ..Faults::default()
    });
    pair.link();
    pair.sim.run_for(secs(1));
    assert_eq!(pair.a_log.lines(), ["exited b"]);

    pair.faults(Faults {
        twin: 1.0,
        ..Faults::default()
    });
    pair.link();
    pair.send("1");
    pair.sim.run_for(secs(1));
    assert_eq!(pair.b_log.lines(), ["a 1"]);
    assert_eq!(pair.break_connections(Break::Reset), 1);
    pair.sim.run_for(secs(1));

    pair.faults(Faults {
        replay: 1.0,
        split: 1.0,
        ..Faults::default()
    });
    pair.send("2");
    pair.sim.run_for(secs(1));
    assert_eq!(pair.b_log.lines(), ["a 1", "a 2", "a 2"]);
    pair.sim.run_for(secs(60));
    assert_eq!(pair.sim.network().connections(), 0);
}

#[test]
fn connections_overtake_each_other() {
    let far_behind = |seed| {
        let mut pair = pair(seed, RuntimeConfig::default());
        let (third, third_log) = {
            let runtime = pair.sim.start().unwrap();
            record(&runtime, "c")
        };
        pair.faults(Faults {
            delay: millis(1)..=millis(500),
            ..Faults::default()
        });
        let to = pair.b.upid().clone();
        third.dispatch(move |_, ctx| ctx.send_raw(&to, "note", Bytes::from("1")));
        pair.send("1");
        pair.send("2");
        pair.sim.run_for(secs(10));
        assert_eq!(third_log.len(), 0);
        pair.b_log.lines()
    };
    let orders: std::collections::BTreeSet<_> = (0..20).map(far_behind).collect();
    let all = [
        ["a 1", "a 2", "c 1"],
        ["a 1", "c 1", "a 2"],
        ["c 1", "a 1", "a 2"],
    ];
    // Those of one connection travel together here, and stay in order in any case.
    assert!(orders.len() > 1);
    assert!(
        orders
            .iter()
            .all(|order| all.contains(&[0, 1, 2].map(|n| &*order[n])))
    );
}

#[test]
fn work_on_blocking_threads_takes_no_time() {
    let mut pair = Pair::new();
    let begin = pair.sim.now();
    pair.a.dispatch(|_, ctx| {
        let work = || std::thread::sleep(millis(20));
        ctx.blocking(work, |a: &mut Recorder, _, ()| a.log.add("done"));
    });
    pair.sim.settle();
    assert_eq!(pair.a_log.lines(), ["done"]);
    let answer = pair.a.ask(|_, ctx| ctx.now());
    assert_eq!(pair.sim.block_on(answer).unwrap(), begin);
    let spawned = pair.near.handle().spawn(async { 7 });
    assert_eq!(pair.sim.block_on(spawned).unwrap(), 7);
}

#[test]
fn settling_does_not_wait_for_the_dead() {
    let mut pair = Pair::new();
    let (near, far) = (pair.near.address(), pair.far.address());
    pair.sim.crash(far, Crash::Machine);
    pair.send("never sent");
    pair.sim.crash(near, Crash::Process);
    let clock = pair.sim.clock().clone();
    pair.sim.block_on(async move { clock.settle().await });
    pair.near.shutdown();
}

#[test]
fn the_runtimes_of_one_host_share_its_address() {
    let mut sim = Simulation::new(1);
    let one = sim.start().unwrap();
    let other = sim
        .start_with(RuntimeConfig {
            ip: one.address().ip(),
            port: 6000,
            ..RuntimeConfig::default()
        })
        .unwrap();
    let expected: [SocketAddr; 2] = ["10.0.0.1:5050", "10.0.0.1:6000"].map(|a| a.parse().unwrap());
    assert_eq!([one.address(), other.address()], expected);
    let (a, _) = record(&one, "a");
    let (b, log) = record(&other, "b");
    let to = b.upid().clone();
    a.dispatch(move |_, ctx| ctx.send_raw(&to, "note", Bytes::from("1")));
    sim.run_for(secs(1));
    assert_eq!(log.lines(), ["a 1"]);

    // A process crashes by itself, a machine with all it runs.
    let (one, other) = (one.address(), other.address());
    assert!(sim.crash(one, Crash::Process));
    assert!(sim.runtime(other).is_some());
    let one = sim.restart(one).unwrap().address();
    assert!(sim.crash(one, Crash::Machine));
    assert!(sim.runtime(other).is_none());
    assert!(!sim.crash(other, Crash::Machine));
    sim.restart(other).unwrap();
    assert!(sim.runtime(one).is_none());
}

#[test]
fn a_future_that_is_ready_to_go_on_takes_no_time() {
    let mut sim = Simulation::new(1);
    let begin = sim.now();
    sim.block_on(tokio::task::yield_now());
    let runtime = sim.start().unwrap();
    sim.clock().delay(secs(5), || {});
    let (there, mut asked) = tokio::sync::mpsc::channel(1);
    let (answer, back) = tokio::sync::oneshot::channel();
    runtime.handle().spawn(async move {
        let number: u32 = asked.recv().await.unwrap();
        answer.send(number + 1).unwrap();
    });
    let answer = sim.block_on(async move {
        there.send(7).await.unwrap();
        back.await.unwrap()
    });
    assert_eq!(answer, 8);
    assert_eq!(sim.now(), begin);
}

#[test]
fn each_seed_is_another_run() {
    let traces = parking_lot::Mutex::new(std::collections::BTreeMap::new());
    run_seeds((0..4).chain(0..4), |seed| {
        let mut pair = pair(seed, RuntimeConfig::default());
        pair.faults(Faults {
            delay: millis(1)..=millis(50),
            split: 0.5,
            ..Faults::default()
        });
        pair.link();
        pair.send("1");
        pair.sim.run_for(secs(1));
        let trace = pair.sim.trace();
        assert_eq!(trace.events, 1);
        let before = traces.lock().insert(seed, trace.hash);
        assert!(before.is_none_or(|before| before == trace.hash));
    });
    let traces = traces.into_inner();
    let different: std::collections::BTreeSet<_> = traces.values().collect();
    assert_eq!(different.len(), traces.len());
}
