//! Clusters and what happens to them, with parameters of upstream's
//! `src/tests/hierarchical_allocator_benchmarks.cpp` and `hierarchical_allocator_tests.cpp`. Shared
//! by the benchmarks, the table and a test that runs all of it in small.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by several programs, none of which uses everything"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesos::proto;
use mesos::resources::Resources;
use mesos_master::allocator::{
    AgentCapabilities, AgentId, Allocation, Allocator, FrameworkId, FrameworkOptions, Options,
    Quota, policy,
};

/// What every agent has.
pub const TOTAL: &str = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]";
/// What frameworks use of every agent.
pub const USED: &str = "cpus:16;mem:2014;disk:1024";
/// How long refusals last that are meant to last.
pub const FOREVER_SECS: f64 = 1e6;

/// A time to begin with.
pub const NOW: Duration = Duration::from_secs(1);

pub fn parse(text: &str) -> Resources {
    Resources::parse(text, "*").expect("a valid text")
}

pub fn framework_id(index: usize) -> FrameworkId {
    FrameworkId::from(format!("framework-{index:05}").as_str())
}

pub fn agent_id(index: usize) -> AgentId {
    AgentId::from(format!("agent-{index:05}").as_str())
}

pub fn framework_info(role: &str) -> proto::FrameworkInfo {
    let multi_role = proto::framework_info::capability::Type::MultiRole;
    proto::FrameworkInfo {
        roles: vec![role.to_owned()],
        capabilities: vec![proto::framework_info::Capability {
            r#type: Some(multi_role.into()),
        }],
        ..Default::default()
    }
}

pub fn add_framework(allocator: &mut Allocator, index: usize, role: &str) {
    let (id, options) = (framework_id(index), FrameworkOptions::default());
    let info = framework_info(role);
    let added = allocator.add_framework(id, &info, &BTreeMap::new(), true, options);
    added.expect("a new framework");
}

/// Adds an agent; `user` uses a part of it in a role.
pub fn add_agent(
    allocator: &mut Allocator,
    index: usize,
    total: &str,
    user: Option<(usize, &str)>,
) {
    let capabilities = AgentCapabilities {
        multi_role: true,
        hierarchical_role: true,
    };
    let used = user.map(|(user, role)| {
        let mut used = parse(USED);
        used.allocate(role);
        (framework_id(user), used)
    });
    let info = proto::SlaveInfo {
        hostname: format!("host-{index}"),
        ..Default::default()
    };
    let used = used.into_iter().collect();
    let added = allocator.add_agent(agent_id(index), &info, capabilities, parse(total), used);
    added.expect("a new agent");
}

/// A cluster before its first round; each framework has its own role.
pub fn cluster(agents: usize, frameworks: usize) -> Allocator {
    let mut allocator = Allocator::new(Options::default());
    add_frameworks(&mut allocator, frameworks);
    for index in 0..agents {
        let user = index % frameworks;
        let role = format!("role-{user}");
        add_agent(&mut allocator, index, TOTAL, Some((user, &role)));
    }
    allocator
}

pub fn add_frameworks(allocator: &mut Allocator, frameworks: usize) {
    for index in 0..frameworks {
        add_framework(allocator, index, &format!("role-{index}"));
    }
}

/// Everything that was handed out comes back.
pub fn decline(allocator: &mut Allocator, offers: &[Allocation], seconds: f64, now: Duration) {
    let filters = proto::Filters {
        refuse_seconds: Some(seconds),
    };
    for allocation in offers {
        for (agent, resources) in allocation.resources.values().flatten() {
            let (framework, filters) = (&allocation.framework, Some(&filters));
            allocator
                .recover_resources(framework, agent, resources, filters, false, now)
                .expect("what was handed out");
        }
    }
}

/// Rounds until every framework has refused every agent for good, or as many as `max`.
pub fn filter_everything(allocator: &mut Allocator, max: usize) {
    for _ in 0..max {
        let offers = allocator.allocate(NOW).offers;
        if offers.is_empty() {
            return;
        }
        decline(allocator, &offers, FOREVER_SECS, NOW);
    }
}

/// The time that something takes.
pub fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let result = work();
    (begun.elapsed(), result)
}

/// The shortest of several times.
pub fn best(times: usize, mut work: impl FnMut()) -> Duration {
    let times = (0..times).map(|_| time(&mut work).0);
    times.min().unwrap_or_default()
}

