//! Where a task runs: container and network.

use serde::ser::SerializeMap;

use super::{Fields, Labels, array, optional, serialize_as_object};
use crate::json::Embedded;
use crate::proto::{self, network_info};

/// The `container_status` of a task status.
#[derive(Clone, Copy, Debug)]
pub struct ContainerStatus<'a>(pub &'a proto::ContainerStatus);

impl Fields for ContainerStatus<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let status = self.0;
        let container_id = status.container_id.as_ref().map(ContainerId);
        optional(object, "container_id", container_id)?;
        if !status.network_infos.is_empty() {
            let infos = array(|| status.network_infos.iter().map(NetworkInfo));
            object.serialize_entry("network_infos", &infos)?;
        }
        optional(
            object,
            "cgroup_info",
            status.cgroup_info.as_ref().map(Embedded),
        )
    }
}

/// `{"value", "parent"?}`, with the chain of parents.
#[derive(Clone, Copy, Debug)]
pub struct ContainerId<'a>(pub &'a proto::ContainerId);

impl Fields for ContainerId<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        object.serialize_entry("value", &self.0.value)?;
        optional(object, "parent", self.0.parent.as_deref().map(ContainerId))
    }
}

/// A network that a container takes part in.
#[derive(Clone, Copy, Debug)]
pub struct NetworkInfo<'a>(pub &'a proto::NetworkInfo);

impl Fields for NetworkInfo<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let info = self.0;
        if !info.groups.is_empty() {
            object.serialize_entry("groups", &info.groups)?;
        }
        optional(object, "labels", info.labels.as_ref().map(Labels))?;
        if !info.ip_addresses.is_empty() {
            let addresses = array(|| info.ip_addresses.iter().map(IpAddress));
            object.serialize_entry("ip_addresses", &addresses)?;
        }
        optional(object, "name", info.name.as_ref())?;
        if !info.port_mappings.is_empty() {
            let mappings = array(|| info.port_mappings.iter().map(PortMapping));
            object.serialize_entry("port_mappings", &mappings)?;
        }
        Ok(())
    }
}

struct IpAddress<'a>(&'a network_info::IpAddress);

impl Fields for IpAddress<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        object.serialize_entry("protocol", self.0.protocol().as_str_name())?;
        optional(object, "ip_address", self.0.ip_address.as_ref())
    }
}

struct PortMapping<'a>(&'a network_info::PortMapping);

impl Fields for PortMapping<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        object.serialize_entry("host_port", &self.0.host_port)?;
        object.serialize_entry("container_port", &self.0.container_port)?;
        optional(object, "protocol", self.0.protocol.as_ref())
    }
}

serialize_as_object!(
    ContainerStatus,
    ContainerId,
    NetworkInfo,
    IpAddress,
    PortMapping
);
