//! A day of fifty chatting actors on hosts that crash and a network that fails, under many seeds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libprocess::testing::{
    Break, Crash, Event, Events, Faults, Random, SimNetwork, Simulation, Trace, message, run_seeds,
};
use libprocess::{Context, Instant, Process, Runtime, Upid};
use parking_lot::Mutex;

const HOSTS: u64 = 5;
const ACTORS_PER_HOST: u64 = 10;
const SEEDS: u64 = 100;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How often the test looks after its hosts and breaks something.
const ROUND: Duration = Duration::from_secs(300);

/// The mean pause between two talks of an actor.
const PAUSE: Duration = Duration::from_secs(2000);

/// What an actor does in one talk at most.
const LONGEST_TALK: u64 = 12;

/// The longest pause within a talk.
const BREATH: Duration = Duration::from_secs(2);

/// Every broken connection is noticed after this long: what keep-alive probes take, and the delays.
const NOTICE: Duration = Duration::from_secs(7200 + 9 * 75 + 60);

/// One life of an actor: a number that is never used again.
type Life = u64;

/// A link, from one life to an address.
type Link = (Life, Upid);

/// What really happened, to check what the actors see against.
struct World {
    network: SimNetwork,
    /// True if nothing breaks, so that every message must arrive and no connection is lost.
    calm: bool,
    state: Mutex<State>,
    /// The first thing that an actor saw and should not have seen.
    failure: Mutex<Option<String>>,
}

#[derive(Default)]
struct State {
    lives: u64,
    alive: BTreeMap<Life, Upid>,
    /// Actors that have ended and are to come back.
    vacant: Vec<Upid>,
    talks: BTreeMap<(Life, Upid), Talk>,
    /// With the time by which the exited event must have come, once it must.
    links: BTreeMap<Link, Option<Instant>>,
    sent: u64,
    delivered: u64,
    reordered: u64,
    /// Deliveries between hosts that had to be in order.
    judged: u64,
    exits: u64,
    quiet: bool,
}

/// What one life has sent to one address.
#[derive(Default)]
struct Talk {
    /// For each message, how often the host of the sender had connected to the receiver's before.
    connects: Vec<u64>,
    delivered: BTreeSet<usize>,
}

impl World {
    /// Runs a part of a turn. A panic there would end the actor alone, so it is kept for the test.
    fn watch(&self, turn: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(turn)) {
            let text = panic.downcast_ref::<String>().cloned();
            let mut failure = self.failure.lock();
            failure.get_or_insert(text.unwrap_or_else(|| "an actor panicked".to_owned()));
        }
    }

    fn born(&self, upid: &Upid) -> Life {
        let mut state = self.state.lock();
        state.lives += 1;
        let life = state.lives;
        let alive = state.alive.values().any(|other| other == upid);
        assert!(!alive, "two actors are {upid}");
        state.alive.insert(life, upid.clone());
        life
    }

    fn died(&self, life: Life, now: Instant) {
        let mut state = self.state.lock();
        let upid = state.alive.remove(&life).unwrap();
        state.links.retain(|(linker, _), _| *linker != life);
        // Those that are linked on the same host hear of it at once.
        let State { links, alive, .. } = &mut *state;
        for ((linker, linkee), due) in links {
            if *linkee == upid && alive[linker].address() == upid.address() {
                due.get_or_insert(now);
            }
        }
        state.vacant.push(upid);
    }

    /// A runtime has ended with all its actors.
    fn crashed(&self, address: SocketAddr, now: Instant) {
        let mut state = self.state.lock();
        let State {
            links,
            alive,
            vacant,
            ..
        } = &mut *state;
        vacant.extend(
            alive
                .values()
                .filter(|upid| upid.address() == address)
                .cloned(),
        );
        alive.retain(|_, upid| upid.address() != address);
        links.retain(|(linker, _), _| alive.contains_key(linker));
        for ((_, linkee), due) in links {
            if linkee.address() == address {
                due.get_or_insert(now + NOTICE);
            }
        }
    }

    /// The number of the next message from `life` to `to`.
    fn sends(&self, life: Life, from: &Upid, to: &Upid) -> usize {
        let connects = self.network.connects(from.address().ip(), to.address());
        let mut state = self.state.lock();
        state.sent += 1;
        let talk = state.talks.entry((life, to.clone())).or_default();
        talk.connects.push(connects);
        talk.connects.len() - 1
    }

    fn receives(&self, receiver: Life, to: &Upid, from: &Upid, sender: Life, number: usize) {
        let connects = self.network.connects(from.address().ip(), to.address());
        let mut state = self.state.lock();
        assert!(state.alive.contains_key(&receiver), "{to} has ended");
        let talk = state.talks.get_mut(&(sender, to.clone())).unwrap();
        assert!(talk.delivered.insert(number), "{to} got {number} twice");
        let overtaken = talk.delivered.last().is_some_and(|last| *last > number);
        // No connect between the sending of the earlier and the arrival of the later: both came by one connection.
        let one_way = from.address() == to.address() || talk.connects[number] == connects;
        assert!(
            !overtaken || !one_way,
            "{to} got {number} of {from} too late"
        );
        let followed = talk.delivered.len() > 1;
        let remote = from.address() != to.address();
        state.judged += u64::from(remote && one_way && followed);
        state.reordered += u64::from(overtaken);
        state.delivered += 1;
    }

    fn links(&self, life: Life, to: &Upid, relink: bool) {
        let mut state = self.state.lock();
        let host = state.alive[&life].address();
        if to.address() == host && state.alive[&life] == *to {
            return;
        }
        if relink {
            // All links between the two hosts are those of the new connection now.
            let State { links, alive, .. } = &mut *state;
            for ((linker, linkee), due) in links {
                if linkee.address() == to.address() && alive[linker].address() == host {
                    *due = None;
                }
            }
        }
        state.links.entry((life, to.clone())).or_default();
    }

    fn exits(&self, life: Life, pid: &Upid) {
        let mut state = self.state.lock();
        let linker = state.alive[&life].clone();
        let link = state.links.remove(&(life, pid.clone()));
        assert!(link.is_some(), "{linker} is told of {pid} without a link");
        let local = linker.address() == pid.address();
        assert!(!self.calm || local, "{linker} lost {pid} for no reason");
        state.exits += 1;
    }

    fn check(&self, now: Instant) {
        let failure = self.failure.lock().take();
        assert!(failure.is_none(), "{}", failure.unwrap_or_default());
        let state = self.state.lock();
        for ((linker, linkee), due) in &state.links {
            let overdue = due.is_some_and(|due| due < now);
            assert!(
                !overdue,
                "{} was never told of {linkee}",
                state.alive[linker]
            );
        }
    }
}

