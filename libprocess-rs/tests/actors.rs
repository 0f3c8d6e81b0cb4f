//! The life of actors within one runtime.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Client, Log, Recorder, block_on, loopback, record, start, sync, until};
use libprocess::testing::{Crash, Events, Faults, SimNetwork, Simulation, any};
use libprocess::{
    AskError, Clock, Context, Gone, Pid, Placement, Process, Response, RouteOptions, RuntimeConfig,
    SpawnError, Upid,
};

fn paused() -> RuntimeConfig {
    RuntimeConfig {
        clock: Clock::paused(),
        ..loopback()
    }
}

#[test]
fn messages_and_dispatches_keep_their_order() {
    let runtime = start(loopback());
    let (pid, log) = record(&runtime, "recorder");
    let from = Upid::new("sender", runtime.address());
    let expected: Vec<String> = (0..1000).map(|n| format!("sender {n}")).collect();
    for n in 0..1000 {
        if n % 2 == 0 {
            runtime.send(&from, pid.upid(), "note", Bytes::from(n.to_string()));
        } else {
            pid.dispatch(move |recorder, _| recorder.log.add(format!("sender {n}")));
        }
    }
    sync(&pid);
    assert_eq!(log.lines(), expected);
}

#[test]
fn events_queued_before_initialize_are_served_after_it() {
    struct Late(Log);
    impl Process for Late {
        fn initialize(&mut self, _: &mut Context<Self>) {
            self.0.add("initialized");
        }
    }
    let runtime = start(RuntimeConfig {
        workers: 1,
        ..loopback()
    });
    let (parent, _) = record(&runtime, "parent");
    let log = Log::default();
    let late = Late(log.clone());
    // The only thread is busy with this turn, so that the new actor cannot have begun.
    parent.dispatch(move |_, ctx| {
        let pid = ctx.runtime().spawn("late", late).unwrap();
        pid.dispatch(|late, _| late.0.add("dispatched"));
        let own = ctx.upid().clone();
        ctx.runtime().send(&own, pid.upid(), "lost", Bytes::new());
        assert_eq!(pid.queued().dispatches, 1);
    });
    log.wait_for(&["initialized", "dispatched"]);
}

#[test]
fn actors_of_one_thread_take_turns() {
    /// After this many turns others have theirs.
    const TURNS: usize = 256;
    /// An actor woken from another thread waits for this many rounds of those that wake themselves: tokio looks at its queue for
    /// other threads then.
    const ROUNDS: usize = 31;
    let check = |woken_from_another_thread: bool, most: usize| {
        let runtime = start(RuntimeConfig {
            workers: 1,
            ..loopback()
        });
        let (busy, turns) = record(&runtime, "busy");
        let (other, others_log) = record(&runtime, "other");
        sync(&other);
        let seen = turns.clone();
        let wake = move || {
            other.dispatch(move |other, _| other.log.add(seen.len().to_string()));
        };
        let mut wake_within = Some(wake);
        let wake_outside = wake_within.take_if(|_| woken_from_another_thread);
        let (begun, begins) = std::sync::mpsc::channel();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        busy.dispatch(move |_, ctx| {
            for _ in 0..20 * TURNS * ROUNDS {
                ctx.pid().dispatch(|busy, _| busy.log.add("turn"));
            }
            if let Some(wake) = wake_within {
                wake();
            }
            begun.send(()).unwrap();
            gone.recv().unwrap();
        });
        begins.recv().unwrap();
        if let Some(wake) = wake_outside {
            wake();
        }
        go.send(()).unwrap();
        until("the other has its turn", || others_log.len() == 1);
        let before: usize = others_log.lines()[0].parse().unwrap();
        assert!(before <= most, "{before}");
    };
    check(false, TURNS);
    check(true, TURNS * (ROUNDS + 1));
}

