//! The actor around [`SchedulerCore`]: decodes messages, calls the core, performs its effects.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libprocess::{Context, Process, Upid};
use mesos::decode::ContextExt;
use mesos::detector::MasterDetector;
use mesos::proto::internal as messages;
use mesos::proto::scheduler::{Call, Event};
use mesos::proto::{self, FrameworkId, MasterInfo};

use super::core::{Effects, SchedulerCore};
use super::event::SchedulerEvent;
use crate::callbacks::CallbackQueue;
use crate::lifecycle::Lifecycle;
use crate::local;

/// The driver's actor, `scheduler-<uuid>`.
pub(crate) struct SchedulerProcess {
    core: SchedulerCore,
    detector: MasterDetector,
    /// What the detector told last.
    leader: Option<MasterInfo>,
    queue: CallbackQueue<SchedulerEvent>,
    lifecycle: Arc<Lifecycle>,
    pending_calls: Arc<AtomicUsize>,
}

impl SchedulerProcess {
    pub(crate) fn new(
        core: SchedulerCore,
        detector: MasterDetector,
        queue: CallbackQueue<SchedulerEvent>,
        lifecycle: Arc<Lifecycle>,
        pending_calls: Arc<AtomicUsize>,
    ) -> Self {
        SchedulerProcess {
            core,
            detector,
            leader: None,
            queue,
            lifecycle,
            pending_calls,
        }
    }

    /// Runs one function of the core with effects that act through `ctx`.
    pub(crate) fn with_core<R>(
        &mut self,
        ctx: &mut Context<Self>,
        act: impl FnOnce(&mut SchedulerCore, &mut Io<'_>) -> R,
    ) -> R {
        let mut io = Io {
            ctx,
            queue: &self.queue,
            lifecycle: &self.lifecycle,
        };
        act(&mut self.core, &mut io)
    }

    /// Whether news that the master can repeat or take back is to be shed.
    fn is_overloaded(&self, what: &str) -> bool {
        let full = self.queue.is_full();
        if full {
            tracing::warn!("shedding {what}: the scheduler does not keep up with its callbacks");
        }
        full
    }

    fn on_offers(
        &mut self,
        ctx: &mut Context<Self>,
        from: &Upid,
        message: messages::ResourceOffersMessage,
    ) {
        let overloaded = self.is_overloaded("offers");
        self.with_core(ctx, |core, io| {
            if overloaded {
                for offer in message.offers {
                    core.decline_offer(offer.id, proto::Filters::default(), io);
                }
            } else {
                core.on_offers(from, message.offers, &message.pids, io);
            }
        });
    }

    fn on_status_update(
        &mut self,
        ctx: &mut Context<Self>,
        from: &Upid,
        message: messages::StatusUpdateMessage,
    ) {
        // Not acknowledged, so the agent will send it again.
        if !self.is_overloaded("a status update") {
            self.with_core(ctx, |core, io| {
                core.on_status_update(from, message.update, io)
            });
        }
    }

    fn watch_detector(&mut self, ctx: &mut Context<Self>) {
        let detection = self.detector.detect(self.leader.clone());
        ctx.spawn(detection, |process, ctx, detected| match detected {
            Ok(leader) => {
                process.leader.clone_from(&leader);
                process.with_core(ctx, |core, io| core.on_master_detected(leader, io));
                process.watch_detector(ctx);
            }
            Err(error) => {
                let reason = error.to_string();
                process.with_core(ctx, |core, io| core.on_detection_failed(&reason, io));
            }
        });
    }

    fn install_handlers(ctx: &mut Context<Self>) {
        ctx.handle(
            |p: &mut Self, ctx, from, m: messages::FrameworkRegisteredMessage| {
                p.with_core(ctx, |core, io| {
                    core.on_registered(from, m.framework_id, m.master_info, io);
                });
            },
        );
        ctx.handle(
            |p: &mut Self, ctx, from, m: messages::FrameworkReregisteredMessage| {
                p.with_core(ctx, |core, io| {
                    core.on_reregistered(from, m.framework_id, m.master_info, io);
                });
            },
        );
        ctx.handle(|p: &mut Self, ctx, from, m: Event| {
            p.with_core(ctx, |core, io| core.on_event(from, m, io));
        });
        ctx.handle(|p: &mut Self, ctx, from, m| p.on_offers(ctx, from, m));
        ctx.handle(|p: &mut Self, ctx, from, m| p.on_status_update(ctx, from, m));
        ctx.handle(
            |p: &mut Self, ctx, from, m: messages::RescindResourceOfferMessage| {
                p.with_core(ctx, |core, io| core.on_rescind(from, m.offer_id, io));
            },
        );
        ctx.handle(|p: &mut Self, ctx, from, m: messages::LostSlaveMessage| {
            p.with_core(ctx, |core, io| core.on_agent_lost(from, m.slave_id, io));
        });
        ctx.handle(
            |p: &mut Self, ctx, from, m: messages::ExitedExecutorMessage| {
                p.with_core(ctx, |core, io| {
                    core.on_executor_exited(from, m.slave_id, m.executor_id, m.status, io);
                });
            },
        );
        ctx.handle(
            |p: &mut Self, ctx, _from, m: messages::ExecutorToFrameworkMessage| {
                p.with_core(ctx, |core, io| {
                    core.on_framework_message(m.slave_id, m.executor_id, m.data, io);
                });
            },
        );
        ctx.handle(
            |p: &mut Self, ctx, _from, m: messages::FrameworkErrorMessage| {
                p.with_core(ctx, |core, io| core.on_error(m.message, io));
            },
        );
    }
}

/// The metrics of a scheduler driver, of upstream's names.
const QUEUED_MESSAGES: &str = "scheduler/event_queue_messages";
const QUEUED_DISPATCHES: &str = "scheduler/event_queue_dispatches";

impl Process for SchedulerProcess {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        Self::install_handlers(ctx);
        let queue = self.queue.clone();
        let pending_calls = self.pending_calls.clone();
        let metrics = ctx.runtime().metrics();
        metrics.pull_gauge(QUEUED_MESSAGES, move || queue.pending() as f64);
        metrics.pull_gauge(QUEUED_DISPATCHES, move || {
            pending_calls.load(Ordering::Relaxed) as f64
        });
        self.watch_detector(ctx);
    }

