//! Pings one agent, from an address of its own.
//!
//! Upstream: `SlaveObserver` of `src/master/master.cpp`.

use std::time::Duration;

use libprocess::{Context, Pid, Process, Upid};
use mesos::ids::AgentId;
use mesos::proto::internal;

use super::MasterProcess;

/// When an agent counts as lost.
#[derive(Debug, Clone, Copy)]
pub struct PingSettings {
    /// Interval of pings.
    pub interval: Duration,
    /// Missed pings in a row until the agent is lost.
    pub max_missed: u32,
}

/// The actor that pings one agent.
pub struct Observer {
    agent: AgentId,
    pid: Upid,
    master: Pid<MasterProcess>,
    settings: PingSettings,
    connected: bool,
    awaiting_pong: bool,
    missed: u32,
}

impl Observer {
    /// An observer of `agent`, which listens at `pid` and is connected.
    #[must_use]
    pub fn new(
        agent: AgentId,
        pid: Upid,
        master: Pid<MasterProcess>,
        settings: PingSettings,
    ) -> Self {
        Self {
            agent,
            pid,
            master,
            settings,
            connected: true,
            awaiting_pong: false,
            missed: 0,
        }
    }

    /// Whether the master considers the agent connected; an agent that learns otherwise
    /// re-registers.
    pub fn set_connected(&mut self, connected: bool) {
        self.connected = connected;
    }

    fn ping(&mut self, ctx: &mut Context<Self>) {
        self.awaiting_pong = true;
        let ping = internal::PingSlaveMessage {
            connected: self.connected,
        };
        ctx.send(&self.pid, &ping);
        ctx.delay(self.settings.interval, Self::tick);
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        if self.awaiting_pong {
            self.missed += 1;
            if self.missed >= self.settings.max_missed {
                let agent = self.agent.clone();
                self.master.dispatch(move |master, ctx| {
                    master.turn(ctx, |core, fx| core.on_agent_unresponsive(&agent, fx));
                });
            }
        }
        // Goes on until the master no longer knows the agent: it may answer after all.
        self.ping(ctx);
    }

    fn pong(&mut self) {
        self.awaiting_pong = false;
        if self.missed >= self.settings.max_missed {
            let agent = self.agent.clone();
            self.master.dispatch(move |master, ctx| {
                master.turn(ctx, |core, fx| core.on_agent_responsive(&agent, fx));
            });
        }
        self.missed = 0;
    }
}

impl Process for Observer {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install(|observer: &mut Self, _, _, _: internal::PongSlaveMessage| observer.pong());
        self.ping(ctx);
    }
}