#[test]
fn actors_of_other_threads_are_not_held_up() {
    let runtime = start(RuntimeConfig {
        workers: 3,
        ..loopback()
    });
    let (stuck, _) = record(&runtime, "stuck");
    let (free, _) = record(&runtime, "free");
    let (go, gone) = std::sync::mpsc::channel::<()>();
    stuck.dispatch(move |_, _| gone.recv().unwrap());
    sync(&free);
    go.send(()).unwrap();
    sync(&stuck);
}

#[test]
fn ids() {
    let runtime = start(loopback());
    assert_eq!(runtime.generate_id("slave"), "slave(1)");
    assert_eq!(runtime.generate_id("slave"), "slave(2)");
    assert_eq!(runtime.generate_id("executor"), "executor(1)");
    let (pid, _) = record(&runtime, "");
    assert_eq!(pid.upid().id(), "(1)");
    assert_eq!(pid.to_string(), format!("(1)@{}", runtime.address()));

    record(&runtime, "taken");
    let error = runtime.spawn("taken", Recorder::default()).unwrap_err();
    assert_eq!(error, SpawnError::Exists("taken".to_owned()));
    runtime.shutdown();
    let error = runtime.spawn("late", Recorder::default()).unwrap_err();
    assert_eq!(error, SpawnError::ShuttingDown("late".to_owned()));
}

#[test]
fn ask_answers_or_says_that_the_actor_has_gone() {
    let runtime = start(loopback());
    let (pid, _) = record(&runtime, "a");
    assert_eq!(
        block_on(pid.ask(|_, ctx| ctx.upid().id().to_owned())).unwrap(),
        "a"
    );
    block_on(async {
        let mut end = std::pin::pin!(runtime.wait(pid.upid()));
        assert!(futures::poll!(end.as_mut()).is_pending());
        pid.terminate();
        assert!(end.await);
    });
    assert!(!runtime.contains("a"));
    assert_eq!(block_on(pid.ask(|_, _| ())), Err(Gone));
    assert!(!block_on(runtime.wait(pid.upid())));
    assert!(!block_on(
        runtime.wait(&Upid::new("nobody", runtime.address()))
    ));
}

#[test]
fn termination_discards_or_waits_for_what_is_queued() {
    let check = |inject: bool, expected: &[&str], answer: Result<(), Gone>, status: u16| {
        let runtime = start(loopback());
        let (pid, log) = record(&runtime, "a");
        pid.dispatch(|_, ctx| {
            let options = RouteOptions::default();
            ctx.route("/x", options, |_, _, _| Response::ok().into());
        });
        let (begun, begins) = std::sync::mpsc::channel();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        pid.dispatch(move |_, _| {
            begun.send(()).unwrap();
            gone.recv().unwrap();
        });
        begins.recv().unwrap();
        pid.dispatch(|recorder, _| recorder.log.add("queued"));
        let sender = Upid::new("sender", runtime.address());
        runtime.send(&sender, pid.upid(), "note", Bytes::from("queued"));
        let asked = pid.ask(|_, _| ());
        let mut client = Client::connect(runtime.address());
        client.send("GET /a/x HTTP/1.1\r\nHost: x\r\n\r\n");
        until("the request is queued", || pid.queued().http_requests == 1);
        match inject {
            true => pid.terminate(),
            false => runtime.terminate_in_turn(pid.upid()),
        }
        pid.dispatch(|recorder, _| recorder.log.add("too late"));
        go.send(()).unwrap();
        block_on(runtime.wait(pid.upid()));
        assert_eq!(log.lines(), expected);
        assert!(!runtime.contains("a"));
        assert_eq!(block_on(asked), answer);
        assert_eq!(client.response().code(), status);
    };
    check(true, &["finalized"], Err(Gone), 500);
    check(
        false,
        &["queued", "sender queued", "finalized"],
        Ok(()),
        200,
    );
}

#[test]
fn an_id_is_free_again_after_the_end() {
    let runtime = start(loopback());
    for _ in 0..3 {
        let (pid, _) = record(&runtime, "again");
        pid.terminate();
        block_on(runtime.wait(pid.upid()));
    }
}

