//! Standing for election, following who leads, and reading the registry once elected.
//! Upstream: `contended`, `lostCandidacy`, `detected`, `recover` of `src/master/master.cpp`.

use libprocess::Context;
use mesos::proto;

use super::MasterProcess;
use crate::core::Leadership;
use crate::core::recovery::Detected;

impl MasterProcess {
    /// Enters the election. A candidacy that is lost before this master led is renewed.
    pub(super) fn contend(&mut self, ctx: &mut Context<Self>) {
        let contending = self.around.contender.contend(&self.core.state().info);
        ctx.spawn(contending, |master, ctx, result| match result {
            Ok(candidacy) => {
                let lost = candidacy.lost();
                master.around.candidacy = Some(candidacy);
                ctx.spawn(lost, |master, ctx, result| match result {
                    Ok(()) => master.on_candidacy_lost(ctx),
                    Err(error) => master.exit(error.to_string(), ctx),
                });
            }
            Err(error) => master.exit(error.to_string(), ctx),
        });
    }

    fn on_candidacy_lost(&mut self, ctx: &mut Context<Self>) {
        self.around.candidacy = None;
        if self.leadership() == Leadership::Follower {
            tracing::info!("Lost candidacy as a follower, contending again");
            self.contend(ctx);
        } else {
            self.turn(ctx, |core, fx| core.on_candidacy_lost(fx));
        }
    }

    /// Waits until the leader is another one than `previous`.
    pub(super) fn detect(&mut self, previous: Option<proto::MasterInfo>, ctx: &mut Context<Self>) {
        let detecting = self.around.detector.detect(previous);
        ctx.spawn(detecting, |master, ctx, result| match result {
            Ok(leader) => {
                master.on_detected(leader.clone(), ctx);
                master.detect(leader, ctx);
            }
            Err(error) => master.exit(error.to_string(), ctx),
        });
    }

    fn on_detected(&mut self, leader: Option<proto::MasterInfo>, ctx: &mut Context<Self>) {
        let detected = self.turn(ctx, |core, fx| core.on_leader_detected(leader, fx));
        if detected == Detected::Nothing {
            return;
        }
        let registrar = self.around.registrar.clone();
        let info = self.core.state().info.as_ref().clone();
        let recovering = async move { registrar.recover(info).await };
        ctx.spawn(recovering, |master, ctx, result| match result {
            Ok(registry) => master.turn(ctx, |core, fx| core.on_recovered(registry, fx)),
            Err(error) => master.exit(format!("Recovery failed: {error}"), ctx),
        });
    }
}
