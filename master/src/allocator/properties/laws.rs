//! What must be true of every run, whatever the algorithm.

use std::collections::BTreeMap;

use mesos::resources::{ResourceQuantities, Resources, Scalar};

use super::super::reference::{HandedOut, counts_for_quota, rules};
use super::super::{AgentId, FrameworkId, Question, Reason};
use super::generate::ROLES;
use super::world::World;

/// What was true before a run.
pub(super) struct Before {
    consumed: BTreeMap<String, ResourceQuantities>,
    available: BTreeMap<AgentId, Resources>,
}

impl Before {
    pub(super) fn new(world: &World) -> Before {
        let (reference, allocator) = (&world.reference, &world.allocator);
        let quotas = reference.quotas.keys();
        Before {
            consumed: quotas
                .map(|role| (role.clone(), reference.consumed(role)))
                .collect(),
            available: allocator
                .agents
                .iter()
                .map(|(_, id, agent)| (id.clone(), agent.available().clone()))
                .collect(),
        }
    }

    /// Checks what a run handed out; `full` tells whether it was over all agents.
    pub(super) fn check(&self, world: &World, handed_out: &HandedOut, full: bool) {
        for ((framework, role, agent), bundle) in handed_out {
            check_bundle(world, framework, role, agent, bundle);
        }
        self.check_conservation(world, handed_out);
        self.check_limits(world, handed_out);
        self.check_headroom(world, handed_out);
        if full && !world.reference.is_paused() {
            check_guarantees(world);
            check_explanations(world);
        }
    }

    /// What was available is handed out or still available.
    fn check_conservation(&self, world: &World, handed_out: &HandedOut) {
        for (_, id, agent) in world.allocator.agents.iter() {
            let given = handed_out.iter().filter(|((_, _, on), _)| on == id);
            let mut given: Resources = given.map(|(_, bundle)| bundle.non_shared()).sum();
            given.unallocate();
            assert_eq!(agent.available() + &given, self.available[id], "{id}");
        }
    }

    /// No role is given more than its limits allow.
    fn check_limits(&self, world: &World, handed_out: &HandedOut) {
        for (role, quota) in &world.reference.quotas {
            let given = given_to(handed_out, role);
            for (name, limit) in quota.limits.iter() {
                let given = given.get(name.as_str());
                let sum = self.consumed[role].get(name.as_str()) + given;
                let kept = given.is_zero() || sum <= limit;
                // What is guaranteed is given even beyond the limit.
                let guaranteed = sum <= quota.guarantees.get(name.as_str());
                assert!(kept || guaranteed, "{role}: {sum} {name} of {limit}");
            }
        }
    }

    /// What guarantees need is left, or else nobody got more than guaranteed. Headroom is a sum that
    /// is not exact while an agent has less than is held of it, or shared volumes are held twice.
    fn check_headroom(&self, world: &World, handed_out: &HandedOut) {
        let is_exact = world.reference.agents.values().all(|agent| {
            let mut resources = agent.total.iter();
            !agent.is_overcommitted() && !resources.any(|resource| resource.is_shared())
        });
        if !is_exact {
            return;
        }
        let required = world.reference.required_headroom();
        let available = world.reference.available_headroom();
        for (name, required) in required.iter() {
            let name = name.as_str();
            if available.get(name) >= required {
                continue;
            }
            let mut given = Scalar::ZERO;
            for bundle in handed_out.values() {
                given += bundle.filter(counts_for_quota).quantities().get(name);
            }
            let mut guaranteed = Scalar::ZERO;
            for (role, quota) in &world.reference.quotas {
                let unsatisfied = (&quota.guarantees - &self.consumed[role]).get(name);
                guaranteed += unsatisfied.min(given_to(handed_out, role).get(name));
            }
            assert!(
                given <= guaranteed,
                "{given} {name} are given where {guaranteed} are guaranteed, {required} more are \
                 needed, and {available:?} is left"
            );
        }
    }
}

/// What counts against the quota of a role, of what it was given.
fn given_to(handed_out: &HandedOut, role: &str) -> ResourceQuantities {
    let mut given = ResourceQuantities::new();
    for ((_, to, _), bundle) in handed_out {
        if to == role {
            given += &bundle.filter(counts_for_quota).quantities();
        }
    }
    given
}

