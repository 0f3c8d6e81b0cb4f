//! Random events: whatever comes in whatever order, the master stays consistent (every step of the
//! world checks that), the allocator finds nothing wrong in what it is told, and nothing panics.

use std::collections::BTreeMap;
use std::time::Duration;

use libprocess::Upid;
use mesos::ids::{AgentId, FrameworkId, OfferId};
use mesos::proto::quota::QuotaConfig;
use mesos::proto::scheduler::{Call, call};
use mesos::proto::value::Scalar;
use mesos::proto::{self, TaskState, WeightInfo, internal};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::allocator::{Allocator, Options};
use crate::allocator_actor::{apply, hand_out};
use crate::core::MasterConfig;
use crate::core::effects::{RequestId, StreamId, Timer};
use crate::core::machines::MaintenanceOperation;
use crate::core::machines::testing::{machine, schedule};
use crate::core::state::Connection;
use crate::core::testing::*;

const SEEDS: u64 = 60;
const STEPS: usize = 400;
const AGENTS: u16 = 4;
const FRAMEWORKS: u16 = 4;

const STATES: [TaskState; 7] = [
    TaskState::TaskStarting,
    TaskState::TaskRunning,
    TaskState::TaskKilling,
    TaskState::TaskFinished,
    TaskState::TaskFailed,
    TaskState::TaskKilled,
    TaskState::TaskGone,
];

