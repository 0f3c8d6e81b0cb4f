//! The actor around the allocator: takes facts from the master, decides when to run, and hands out.
//!
//! There is a run over all agents one allocation interval after the end of the one before, and a
//! run over the agents that facts name as soon as the facts that already wait are taken in. So a
//! burst of facts costs one run. Upstream: `initialize` and `generateOffers` of
//! `src/master/allocator/mesos/hierarchical.cpp`.

pub(crate) mod inquiries;

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use futures::future::BoxFuture;
use libprocess::metrics::Timer;
use libprocess::{Context, Counter, Instant, Pid, Process, Runtime, SpawnError};
use mesos::ids::{self, AgentId};
use mesos::proto::offer::Operation;
use mesos::resources::{QuantitiesError, ResourceQuantities};

use crate::actor::{AllocatorClient, MasterProcess};
use crate::allocator::{
    AgentCapabilities, Allocation, Allocator, AllocatorError, FrameworkOptions,
    InverseOfferStatuses, Options, Round,
};
use crate::core::effects::AllocatorCall;
use crate::http;
use inquiries::Inquiries;

pub use inquiries::Unanswered;

/// The id of the actor.
const ALLOCATOR_PROCESS_ID: &str = "allocator";

/// How often the values of the allocator's metrics are shown anew; computing them takes time
/// proportional to the cluster.
const METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// Queues facts for the allocator.
#[derive(Clone)]
pub struct AllocatorHandle {
    pid: Pid<AllocatorProcess>,
}

impl AllocatorHandle {
    /// Starts the allocator. It runs once it knows the master.
    ///
    /// # Errors
    /// The runtime has an allocator already, or is shutting down.
    pub fn spawn(runtime: &Runtime, options: Options) -> Result<Self, SpawnError> {
        let process = AllocatorProcess::new(runtime, options);
        let pid = runtime.spawn(ALLOCATOR_PROCESS_ID, process)?;
        Ok(Self { pid })
    }

    /// Tells the allocator to whom it hands out.
    pub fn set_master(&self, master: Pid<MasterProcess>) {
        self.pid
            .dispatch(move |allocator, _| allocator.master = Some(master));
    }

    /// Reserves, unreserves, creates or destroys on what is available of an agent, for an
    /// operator.
    ///
    /// # Errors
    /// The agent is not known, or the operations do not fit; nothing has changed then. None if the
    /// allocator has ended.
    pub async fn update_available(
        &self,
        agent: AgentId,
        operations: Vec<Operation>,
    ) -> Option<Result<(), AllocatorError>> {
        let update = move |allocator: &mut AllocatorProcess, _: &mut Context<_>| {
            allocator.core.update_available(&agent, &operations)
        };
        self.pid.ask(update).await.ok()
    }
}

impl AllocatorClient for AllocatorHandle {
    fn call(&self, call: AllocatorCall) {
        self.pid
            .dispatch(move |allocator, ctx| allocator.on_call(call, ctx));
    }

    fn inverse_offer_statuses(&self) -> BoxFuture<'static, Option<InverseOfferStatuses>> {
        let statuses = |allocator: &mut AllocatorProcess, _: &mut Context<_>| {
            allocator.core.inverse_offer_statuses()
        };
        let asked = self.pid.ask(statuses);
        Box::pin(async move { asked.await.ok() })
    }
}

/// The allocator actor.
pub struct AllocatorProcess {
    core: Allocator,
    pub(crate) master: Option<Pid<MasterProcess>>,
    /// When a run was asked for that has not begun.
    requested: Option<Instant>,
    inquiries: Inquiries,
    metrics: AllocatorMetrics,
}

struct AllocatorMetrics {
    metrics: libprocess::Metrics,
    runs: Counter,
    run: Timer,
    latency: Timer,
    shown: HashSet<String>,
    shown_at: Option<Instant>,
}

impl AllocatorProcess {
    fn new(runtime: &Runtime, options: Options) -> Self {
        let metrics = runtime.metrics().clone();
        Self {
            core: Allocator::new(options),
            master: None,
            requested: None,
            inquiries: Inquiries::new(&metrics),
            metrics: AllocatorMetrics {
                runs: metrics.counter("allocator/mesos/allocation_runs"),
                run: metrics.timer("allocator/mesos/allocation_run"),
                latency: metrics.timer("allocator/mesos/allocation_run_latency"),
                metrics,
                shown: HashSet::new(),
                shown_at: None,
            },
        }
    }