#[test]
fn an_actor_can_be_placed_on_the_thread_of_another() {
    let runtime = start(RuntimeConfig {
        workers: 4,
        ..loopback()
    });
    let thread =
        |pid: &Pid<Recorder>| block_on(pid.ask(|_, _| std::thread::current().id())).unwrap();
    let spawn = |placement| {
        let pid = runtime.spawn_at(placement, "", Recorder::default());
        pid.unwrap()
    };
    let first = spawn(Placement::Next);
    for _ in 0..4 {
        let near = spawn(Placement::Near(first.upid().clone()));
        assert_eq!(thread(&near), thread(&first));
    }
    // One of four threads is for the network; the others take turns. An actor elsewhere may have the same id.
    let others = [spawn(Placement::Next), spawn(Placement::Next)];
    let again = spawn(Placement::Next);
    let elsewhere = Upid::new(first.upid().id(), ([10, 9, 9, 9], 5050));
    let third = spawn(Placement::Near(elsewhere));
    assert_eq!(thread(&third), thread(&others[0]));
    let missing = Upid::new("missing", runtime.address());
    let threads: std::collections::HashSet<_> = others.iter().chain([&first]).map(thread).collect();
    assert_eq!(threads.len(), 3);
    assert_eq!(thread(&again), thread(&first));
    assert!(threads.contains(&thread(&spawn(Placement::Near(missing)))));
}

#[test]
fn an_address_reaches_whoever_has_the_id() {
    let runtime = start(loopback());
    let (sender, _) = record(&runtime, "sender");
    let (first, first_log) = record(&runtime, "a");
    let known = first.upid().clone();
    let text: Upid = known.to_string().parse().unwrap();
    let send = |to: &Upid, body: &'static str| {
        let to = to.clone();
        sender.dispatch(move |_, ctx| ctx.send_raw(&to, "note", Bytes::from(body)));
    };
    send(&known, "1");
    send(&text, "2");
    send(&text, "3");
    first_log.wait_for(&["sender 1", "sender 2", "sender 3"]);
    first.terminate();
    block_on(runtime.wait(first.upid()));
    send(&known, "lost");
    send(&text, "lost");
    sync(&sender);
    let (_second, second_log) = record(&runtime, "a");
    send(&known, "4");
    send(&text, "5");
    second_log.wait_for(&["sender 4", "sender 5"]);
    assert_eq!(first_log.lines().last().unwrap(), "finalized");
}

#[test]
fn local_links() {
    let runtime = start(loopback());
    let (watcher, log) = record(&runtime, "watcher");
    let (watched, _) = record(&runtime, "watched");
    let (target, missing) = (
        watched.upid().clone(),
        Upid::new("missing", runtime.address()),
    );
    watcher.dispatch(move |_, ctx| {
        let own = ctx.upid().clone();
        ctx.link(&own);
        ctx.link(&missing);
        ctx.link(&target);
        ctx.link(&target);
    });
    sync(&watcher);
    watched.terminate();
    log.wait_for(&["exited missing", "exited watched"]);

    // The link is gone with its event.
    let (watched, _) = record(&runtime, "watched");
    watched.terminate();
    block_on(runtime.wait(watched.upid()));
    sync(&watcher);
    assert_eq!(log.len(), 2);
}