/// An actor that talks to others at random.
struct Chatter {
    world: Arc<World>,
    others: Arc<Vec<Upid>>,
    random: Random,
    life: Life,
}

impl Chatter {
    fn spawn(
        world: &Arc<World>,
        others: &Arc<Vec<Upid>>,
        runtime: &Runtime,
        upid: &Upid,
        seed: u64,
    ) {
        let life = world.born(upid);
        let chatter = Chatter {
            world: world.clone(),
            others: others.clone(),
            random: Random::named(seed, &format!("life {life}")),
            life,
        };
        runtime.spawn(upid.id(), chatter).unwrap();
    }

    fn wait(&mut self, ctx: &Context<Self>) {
        let pause = self.random.duration(&(Duration::ZERO..=2 * PAUSE));
        ctx.delay(pause, Self::act);
    }

    fn act(&mut self, ctx: &mut Context<Self>) {
        if self.world.state.lock().quiet {
            return;
        }
        let to = self.random.pick(&self.others).unwrap().clone();
        let steps = self.random.below(LONGEST_TALK);
        let world = self.world.clone();
        world.watch(|| self.talk(ctx, to, steps));
    }

    /// Says something to another actor, or links it, and goes on soon: while the first messages are still under way.
    fn talk(&mut self, ctx: &mut Context<Self>, to: Upid, steps: u64) {
        if steps == 0 {
            return self.wait(ctx);
        }
        match self.random.below(100) {
            0..=64 => self.say(ctx, &to),
            65..=84 => {
                self.world.links(self.life, &to, false);
                ctx.link(&to);
            }
            85..=96 => {
                self.world.links(self.life, &to, true);
                ctx.relink(&to);
            }
            _ if self.world.calm => {}
            _ => return ctx.terminate(),
        }
        let pause = match self.random.chance(0.5) {
            true => Duration::ZERO,
            false => self.random.duration(&(Duration::ZERO..=BREATH)),
        };
        ctx.delay(pause, move |chatter: &mut Self, ctx| {
            let world = chatter.world.clone();
            world.watch(|| chatter.talk(ctx, to, steps - 1));
        });
    }

    fn say(&mut self, ctx: &Context<Self>, to: &Upid) {
        let number = self.world.sends(self.life, ctx.upid(), to);
        let body = format!("{} {number}", self.life);
        ctx.send_raw(to, "say", Bytes::from(body));
    }
}

