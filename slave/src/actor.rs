//! The agent actor: decodes, lets the core decide, and does what it asks for.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use libprocess::{Context, Process, Upid};
use mesos::detector::{DetectorError, MasterDetector};
use mesos::files::FilesHandle;
use mesos::proto;
use mesos::proto::internal as wire;
use parking_lot::RwLock;
use rand::RngExt;
use tokio::sync::watch;
use tracing::{error, warn};
use uuid::Uuid;

use crate::containerizer::sandbox::create_sandbox;
use crate::containerizer::{Containerizer, ContainerizerError};
use crate::core::{
    Agent, ContainerLaunch, ContainerUpdate, Effects, ExecutorRun, Exit, Master, Message, Snapshot,
    Timer,
};
use crate::http::{self, HttpState};
use mesos::decode::ContextExt;

/// The newest state of the agent, for whoever wants to look.
pub(crate) type Published = Arc<RwLock<Arc<Snapshot>>>;

/// Why the agent has ended, once it has.
pub(crate) type Ended = watch::Sender<Option<Exit>>;

/// The agent actor, `slave(N)`.
pub(crate) struct AgentActor {
    agent: Agent,
    world: World,
    detector: MasterDetector,
    http: Arc<HttpState>,
}

/// What the actor needs to do what the core asks for.
struct World {
    containerizer: Arc<dyn Containerizer>,
    files: FilesHandle,
    timers: HashMap<Timer, libprocess::Timer>,
    /// Sizes that containers took at once; they go back to the core before the turn ends.
    updated: VecDeque<(ContainerUpdate, Result<(), String>)>,
    ended: Ended,
}

impl AgentActor {
    pub(crate) fn new(
        agent: Agent,
        containerizer: Arc<dyn Containerizer>,
        files: FilesHandle,
        detector: MasterDetector,
        http: Arc<HttpState>,
        ended: Ended,
    ) -> Self {
        AgentActor {
            agent,
            world: World {
                containerizer,
                files,
                timers: HashMap::new(),
                updated: VecDeque::new(),
                ended,
            },
            detector,
            http,
        }
    }

    /// Lets the core take an event, does what it asks for, and publishes the new state.
    pub(crate) fn turn(
        &mut self,
        ctx: &mut Context<Self>,
        event: impl FnOnce(&mut Agent, &mut dyn Effects),
    ) {
        let AgentActor {
            agent, world, http, ..
        } = self;
        event(agent, &mut ActorEffects { ctx, world });
        while let Some((update, result)) = world.updated.pop_front() {
            agent.on_container_updated(update, result, &mut ActorEffects { ctx, world });
        }
        *http.published.write() = Arc::new(agent.snapshot());
    }

    /// Waits for the next change of the leading master.
    fn detect(&mut self, previous: Option<proto::MasterInfo>, ctx: &mut Context<Self>) {
        let detected = self.detector.detect(previous);
        ctx.spawn(detected, |actor, ctx, detected| {
            actor.on_detected(detected, ctx)
        });
    }

    fn on_detected(
        &mut self,
        detected: Result<Option<proto::MasterInfo>, DetectorError>,
        ctx: &mut Context<Self>,
    ) {
        match detected {
            Ok(info) => {
                let master = info.clone().and_then(master);
                self.turn(ctx, |agent, fx| agent.on_master_detected(master, fx));
                self.detect(info, ctx);
            }
            Err(error) => {
                error!("{error}");
                let exit = Exit::Failure(error.to_string());
                self.world.ended.send_replace(Some(exit));
            }
        }
    }
}

/// Where a master that was detected listens.
fn master(info: proto::MasterInfo) -> Option<Master> {
    match info.pid().parse() {
        Ok(pid) => Some(Master { pid, info }),
        Err(error) => {
            warn!("Ignoring a master without a usable address: {error}");
            None
        }
    }
}

