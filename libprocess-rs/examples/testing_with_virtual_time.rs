//! How to test actors under faults on virtual time: minutes take a moment, and a seed repeats a run exactly.
//!
//! Two followers hear the heartbeat of a leader. One that hears nothing for five seconds knows that it is alone.
//!
//!     cargo test -p libprocess --example testing_with_virtual_time
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg_attr(not(test), allow(unused, reason = "all of it is tests"))]

use std::time::Duration;

use libprocess::testing::{Crash, Events, Faults, Simulation, message, run_seeds};
use libprocess::{Context, Instant, Pid, Process, Runtime, Upid};

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

struct Leader(Vec<Upid>);

impl Process for Leader {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.every(SECOND, |Leader(followers), ctx| {
            for follower in followers {
                ctx.send_raw(follower, "beat", "".into());
            }
        });
    }
}

struct Follower {
    heard: Instant,
}

impl Process for Follower {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("beat", |me: &mut Self, ctx, _, _| me.heard = ctx.now());
    }
}

/// The system under test: each actor in a process and on a host of its own, as in production.
fn start(seed: u64) -> (Simulation, [Runtime; 3], [Pid<Follower>; 2]) {
    let mut sim = Simulation::new(seed);
    let hosts = [(); 3].map(|()| sim.start().unwrap());
    let heard = sim.now();
    let spawn = |host: &Runtime| host.spawn("follower", Follower { heard }).unwrap();
    let followers = [spawn(&hosts[1]), spawn(&hosts[2])];
    let upids = followers.iter().map(|follower| follower.upid().clone());
    hosts[0].spawn("leader", Leader(upids.collect())).unwrap();
    (sim, hosts, followers)
}

/// Lets this much virtual time pass, then says which followers are alone.
fn alone_after(time: Duration, sim: &mut Simulation, followers: &[Pid<Follower>; 2]) -> [bool; 2] {
    sim.run_for(time);
    followers.each_ref().map(|follower| {
        let silence = follower.ask(|me, ctx| ctx.now() - me.heard);
        sim.block_on(silence).unwrap() > PATIENCE
    })
}

fn main() {}

#[test]
fn a_partition_leaves_one_follower_alone() {
    let (mut sim, hosts, followers) = start(1);
    let alone_after = |sim: &mut _, seconds| alone_after(seconds * SECOND, sim, &followers);
    assert_eq!(alone_after(&mut sim, 2), [false, false]);
    let ips = hosts.each_ref().map(|host| host.address().ip());
    sim.network().partition(&ips[..2], &ips[2..]);
    assert_eq!(alone_after(&mut sim, 4), [false, false]);
    assert_eq!(alone_after(&mut sim, 600), [false, true]);
    sim.network().heal_all();
    assert_eq!(alone_after(&mut sim, 20), [false, false]);
    sim.crash(hosts[0].address(), Crash::Machine);
    assert_eq!(alone_after(&mut sim, 6), [true, true]);
}

#[test]
fn lost_heartbeats_are_noticed() {
    let (mut sim, hosts, followers) = start(1);
    let _dropped = Events::of(&hosts[1]).drop_all(message("beat").to("follower"));
    let alone = alone_after(6 * SECOND, &mut sim, &followers);
    assert_eq!(alone, [true, false]);
}

#[test]
fn a_bad_network_is_survived() {
    run_seeds(0..20, |seed| {
        let (mut sim, _, followers) = start(seed);
        sim.network().set_faults(Faults {
            delay: Duration::ZERO..=SECOND,
            reset: 0.1,
            ..Faults::default()
        });
        sim.run_for(60 * SECOND);
        sim.network().set_faults(Faults::default());
        let alone = alone_after(5 * SECOND, &mut sim, &followers);
        assert_eq!(alone, [false, false]);
    });
}