    fn on_call(&mut self, call: AllocatorCall, ctx: &mut Context<Self>) {
        let now = ctx.now().unix();
        if let Err(error) = apply(&mut self.core, call, now) {
            // Facts about frameworks and agents that were just removed may cross their removal.
            tracing::warn!("The allocator refused a fact: {error}");
        }
        if self.requested.is_none() && self.core.run_requested() {
            self.requested = Some(ctx.now());
            // At the back of the queue, so that facts that wait already take part in the run.
            ctx.pid().dispatch(Self::run_requested);
        }
    }

    fn run_requested(&mut self, ctx: &mut Context<Self>) {
        let Some(requested) = self.requested.take() else {
            return;
        };
        if self.core.run_requested() {
            self.run(requested, Allocator::allocate_requested, ctx);
        }
    }

    /// Runs over all agents, which was due at some time, and again an interval later.
    fn run_all(&mut self, due: Instant, ctx: &mut Context<Self>) {
        self.requested = None;
        self.run(due, Allocator::allocate, ctx);
        self.wait(ctx);
    }

    /// Waits for the next run over all agents.
    fn wait(&mut self, ctx: &Context<Self>) {
        self.metrics.show(&self.core, ctx.now());
        let interval = self.core.options().allocation_interval;
        let due = ctx.now() + interval;
        ctx.delay(interval, move |allocator, ctx| allocator.run_all(due, ctx));
    }

    fn run(
        &mut self,
        requested: Instant,
        allocate: impl FnOnce(&mut Allocator, Duration) -> Round,
        ctx: &Context<Self>,
    ) {
        let Some(master) = &self.master else {
            return;
        };
        let (begun, runs) = (ctx.now(), self.core.runs());
        self.metrics.latency.record(begun.duration_since(requested));
        let round = allocate(&mut self.core, begun.unix());
        if self.core.runs() > runs {
            self.metrics.runs.inc();
            self.metrics.run.record(ctx.now().duration_since(begun));
        }
        if round.offers.is_empty() && round.inverse_offers.is_empty() {
            return;
        }
        master.dispatch(move |master, ctx| {
            master.turn(ctx, |core, fx| {
                for allocation in round.offers {
                    let (framework, offered) = hand_out(allocation);
                    core.on_offer(&framework, offered, fx);
                }
                core.on_inverse_offers(round.inverse_offers, fx);
            });
        });
    }
}

impl Process for AllocatorProcess {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        for name in ["allocator", "allocator/mesos"] {
            let allocator = ctx.pid();
            let name = format!("{name}/event_queue_dispatches");
            let metrics = ctx.runtime().metrics();
            metrics.pull_gauge(name, move || allocator.queued().dispatches as f64);
        }
        self.wait(ctx);
        http::allocator::install(ctx);
    }
}

impl AllocatorMetrics {
    /// Shows the present values, if it is time again, and drops metrics of what is gone.
    fn show(&mut self, core: &Allocator, now: Instant) {
        let recently = self
            .shown_at
            .is_some_and(|last| now.duration_since(last) < METRICS_INTERVAL);
        if recently {
            return;
        }
        self.shown_at = Some(now);
        let mut shown = HashSet::new();
        for (name, value) in core.metrics() {
            self.metrics.push_gauge(name.clone()).set(value);
            shown.insert(name);
        }
        for gone in self.shown.difference(&shown) {
            self.metrics.remove(gone);
        }
        self.shown = shown;
    }
}

