//! Whether the accounts agree with each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mesos::resources::{ResourceQuantities, Resources};
use thiserror::Error;

use super::FrameworkId;
use super::agent::{Agent, Holding};
use super::core::Allocator;
use super::framework::Framework;
use super::quota::Sum;
use super::role_tree::{Holdings, Role};
use super::slots::Key;

/// Two accounts that should agree and do not: a mistake in the allocator.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}: {actual}, but should be {expected}")]
pub struct Inconsistency {
    /// The account.
    pub what: String,
    /// What it says.
    pub actual: String,
    /// What follows from the other accounts.
    pub expected: String,
}

/// Accounts as they follow from what agents say.
#[derive(Default)]
struct Expected {
    total: ResourceQuantities,
    revocable: Sum,
    roles: BTreeMap<Key<Role>, Amounts>,
    /// Amounts, and on how many agents anything is held.
    frameworks: BTreeMap<(Key<Role>, Key<Framework>), (ResourceQuantities, usize)>,
}

/// What a role holds: the role itself, and with the roles below it.
#[derive(Default)]
struct Amounts {
    own: ResourceQuantities,
    held: Holdings,
    reserved: ResourceQuantities,
    allocated: ResourceQuantities,
}

fn expect<T: PartialEq + std::fmt::Debug>(
    what: impl FnOnce() -> String,
    actual: &T,
    expected: &T,
) -> Result<(), Inconsistency> {
    if actual == expected {
        return Ok(());
    }
    Err(Inconsistency {
        what: what(),
        actual: format!("{actual:?}"),
        expected: format!("{expected:?}"),
    })
}

impl Allocator {
    /// Derives all accounts anew from what the agents say, and compares. For tests and the
    /// simulator: the cost grows with the cluster.
    ///
    /// # Errors
    /// The first account that is wrong.
    pub fn sanity_check(&self) -> Result<(), Inconsistency> {
        let mut expected = Expected::default();
        for (_, id, agent) in self.agents.iter() {
            self.check_agent(id.as_str(), agent)?;
            self.add_agent_accounts(agent, &mut expected);
        }
        expect(
            || "total of the cluster".into(),
            &self.total,
            &expected.total,
        )?;
        expect(
            || "available and revocable".into(),
            &self.revocable.amounts(),
            &expected.revocable.amounts(),
        )?;
        for (key, role) in self.roles.iter() {
            self.check_role(key, role, &expected)?;
        }
        self.check_guarantees()?;
        self.check_frameworks(&expected)?;
        self.check_indexes()?;
        self.check_filters()
    }

    fn check_agent(&self, id: &str, agent: &Agent) -> Result<(), Inconsistency> {
        let available = agent.expected_available();
        expect(
            || format!("available of {id}"),
            agent.available(),
            &available,
        )?;
        let mut holdings = agent.holdings().iter();
        let held = holdings
            .all(|holding| !holding.held.is_empty() && holding.held.contains(&holding.in_use()));
        expect(|| format!("what is in use of {id} is held"), &held, &true)
    }

    fn add_agent_accounts(&self, agent: &Agent, expected: &mut Expected) {
        expected.total += &agent.total().quantities();
        agent.count_revocable(&mut expected.revocable);
        for (path, reserved) in agent.total().reservations() {
            for key in self.upwards(&path) {
                expected.roles.entry(key).or_default().reserved += &reserved.quantities();
            }
        }
        let holdings = agent.holdings().iter();
        let held: Resources = holdings.map(|holding| &holding.held).sum();
        for (path, held) in held.allocations() {
            if let Some(key) = self.roles.key(&path) {
                expected.roles.entry(key).or_default().own += &held.quantities();
            }
            let holdings = Holdings::of(&held);
            for key in self.upwards(&path) {
                let role = expected.roles.entry(key).or_default();
                role.held.reserved += &holdings.reserved;
                role.held.unreserved += &holdings.unreserved;
            }
        }
        let holdings = agent.holdings().iter();
        let in_use: Resources = holdings.map(|holding| holding.in_use().into_owned()).sum();
        for (path, allocated) in in_use.allocations() {
            for key in self.upwards(&path) {
                let role = expected.roles.entry(key).or_default();
                role.allocated += &Holdings::of(&allocated).unreserved;
            }
        }
        for Holding {
            framework: id,
            held,
            ..
        } in agent.holdings()
        {
            for (path, held) in held.allocations() {
                if let (Some(role), Some(framework)) =
                    (self.roles.key(&path), self.frameworks.key(id))
                {
                    let account = expected.frameworks.entry((role, framework)).or_default();
                    account.0 += &held.quantities();
                    account.1 += 1;
                }
            }
        }
    }

