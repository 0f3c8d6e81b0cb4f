//! Shares: the worked examples of the DRF paper, and convergence to the weights.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use mesos::proto;
use mesos::resources::Resources;

use super::super::reference::{Policy, Reference};
use super::super::{AgentCapabilities, AgentId, Allocator, FrameworkId, FrameworkOptions, Options};
use super::generate::{agent_id, allocated, framework_id, parse};
use super::world::flatten;

fn info(role: &str) -> proto::FrameworkInfo {
    proto::FrameworkInfo {
        role: Some(role.to_owned()),
        ..Default::default()
    }
}

fn capabilities() -> AgentCapabilities {
    AgentCapabilities {
        multi_role: true,
        hierarchical_role: true,
    }
}

/// What both allocators answer to the same questions.
trait Shares {
    fn set_weight(&mut self, role: &str, weight: f64);
    fn framework(&mut self, id: FrameworkId, role: &str);
    fn agent(&mut self, id: AgentId, total: &str);
    /// Framework, role, agent, resources.
    fn run(&mut self, now: Duration) -> Vec<(FrameworkId, String, AgentId, Resources)>;
    fn recover(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        rest: &Resources,
        forever: bool,
    );
}

fn forever(is_meant: bool) -> Option<proto::Filters> {
    is_meant.then_some(proto::Filters {
        refuse_seconds: Some(1e6),
    })
}

impl Shares for Allocator {
    fn set_weight(&mut self, role: &str, weight: f64) {
        self.update_weights([(role, weight)]).unwrap();
    }

    fn framework(&mut self, id: FrameworkId, role: &str) {
        let (used, options) = (BTreeMap::new(), FrameworkOptions::default());
        self.add_framework(id, &info(role), &used, true, options)
            .unwrap();
    }

    fn agent(&mut self, id: AgentId, total: &str) {
        let (info, total, used) = (Default::default(), parse(total), BTreeMap::new());
        self.add_agent(id, &info, capabilities(), total, used)
            .unwrap();
    }

    fn run(&mut self, now: Duration) -> Vec<(FrameworkId, String, AgentId, Resources)> {
        let (handed_out, _) = flatten(self.allocate(now));
        let offers = handed_out.into_iter();
        offers
            .map(|((f, r, a), bundle)| (f, r, a, bundle))
            .collect()
    }

    fn recover(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        rest: &Resources,
        is_forever: bool,
    ) {
        let filters = forever(is_forever);
        self.recover_resources(
            framework,
            agent,
            rest,
            filters.as_ref(),
            false,
            Duration::ZERO,
        )
        .unwrap();
    }
}

impl Shares for Reference {
    fn set_weight(&mut self, role: &str, weight: f64) {
        self.update_weights(&[(role, weight)]).unwrap();
    }

    fn framework(&mut self, id: FrameworkId, role: &str) {
        let (used, options) = (BTreeMap::new(), FrameworkOptions::default());
        self.add_framework(&id, &info(role), &used, true, &options)
            .unwrap();
    }

    fn agent(&mut self, id: AgentId, total: &str) {
        let (info, total, used) = (Default::default(), parse(total), BTreeMap::new());
        self.add_agent(&id, &info, capabilities(), &total, &used)
            .unwrap();
    }

    fn run(&mut self, now: Duration) -> Vec<(FrameworkId, String, AgentId, Resources)> {
        let (handed_out, _) = self.allocate(now);
        let offers = handed_out.into_iter();
        offers
            .map(|((f, r, a), bundle)| (f, r, a, bundle))
            .collect()
    }

    fn recover(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        rest: &Resources,
        is_forever: bool,
    ) {
        let filters = forever(is_forever);
        self.recover_resources(
            framework,
            agent,
            rest,
            filters.as_ref(),
            false,
            Duration::ZERO,
        )
        .unwrap();
    }
}

fn fair_reference() -> Reference {
    Reference::new(Options::default(), Policy::Drf, Policy::Drf)
}