#[test]
fn a_panic_ends_one_actor_and_tells_its_linkers() {
    let runtime = start(RuntimeConfig {
        workers: 1,
        ..loopback()
    });
    let (watcher, log) = record(&runtime, "watcher");
    let check = |id: &str, expected: &[&str], cause: fn(&Context<Recorder>)| {
        let (victim, victims_log) = record(&runtime, id);
        let target = victim.upid().clone();
        watcher.dispatch(move |_, ctx| ctx.link(&target));
        sync(&watcher);
        victim.dispatch(move |_, ctx| cause(ctx));
        log.wait_for(expected);
        assert!(victims_log.lines().is_empty());
    };
    check("turn", &["exited turn"], |_| panic!("on purpose"));
    let turn_and_future = ["exited turn", "exited future"];
    check("future", &turn_and_future, |ctx| {
        ctx.spawn(async { panic!("on purpose") }, |_, _, ()| {});
    });
    let all = ["exited turn", "exited future", "exited blocking"];
    check("blocking", &all, |ctx| {
        ctx.blocking(|| panic!("on purpose"), |_, _, ()| {});
    });
    assert_eq!(common::metric(&runtime, "libprocess/actor_panics"), 3.0);

    struct Unborn;
    impl Process for Unborn {
        fn initialize(&mut self, _: &mut Context<Self>) {
            panic!("on purpose");
        }
    }
    let pid = runtime.spawn("unborn", Unborn).unwrap();
    until("the actor has ended", || !runtime.contains("unborn"));
    assert_eq!(block_on(pid.ask(|_, _| ())), Err(Gone));
    sync(&watcher);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[test]
fn panicking_destructors_do_not_keep_an_actor_from_its_end() {
    let runtime = start(loopback());
    let (watcher, log) = record(&runtime, "watcher");
    let mut expected = Vec::new();
    let mut check = |id: &'static str, leave: fn(&Pid<Recorder>)| {
        let (victim, _) = record(&runtime, id);
        let target = victim.upid().clone();
        watcher.dispatch(move |_, ctx| ctx.link(&target));
        sync(&watcher);
        leave(&victim);
        expected.push(format!("exited {id}"));
        until("the watcher is told", || log.len() == expected.len());
        assert_eq!(log.lines(), expected);
        assert!(!runtime.contains(id));
        assert_eq!(block_on(victim.ask(|_, _| ())), Err(Gone));
    };
    check("futures", |pid| {
        for _ in 0..2 {
            pid.dispatch(|_, ctx| {
                let bomb = Bomb;
                let forever = async move {
                    let _bomb = bomb;
                    std::future::pending::<()>().await;
                };
                ctx.spawn(forever, |_, _, ()| {});
            });
        }
        pid.terminate_in_turn();
    });
    check("queued when a turn panics", |pid| {
        let bombs = [Bomb, Bomb];
        let (go, gone) = std::sync::mpsc::channel::<()>();
        pid.dispatch(move |_, _| {
            gone.recv().unwrap();
            panic!("on purpose");
        });
        for bomb in bombs {
            pid.dispatch(move |_, _| drop(bomb));
        }
        go.send(()).unwrap();
    });
    check("discarded by another", |pid| {
        let (begun, begins) = std::sync::mpsc::channel();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        pid.dispatch(move |_, _| {
            begun.send(()).unwrap();
            gone.recv().unwrap();
        });
        begins.recv().unwrap();
        for bomb in [Bomb, Bomb] {
            pid.dispatch(move |_, _| drop(bomb));
        }
        pid.terminate();
        go.send(()).unwrap();
    });
    // Two futures, the turn and two closures.
    assert_eq!(common::metric(&runtime, "libprocess/actor_panics"), 5.0);

    struct Explosive {
        _bomb: Bomb,
    }
    impl Process for Explosive {}
    let pid = runtime.spawn("process", Explosive { _bomb: Bomb }).unwrap();
    pid.terminate();
    until("the panic is counted", || {
        common::metric(&runtime, "libprocess/actor_panics") == 6.0
    });
    assert!(!runtime.contains("process"));
}

#[test]
fn delays_follow_the_virtual_clock() {
    let runtime = start(paused());
    let clock = runtime.clock();
    let (pid, log) = record(&runtime, "a");
    pid.dispatch(|_, ctx| {
        let kept = ctx.delay(Duration::from_secs(2), |recorder, _| {
            recorder.log.add("two")
        });
        drop(kept);
        ctx.delay(Duration::from_secs(1), |recorder, ctx| {
            recorder.log.add("one");
            ctx.delay(Duration::from_secs(3), |recorder, _| {
                recorder.log.add("four")
            });
        });
        let cancelled = ctx.delay(Duration::from_secs(1), |recorder, _| recorder.log.add("no"));
        assert!(cancelled.cancel());
    });
    block_on(clock.settle());
    let started = clock.now();
    clock.advance(Duration::from_secs(1));
    block_on(clock.settle());
    assert_eq!(log.lines(), ["one"]);
    clock.advance(Duration::from_secs(1));
    block_on(clock.settle());
    assert_eq!(log.lines(), ["one", "two"]);
    clock.advance(Duration::from_secs(2));
    block_on(clock.settle());
    assert_eq!(log.lines(), ["one", "two", "four"]);
    assert_eq!(clock.now() - started, Duration::from_secs(4));
}

