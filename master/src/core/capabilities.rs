//! What frameworks and agents say they can handle, as flags instead of lists.

use mesos::proto::{self, framework_info, slave_info};

/// Capabilities of a framework.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameworkCapabilities {
    /// Accepts revocable resources.
    pub revocable_resources: bool,
    /// Understands TASK_KILLING.
    pub task_killing_state: bool,
    /// May use agents with GPUs.
    pub gpu_resources: bool,
    /// Accepts shared volumes.
    pub shared_resources: bool,
    /// Understands the states of partitioned tasks.
    pub partition_aware: bool,
    /// Lists its roles in `roles`.
    pub multi_role: bool,
    /// Understands stacks of reservations.
    pub reservation_refinement: bool,
    /// Accepts agents of other regions.
    pub region_aware: bool,
}

impl FrameworkCapabilities {
    /// Reads the capabilities of `info`; unknown ones are ignored.
    #[must_use]
    pub fn of(info: &proto::FrameworkInfo) -> Self {
        use framework_info::capability::Type;
        let mut capabilities = Self::default();
        for capability in &info.capabilities {
            match capability.r#type() {
                Type::RevocableResources => capabilities.revocable_resources = true,
                Type::TaskKillingState => capabilities.task_killing_state = true,
                Type::GpuResources => capabilities.gpu_resources = true,
                Type::SharedResources => capabilities.shared_resources = true,
                Type::PartitionAware => capabilities.partition_aware = true,
                Type::MultiRole => capabilities.multi_role = true,
                Type::ReservationRefinement => capabilities.reservation_refinement = true,
                Type::RegionAware => capabilities.region_aware = true,
                Type::Unknown => {}
            }
        }
        capabilities
    }
}

/// Capabilities of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentCapabilities {
    /// Handles frameworks with several roles.
    pub multi_role: bool,
    /// Handles roles with slashes.
    pub hierarchical_role: bool,
    /// Handles stacks of reservations.
    pub reservation_refinement: bool,
    /// Applies operations itself and reports their status.
    pub resource_provider: bool,
    /// Grows and shrinks volumes.
    pub resize_volume: bool,
    /// Reports the status of operations on its own resources.
    pub agent_operation_feedback: bool,
    /// Can be drained.
    pub agent_draining: bool,
    /// Enforces task limits apart from requests.
    pub task_resource_limits: bool,
}

impl AgentCapabilities {
    /// Reads a list of capabilities; unknown ones are ignored.
    #[must_use]
    pub fn of(list: &[slave_info::Capability]) -> Self {
        use slave_info::capability::Type;
        let mut capabilities = Self::default();
        for capability in list {
            match capability.r#type() {
                Type::MultiRole => capabilities.multi_role = true,
                Type::HierarchicalRole => capabilities.hierarchical_role = true,
                Type::ReservationRefinement => capabilities.reservation_refinement = true,
                Type::ResourceProvider => capabilities.resource_provider = true,
                Type::ResizeVolume => capabilities.resize_volume = true,
                Type::AgentOperationFeedback => capabilities.agent_operation_feedback = true,
                Type::AgentDraining => capabilities.agent_draining = true,
                Type::TaskResourceLimits => capabilities.task_resource_limits = true,
                Type::Unknown => {}
            }
        }
        capabilities
    }

    /// The wire form, in the order of the enum's numbers.
    #[must_use]
    pub fn to_proto(self) -> Vec<slave_info::Capability> {
        use slave_info::capability::Type;
        [
            (self.multi_role, Type::MultiRole),
            (self.hierarchical_role, Type::HierarchicalRole),
            (self.reservation_refinement, Type::ReservationRefinement),
            (self.resource_provider, Type::ResourceProvider),
            (self.resize_volume, Type::ResizeVolume),
            (self.agent_operation_feedback, Type::AgentOperationFeedback),
            (self.agent_draining, Type::AgentDraining),
            (self.task_resource_limits, Type::TaskResourceLimits),
        ]
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, capability)| slave_info::Capability {
            r#type: Some(capability as i32),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_capabilities_round_trip() {
        let all: Vec<_> = (1..=8)
            .map(|number| slave_info::Capability {
                r#type: Some(number),
            })
            .collect();
        assert_eq!(AgentCapabilities::of(&all).to_proto(), all);
        let unknown = [slave_info::Capability { r#type: Some(99) }];
        assert_eq!(
            AgentCapabilities::of(&unknown),
            AgentCapabilities::default()
        );
    }
}