/// The example of the paper: 9 processors and 18 GB; A runs tasks of 1 processor and 4 GB, B of 3
/// and 1. One task is launched from an offer, the rest comes back; who has no room for another task
/// refuses for good. Returns how many tasks A and B have in the end.
fn tasks_of_the_paper(shares: &mut dyn Shares, weight_of_a: f64) -> [usize; 2] {
    let demands = ["cpus:1;mem:4096", "cpus:3;mem:1024"];
    shares.set_weight("a", weight_of_a);
    for (index, role) in ["a", "b"].into_iter().enumerate() {
        shares.framework(framework_id(index), role);
    }
    shares.agent(agent_id(0), "cpus:9;mem:18432");
    let mut tasks = [0, 0];
    for second in 1..100 {
        let offers = shares.run(Duration::from_secs(second));
        let Some((framework, role, agent, offer)) = offers.into_iter().next() else {
            return tasks;
        };
        let index = usize::from(framework == framework_id(1));
        match offer.checked_sub(&allocated(demands[index], &role)) {
            Some(rest) => {
                tasks[index] += 1;
                shares.recover(&framework, &agent, &rest, false);
            }
            None => shares.recover(&framework, &agent, &offer, true),
        }
    }
    panic!("offers never end")
}

#[test]
fn worked_examples_of_the_paper() {
    for (weight_of_a, expected) in [(1.0, [3, 2]), (3.0, [4, 1]), (0.1, [3, 2])] {
        let mut allocator = Allocator::new(Options::default());
        assert_eq!(tasks_of_the_paper(&mut allocator, weight_of_a), expected);
        let mut reference = fair_reference();
        assert_eq!(tasks_of_the_paper(&mut reference, weight_of_a), expected);
    }
}

/// How many of `agents` equal agents each role gets in one run.
fn agents_by_role(shares: &mut dyn Shares, weights: &[f64], agents: usize) -> Vec<usize> {
    for (index, weight) in weights.iter().enumerate() {
        let role = format!("role{index}");
        shares.set_weight(&role, *weight);
        // The shares of two frameworks in a role are equal.
        for half in 0..2 {
            shares.framework(framework_id(2 * index + half), &role);
        }
    }
    for index in 0..agents {
        shares.agent(agent_id(index), "cpus:1;mem:100");
    }
    let offers = shares.run(Duration::from_secs(1));
    let count = |index| {
        let mine = offers.iter().filter(|offer| offer.0 == framework_id(index));
        mine.count()
    };
    let counts: Vec<usize> = (0..2 * weights.len()).map(count).collect();
    for halves in counts.chunks(2) {
        assert!(halves[0].abs_diff(halves[1]) <= 1, "{counts:?}");
    }
    counts
        .chunks(2)
        .map(|halves| halves[0] + halves[1])
        .collect()
}

/// No role could give an agent to another without falling behind it.
fn check_shares(weights: &[f64], counts: &[usize]) {
    for (weight, count) in weights.iter().zip(counts) {
        for (other_weight, other_count) in weights.iter().zip(counts) {
            let share = count.saturating_sub(1) as f64 / weight;
            let other_share = *other_count as f64 / other_weight;
            assert!(
                share <= other_share * (1.0 + 1e-12),
                "{counts:?} for weights {weights:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(super::config(super::CASES / 10))]

    #[test]
    fn shares_converge_to_the_weights(
        weights in prop::collection::vec(1_u8..20, 1..6),
        agents in 1_usize..150,
    ) {
        let weights: Vec<f64> = weights.into_iter().map(|weight| f64::from(weight) / 4.0).collect();
        let mut allocator = Allocator::new(Options::default());
        let counts = agents_by_role(&mut allocator, &weights, agents);
        prop_assert_eq!(counts.iter().sum::<usize>(), agents);
        check_shares(&weights, &counts);
    }
}

#[test]
fn shares_of_the_reference_converge_to_the_weights() {
    let weights = [1.0, 2.0, 0.5];
    let counts = agents_by_role(&mut fair_reference(), &weights, 21);
    assert_eq!(counts, [6, 12, 3]);
}