#[test]
fn delays_come_in_the_order_of_their_deadlines() {
    let runtime = start(paused());
    let (pid, log) = record(&runtime, "a");
    pid.dispatch(|_, ctx| {
        for (after, name) in [(3, "c"), (1, "a"), (2, "b1"), (4, "late"), (2, "b2")] {
            ctx.delay(Duration::from_secs(after), move |recorder, _| {
                recorder.log.add(name);
            });
        }
    });
    sync(&pid);
    runtime.clock().advance(Duration::from_secs(3));
    sync(&pid);
    assert_eq!(log.lines(), ["a", "b1", "b2", "c"]);
}

#[test]
fn timers_end_with_their_actor() {
    let hour = Duration::from_secs(3600);
    let runtime = start(paused());
    let (pid, _) = record(&runtime, "a");
    let kept = Arc::new(());
    let theirs = kept.clone();
    pid.dispatch(move |_, ctx| {
        for _ in 0..1000 {
            let again = theirs.clone();
            ctx.delay(hour, |_, _| drop(again));
        }
        ctx.every(hour, move |_, _| assert!(Arc::strong_count(&theirs) > 0));
    });
    sync(&pid);
    assert_eq!(Arc::strong_count(&kept), 1002);
    pid.terminate();
    block_on(runtime.wait(pid.upid()));
    assert_eq!(Arc::strong_count(&kept), 1);
    assert_eq!(runtime.clock().next_deadline(), None);

    let mut sim = Simulation::new(1);
    let runtime = sim.start().unwrap();
    let (pid, _) = record(&runtime, "a");
    pid.dispatch(move |_, ctx| drop(ctx.delay(hour, |_, _| {})));
    sim.settle();
    assert!(sim.clock().next_deadline().is_some());
    sim.crash(runtime.address(), Crash::Process);
    assert_eq!(sim.clock().next_deadline(), None);
}

#[test]
fn timers_that_have_fired_are_forgotten_but_get_their_turns() {
    let runtime = start(paused());
    let (pid, log) = record(&runtime, "a");
    let clock = runtime.clock().clone();
    // All of them fire, and wait for their turns, while more are made.
    pid.dispatch(move |_, ctx| {
        for _ in 0..100 {
            ctx.delay(Duration::from_secs(1), |recorder, _| {
                recorder.log.add("turn");
            });
            clock.advance(Duration::from_secs(1));
        }
    });
    until("all have had their turn", || log.len() == 100);
}

#[test]
fn a_timer_cancelled_after_its_time_but_before_its_turn_does_not_run() {
    let runtime = start(paused());
    let (pid, log) = record(&runtime, "a");
    let clock = runtime.clock().clone();
    pid.dispatch(move |_, ctx| {
        let timer = ctx.delay(Duration::from_secs(1), |recorder, _| recorder.log.add("no"));
        clock.advance(Duration::from_secs(1));
        assert!(!timer.cancel());
    });
    sync(&pid);
    sync(&pid);
    assert!(log.lines().is_empty());
}

