//! Doing what the core asks for.

use std::collections::BTreeSet;
use std::time::Duration;

use libprocess::{Context, Upid};
use mesos::ids::{AgentId, FrameworkId};
use mesos::proto::{self, TaskState};
use uuid::Uuid;

use super::observer::Observer;
use super::{Around, MasterProcess, timestamp};
use crate::core::effects::{
    AllocatorCall, Effects, LinkMode, Outgoing, RegistryContinuation, RegistryOperation, RequestId,
    StreamId, Timer,
};
use crate::core::event::SchedulerEvent;
use crate::core::metrics::{Counter, FrameworkCounter, OperationGauge};
use crate::core::operator_event::OperatorEvent;
use crate::core::time::Timestamp;

/// One turn of the master actor, as the core sees it.
pub struct Turn<'a> {
    pub(super) ctx: &'a mut Context<MasterProcess>,
    pub(super) around: &'a mut Around,
}

impl Effects for Turn<'_> {
    fn now(&self) -> Timestamp {
        timestamp(&self.around.runtime)
    }

    fn new_uuid(&mut self) -> Uuid {
        Uuid::new_v4()
    }

    fn send(&mut self, to: &Upid, message: Outgoing) {
        self.ctx.send_raw(to, &message.name, message.body);
    }

    fn link(&mut self, to: &Upid, mode: LinkMode) {
        match mode {
            LinkMode::Reuse => self.ctx.link(to),
            LinkMode::Reconnect => self.ctx.relink(to),
        }
    }

    fn send_event(&mut self, stream: StreamId, event: &SchedulerEvent) {
        let Some(open) = self.around.streams.get(&stream) else {
            return;
        };
        if let Err(error) = open.send(event) {
            tracing::warn!("Dropping stream {stream}: {error}");
            self.around.broken.push(stream);
        }
    }

    fn close_stream(&mut self, stream: StreamId) {
        self.around.streams.remove(&stream);
        self.around.broken.retain(|broken| *broken != stream);
    }

    fn start_timer(&mut self, timer: Timer, after: Duration) {
        let fired = timer.clone();
        let running = self
            .ctx
            .delay(after, move |master: &mut MasterProcess, ctx| {
                master.around.timers.remove(&fired);
                master.turn(ctx, |core, fx| core.on_timer(fired, fx));
            });
        if let Some(replaced) = self.around.timers.insert(timer, running) {
            replaced.cancel();
        }
    }

    fn cancel_timer(&mut self, timer: &Timer) {
        if let Some(running) = self.around.timers.remove(timer) {
            running.cancel();
        }
    }

    fn apply_registry(&mut self, operation: RegistryOperation, then: RegistryContinuation) {
        let registrar = self.around.registrar.clone();
        let applied = async move { registrar.apply(operation).await };
        self.ctx
            .spawn(applied, move |master, ctx, result| match result {
                Ok(applied) => {
                    master.turn(ctx, |core, fx| core.on_registry_applied(then, applied, fx));
                }
                Err(error) => master.exit(error.to_string(), ctx),
            });
    }

    fn allocator(&mut self, call: AllocatorCall) {
        self.around.allocator.call(call);
    }

    fn observe(&mut self, agent: &AgentId, pid: &Upid) {
        let runtime = &self.around.runtime;
        let observer = Observer::new(agent.clone(), pid.clone(), self.ctx.pid(), self.around.ping);
        match runtime.spawn(runtime.generate_id("slave-observer"), observer) {
            Ok(observer) => {
                if let Some(replaced) = self.around.observers.insert(agent.clone(), observer) {
                    replaced.terminate();
                }
            }
            Err(error) => tracing::error!("Cannot observe agent {agent}: {error}"),
        }
    }

    fn observe_connected(&mut self, agent: &AgentId, connected: bool) {
        if let Some(observer) = self.around.observers.get(agent) {
            observer.dispatch(move |observer, _| observer.set_connected(connected));
        }
    }

    fn unobserve(&mut self, agent: &AgentId) {
        if let Some(observer) = self.around.observers.remove(agent) {
            observer.terminate();
        }
    }

    fn done(&mut self, request: RequestId, applied: bool) {
        self.around.requests.done(request, applied);
    }

    fn publish(&mut self, event: OperatorEvent) {
        self.around.subscribers.send(&event);
    }

    fn has_subscribers(&self) -> bool {
        !self.around.subscribers.is_empty()
    }

    fn count(&mut self, counter: Counter) {
        self.around.metrics.count(counter);
    }

    fn count_task_state(
        &mut self,
        state: TaskState,
        source: proto::task_status::Source,
        reason: proto::task_status::Reason,
    ) {
        self.around.metrics.count_task_state(state, source, reason);
    }

    fn add_framework_metrics(&mut self, id: &FrameworkId, info: &proto::FrameworkInfo) {
        self.around.metrics.add_framework(id, info);
    }

    fn show_suppressed(
        &mut self,
        id: &FrameworkId,
        roles: &BTreeSet<String>,
        suppressed: &BTreeSet<String>,
    ) {
        self.around.metrics.show_suppressed(id, roles, suppressed);
    }

    fn remove_framework_metrics(&mut self, id: &FrameworkId) {
        self.around.metrics.remove_framework(id);
    }

    fn count_framework(&mut self, id: &FrameworkId, counter: FrameworkCounter) {
        self.around.metrics.count_framework(id, counter);
    }

    fn count_operations(
        &mut self,
        r#type: proto::offer::operation::Type,
        gauge: OperationGauge,
        delta: i64,
    ) {
        self.around.metrics.count_operations(r#type, gauge, delta);
    }

    fn exit(&mut self, reason: String) {
        end(self.around, reason, self.ctx);
    }
}

impl MasterProcess {
    /// Ends the master: it relies on its supervisor to start it anew.
    pub(super) fn exit(&mut self, reason: String, ctx: &mut Context<Self>) {
        end(&self.around, reason, ctx);
    }
}

fn end(around: &Around, reason: String, ctx: &Context<MasterProcess>) {
    tracing::error!("{reason}");
    around.exit.send_if_modified(|current| {
        let first = current.is_none();
        if first {
            *current = Some(reason);
        }
        first
    });
    ctx.terminate();
}
