//! A sorter of one's own: strict priorities, and fair sharing among those of equal priority.
//!
//! The allocator asks a policy for one thing, the rank of a client among its siblings. This one
//! takes the priority of a role from its name (`prod` before everything, `dev` after everything)
//! and leaves the rest to dominant resource fairness.
//!
//! `cargo run -p mesos-master --example custom_sorter`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesos::proto;
use mesos::resources::Resources;
use mesos_master::allocator::{
    AgentCapabilities, Allocator, AllocatorError, Client, Drf, FrameworkOptions, Options, Rank,
    SortPolicy,
};

/// `prod` first, `dev` last.
#[derive(Debug)]
struct Priorities;

impl SortPolicy for Priorities {
    fn rank(&self, client: &Client<'_>) -> Rank {
        let class = match client.path {
            "prod" => 0.0,
            "dev" => 2.0,
            _ => 1.0,
        };
        // A share that is divided by one more than itself stays below 1: it never outweighs the
        // class.
        let share = Drf.rank(client).key;
        Rank {
            key: class + share / (1.0 + share),
            tie: client.hand_outs,
        }
    }
}

fn framework(role: &str) -> proto::FrameworkInfo {
    proto::FrameworkInfo {
        role: Some(role.to_owned()),
        ..Default::default()
    }
}

/// Agents are added one after the other; returns the roles that get them.
fn hand_out(roles: &[&str], agents: usize) -> Result<Vec<String>, AllocatorError> {
    let mut allocator = Allocator::new(Options {
        role_sorter: Arc::new(Priorities),
        ..Options::default()
    });
    for role in roles {
        let (id, options) = ((*role).into(), FrameworkOptions::default());
        allocator.add_framework(id, &framework(role), &BTreeMap::new(), true, options)?;
    }
    let mut served = Vec::new();
    for index in 0..agents {
        let id = format!("agent-{index}").into();
        let total = Resources::parse("cpus:4;mem:4096", "*").unwrap_or_default();
        let capabilities = AgentCapabilities {
            multi_role: true,
            hierarchical_role: true,
        };
        let info = proto::SlaveInfo::default();
        allocator.add_agent(id, &info, capabilities, total, BTreeMap::new())?;
        let round = allocator.allocate(Duration::from_secs(1));
        let roles = round
            .offers
            .into_iter()
            .flat_map(|offer| offer.resources.into_keys());
        served.extend(roles);
    }
    Ok(served)
}

fn main() -> Result<(), AllocatorError> {
    for role in hand_out(&["dev", "prod", "web"], 3)? {
        println!("{role}");
    }
    Ok(())
}

#[test]
fn classes_come_before_shares() {
    let served = |roles: &[&str]| hand_out(roles, 4).expect("valid");
    assert_eq!(served(&["dev", "prod", "web"]), ["prod"; 4]);
    assert_eq!(served(&["dev", "ops", "web"]), ["ops", "web", "ops", "web"]);
    assert_eq!(served(&["dev"]), ["dev"; 4]);
}