#[test]
fn settling_waits_for_chains_of_work() {
    let runtime = start(paused());
    let (a, log) = record(&runtime, "a");
    let (b, _) = record(&runtime, "b");
    let (back, far) = (a.clone(), b.clone());
    let (go, wait) = std::sync::mpsc::channel();
    a.dispatch(move |_, ctx| {
        ctx.blocking(
            move || wait.recv().unwrap(),
            move |recorder: &mut Recorder, ctx, ()| {
                recorder.log.add("blocked");
                let asked = far.ask(|_, ctx| ctx.upid().id().to_owned());
                ctx.spawn(asked, move |recorder: &mut Recorder, _, id| {
                    recorder.log.add(format!("asked {}", id.unwrap()));
                    back.dispatch(|recorder, ctx| {
                        recorder.log.add("last");
                        ctx.delay(Duration::ZERO, |recorder, _| recorder.log.add("zero"));
                    });
                });
            },
        );
    });
    block_on(async {
        let mut settle = std::pin::pin!(runtime.clock().settle());
        // While the blocking work waits, this settles never.
        let early = tokio::time::timeout(Duration::from_millis(20), settle.as_mut());
        assert!(early.await.is_err());
        go.send(()).unwrap();
        settle.await;
    });
    assert_eq!(log.lines(), ["blocked", "asked b", "last", "zero"]);
}

#[test]
fn settling_covers_messages_between_runtimes() {
    let clock = Clock::paused();
    // Sockets of the OS may take their time, which nobody here would know of.
    let network = SimNetwork::new(1, &clock);
    network.set_faults(Faults {
        delay: Duration::ZERO..=Duration::ZERO,
        ..Faults::default()
    });
    let config = |port| RuntimeConfig {
        port,
        clock: clock.clone(),
        transport: network.transport(loopback().ip),
        ..loopback()
    };
    let (near, far) = (start(config(1)), start(config(2)));
    let (a, _) = record(&near, "a");
    let (b, log) = record(&far, "b");
    let to = b.upid().clone();
    for n in 0..20 {
        let to = to.clone();
        a.dispatch(move |_, ctx| ctx.send_raw(&to, "note", Bytes::from(n.to_string())));
        block_on(clock.settle());
        assert_eq!(log.len(), n + 1);
    }
}

#[test]
fn futures_end_with_their_actor() {
    let runtime = start(loopback());
    let (pid, log) = record(&runtime, "a");
    let (tx, rx) = tokio::sync::oneshot::channel::<()>();
    pid.dispatch(move |_, ctx| {
        ctx.spawn(
            async move {
                let _kept = tx;
                std::future::pending::<()>().await;
            },
            |recorder, _, ()| recorder.log.add("no"),
        );
        ctx.terminate();
    });
    assert!(block_on(rx).is_err());
    log.wait_for(&["finalized"]);
}

#[test]
fn delegated_messages_keep_their_sender() {
    let runtime = start(loopback());
    let (front, _) = record(&runtime, "front");
    let (back, log) = record(&runtime, "back");
    let to = back.upid().clone();
    front.dispatch(move |_, ctx| ctx.delegate("other", to));
    let from = Upid::new("sender", runtime.address());
    back.dispatch(|_, ctx| {
        ctx.install_raw("other", |recorder: &mut Recorder, _, from, _| {
            recorder.log.add(format!("from {}", from.id()));
        });
    });
    sync(&back);
    runtime.send(&from, front.upid(), "other", Bytes::new());
    log.wait_for(&["from sender"]);
}

#[test]
fn shutdown_serves_what_is_queued_and_works_from_anywhere() {
    let runtime = start(loopback());
    let (pid, log) = record(&runtime, "a");
    for _ in 0..100 {
        pid.dispatch(|recorder, _| recorder.log.add("queued"));
    }
    runtime.shutdown();
    runtime.shutdown();
    assert_eq!(log.len(), 101);

    let runtime = start(loopback());
    let address = runtime.address();
    let (pid, log) = record(&runtime, "a");
    pid.dispatch(|_, ctx| ctx.runtime().shutdown());
    log.wait_for(&["finalized"]);
    until("the port is closed", || {
        std::net::TcpStream::connect(address).is_err()
    });
}

