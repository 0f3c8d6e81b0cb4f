//! What the master knows, as the messages of the operator API (in their internal form).

use std::sync::Arc;

use mesos::proto;
use mesos::proto::master::response::{
    self, GetAgents, GetExecutors, GetFrameworks, GetState, GetTasks, get_agents, get_executors,
    get_frameworks,
};

use crate::core::state::{Agent, ClusterState, Executor, Framework};

/// Everything.
#[must_use]
pub fn state(state: &ClusterState) -> GetState {
    GetState {
        get_tasks: Some(tasks(state)),
        get_executors: Some(GetExecutors {
            executors: executors(state).collect(),
            orphan_executors: Vec::new(),
        }),
        get_frameworks: Some(frameworks(state)),
        get_agents: Some(agents(state)),
    }
}

/// All agents.
#[must_use]
pub fn agents(state: &ClusterState) -> GetAgents {
    GetAgents {
        agents: state.agents.values().map(|each| agent(each)).collect(),
        recovered_agents: state
            .recovered_agents
            .values()
            .map(|info| info.as_ref().clone())
            .collect(),
    }
}

/// One agent.
#[must_use]
pub fn agent(agent: &Agent) -> get_agents::Agent {
    let providers = agent.resource_providers.values();
    get_agents::Agent {
        agent_info: agent.info.as_ref().clone(),
        active: agent.active,
        deactivated: Some(agent.deactivated),
        version: agent.version.clone(),
        pid: Some(agent.pid.to_string()),
        registered_time: Some(agent.registered_time.to_proto()),
        reregistered_time: agent.reregistered_time.map(|time| time.to_proto()),
        total_resources: agent.total.to_endpoint_protos(),
        allocated_resources: agent.used_total().to_endpoint_protos(),
        offered_resources: agent.offered.to_endpoint_protos(),
        capabilities: agent.capabilities.to_proto(),
        resource_providers: providers
            .map(|provider| get_agents::agent::ResourceProvider {
                resource_provider_info: provider.info.clone(),
                total_resources: provider.total.to_endpoint_protos(),
            })
            .collect(),
        drain_info: None,
        estimated_drain_start_time: None,
    }
}

/// All frameworks.
#[must_use]
pub fn frameworks(state: &ClusterState) -> GetFrameworks {
    let describe = |framework: &Arc<Framework>| {
        let offers: Vec<_> = framework
            .offers
            .iter()
            .filter_map(|id| state.offers.get(id))
            .map(|offer| offer.info.clone())
            .collect();
        let inverse_offers = framework.inverse_offers.iter();
        get_frameworks::Framework {
            inverse_offers: inverse_offers
                .filter_map(|id| state.inverse_offers.get(id))
                .map(|offer| offer.info.clone())
                .collect(),
            ..self::framework(framework, &offers)
        }
    };
    GetFrameworks {
        frameworks: state.frameworks.values().map(describe).collect(),
        completed_frameworks: state.completed_frameworks.values().map(describe).collect(),
        recovered_frameworks: Vec::new(),
    }
}

/// One framework.
#[must_use]
pub fn framework(framework: &Framework, offers: &[proto::Offer]) -> get_frameworks::Framework {
    let constraints = framework.offer_constraints.as_deref();
    get_frameworks::Framework {
        framework_info: framework.info.as_ref().clone(),
        active: framework.active,
        connected: framework.connected(),
        recovered: framework.recovered(),
        registered_time: Some(framework.registered_time.to_proto()),
        reregistered_time: Some(framework.reregistered_time.to_proto()),
        unregistered_time: framework.unregistered_time.map(|time| time.to_proto()),
        offers: offers.to_vec(),
        inverse_offers: Vec::new(),
        allocated_resources: framework.used_total().to_endpoint_protos(),
        offered_resources: framework.offered_total().to_endpoint_protos(),
        offer_constraints: Some(constraints.cloned().unwrap_or_default()),
    }
}

/// All executors.
pub fn executors(state: &ClusterState) -> impl Iterator<Item = get_executors::Executor> + '_ {
    state.frameworks.values().flat_map(|framework| {
        framework.executors.iter().flat_map(|(agent, executors)| {
            executors
                .values()
                .map(move |executor: &Arc<Executor>| get_executors::Executor {
                    executor_info: executor.info.clone(),
                    slave_id: agent.into(),
                })
        })
    })
}

/// The three kinds of tasks: live, unreachable, completed.
pub fn tasks_of(state: &ClusterState) -> [Vec<&proto::Task>; 3] {
    let all = || {
        state
            .frameworks
            .values()
            .chain(state.completed_frameworks.values())
    };
    [
        all()
            .flat_map(|framework| framework.tasks.values())
            .map(|task| &task.info)
            .collect(),
        all()
            .flat_map(|framework| framework.unreachable_tasks.values())
            .map(|task| &task.info)
            .collect(),
        all()
            .flat_map(|framework| framework.completed_tasks.iter())
            .map(|task| &task.info)
            .collect(),
    ]
}

/// All tasks.
#[must_use]
pub fn tasks(state: &ClusterState) -> GetTasks {
    let [live, unreachable, completed] = tasks_of(state);
    let owned = |tasks: Vec<&proto::Task>| tasks.into_iter().cloned().collect();
    GetTasks {
        pending_tasks: Vec::new(),
        tasks: owned(live),
        unreachable_tasks: owned(unreachable),
        completed_tasks: owned(completed),
        orphan_tasks: Vec::new(),
    }
}

/// All operations.
#[must_use]
pub fn operations(state: &ClusterState) -> response::GetOperations {
    response::GetOperations {
        operations: state
            .agents
            .values()
            .flat_map(|agent| agent.operations.values())
            .map(|operation| operation.info.clone())
            .collect(),
    }
}

/// Amounts as resources, which GET_ROLES shows for the four well-known names.
#[must_use]
pub fn amounts(quantities: &mesos::resources::ResourceQuantities) -> Vec<proto::Resource> {
    quantities
        .iter()
        .filter(|(name, _)| ["cpus", "mem", "disk", "gpus"].contains(&name.as_str()))
        .map(|(name, amount)| proto::Resource {
            name: name.as_str().to_owned(),
            r#type: proto::value::Type::Scalar as i32,
            scalar: Some(proto::value::Scalar {
                value: amount.to_f64(),
            }),
            ..Default::default()
        })
        .collect()
}