impl Process for AgentActor {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        install_master(ctx);
        install_tasks(ctx);
        install_executors(ctx);
        http::install(ctx, &self.http);
        self.detect(None, ctx);
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        self.turn(ctx, |agent, fx| agent.on_exited(pid, fx));
    }
}

/// Messages about the agent itself.
fn install_master(ctx: &mut Context<AgentActor>) {
    ctx.handle::<wire::SlaveRegisteredMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| {
            agent.on_slave_registered(from, message, fx)
        });
    });
    ctx.handle::<wire::SlaveReregisteredMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| {
            agent.on_slave_reregistered(from, message, fx)
        });
    });
    ctx.handle::<wire::PingSlaveMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| agent.on_ping(from, message.connected, fx));
    });
    ctx.handle::<wire::ShutdownMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| agent.on_shutdown(from, message, fx));
    });
    ctx.handle::<wire::DrainSlaveMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| agent.on_drain(from, message.config, fx));
    });
    ctx.handle::<wire::CheckpointResourcesMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, _| {
            agent.on_checkpoint_resources(from, &message)
        });
    });
    ctx.handle::<wire::ApplyOperationMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| agent.on_apply_operation(from, message, fx));
    });
    ctx.handle::<wire::ReconcileOperationsMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| {
            agent.on_reconcile_operations(from, message, fx)
        });
    });
    ctx.handle::<wire::AcknowledgeOperationStatusMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, _| {
            agent.on_operation_acknowledged(from, &message.operation_uuid.value);
        });
    });
}

/// Messages about frameworks and tasks, from the master.
fn install_tasks(ctx: &mut Context<AgentActor>) {
    ctx.handle::<wire::RunTaskMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| agent.on_run_task(from, message, fx));
    });
    ctx.handle::<wire::RunTaskGroupMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| agent.on_run_task_group(from, message, fx));
    });
    ctx.handle::<wire::KillTaskMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| agent.on_kill_task(from, message, fx));
    });
    ctx.handle::<wire::ShutdownExecutorMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| {
            agent.on_shutdown_executor(from, &message, fx)
        });
    });
    ctx.handle::<wire::ShutdownFrameworkMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| {
            agent.on_shutdown_framework(from, &message, fx)
        });
    });
    ctx.handle::<wire::UpdateFrameworkMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| {
            agent.on_update_framework(from, message, fx)
        });
    });
    ctx.handle::<wire::StatusUpdateAcknowledgementMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| {
            agent.on_status_update_acknowledgement(from, &message, fx)
        });
    });
    ctx.handle::<wire::FrameworkToExecutorMessage>(|actor, ctx, _, message| {
        actor.turn(ctx, |agent, fx| agent.on_framework_message(message, fx));
    });
}

/// Messages of executors.
fn install_executors(ctx: &mut Context<AgentActor>) {
    ctx.handle::<wire::RegisterExecutorMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| {
            agent.on_register_executor(from, &message, fx)
        });
    });
    ctx.handle::<wire::ReregisterExecutorMessage>(|actor, ctx, from, message| {
        actor.turn(ctx, |agent, fx| {
            agent.on_reregister_executor(from, &message, fx)
        });
    });
    ctx.handle::<wire::StatusUpdateMessage>(|actor, ctx, from, message| {
        let sender = message.pid.as_deref().and_then(|pid| pid.parse().ok());
        let sender: Upid = sender.unwrap_or_else(|| from.clone());
        actor.turn(ctx, |agent, fx| {
            agent.on_status_update(Some(&sender), message.update, fx)
        });
    });
    ctx.handle::<wire::ExecutorToFrameworkMessage>(|actor, ctx, _, message| {
        actor.turn(ctx, |agent, fx| agent.on_executor_message(message, fx));
    });
}

struct ActorEffects<'a> {
    ctx: &'a mut Context<AgentActor>,
    world: &'a mut World,
}