struct Chaos {
    world: World,
    rng: StdRng,
    next_task: u32,
    next_stream: u128,
    allocator: Allocator,
    now: Duration,
    /// How many inverse offers were made.
    asked: usize,
    /// Last unacknowledged update of tasks.
    updates: BTreeMap<(FrameworkId, String), (AgentId, uuid::Uuid)>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let config = MasterConfig {
            max_completed_frameworks: 2,
            max_completed_tasks_per_framework: 3,
            max_unreachable_tasks_per_framework: 2,
            offer_timeout: Some(Duration::from_secs(60)),
            ..MasterConfig::default()
        };
        Self {
            world: World::with_config(config),
            rng: StdRng::seed_from_u64(seed),
            next_task: 0,
            next_stream: 1 << 64,
            allocator: Allocator::new(Options {
                seed,
                ..Options::default()
            }),
            now: Duration::ZERO,
            asked: 0,
            updates: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..21) {
            0 => self.register(),
            1 => self.break_link(),
            2 => self.reregister(),
            3 => self.lose(),
            4 => self.unregister(),
            5 => self.subscribe(),
            6 => self.resubscribe(),
            7 => self.close_stream(),
            8 => self.teardown(),
            9 | 10 => self.offer(),
            11 | 12 => self.accept(),
            13 | 14 => self.update(),
            15 => self.acknowledge(),
            16 => self.share(),
            17 | 18 => self.maintain(),
            19 => self.answer_inverse_offers(),
            _ => self.other(),
        }
        self.world.drain();
        self.world.fx.published.clear();
        self.tell_allocator();
    }

    /// Tells the allocator what the master wants it to know. It checks that this can be true.
    fn tell_allocator(&mut self) {
        for call in self.world.take_allocator_calls() {
            let text = format!("{call:?}");
            if let Err(error) = apply(&mut self.allocator, call, self.now) {
                panic!("{error}: {text}");
            }
        }
        if let Err(error) = self.allocator.sanity_check() {
            panic!("the allocator is not sane: {error}");
        }
        self.compare_amounts();
    }

    /// Master and allocator agree on what is offered or in use.
    fn compare_amounts(&self) {
        let metrics = self.allocator.metrics();
        for name in ["cpus", "mem"] {
            let amount = |resources: &mesos::resources::Resources| {
                resources
                    .get_scalar(name)
                    .map_or(0.0, |amount| amount.to_f64())
            };
            let agents = self.world.master.state().agents.values();
            let held: f64 = agents
                .map(|agent| amount(&agent.used_total()) + amount(&agent.offered))
                .sum();
            let key = format!("allocator/mesos/resources/{name}/offered_or_allocated");
            let known = metrics.get(&key).copied().unwrap_or(0.0);
            assert!(
                (held - known).abs() < 0.001,
                "{name}: {held} held, {known} known"
            );
        }
    }

    fn some_agent(&mut self) -> Option<(AgentId, Upid)> {
        let agents: Vec<_> = self.world.master.state().agents.values().cloned().collect();
        let agent = agents.choose(&mut self.rng)?;
        Some((agent.id.clone(), agent.pid.clone()))
    }

    fn some_framework(&mut self) -> Option<FrameworkId> {
        let ids: Vec<_> = self
            .world
            .master
            .state()
            .frameworks
            .keys()
            .cloned()
            .collect();
        ids.choose(&mut self.rng).cloned()
    }

    fn register(&mut self) {
        let number = self.rng.random_range(1..=AGENTS);
        let message = register_agent(number);
        self.world
            .step(|master, fx| master.on_register_agent(&agent_pid(number), message, fx));
    }

    fn break_link(&mut self) {
        if let Some((_, pid)) = self.some_agent() {
            self.world.step(|master, fx| master.on_exited(&pid, fx));
        }
    }

    /// An agent comes back with some of the tasks it had.
    fn reregister(&mut self) {
        let number = self.rng.random_range(1..=AGENTS);
        let state = self.world.master.state();
        let mut known: Vec<AgentId> = state.agents.keys().cloned().collect();
        known.extend(state.unreachable_agents.keys().cloned());
        known.push("stranger".into());
        let Some(id) = known.choose(&mut self.rng).cloned() else {
            return;
        };
        let mut message = reregister_agent(number, &id);
        let state = self.world.master.snapshot();
        for framework in state
            .frameworks
            .values()
            .chain(state.completed_frameworks.values())
        {
            message.frameworks.push(framework.info.as_ref().clone());
            for task in framework
                .tasks
                .values()
                .chain(framework.unreachable_tasks.values())
            {
                if task.agent_id == id && self.rng.random_bool(0.7) {
                    message.tasks.push(task.info.clone());
                    if let Some(executor) = framework
                        .executors
                        .get(&id)
                        .and_then(|executors| executors.values().next())
                        && message.executor_infos.is_empty()
                    {
                        message.executor_infos.push(executor.info.clone());
                    }
                }
            }
        }
        self.world
            .step(|master, fx| master.on_reregister_agent(&agent_pid(number), message, fx));
    }

    /// An operator changes the quota or the weight of the role of all frameworks.
    fn share(&mut self) {
        let request = RequestId(self.world.fx.done.len() as u64);
        let mut cpus = |max: u32| {
            let value = f64::from(self.rng.random_range(0..=max));
            BTreeMap::from([("cpus".to_owned(), Scalar { value })])
        };
        let config = QuotaConfig {
            role: "*".to_owned(),
            guarantees: cpus(4),
            limits: cpus(16),
        };
        let weight = WeightInfo {
            role: Some("*".to_owned()),
            weight: self.rng.random_range(1..4).into(),
        };
        match self.rng.random_range(0..3) {
            0 => drop(
                self.world
                    .step(|master, fx| master.on_update_weights(&[weight], request, fx)),
            ),
            1 => drop(
                self.world
                    .step(|master, fx| master.on_remove_quota("*", request, fx)),
            ),
            _ => {
                let force = self.rng.random_bool(0.5);
                drop(
                    self.world
                        .step(|master, fx| master.on_update_quota(&[config], force, request, fx)),
                );
            }
        }
    }

    fn lose(&mut self) {
        if let Some((id, _)) = self.some_agent() {
            self.world
                .step(|master, fx| master.on_agent_unresponsive(&id, fx));
        }
    }

    fn unregister(&mut self) {
        if let Some((id, pid)) = self.some_agent() {
            self.world
                .step(|master, fx| master.on_unregister_agent(&pid, &id, fx));
        }
    }

    fn connection(&mut self) -> Connection {
        if self.rng.random_bool(0.5) {
            Connection::Pid(driver_pid(self.rng.random_range(1..=FRAMEWORKS)))
        } else {
            self.next_stream += 1;
            Connection::Http(StreamId(uuid::Uuid::from_u128(self.next_stream)))
        }
    }

    fn subscribe(&mut self) {
        if self.world.master.state().frameworks.len() >= usize::from(FRAMEWORKS) {
            return;
        }
        let connection = self.connection();
        let mut framework_info = self.world.framework_info();
        framework_info.checkpoint = Some(self.rng.random_bool(0.5));
        let subscribe = call::Subscribe {
            framework_info,
            ..Default::default()
        };
        self.world
            .step(|master, fx| master.on_subscribe(connection, subscribe, fx));
    }

    fn resubscribe(&mut self) {
        let Some(id) = self.some_framework() else {
            return;
        };
        let connection = self.connection();
        let mut framework_info = self.world.framework_info();
        framework_info.id = Some((&id).into());
        let subscribe = call::Subscribe {
            framework_info,
            force: Some(self.rng.random_bool(0.5)),
            ..Default::default()
        };
        self.world
            .step(|master, fx| master.on_subscribe(connection, subscribe, fx));
    }

    fn close_stream(&mut self) {
        let Some(id) = self.some_framework() else {
            return;
        };
        let framework = &self.world.master.state().frameworks[&id];
        if let Some(stream) = framework.stream() {
            self.world
                .step(|master, fx| master.on_stream_closed(stream, fx));
        } else if let Some(pid) = framework.pid().cloned() {
            self.world.step(|master, fx| master.on_exited(&pid, fx));
        }
    }

    fn teardown(&mut self) {
        if let Some(id) = self.some_framework().filter(|_| self.rng.random_bool(0.3)) {
            self.world.step(|master, fx| master.on_teardown(&id, fx));
        }
    }

    /// The allocator hands out what it has; some of it may be outdated by the time it arrives.
    fn offer(&mut self) {
        self.now += Duration::from_secs(1);
        let round = self.allocator.allocate(self.now);
        self.asked += round.inverse_offers.len();
        self.world
            .step(|master, fx| master.on_inverse_offers(round.inverse_offers, fx));
        for allocation in round.offers {
            let (framework, offered) = hand_out(allocation);
            self.world
                .step(|master, fx| master.on_offer(&framework, offered, fx));
        }
    }

    /// An operator asks for some maintenance; what is not acceptable is refused.
    fn maintain(&mut self) {
        let mut machines: Vec<_> = (1..=AGENTS)
            .map(|number| machine(&format!("agent{number}"), &format!("10.0.0.{number}")))
            .collect();
        machines.retain(|_| self.rng.random_bool(0.5));
        let operation = match self.rng.random_range(0..4) {
            0 => MaintenanceOperation::Start(machines),
            1 => MaintenanceOperation::Stop(machines),
            duration => schedule(&machines, Some(duration)),
        };
        let request = RequestId(self.world.fx.done.len() as u64);
        drop(
            self.world
                .step(|master, fx| master.on_maintain(operation, request, fx)),
        );
    }

    fn answer_inverse_offers(&mut self) {
        let Some(framework) = self.some_framework() else {
            return;
        };
        let offers = &self.world.master.state().inverse_offers;
        let inverse_offer_ids: Vec<proto::OfferId> = offers.keys().map(Into::into).collect();
        let accept = Call {
            r#type: Some(call::Type::AcceptInverseOffers as i32),
            accept_inverse_offers: Some(call::AcceptInverseOffers {
                inverse_offer_ids,
                filters: None,
            }),
            ..Default::default()
        };
        self.world.call(&framework, accept);
    }

    fn accept(&mut self) {
        let offers: Vec<_> = self.world.master.state().offers.values().cloned().collect();
        let Some(offer) = offers.choose(&mut self.rng) else {
            return;
        };
        let id = if self.rng.random_bool(0.8) {
            format!("t{}", self.next_task)
        } else {
            // An id that may be in use.
            "t0".to_owned()
        };
        self.next_task += 1;
        let mut task = if self.rng.random_bool(0.5) {
            task_info(&id, &offer.agent_id, "cpus:0.5;mem:64")
        } else {
            executor_task(&id, &offer.agent_id, "e")
        };
        if self.rng.random_bool(0.1) {
            task.resources.clear();
        }
        let unknown = OfferId::from("unknown");
        let mut ids = vec![&offer.id];
        if self.rng.random_bool(0.1) {
            ids.push(&unknown);
        }
        self.world
            .accept(&offer.framework_id, &ids, vec![launch(vec![task])]);
    }

    fn update(&mut self) {
        let Some(framework) = self.some_framework() else {
            return;
        };
        let tasks: Vec<_> = self.world.master.state().frameworks[&framework]
            .tasks
            .values()
            .cloned()
            .collect();
        let (Some(task), Some(state)) = (tasks.choose(&mut self.rng), STATES.choose(&mut self.rng))
        else {
            return;
        };
        let agent = task.agent_id.clone();
        let pid = self.world.master.state().agents[&agent].pid.clone();
        let uuid = self
            .world
            .report(&framework, &(agent.clone(), pid), task.id.as_str(), *state);
        self.updates
            .insert((framework, task.id.to_string()), (agent, uuid));
    }

    fn acknowledge(&mut self) {
        let Some(((framework, task), (agent, uuid))) = self.updates.pop_first() else {
            return;
        };
        if self
            .world
            .master
            .state()
            .frameworks
            .contains_key(&framework)
        {
            self.world.acknowledge(&framework, &agent, &task, uuid);
        }
    }

    fn other(&mut self) {
        let timers: Vec<_> = self.world.fx.timers.keys().cloned().collect();
        match self.rng.random_range(0..4) {
            0 => {
                if let Some(timer) = timers.choose(&mut self.rng).cloned() {
                    self.world.fire(timer);
                }
            }
            1 => {
                if let Some(framework) = self.some_framework() {
                    self.world.kill(&framework, "t0");
                }
            }
            2 => {
                if let Some(framework) = self.some_framework() {
                    let tasks = [call::reconcile::Task {
                        task_id: task_id("t1"),
                        slave_id: None,
                    }];
                    self.world
                        .step(|master, fx| master.on_reconcile(&framework, &tasks, fx));
                    let decline = Call {
                        r#type: Some(call::Type::Decline as i32),
                        decline: Some(call::Decline {
                            offer_ids: self
                                .world
                                .master
                                .state()
                                .offers
                                .keys()
                                .map(Into::into)
                                .collect(),
                            filters: None,
                        }),
                        ..Default::default()
                    };
                    self.world.call(&framework, decline);
                }
            }
            _ => self.end_executor(),
        }
    }

    fn end_executor(&mut self) {
        let (Some((agent, _)), Some(framework)) = (self.some_agent(), self.some_framework()) else {
            return;
        };
        let message = internal::ExitedExecutorMessage {
            slave_id: (&agent).into(),
            framework_id: (&framework).into(),
            executor_id: mesos::proto::ExecutorId {
                value: "e".to_owned(),
            },
            status: 0,
        };
        self.world
            .step(|master, fx| master.on_exited_executor(&message, fx));
    }
}