#[test]
fn a_shutdown_may_come_from_blocking_work_and_does_not_wait_for_it_for_ever() {
    let runtime = start(loopback());
    let (pid, _) = record(&runtime, "a");
    let (back, returned) = std::sync::mpsc::channel();
    pid.dispatch(move |_, ctx| {
        let runtime = ctx.runtime().clone();
        let shutdown = move || {
            runtime.shutdown();
            back.send(()).unwrap();
        };
        ctx.blocking(shutdown, |_, _, ()| {});
    });
    returned.recv_timeout(common::DEADLINE).unwrap();

    let runtime = start(loopback());
    let (pid, _) = record(&runtime, "a");
    let (begun, begins) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    pid.dispatch(move |_, ctx| {
        let stuck = move || {
            begun.send(()).unwrap();
            gone.recv()
        };
        ctx.blocking(stuck, |_, _, _| {});
    });
    begins.recv().unwrap();
    let (back, returned) = std::sync::mpsc::channel();
    let theirs = runtime.clone();
    std::thread::spawn(move || {
        theirs.shutdown();
        back.send(()).unwrap();
    });
    returned.recv_timeout(common::DEADLINE).unwrap();
    go.send(()).unwrap();
}

#[test]
fn a_simulated_shutdown_waits_for_virtual_time() {
    let mut sim = Simulation::new(1);
    let near = sim.start().unwrap();
    let (pid, _) = record(&near, "a");
    // Who connects there waits in vain.
    let nowhere = Upid::new("b", ([10, 9, 9, 9], 5050));
    sim.network().switch_off(nowhere.address().ip());
    pid.dispatch(move |_, ctx| ctx.send_raw(&nowhere, "note", Bytes::new()));
    sim.settle();
    let before = sim.now();
    assert!(sim.stop(near.address()));
    assert_eq!(sim.now() - before, Duration::from_secs(1));
}