/// A round in which everything is refused, with the same after one framework's revival.
pub fn all_filtered(agents: usize, frameworks: usize) -> (Duration, Duration) {
    let mut allocator = Allocator::new(Options::default());
    for index in 0..agents {
        add_agent(&mut allocator, index, TOTAL, None);
    }
    // Framework by framework, as what others refuse need not be looked at again.
    for index in 0..frameworks {
        add_framework(&mut allocator, index, &format!("role-{index}"));
        let offers = allocator.allocate(NOW).offers;
        decline(&mut allocator, &offers, FOREVER_SECS, NOW);
        if index == 0 {
            allocator.allocate(NOW);
        }
    }
    assert!(allocator.allocate(NOW).is_empty());
    let quiet = best(5, || assert!(allocator.allocate(NOW).is_empty()));
    let revived = framework_id(0);
    allocator
        .revive_offers(&revived, &BTreeSet::new())
        .expect("known");
    let (one, round) = time(|| allocator.allocate(NOW));
    assert_eq!(round.offers.len(), 1);
    (quiet, one)
}

/// A round in which all agents are offered and declined, after as many rounds as filters per agent
/// are asked for.
pub fn decline_all(agents: usize, frameworks: usize, filters_per_agent: usize) -> Duration {
    let mut allocator = cluster(agents, frameworks);
    filter_everything(&mut allocator, filters_per_agent);
    best(3, || {
        let offers = allocator.allocate(NOW).offers;
        decline(&mut allocator, &offers, FOREVER_SECS, NOW);
    })
}

/// Adding everything, and the first round.
pub fn first_round(agents: usize, frameworks: usize) -> (Duration, Duration) {
    let (add, mut allocator) = time(|| cluster(agents, frameworks));
    let (round, offers) = time(|| allocator.allocate(NOW));
    assert!(!offers.is_empty());
    (add, round)
}

/// Times of a cluster whose roles all have quota.
pub struct QuotaTimes {
    pub add: Duration,
    pub first: Duration,
    pub quiet: Duration,
}

/// Small roles are guaranteed 1 CPU, 1024 MB and 1024 MB of disk, large ones four times as much;
/// agents have 2 CPUs. Upstream: `LargeAndSmallQuota`.
pub fn quota(sorter: &str, small: usize, large: usize, agents: usize) -> QuotaTimes {
    let sorter = policy(sorter).expect("a policy");
    let options = Options {
        role_sorter: Arc::clone(&sorter),
        framework_sorter: sorter,
        ..Options::default()
    };
    let mut allocator = Allocator::new(options);
    let (add, ()) = time(|| {
        for index in 0..small + large {
            let guarantees = if index < small {
                parse("cpus:1;mem:1024;disk:1024")
            } else {
                parse("cpus:4;mem:4096;disk:4096")
            };
            let guarantees = guarantees.quantities();
            let limits = guarantees
                .iter()
                .map(|(name, amount)| (name.clone(), amount));
            let quota = Quota {
                limits: limits.collect(),
                guarantees,
            };
            let role = format!("role-{index}");
            allocator.update_quota(&role, quota).expect("a role");
            add_framework(&mut allocator, index, &role);
        }
        for index in 0..agents {
            add_agent(&mut allocator, index, "cpus:2;mem:2048;disk:2048", None);
        }
    });
    let (first, offers) = time(|| allocator.allocate(NOW));
    assert!(!offers.is_empty());
    let quiet = best(3, || assert!(allocator.allocate(NOW).is_empty()));
    QuotaTimes { add, first, quiet }
}

/// Times of single events.
pub struct EventTimes {
    pub agent_added: Duration,
    pub task_ended: Duration,
    pub declined: Duration,
    pub named_round: Duration,
}

/// Single events in a cluster where everything is handed out, each the mean of several.
pub fn events(agents: usize, frameworks: usize) -> EventTimes {
    const COUNT: usize = 100;
    let mut allocator = cluster(agents, frameworks);
    let offers = allocator.allocate(NOW).offers;
    let count = u32::try_from(COUNT).unwrap_or(1);
    let (agent_added, ()) = time(|| {
        for index in agents..agents + COUNT {
            add_agent(&mut allocator, index, TOTAL, None);
        }
    });
    let (task_ended, ()) = time(|| {
        for index in 0..COUNT.min(agents) {
            let user = index % frameworks;
            let mut task = parse("cpus:1;mem:32");
            task.allocate(format!("role-{user}"));
            allocator
                .recover_resources(
                    &framework_id(user),
                    &agent_id(index),
                    &task,
                    None,
                    true,
                    NOW,
                )
                .expect("held");
        }
    });
    let some: Vec<Allocation> = offers.into_iter().take(COUNT).collect();
    let bundles: usize = some
        .iter()
        .map(|a| a.resources.values().map(BTreeMap::len).sum::<usize>())
        .sum();
    let (declined, ()) = time(|| decline(&mut allocator, &some, 5.0, NOW));
    let (named_round, _) = time(|| allocator.allocate_requested(NOW));
    EventTimes {
        agent_added: agent_added / count,
        task_ended: task_ended / count,
        declined: declined / u32::try_from(bundles.max(1)).unwrap_or(1),
        named_round: named_round / count,
    }
}