    /// A role, those above it, and the root.
    fn upwards(&self, path: &str) -> Vec<Key<Role>> {
        std::iter::successors(self.roles.key(path), |key| self.roles.get(*key)?.parent).collect()
    }

    fn check_role(
        &self,
        key: Key<Role>,
        role: &Role,
        expected: &Expected,
    ) -> Result<(), Inconsistency> {
        let path = &role.path;
        let none = Amounts::default();
        let wanted = expected.roles.get(&key).unwrap_or(&none);
        expect(
            || format!("held in role '{path}'"),
            &role.held(),
            &wanted.held,
        )?;
        expect(
            || format!("reserved for role '{path}'"),
            &role.reserved(),
            &wanted.reserved,
        )?;
        expect(
            || format!("allocated in role '{path}'"),
            role.allocated(),
            &wanted.allocated,
        )?;
        let sorted = self.role_sorter.contains(key);
        expect(
            || format!("role '{path}' is sorted"),
            &sorted,
            &(role.frameworks.len() > 0),
        )?;
        if let Some(held) = self.role_sorter.held(key) {
            expect(|| format!("charge of role '{path}'"), held, &wanted.own)?;
        }
        Ok(())
    }

    /// The sum of what roles lack agrees with the roles.
    fn check_guarantees(&self) -> Result<(), Inconsistency> {
        let (mut lacking, mut lacked) = (BTreeSet::new(), Sum::default());
        for (key, role) in self.roles.iter() {
            let account = role.quota.as_ref().filter(|a| !a.unsatisfied.is_empty());
            if let Some(account) = account {
                lacking.insert(key);
                lacked.add(&account.unsatisfied);
            }
        }
        let what = || "roles with less than they are guaranteed".into();
        expect(what, self.roles.lacking(), &lacking)?;
        expect(what, &self.roles.lacked(), &lacked.amounts())
    }

    fn check_frameworks(&self, expected: &Expected) -> Result<(), Inconsistency> {
        for (role_key, role) in self.roles.iter() {
            for (key, id, framework) in self.frameworks.iter() {
                let account = expected.frameworks.get(&(role_key, key));
                let (held, agents) = account.cloned().unwrap_or_default();
                let what = || format!("framework {id} in role '{}'", role.path);
                let holding = role.frameworks.agents(key) as usize;
                expect(what, &holding, &agents)?;
                let tracked = role.frameworks.contains(key);
                let subscribed = framework.roles.contains(&role.path);
                expect(what, &tracked, &(subscribed || agents > 0))?;
                if let Some(charge) = role.frameworks.held(key) {
                    expect(what, charge, &held)?;
                }
            }
        }
        Ok(())
    }

    /// The lists of agents by framework agree with the agents.
    fn check_indexes(&self) -> Result<(), Inconsistency> {
        let minimums = self.frameworks.iter().filter(|(_, _, f)| f.has_minimum());
        expect(
            || "frameworks with a minimum".into(),
            &self.own_minimums,
            &minimums.count(),
        )?;
        let holders = |id: &FrameworkId| {
            let agents = self.agents.iter();
            let holding = agents.filter(|(_, _, agent)| agent.held_by(id).is_some());
            holding.map(|(key, _, _)| key).collect::<BTreeSet<_>>()
        };
        for (_, id, framework) in self.frameworks.iter() {
            let agents = framework.agents.iter().copied().collect::<BTreeSet<_>>();
            expect(
                || format!("agents of framework {id}"),
                &agents,
                &holders(id),
            )?;
        }
        let mut unclaimed = HashMap::<_, BTreeSet<_>>::new();
        for (key, _, agent) in self.agents.iter() {
            for id in agent.unclaimed().keys() {
                unclaimed.entry(id.clone()).or_default().insert(key);
            }
        }
        expect(
            || "agents with frameworks that are not known".into(),
            &self.unclaimed,
            &unclaimed,
        )?;
        let maintained = self
            .agents
            .iter()
            .filter(|(_, _, a)| a.maintenance.is_some());
        let maintained = maintained.map(|(key, _, _)| key).collect::<BTreeSet<_>>();
        expect(
            || "agents that are to be unavailable".into(),
            &self.maintained,
            &maintained,
        )
    }

    fn check_filters(&self) -> Result<(), Inconsistency> {
        let consistent = self.filters.is_consistent();
        expect(|| "filters are consistent".into(), &consistent, &true)?;
        for place in self.filters.places() {
            let role = self.roles.get(place.role);
            let framework = self.frameworks.get(place.framework);
            let alive = self.agents.get(place.agent).is_some()
                && role
                    .zip(framework)
                    .is_some_and(|(role, framework)| framework.roles.contains(&role.path));
            expect(|| format!("filter {place:?} is for someone"), &alive, &true)?;
        }
        Ok(())
    }
}