/// Tells the allocator a fact.
///
/// # Errors
/// The fact cannot be true as far as the allocator knows.
pub(crate) fn apply(
    core: &mut Allocator,
    call: AllocatorCall,
    now: Duration,
) -> Result<(), AllocatorError> {
    match call {
        AllocatorCall::Recover {
            expected_agents,
            quotas,
        } => core.recover(expected_agents, quotas),
        AllocatorCall::AddFramework {
            id,
            info,
            used,
            active,
            suppressed,
            constraints,
        } => {
            let used = used
                .into_iter()
                .map(|(agent, used)| (agent.as_str().into(), used))
                .collect();
            let options = options_of(suppressed, constraints);
            core.add_framework(id.as_str().into(), &info, &used, active, options)
        }
        AllocatorCall::RemoveFramework(id) => core.remove_framework(&id.as_str().into()),
        AllocatorCall::ActivateFramework(id) => core.activate_framework(&id.as_str().into()),
        AllocatorCall::DeactivateFramework(id) => core.deactivate_framework(&id.as_str().into()),
        AllocatorCall::UpdateFramework {
            id,
            info,
            suppressed,
            constraints,
        } => {
            let options = options_of(suppressed, constraints);
            core.update_framework(&id.as_str().into(), &info, options)
        }
        AllocatorCall::RequestResources {
            framework,
            requests,
        } => core.request_resources(&framework.as_str().into(), &requests),
        AllocatorCall::SuppressOffers { framework, roles } => {
            core.suppress_offers(&framework.as_str().into(), &roles)
        }
        AllocatorCall::ReviveOffers { framework, roles } => {
            core.revive_offers(&framework.as_str().into(), &roles)
        }
        AllocatorCall::Pause => {
            core.pause();
            Ok(())
        }
        AllocatorCall::Resume => {
            core.resume();
            Ok(())
        }
        other => apply_to_agents(core, other, now),
    }
}

fn apply_to_agents(
    core: &mut Allocator,
    call: AllocatorCall,
    now: Duration,
) -> Result<(), AllocatorError> {
    match call {
        AllocatorCall::AddAgent {
            id,
            info,
            capabilities,
            total,
            used,
        } => {
            let used = used
                .into_iter()
                .map(|(framework, used)| (framework.as_str().into(), used))
                .collect();
            let capabilities = AgentCapabilities::of(&capabilities.to_proto());
            core.add_agent(id.as_str().into(), &info, capabilities, total, used)
        }
        AllocatorCall::RemoveAgent(id) => core.remove_agent(&id.as_str().into()),
        AllocatorCall::UpdateAgent {
            id,
            info,
            total,
            capabilities,
        } => {
            let capabilities = capabilities.map(|known| AgentCapabilities::of(&known.to_proto()));
            core.update_agent(&id.as_str().into(), &info, total, capabilities)
        }
        AllocatorCall::ActivateAgent(id) => core.activate_agent(&id.as_str().into()),
        AllocatorCall::DeactivateAgent(id) => core.deactivate_agent(&id.as_str().into()),
        AllocatorCall::AddResourceProvider { agent, total, used } => {
            core.add_resource_provider(&agent, &total, &used)
        }
        AllocatorCall::UpdateUnavailability {
            agent,
            unavailability,
        } => core.update_unavailability(&agent, unavailability),
        AllocatorCall::UpdateInverseOffer {
            agent,
            framework,
            status,
            filters,
        } => core.update_inverse_offer(&agent, &framework, status, filters.as_ref(), now),
        AllocatorCall::UpdateWhitelist(whitelist) => {
            core.update_whitelist(whitelist);
            Ok(())
        }
        AllocatorCall::UpdateQuota { role, quota } => core.update_quota(&role, quota),
        AllocatorCall::UpdateWeights(weights) => {
            let weights = weights.iter();
            core.update_weights(weights.map(|(role, weight)| (role.as_str(), *weight)))
        }
        other => apply_to_resources(core, other, now),
    }
}

fn apply_to_resources(
    core: &mut Allocator,
    call: AllocatorCall,
    now: Duration,
) -> Result<(), AllocatorError> {
    match call {
        AllocatorCall::UpdateAllocation {
            framework,
            agent,
            offered,
            conversions,
        } => core.update_allocation(
            &framework.as_str().into(),
            &agent.as_str().into(),
            &offered,
            &conversions,
        ),
        AllocatorCall::TransitionOfferedToAllocated {
            framework,
            agent,
            resources,
        } => core.transition_offered_to_allocated(
            &framework.as_str().into(),
            &agent.as_str().into(),
            &resources,
        ),
        AllocatorCall::RecoverResources {
            framework,
            agent,
            resources,
            filters,
            allocated,
        } => core.recover_resources(
            &framework.as_str().into(),
            &agent.as_str().into(),
            &resources,
            filters.as_ref(),
            allocated,
            now,
        ),
        // Handled by the caller.
        _ => Ok(()),
    }
}