impl Process for Chatter {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("say", |chatter: &mut Chatter, ctx, from, body| {
            let world = chatter.world.clone();
            world.watch(|| {
                let text = std::str::from_utf8(&body).unwrap();
                let (sender, number) = text.split_once(' ').unwrap();
                let (sender, number) = (sender.parse().unwrap(), number.parse().unwrap());
                world.receives(chatter.life, ctx.upid(), from, sender, number);
            });
        });
        self.wait(ctx);
    }

    fn finalize(&mut self, ctx: &mut Context<Self>) {
        self.world.watch(|| self.world.died(self.life, ctx.now()));
    }

    fn exited(&mut self, pid: &Upid, _: &mut Context<Self>) {
        self.world.watch(|| self.world.exits(self.life, pid));
    }
}

/// One run.
struct Day {
    sim: Simulation,
    world: Arc<World>,
    others: Arc<Vec<Upid>>,
    hosts: Vec<SocketAddr>,
    random: Random,
    /// What the network does all day, apart from what gets worse.
    always: Faults,
}

impl Day {
    fn new(seed: u64, calm: bool) -> Self {
        let mut sim = Simulation::new(seed);
        let hosts: Vec<SocketAddr> = (0..HOSTS).map(|_| sim.start().unwrap().address()).collect();
        let upids = hosts.iter().flat_map(|host| {
            (0..ACTORS_PER_HOST).map(|number| Upid::new(format!("chatter({number})"), *host))
        });
        let others: Arc<Vec<Upid>> = Arc::new(upids.collect());
        let world = Arc::new(World {
            network: sim.network().clone(),
            calm,
            state: Mutex::new(State {
                vacant: others.to_vec(),
                ..State::default()
            }),
            failure: Mutex::default(),
        });
        Self {
            sim,
            world,
            others,
            hosts,
            random: Random::named(seed, "day"),
            always: Faults::default(),
        }
    }

    /// Brings actors back whose hosts are running.
    fn fill_vacancies(&mut self) {
        let vacant = std::mem::take(&mut self.world.state.lock().vacant);
        for upid in vacant {
            match self.sim.runtime(upid.address()) {
                Some(runtime) => {
                    let seed = self.sim.seed();
                    Chatter::spawn(&self.world, &self.others, runtime, &upid, seed);
                }
                None => self.world.state.lock().vacant.push(upid),
            }
        }
    }

    fn host(&mut self) -> SocketAddr {
        *self.random.pick(&self.hosts).unwrap()
    }

    /// Two different hosts.
    fn two(&mut self) -> (SocketAddr, SocketAddr) {
        let one = self.host();
        loop {
            let other = self.host();
            if other != one {
                return (one, other);
            }
        }
    }

    fn worsen(&mut self) {
        let network = self.sim.network().clone();
        let (one, other) = self.two();
        match self.random.below(13) {
            0 => network.set_faults(self.faults()),
            12 => {
                let faults = self.random.chance(0.5).then(|| self.faults());
                network.set_link_faults(one.ip(), other.ip(), faults);
            }
            1 => network.cut(one.ip(), other.ip()),
            2 => {
                let count = self.random.below(HOSTS) as usize;
                let ips: Vec<_> = self.hosts.iter().map(SocketAddr::ip).collect();
                let (some, rest) = ips.split_at(count);
                network.partition(some, rest);
            }
            3..=5 => network.heal_all(),
            6 => {
                let how = *self
                    .random
                    .pick(&[Break::Reset, Break::Truncate, Break::HalfOpen])
                    .unwrap();
                network.break_connections(one.ip(), other.ip(), how);
                self.broken(one, other);
            }
            7 => {
                let how = match self.random.chance(0.5) {
                    true => Crash::Process,
                    false => Crash::Machine,
                };
                if self.sim.crash(one, how) {
                    self.world.crashed(one, self.sim.now());
                }
            }
            8 if self.sim.runtime(one).is_some() => {
                self.sim.stop(one);
                self.world.crashed(one, self.sim.now());
            }
            _ => {
                let down = self
                    .hosts
                    .iter()
                    .find(|host| self.sim.runtime(**host).is_none());
                if let Some(host) = down.copied() {
                    self.sim.restart(host).unwrap();
                }
            }
        }
    }

    /// All links between the two hosts are to be lost.
    fn broken(&self, one: SocketAddr, other: SocketAddr) {
        let due = self.sim.now() + NOTICE;
        let mut state = self.world.state.lock();
        let State { links, alive, .. } = &mut *state;
        for ((linker, linkee), exit) in links {
            let hosts = (alive[linker].address(), linkee.address());
            if hosts == (one, other) || hosts == (other, one) {
                exit.get_or_insert(due);
            }
        }
    }

    fn vary_delay(&mut self) {
        let longest = Duration::from_millis(1 + self.random.below(3000));
        self.sim.network().set_faults(Faults {
            delay: Duration::from_micros(100)..=longest,
            ..self.always.clone()
        });
    }