impl Effects for ActorEffects<'_> {
    fn now(&self) -> f64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64()
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::new_v4()
    }

    fn jitter(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(rand::rng().random_range(0.0..=1.0))
    }

    fn send(&mut self, to: &Upid, message: Message) {
        self.ctx.send_raw(to, message.name(), message.encode());
    }

    fn link(&mut self, to: &Upid) {
        self.ctx.link(to);
    }

    fn start_timer(&mut self, timer: Timer, after: Duration) {
        self.cancel_timer(&timer);
        let name = timer.clone();
        let started = self.ctx.delay(after, move |actor: &mut AgentActor, ctx| {
            actor.world.timers.remove(&timer);
            actor.turn(ctx, |agent, fx| agent.on_timer(&timer, fx));
        });
        self.world.timers.insert(name, started);
    }

    fn cancel_timer(&mut self, timer: &Timer) {
        if let Some(started) = self.world.timers.remove(timer) {
            started.cancel();
        }
    }

    fn launch_container(&mut self, launch: ContainerLaunch) {
        let run = launch.run.clone();
        let launched = launch_container(self.world.containerizer.clone(), launch);
        // On the runtime's own threads: starting a process takes longer than a turn should.
        let job = self.ctx.runtime().handle().spawn(launched);
        self.ctx.spawn(job, move |actor, ctx, launched| {
            let result = match launched {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            actor.turn(ctx, |agent, fx| {
                agent.on_container_launched(&run, result, fx)
            });
            wait(actor, run, ctx);
        });
    }

    fn update_container(&mut self, update: ContainerUpdate) {
        let id = &update.run.container_id;
        let mut taken = self.world.containerizer.update(id, update.requests.clone());
        let text =
            |result: Result<(), ContainerizerError>| result.map_err(|error| error.to_string());
        match (&mut taken).now_or_never() {
            Some(result) => self.world.updated.push_back((update, text(result))),
            None => self.ctx.spawn(taken, move |actor, ctx, result| {
                let result = text(result);
                actor.turn(ctx, |agent, fx| {
                    agent.on_container_updated(update, result, fx)
                });
            }),
        }
    }

    fn destroy_container(&mut self, run: &ExecutorRun) {
        let destroyed = self.world.containerizer.destroy(&run.container_id);
        let run = run.clone();
        // Its end is told by the wait that began at the launch.
        self.ctx.runtime().handle().spawn(async move {
            if let Err(error) = destroyed.await {
                error!("Failed to destroy the container of executor {run}: {error}");
            }
        });
    }

    fn attach(&mut self, virtual_path: String, path: PathBuf) {
        self.world.files.attach(virtual_path, path);
    }

    fn detach(&mut self, virtual_path: &str) {
        self.world.files.detach(virtual_path);
    }

    fn exit(&mut self, exit: Exit) {
        self.world.ended.send_replace(Some(exit));
    }
}

async fn launch_container(
    containerizer: Arc<dyn Containerizer>,
    launch: ContainerLaunch,
) -> Result<proto::ContainerStatus, ContainerizerError> {
    let ContainerLaunch {
        run,
        config,
        environment,
        sandbox,
        latest,
    } = launch;
    let user = config.user.clone();
    let created =
        tokio::task::spawn_blocking(move || create_sandbox(&sandbox, &latest, user.as_deref()));
    created
        .await
        .map_err(|error| ContainerizerError::Proc(std::io::Error::other(error)))??;
    containerizer
        .launch(run.container_id, config, environment)
        .await
}

/// Tells the core when the container of a run is gone.
fn wait(actor: &AgentActor, run: ExecutorRun, ctx: &mut Context<AgentActor>) {
    let ended = actor.world.containerizer.wait(&run.container_id);
    ctx.spawn(ended, move |actor, ctx, ended| {
        let ended = ended.map_err(|error| error.to_string());
        actor.turn(ctx, |agent, fx| {
            agent.on_container_terminated(&run, ended, fx)
        });
    });
}
