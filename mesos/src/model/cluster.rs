//! Masters, agents and offers.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Fields, ResourceSummary, optional, serialize_as_object};
use crate::proto;
use proto::value::Type;

/// What is known of an agent from its own description: all of an agent in `recovered_slaves`, and
/// the beginning of the others.
#[derive(Clone, Copy, Debug)]
pub struct AgentInfo<'a>(pub &'a proto::SlaveInfo);

impl Fields for AgentInfo<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let info = self.0;
        object.serialize_entry("id", info.id.as_ref().map_or("", |id| &id.value))?;
        object.serialize_entry("hostname", &info.hostname)?;
        object.serialize_entry("port", &info.port())?;
        object.serialize_entry("attributes", &Attributes(&info.attributes))?;
        optional(object, "domain", info.domain.as_ref().map(Domain))
    }
}

/// Attributes by name: numbers for scalars, text for the others.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(pub &'a [proto::Attribute]);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.0.len()))?;
        for attribute in self.0 {
            let name = &attribute.name;
            match attribute.r#type() {
                Type::Scalar => {
                    let value = attribute.scalar.as_ref().map_or(0.0, |scalar| scalar.value);
                    object.serialize_entry(name, &value)?;
                }
                Type::Ranges => {
                    let ranges = attribute.ranges.iter().flat_map(|ranges| &ranges.range);
                    object.serialize_entry(name, &ranges_text(ranges))?;
                }
                Type::Set => {
                    let items = attribute.set.iter().flat_map(|set| &set.item);
                    let items: Vec<&str> = items.map(String::as_str).collect();
                    object.serialize_entry(name, &format!("{{{}}}", items.join(", ")))?;
                }
                Type::Text => {
                    let text = attribute.text.as_ref().map_or("", |text| &text.value);
                    object.serialize_entry(name, text)?;
                }
            }
        }
        object.end()
    }
}

fn ranges_text<'a>(ranges: impl Iterator<Item = &'a proto::value::Range>) -> String {
    let ranges: Vec<String> = ranges
        .map(|range| format!("{}-{}", range.begin, range.end))
        .collect();
    format!("[{}]", ranges.join(", "))
}

/// The `domain` of a master or agent: `{"fault_domain": {"region": {"name"}, "zone": {"name"}}}`.
#[derive(Clone, Copy, Debug)]
pub struct Domain<'a>(pub &'a proto::DomainInfo);

impl Fields for Domain<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        optional(
            object,
            "fault_domain",
            self.0.fault_domain.as_ref().map(FaultDomain),
        )
    }
}

struct FaultDomain<'a>(&'a proto::domain_info::FaultDomain);

impl Fields for FaultDomain<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        object.serialize_entry("region", &Named(&self.0.region.name))?;
        object.serialize_entry("zone", &Named(&self.0.zone.name))
    }
}

struct Named<'a>(&'a str);

impl Fields for Named<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        object.serialize_entry("name", self.0)
    }
}

/// The leading master: `leader_info`.
#[derive(Clone, Copy, Debug)]
pub struct Leader<'a>(pub &'a proto::MasterInfo);

impl Fields for Leader<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let info = self.0;
        object.serialize_entry("id", &info.id)?;
        object.serialize_entry("pid", info.pid())?;
        object.serialize_entry("port", &info.port)?;
        object.serialize_entry("hostname", info.hostname())?;
        optional(object, "domain", info.domain.as_ref().map(Domain))
    }
}

/// An offer that is out.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a>(pub &'a proto::Offer);

impl Fields for Offer<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        let offer = self.0;
        let no_allocation = proto::resource::AllocationInfo::default();
        let allocation = offer.allocation_info.as_ref().unwrap_or(&no_allocation);
        object.serialize_entry("id", &offer.id.value)?;
        object.serialize_entry("framework_id", &offer.framework_id.value)?;
        object.serialize_entry("allocation_info", &AllocationInfo(allocation))?;
        object.serialize_entry("slave_id", &offer.slave_id.value)?;
        object.serialize_entry("resources", &ResourceSummary::of_protos(&offer.resources))
    }
}

struct AllocationInfo<'a>(&'a proto::resource::AllocationInfo);

impl Fields for AllocationInfo<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        optional(object, "role", self.0.role.as_ref())
    }
}

serialize_as_object!(
    AgentInfo,
    Domain,
    FaultDomain,
    Named,
    Leader,
    Offer,
    AllocationInfo
);
