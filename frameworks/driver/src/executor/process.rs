//! The actor around [`ExecutorCore`]: decodes messages, calls the core, performs its effects.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libprocess::{Context, Process, Upid};
use mesos::decode::ContextExt;
use mesos::proto::internal as messages;
use nix::sys::signal::{Signal, killpg};

use super::core::{Effects, ExecutorCore, ExecutorEvent};
use crate::callbacks::CallbackQueue;
use crate::lifecycle::Lifecycle;

/// The driver's actor, `executor(1)`.
pub(crate) struct ExecutorProcess {
    core: ExecutorCore,
    queue: CallbackQueue<ExecutorEvent>,
    lifecycle: Arc<Lifecycle>,
}

impl ExecutorProcess {
    pub(crate) fn new(
        core: ExecutorCore,
        queue: CallbackQueue<ExecutorEvent>,
        lifecycle: Arc<Lifecycle>,
    ) -> Self {
        ExecutorProcess {
            core,
            queue,
            lifecycle,
        }
    }

    /// Runs one function of the core with effects that act through `ctx`.
    pub(crate) fn with_core<R>(
        &mut self,
        ctx: &mut Context<Self>,
        act: impl FnOnce(&mut ExecutorCore, &mut Io<'_>) -> R,
    ) -> R {
        let mut io = Io {
            ctx,
            queue: &self.queue,
            lifecycle: &self.lifecycle,
        };
        act(&mut self.core, &mut io)
    }
}

impl Process for ExecutorProcess {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.handle(
            |p: &mut Self, ctx, _from, m: messages::ExecutorRegisteredMessage| {
                p.with_core(ctx, |core, io| core.on_registered(m, io));
            },
        );
        ctx.handle(
            |p: &mut Self, ctx, _from, m: messages::ExecutorReregisteredMessage| {
                p.with_core(ctx, |core, io| core.on_reregistered(m.slave_info, io));
            },
        );
        ctx.handle(
            |p: &mut Self, ctx, from, m: messages::ReconnectExecutorMessage| {
                p.with_core(ctx, |core, io| core.on_reconnect(from, m.slave_id, io));
            },
        );
        ctx.handle(|p: &mut Self, ctx, _from, m: messages::RunTaskMessage| {
            p.with_core(ctx, |core, io| core.on_run_task(m.task, io));
        });
        ctx.handle(|p: &mut Self, ctx, _from, m: messages::KillTaskMessage| {
            p.with_core(ctx, |core, io| core.on_kill_task(m.task_id, io));
        });
        ctx.handle(
            |p: &mut Self, _ctx, _from, m: messages::StatusUpdateAcknowledgementMessage| {
                p.core.on_acknowledgement(&m.task_id, &m.uuid);
            },
        );
        ctx.handle(
            |p: &mut Self, ctx, _from, m: messages::FrameworkToExecutorMessage| {
                p.with_core(ctx, |core, io| core.on_framework_message(m.data, io));
            },
        );
        ctx.handle(
            |p: &mut Self, ctx, _from, _m: messages::ShutdownExecutorMessage| {
                p.with_core(ctx, |core, io| core.on_shutdown(io));
            },
        );
        self.with_core(ctx, |core, io| core.on_start(io));
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        self.with_core(ctx, |core, io| core.on_exited(pid, io));
    }
}

/// The effects of the core, performed.
pub(crate) struct Io<'a> {
    ctx: &'a mut Context<ExecutorProcess>,
    queue: &'a CallbackQueue<ExecutorEvent>,
    lifecycle: &'a Lifecycle,
}

impl Effects for Io<'_> {
    fn link(&mut self, agent: &Upid, renew: bool) {
        if renew {
            self.ctx.relink(agent);
        } else {
            self.ctx.link(agent);
        }
    }

    fn send_register(&mut self, agent: &Upid, message: messages::RegisterExecutorMessage) {
        self.ctx.send(agent, &message);
    }

    fn send_reregister(&mut self, agent: &Upid, message: messages::ReregisterExecutorMessage) {
        self.ctx.send(agent, &message);
    }

    fn send_update(&mut self, agent: &Upid, update: messages::StatusUpdate) {
        let message = messages::StatusUpdateMessage {
            update,
            pid: Some(self.ctx.upid().to_string()),
        };
        self.ctx.send(agent, &message);
    }

    fn send_framework_message(
        &mut self,
        agent: &Upid,
        message: messages::ExecutorToFrameworkMessage,
    ) {
        self.ctx.send(agent, &message);
    }

    fn start_recovery_timer(&mut self, delay: Duration, connection: u64) {
        self.ctx.delay(delay, move |process, ctx| {
            process.with_core(ctx, |core, io| core.on_recovery_timeout(connection, io));
        });
    }

    fn start_kill_timer(&mut self, grace: Duration) {
        self.ctx.delay(grace, |_process, _ctx| {
            tracing::warn!("the shutdown grace period is over; killing the process group");
            // The executor is in this group too, so nothing runs after success.
            if let Err(error) = killpg(nix::unistd::getpgrp(), Signal::SIGKILL) {
                tracing::error!("failed to kill the process group: {error}");
            }
        });
    }

    fn callback(&mut self, event: ExecutorEvent) {
        let ends = matches!(event, ExecutorEvent::Error(_));
        if let ExecutorEvent::Error(message) = &event {
            self.lifecycle.set_error(message);
        }
        self.queue.push(event);
        if ends {
            self.queue.end();
        }
    }

    fn abort(&mut self) {
        self.lifecycle.abort();
    }

    fn uuid(&mut self) -> Bytes {
        Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes())
    }

    fn timestamp(&mut self) -> f64 {
        self.ctx.now().as_secs_f64()
    }
}