#[test]
fn random_events_keep_the_master_sane() {
    let mut asked = 0;
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let mut chaos = Chaos::new(seed);
        for _ in 0..STEPS {
            chaos.step();
        }
        // Once everybody has left, nothing is left.
        let frameworks: Vec<_> = chaos
            .world
            .master
            .state()
            .frameworks
            .keys()
            .cloned()
            .collect();
        for framework in frameworks {
            chaos
                .world
                .step(|master, fx| master.on_teardown(&framework, fx));
        }
        chaos.world.drain();
        chaos.tell_allocator();
        let state = chaos.world.master.state();
        assert!(state.offers.is_empty());
        assert!(state.inverse_offers.is_empty());
        assert!(state.agents.values().all(|agent| agent.used.is_empty()));
        assert_eq!(state.counts.tasks, [0; 14]);
        assert_eq!(state.counts.tasks_unreachable, 0);
        let timers = chaos.world.fx.timers.keys();
        let leftovers: Vec<_> = timers
            .filter(|timer| {
                matches!(
                    timer,
                    Timer::Heartbeat(_)
                        | Timer::OfferTimeout(_)
                        | Timer::InverseOfferTimeout(_)
                        | Timer::FrameworkFailover(_)
                )
            })
            .collect();
        assert!(leftovers.is_empty(), "{leftovers:?}");
        asked += chaos.asked;
    }
    assert!(asked > 0, "nobody was ever asked to leave");
}