fn options_of(
    suppressed_roles: BTreeSet<String>,
    constraints: Option<std::sync::Arc<mesos::proto::scheduler::OfferConstraints>>,
) -> FrameworkOptions {
    FrameworkOptions {
        registered: None,
        suppressed_roles,
        offer_constraints: constraints.map(std::sync::Arc::unwrap_or_clone),
    }
}

/// An allocation with the ids of the master.
pub(crate) fn hand_out(
    allocation: Allocation,
) -> (ids::FrameworkId, crate::core::offers::OfferedResources) {
    let framework = ids::FrameworkId::from(allocation.framework.to_string());
    let resources = allocation
        .resources
        .into_iter()
        .map(|(role, agents)| {
            let agents = agents
                .into_iter()
                .map(|(agent, resources)| (ids::AgentId::from(agent.to_string()), resources))
                .collect();
            (role, agents)
        })
        .collect();
    (framework, resources)
}

/// Reads `--min_allocatable_resources`: alternatives separated by `|`.
///
/// # Errors
/// The first alternative that is not a list of amounts.
pub fn parse_minimum(text: &str) -> Result<Vec<ResourceQuantities>, QuantitiesError> {
    text.split('|')
        .filter(|alternative| !alternative.trim().is_empty())
        .map(ResourceQuantities::parse)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use libprocess::{Clock, RuntimeConfig};
    use mesos::proto;
    use mesos::resources::{Reservation, Resources};

    use super::*;
    use crate::allocator::Question;
    use crate::core::capabilities::AgentCapabilities as Known;

    #[tokio::test]
    async fn questions_are_answered_in_the_order_of_facts() {
        let config = RuntimeConfig {
            clock: Clock::paused(),
            ..RuntimeConfig::loopback()
        };
        let runtime = Runtime::start(config).unwrap();
        let options = Options::default();
        let allocator = AllocatorHandle::spawn(&runtime, options).unwrap();
        let agent = ids::AgentId::from("agent");
        allocator.call(AllocatorCall::AddFramework {
            id: ids::FrameworkId::from("f"),
            info: Arc::new(proto::FrameworkInfo::default()),
            used: BTreeMap::new(),
            active: true,
            suppressed: BTreeSet::new(),
            constraints: None,
        });
        allocator.call(AllocatorCall::AddAgent {
            id: agent.clone(),
            info: Arc::new(proto::SlaveInfo::default()),
            capabilities: Known::default(),
            total: Resources::parse("cpus:4", "*").unwrap(),
            used: BTreeMap::new(),
        });
        let reserved = Resources::parse("cpus:3", "*")
            .unwrap()
            .push_reservation(&Reservation::dynamic("web", None));
        let reserve = |resources: Resources| Operation {
            r#type: Some(proto::offer::operation::Type::Reserve.into()),
            reserve: Some(proto::offer::operation::Reserve {
                resources: resources.to_protos(),
                source: vec![],
            }),
            ..Default::default()
        };
        let update =
            |resources| allocator.update_available(agent.clone(), vec![reserve(resources)]);
        assert_eq!(update(reserved.clone()).await, Some(Ok(())));
        assert!(update(reserved).await.unwrap().is_err(), "1 CPU is left");
        allocator.call(AllocatorCall::UpdateWhitelist(Some(BTreeSet::new())));
        let question = Question {
            framework: Some(ids::FrameworkId::from("f")),
            agent: Some(agent.clone()),
            ..Question::default()
        };
        let mut answer = allocator.explain(question).await.unwrap();
        let explanation = answer.frameworks.remove(0);
        let kinds: Vec<&str> = explanation.counts.into_keys().collect();
        assert_eq!(kinds, ["not_whitelisted", "reserved_for"]);
        allocator.call(AllocatorCall::UpdateUnavailability {
            agent: agent.clone(),
            unavailability: Some(proto::Unavailability {
                start: proto::TimeInfo { nanoseconds: 1 },
                duration: None,
            }),
        });
        let statuses = allocator.inverse_offer_statuses().await.unwrap();
        assert!(statuses[&agent].is_empty());
        runtime.shutdown();
        assert_eq!(allocator.inverse_offer_statuses().await, None);
    }
}