#[test]
fn an_occupied_port_is_an_error_that_names_it() {
    let runtime = start(loopback());
    let config = RuntimeConfig {
        port: runtime.address().port(),
        ..loopback()
    };
    let error = libprocess::Runtime::start(config).unwrap_err().to_string();
    let expected = format!(
        "failed to listen on {}: Address already in use",
        runtime.address()
    );
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn addresses_are_advertised() {
    let runtime = start(RuntimeConfig {
        advertise_ip: Some([10, 1, 2, 3].into()),
        advertise_port: Some(99),
        ..loopback()
    });
    assert_eq!(runtime.address().to_string(), "10.1.2.3:99");
    let (pid, log) = record(&runtime, "a");
    assert_eq!(pid.upid().to_string(), "a@10.1.2.3:99");
    // The advertised address is local: no socket is needed.
    runtime.send(&Upid::default(), pid.upid(), "note", Bytes::from("hi"));
    log.wait_for(&[" hi"]);

    let any = start(RuntimeConfig::default());
    assert!(!any.address().ip().is_unspecified());
}

#[test]
fn an_ask_with_a_limit_ends_with_it() {
    let clock = Clock::paused();
    let runtime = start(RuntimeConfig {
        clock: clock.clone(),
        ..loopback()
    });
    let (pid, _) = record(&runtime, "recorder");
    let limit = Duration::from_secs(5);
    assert_eq!(block_on(pid.ask_within(&clock, limit, |_, _| 7)), Ok(7));

    let (free, busy) = std::sync::mpsc::channel::<()>();
    pid.dispatch(move |_, _| busy.recv().unwrap());
    let slow = pid.ask_within(&clock, limit, |recorder, _| recorder.log.add("late"));
    let advance = async {
        while clock.next_deadline().is_none() {
            tokio::task::yield_now().await;
        }
        clock.advance(limit);
    };
    let (answer, ()) = block_on(async { tokio::join!(slow, advance) });
    assert_eq!(answer, Err(AskError::TimedOut(limit)));

    free.send(()).unwrap();
    assert_eq!(block_on(pid.ask(|recorder, _| recorder.log.len())), Ok(1));
    pid.terminate();
    let gone = block_on(pid.ask_within(&clock, limit, |_, _| ()));
    assert_eq!(gone, Err(AskError::Gone(Gone)));
}

#[test]
fn a_deferred_call_is_a_later_turn_even_from_within() {
    let runtime = start(loopback());
    let (pid, log) = record(&runtime, "recorder");
    let note = pid.defer(|recorder, _, line: &'static str| recorder.log.add(line));
    pid.dispatch(move |recorder, _| {
        note("deferred first");
        note("deferred second");
        recorder.log.add("the turn itself");
    });
    log.wait_for(&["the turn itself", "deferred first", "deferred second"]);
}

#[test]
fn periodic_turns_keep_their_times_until_they_are_cancelled() {
    let config = paused();
    let clock = config.clock.clone();
    let runtime = start(config);
    let (pid, log) = record(&runtime, "recorder");
    let periodic = block_on(pid.ask(|_, ctx| {
        let start = ctx.now();
        ctx.every(Duration::from_secs(10), move |recorder, ctx| {
            let after = ctx.now().duration_since(start).as_secs();
            recorder.log.add(after.to_string());
        })
    }))
    .unwrap();
    for seconds in [9, 1, 10, 35, 4, 1, 10] {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        pid.dispatch(move |_, _| gone.recv().unwrap());
        clock.advance(Duration::from_secs(seconds));
        go.send(()).unwrap();
        block_on(clock.settle());
    }
    // At 55 s the time of 30, 40 and 50 s is made up for once; the series goes on as if nothing had been.
    assert_eq!(log.lines(), ["10", "20", "55", "60", "70"]);
    clock.advance(Duration::from_secs(10));
    periodic.cancel();
    block_on(clock.settle());
    let lines = log.len();
    clock.advance(Duration::from_secs(100));
    block_on(clock.settle());
    assert_eq!(log.len(), lines);
    assert_eq!(clock.next_deadline(), None);
}

#[test]
fn a_series_goes_on_when_a_turn_is_dropped() {
    let config = paused();
    let clock = config.clock.clone();
    let runtime = start(config);
    let (pid, log) = record(&runtime, "recorder");
    let second = Duration::from_secs(1);
    pid.dispatch(move |_, ctx| {
        ctx.every(second, |recorder, _| recorder.log.add("turn"));
    });
    block_on(clock.settle());
    let beat = || {
        clock.advance(second);
        block_on(clock.settle());
        log.len()
    };
    let events = Events::of(&runtime);
    assert_eq!(beat(), 1);
    let dropped = events.drop_next(any());
    assert_eq!(beat(), 1);
    assert!(dropped.get().is_some());
    assert_eq!(beat(), 2);
    let all = events.drop_all(any());
    assert_eq!((beat(), beat(), all.count()), (2, 2, 2));
    drop(all);
    let held = events.hold(any());
    assert_eq!(beat(), 2);
    assert!(held.discard(0));
    drop(held);
    block_on(clock.settle());
    assert_eq!(beat(), 3);
    pid.terminate();
    block_on(runtime.wait(pid.upid()));
    assert_eq!(clock.next_deadline(), None);
}

#[test]
fn an_unmanaged_process_comes_back_unless_it_panicked() {
    let runtime = start(loopback());
    let log = Log::default();
    let unmanaged = |id: &str| {
        let recorder = Recorder { log: log.clone() };
        runtime.spawn_unmanaged(id, recorder).unwrap()
    };
    // One that is managed goes with its actor.
    let (pid, kept) = record(&runtime, "managed");
    pid.terminate();
    until("the process is dropped", || kept.handles() == 1);

    let (pid, ended) = unmanaged("a");
    pid.dispatch(|recorder, _| recorder.log.add("served"));
    pid.dispatch(|_, ctx| ctx.pid().terminate_in_turn());
    let recorder = block_on(ended).unwrap();
    assert_eq!(recorder.log.lines(), ["served", "finalized"]);
    assert!(!runtime.contains("a"));

    let (pid, ended) = unmanaged("b");
    pid.dispatch(|_, _| panic!("on purpose"));
    assert!(block_on(ended).is_none());

    struct Unwilling;
    impl Process for Unwilling {
        fn finalize(&mut self, _: &mut Context<Self>) {
            panic!("on purpose");
        }
    }
    let (pid, ended) = runtime.spawn_unmanaged("c", Unwilling).unwrap();
    pid.terminate();
    assert!(block_on(ended).is_none());
}