    fn finalize(&mut self, ctx: &mut Context<Self>) {
        ctx.runtime().metrics().remove(QUEUED_MESSAGES);
        ctx.runtime().metrics().remove(QUEUED_DISPATCHES);
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        self.with_core(ctx, |core, io| core.on_exited(pid, io));
    }
}

/// The effects of the core, performed.
pub(crate) struct Io<'a> {
    ctx: &'a mut Context<SchedulerProcess>,
    queue: &'a CallbackQueue<SchedulerEvent>,
    lifecycle: &'a Lifecycle,
}

impl Effects for Io<'_> {
    fn send_call(&mut self, master: &Upid, call: Call) {
        self.ctx.send(master, &call);
    }

    fn send_deactivate(&mut self, master: &Upid, framework_id: FrameworkId) {
        let message = messages::DeactivateFrameworkMessage { framework_id };
        self.ctx.send(master, &message);
    }

    fn send_to_agent(&mut self, agent: &Upid, message: messages::FrameworkToExecutorMessage) {
        self.ctx.send(agent, &message);
    }

    fn link(&mut self, master: &Upid) {
        local::warn_if_unreachable(self.ctx.runtime(), master);
        self.ctx.link(master);
    }

    fn retry_registration(&mut self, delay: Duration, attempt: u64) {
        self.ctx.delay(delay, move |process, ctx| {
            process.with_core(ctx, |core, io| core.on_registration_retry(attempt, io));
        });
    }

    fn callback(&mut self, event: SchedulerEvent) {
        let ends = matches!(event, SchedulerEvent::Error(_));
        if let SchedulerEvent::Error(message) = &event {
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

    fn random(&mut self) -> f64 {
        rand::random()
    }

    fn timestamp(&mut self) -> f64 {
        self.ctx.now().as_secs_f64()
    }
}