/// Who gets a bundle wants it, and may have it.
fn check_bundle(
    world: &World,
    framework_id: &FrameworkId,
    role: &str,
    agent_id: &AgentId,
    bundle: &Resources,
) {
    let reference = &world.reference;
    let (framework, agent) = (
        &reference.frameworks[framework_id],
        &reference.agents[agent_id],
    );
    let what = format!("{framework_id} in {role} on {agent_id}: {bundle}");
    assert!(framework.wants_offers(role), "{what}");
    assert!(reference.is_offerable(agent_id), "{what}");
    let options = &reference.options;
    assert!(rules::may_see(options, framework, agent, role), "{what}");
    assert!(rules::is_enough(options, framework, role, bundle), "{what}");
    let known_kinds = rules::without_unknown_kinds(&framework.info, bundle);
    assert_eq!(known_kinds, *bundle, "{what}");
    let mut unallocated = bundle.clone();
    unallocated.unallocate();
    assert!(
        !reference.is_filtered(agent_id, role, framework_id, &unallocated),
        "{what}"
    );
    for resource in bundle {
        assert_eq!(resource.allocation_role(), Some(role), "{what}");
        assert!(resource.is_allocatable_to(role), "{what}");
        // Each as often as the agent has it, which is once unless it was created twice.
        let mut of_agent = resource.clone();
        of_agent.unallocate();
        assert!(
            !resource.is_shared() || bundle.count(resource) == agent.total.count(&of_agent),
            "{what}"
        );
    }
}

/// After a run over all agents, a guarantee that is not met cannot be met: no agent has anything
/// left for it that any of its frameworks would take.
fn check_guarantees(world: &World) {
    let reference = &world.reference;
    for (role, quota) in &reference.quotas {
        let unsatisfied = &quota.guarantees - &reference.consumed(role);
        for (agent_id, agent) in &reference.agents {
            if !reference.is_offerable(agent_id) {
                continue;
            }
            for (id, framework) in &reference.frameworks {
                let options = &reference.options;
                let asks =
                    framework.wants_offers(role) && rules::may_see(options, framework, agent, role);
                if !asks {
                    continue;
                }
                let left = agent.available().filter(counts_for_quota);
                let offer = left.shrink_to_quantities(&unsatisfied);
                let wanted = rules::is_enough(options, framework, role, &offer)
                    && !reference.is_filtered(agent_id, role, id, &offer);
                assert!(
                    !wanted,
                    "{role} lacks {unsatisfied}, {id} would take {offer} of {agent_id}"
                );
            }
        }
    }
}

/// After a run over all agents, there is a reason for everyone who is not offered an agent; what
/// the reasons say of frameworks and filters is so.
fn check_explanations(world: &World) {
    let (reference, allocator) = (&world.reference, &world.allocator);
    // One role in each run, to save time.
    let role = ROLES[usize::try_from(allocator.runs).unwrap() % ROLES.len()];
    for (id, framework) in &reference.frameworks {
        let question = Question {
            framework: Some(id.clone()),
            role: Some(role.to_owned()),
            ..Question::default()
        };
        let answer = allocator.explain(&question, world.now).unwrap();
        let [explanation] = answer.frameworks.as_slice() else {
            panic!("{answer}");
        };
        let expected = [
            (!framework.active, Reason::Deactivated),
            (!framework.roles().contains(role), Reason::NotSubscribed),
            (framework.suppressed.contains(role), Reason::Suppressed),
        ];
        let expected = expected.into_iter().filter(|(holds, _)| *holds);
        let expected: Vec<Reason> = expected.map(|(_, reason)| reason).collect();
        assert_eq!(explanation.anywhere, expected, "{id} in {role}");
        assert_eq!(explanation.agents.len(), reference.agents.len());
        for on_agent in &explanation.agents {
            let what = || format!("{id} in {role} on {}: {explanation}", on_agent.agent);
            let agent = &reference.agents[&on_agent.agent];
            assert!(!on_agent.reasons.is_empty(), "{}", what());
            let mut reasons = on_agent.reasons.iter();
            // A shared volume is offered again in the next run; and where resources of one name
            // compete for a limit, the next run may draw others.
            let available = agent.available();
            let may_follow = !expected.is_empty()
                || available.iter().any(|r| r.is_shared())
                || available.names().len() < available.len();
            let is_offerable = reasons.any(|reason| matches!(reason, Reason::Offerable { .. }));
            assert!(may_follow || !is_offerable, "{}", what());
            let has_filter = reference.filters.iter().any(|filter| {
                filter.framework == *id && filter.role == role && filter.agent == on_agent.agent
            });
            let mut reasons = on_agent.reasons.iter();
            let is_filtered = reasons.any(|reason| matches!(reason, Reason::Filtered { .. }));
            assert!(has_filter || !is_filtered, "{}", what());
        }
    }
}
