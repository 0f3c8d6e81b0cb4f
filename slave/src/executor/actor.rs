//! The actor around the command executor.

use std::collections::HashMap;
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libprocess::{Context, Process, Upid};
use mesos::decode::ContextExt;
use mesos::proto::internal as wire;
use mesos::proto::slave::ContainerLaunchInfo;
use nix::sys::signal::Signal;
use tokio::process::Child;
use tracing::{debug, warn};
use uuid::Uuid;

use super::core::{CommandExecutor, Config, Effects, Message, Timer};
use super::environment::ExecutorEnvironment;
use crate::containerizer::{ContainerizerError, Output, PosixLauncher, kill_tree};

/// The actor. It ends the process by sending the exit status to `exit`.
pub(super) struct ExecutorActor {
    core: Option<CommandExecutor>,
    world: World,
    environment: Option<ExecutorEnvironment>,
}

struct World {
    launcher: PosixLauncher,
    timers: HashMap<Timer, libprocess::Timer>,
    exit: Sender<u8>,
}

impl ExecutorActor {
    pub(super) fn new(environment: ExecutorEnvironment, exit: Sender<u8>) -> Self {
        ExecutorActor {
            core: None,
            world: World {
                launcher: environment.launcher.clone(),
                timers: HashMap::new(),
                exit,
            },
            environment: Some(environment),
        }
    }

    fn turn(
        &mut self,
        ctx: &mut Context<Self>,
        event: impl FnOnce(&mut CommandExecutor, &mut dyn Effects),
    ) {
        let world = &mut self.world;
        if let Some(core) = &mut self.core {
            event(core, &mut ActorEffects { ctx, world });
        }
    }
}

impl Process for ExecutorActor {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let Some(environment) = self.environment.take() else {
            return;
        };
        self.core = Some(CommandExecutor::new(Config {
            framework_id: environment.framework_id,
            executor_id: environment.executor_id,
            agent: environment.agent,
            shutdown_grace_period: environment.shutdown_grace_period,
            recovery_timeout: environment.recovery_timeout,
            working_directory: environment.working_directory,
            environment: environment.variables,
            pid: ctx.upid().clone(),
        }));
        install(ctx);
        self.turn(ctx, |core, fx| core.on_start(fx));
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        self.turn(ctx, |core, fx| core.on_agent_exited(pid, fx));
    }
}

fn install(ctx: &mut Context<ExecutorActor>) {
    ctx.handle::<wire::ExecutorRegisteredMessage>(|actor, ctx, _, message| {
        actor.turn(ctx, |core, _| core.on_registered(message));
    });
    ctx.handle::<wire::ExecutorReregisteredMessage>(|actor, ctx, _, message| {
        actor.turn(ctx, |core, fx| core.on_reregistered(message, fx));
    });
    ctx.handle::<wire::ReconnectExecutorMessage>(|actor, ctx, from, _| {
        actor.turn(ctx, |core, fx| core.on_reconnect(from, fx));
    });
    ctx.handle::<wire::RunTaskMessage>(|actor, ctx, _, message| {
        actor.turn(ctx, |core, fx| core.on_run_task(message.task, fx));
    });
    ctx.handle::<wire::KillTaskMessage>(|actor, ctx, _, message| {
        actor.turn(ctx, |core, fx| {
            core.on_kill_task(&message.task_id, message.kill_policy, fx);
        });
    });
    ctx.handle::<wire::StatusUpdateAcknowledgementMessage>(|actor, ctx, _, message| {
        actor.turn(ctx, |core, fx| core.on_acknowledged(&message.uuid, fx));
    });
    ctx.handle::<wire::FrameworkToExecutorMessage>(|_, _, from, _| {
        debug!("Ignoring a message of the framework by way of {from}: a command does not listen");
    });
    ctx.handle::<wire::ShutdownExecutorMessage>(|actor, ctx, _, _| {
        actor.turn(ctx, |core, fx| core.on_shutdown(fx));
    });
}

struct ActorEffects<'a> {
    ctx: &'a mut Context<ExecutorActor>,
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

    fn send(&mut self, agent: &Upid, message: Message) {
        match message {
            Message::Register(message) => self.ctx.send(agent, &message),
            Message::Reregister(message) => self.ctx.send(agent, &message),
            Message::StatusUpdate(message) => self.ctx.send(agent, &*message),
        }
    }

    fn link(&mut self, agent: &Upid, fresh: bool) {
        if fresh {
            self.ctx.relink(agent);
        } else {
            self.ctx.link(agent);
        }
    }

    fn launch(&mut self, launch: ContainerLaunchInfo) {
        let launcher = self.world.launcher.clone();
        // On this actor's own thread, which lives as long as the process: the task dies with the thread that starts it.
        self.ctx.spawn(
            start(launcher, launch),
            |actor, ctx, started| match started {
                Ok((pid, mut child)) => {
                    actor.turn(ctx, |core, fx| core.on_task_launched(Ok(pid), fx));
                    let end = async move { child.wait().await };
                    ctx.spawn(end, |actor, ctx, status| {
                        let status = status
                            .map(std::os::unix::process::ExitStatusExt::into_raw)
                            .map_err(|error| error.to_string());
                        actor.turn(ctx, |core, fx| core.on_task_exited(status, fx));
                    });
                }
                Err(error) => {
                    let error = error.to_string();
                    actor.turn(ctx, |core, fx| core.on_task_launched(Err(error), fx));
                }
            },
        );
    }

    fn kill_tree(&mut self, pid: u32, signal: Signal) {
        let Ok(pid) = i32::try_from(pid) else { return };
        self.ctx.blocking(
            move || kill_tree(pid, signal),
            move |_, _, killed| {
                if let Err(error) = killed {
                    warn!("Failed to send {signal} to the process tree at {pid}: {error}");
                }
            },
        );
    }

    fn start_timer(&mut self, timer: Timer, after: Duration) {
        self.cancel_timer(timer);
        let started = self.ctx.delay(after, move |actor, ctx| {
            actor.world.timers.remove(&timer);
            actor.turn(ctx, |core, fx| core.on_timer(timer, fx));
        });
        self.world.timers.insert(timer, started);
    }

    fn cancel_timer(&mut self, timer: Timer) {
        if let Some(started) = self.world.timers.remove(&timer) {
            started.cancel();
        }
    }

    fn exit(&mut self, status: u8) {
        // Nobody waits any more when the process already ends.
        let _ = self.world.exit.send(status);
    }
}

async fn start(
    launcher: PosixLauncher,
    info: ContainerLaunchInfo,
) -> Result<(u32, Child), ContainerizerError> {
    let prepared = launcher.prepare(Output::inherited(), true)?;
    let pid = prepared.pid().unwrap_or_default();
    let child = prepared.release(&info).await?;
    Ok((pid, child))
}