    fn faults(&mut self) -> Faults {
        let random = &mut self.random;
        let rare = |random: &mut Random| match random.chance(0.5) {
            true => 0.0,
            false => 0.02,
        };
        let longest = Duration::from_millis(1 + random.below(2000));
        Faults {
            delay: Duration::from_micros(100)..=longest,
            reset: rare(random),
            split: 10.0 * rare(random),
            refuse: rare(random),
            twin: rare(random),
            bandwidth: random.chance(0.5).then(|| 1_000 + random.below(10_000)),
            window: match random.chance(0.5) {
                true => self.always.window,
                false => 100 + random.below(1_000) as usize,
            },
            ..self.always.clone()
        }
    }

    fn run(mut self) -> (Trace, Arc<World>) {
        let end = self.sim.now() + DAY;
        while self.sim.now() < end {
            self.fill_vacancies();
            match self.world.calm {
                true => self.vary_delay(),
                false => self.worsen(),
            }
            self.sim.run_for(ROUND);
            self.world.check(self.sim.now());
        }
        self.finish();
        (self.sim.trace(), self.world)
    }

    /// Everything but the first host is lost: none of its links may survive.
    fn finish(&mut self) {
        self.world.state.lock().quiet = true;
        self.sim.network().heal_all();
        self.sim.run_for(Duration::from_secs(60));
        if self.world.calm {
            let state = self.world.state.lock();
            assert_eq!(state.delivered, state.sent, "lost without a reason");
            return;
        }
        for host in self.hosts.clone() {
            if host != self.hosts[0] && self.sim.crash(host, Crash::Machine) {
                self.world.crashed(host, self.sim.now());
            }
        }
        self.sim.run_for(NOTICE);
        self.world.check(self.sim.now() + Duration::from_secs(1));
        let state = self.world.state.lock();
        let host = self.hosts[0];
        let remote = |(_, linkee): &&Link| linkee.address() != host;
        assert_eq!(state.links.keys().find(remote), None);
    }
}

#[test]
fn a_day_of_chatter_under_faults() {
    run_seeds(0..SEEDS, |seed| {
        let (_, world) = Day::new(seed, false).run();
        let state = world.state.lock();
        assert!(state.delivered > 1_000, "{} delivered", state.delivered);
        assert!(state.exits > 100, "{} exits", state.exits);
        assert!(state.judged > 200, "{} judged", state.judged);
    });
}

#[test]
fn nothing_is_lost_when_nothing_breaks() {
    run_seeds(0..5, |seed| {
        let (_, world) = Day::new(seed, true).run();
        assert!(world.state.lock().delivered > 1_000);
    });
}

#[test]
#[should_panic(expected = " twice")]
fn a_message_that_comes_twice_is_noticed() {
    let mut day = Day::new(1, true);
    day.always.replay = 1.0;
    day.run();
}

/// Who sent a message, and which of its messages it is.
fn sender(event: &Event) -> (Upid, String, usize) {
    let text = String::from_utf8(event.body().unwrap().to_vec()).unwrap();
    let (life, number) = text.split_once(' ').unwrap();
    let from = event.from().unwrap().clone();
    (from, life.to_owned(), number.parse().unwrap())
}

#[test]
#[should_panic(expected = " too late")]
fn messages_in_another_order_are_noticed() {
    let mut day = Day::new(1, true);
    day.fill_vacancies();
    let host = day.hosts[0];
    let runtime = day.sim.runtime(host).unwrap();
    let remote = move |event: &Event| event.from().is_some_and(|from| from.address() != host);
    let held = Events::of(runtime).hold(message("say").to("chatter(0)").when(remote));
    let end = day.sim.now() + DAY;
    while day.sim.now() < end && day.sim.step() {
        let senders: Vec<_> = held.events().iter().map(sender).collect();
        let position = |wanted| senders.iter().position(|sender| *sender == wanted);
        let mut pairs = senders.iter().enumerate();
        let pair = pairs.find_map(|(first, (from, life, number))| {
            Some((first, position((from.clone(), life.clone(), number + 1))?))
        });
        if let Some((first, second)) = pair {
            assert!(first < second && held.release(second) && held.release(first));
            day.sim.settle();
            day.world.check(day.sim.now());
        }
    }
}

/// What the test in another process prints before its trace.
const MARK: &str = "the trace is ";

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || Day::new(77, false).run().0;
    let traces = [run(), run()];
    assert_eq!(traces[0], traces[1]);
    println!("{MARK}{:?}", traces[0]);
}

#[test]
fn the_same_seed_is_the_same_run_in_another_process() {
    let run = || {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_same_seed_is_the_same_run", "--nocapture"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.split_once(MARK));
        line.unwrap().1.to_owned()
    };
    let trace = Day::new(77, false).run().0;
    assert_eq!(run(), format!("{trace:?}"));
}
