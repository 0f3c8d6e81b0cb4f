//! Resources, as sums for people and in full for programs.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Fields, array, object, serialize_as_object};
use crate::json::Embedded;
use crate::proto;
use crate::resources::{
    Name, Range, Ranges, Resource, ResourceQuantities, Resources, Scalar, Set, Value, to_endpoint,
};

/// The names that are always there, in the order they are shown.
const ALWAYS: [&str; 4] = ["disk", "mem", "gpus", "cpus"];

/// A sum of resources by name, whatever they are reserved or allocated to.
///
/// Amounts are numbers; ranges and sets are text such as `[31000-32000]` and `{a, b}`. `cpus`,
/// `gpus`, `mem` and `disk` are always there. Revocable resources are apart, under
/// `<name>_revocable`.
#[derive(Clone, Debug, Default)]
pub struct ResourceSummary<'a> {
    always: [Sum; ALWAYS.len()],
    scalars: Vec<(Key<'a>, Sum)>,
    ranges: Vec<(Key<'a>, Ranges)>,
    sets: Vec<(Key<'a>, Set)>,
}

/// The name of a resource, and whether it is revocable.
type Key<'a> = (Cow<'a, str>, bool);

impl<'a> ResourceSummary<'a> {
    /// The sum of `resources`.
    #[must_use]
    pub fn of(resources: &'a Resources) -> Self {
        Self::of_each(resources)
    }

    /// The sum of what an iterator yields, such as the resources of several bundles.
    #[must_use]
    pub fn of_each(resources: impl IntoIterator<Item = &'a Resource>) -> Self {
        let mut summary = Self::default();
        for resource in resources {
            let key = (
                Cow::Borrowed(resource.name().as_str()),
                resource.is_revocable(),
            );
            match resource.value() {
                Value::Scalar(scalar) => summary.add_scalar(key, scalar.to_f64()),
                Value::Ranges(ranges) => summary.add_ranges(key, Cow::Borrowed(ranges)),
                Value::Set(set) => summary.add_set(key, Cow::Borrowed(set)),
            }
        }
        summary
    }

    /// The sum of messages.
    #[must_use]
    pub fn of_protos(resources: &'a [proto::Resource]) -> Self {
        let mut summary = Self::default();
        for resource in resources {
            let key = (
                Cow::Borrowed(resource.name.as_str()),
                resource.revocable.is_some(),
            );
            match resource.r#type() {
                proto::value::Type::Scalar => {
                    let value = resource.scalar.as_ref().map_or(0.0, |scalar| scalar.value);
                    summary.add_scalar(key, value);
                }
                proto::value::Type::Ranges => {
                    let ranges = resource.ranges.iter().flat_map(|ranges| &ranges.range);
                    let ranges = ranges.map(|range| Range {
                        begin: range.begin,
                        end: range.end,
                    });
                    summary.add_ranges(key, Cow::Owned(ranges.collect()));
                }
                proto::value::Type::Set => {
                    let items = resource.set.iter().flat_map(|set| &set.item);
                    summary.add_set(key, Cow::Owned(items.map(String::as_str).collect()));
                }
                proto::value::Type::Text => {}
            }
        }
        summary
    }

    fn add_scalar(&mut self, key: Key<'a>, value: f64) {
        let always = ALWAYS.iter().position(|name| !key.1 && key.0 == *name);
        match always.and_then(|index| self.always.get_mut(index)) {
            Some(sum) => sum.add(value),
            None => entry(&mut self.scalars, key).add(value),
        }
    }

    fn add_ranges(&mut self, key: Key<'a>, ranges: Cow<'_, Ranges>) {
        entry(&mut self.ranges, key).add(&ranges);
    }

    fn add_set(&mut self, key: Key<'a>, set: Cow<'_, Set>) {
        entry(&mut self.sets, key).add(&set);
    }
}

/// The value of a key in a list that is short.
fn entry<'s, 'a, T: Default>(entries: &'s mut Vec<(Key<'a>, T)>, key: Key<'a>) -> &'s mut T {
    let index = match entries.iter().position(|(present, _)| *present == key) {
        Some(index) => index,
        None => {
            entries.push((key, T::default()));
            entries.len() - 1
        }
    };
    &mut entries[index].1
}

/// A sum that shows a single amount as it was sent, but adds up in thousandths.
#[derive(Clone, Copy, Debug, Default)]
struct Sum(f64);

impl Sum {
    fn add(&mut self, value: f64) {
        if self.0 == 0.0 {
            self.0 = value;
            return;
        }
        self.0 = match (Scalar::from_f64(self.0), Scalar::from_f64(value)) {
            (Ok(left), Ok(right)) => (left + right).to_f64(),
            _ => self.0 + value,
        };
    }
}

impl Fields for ResourceSummary<'_> {
    fn fields<M: SerializeMap>(&self, object: &mut M) -> Result<(), M::Error> {
        for (name, sum) in ALWAYS.iter().zip(&self.always) {
            object.serialize_entry(name, &sum.0)?;
        }
        for (key, sum) in &self.scalars {
            object.serialize_entry(&KeyText(key), &sum.0)?;
        }
        for (key, ranges) in &self.ranges {
            object.serialize_entry(&KeyText(key), &ranges.to_string())?;
        }
        for (key, set) in &self.sets {
            object.serialize_entry(&KeyText(key), &set.to_string())?;
        }
        Ok(())
    }
}

struct KeyText<'a>(&'a Key<'a>);

impl Serialize for KeyText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            (name, false) => serializer.serialize_str(name),
            (name, true) => serializer.collect_str(&format_args!("{name}_revocable")),
        }
    }
}

serialize_as_object!(ResourceSummary);

/// Reserved resources by role, as sums. Roles that `visible` refuses are left out.
pub struct ReservedResources<'a, F> {
    /// All resources; what is not reserved is skipped.
    pub resources: &'a Resources,
    /// Whether the role may be shown.
    pub visible: F,
}

impl<F: Fn(&str) -> bool> Serialize for ReservedResources<'_, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let roles = reservation_roles(self.resources, &self.visible);
        serializer.collect_map(roles.into_iter().map(|role| {
            let reserved = self
                .resources
                .iter()
                .filter(|each| each.is_reserved(Some(role)));
            (role, ResourceSummary::of_each(reserved))
        }))
    }
}

/// Resources in full: as messages that show reservations in the new form and, where it can tell
/// them, the old one. Operators send them back to `/unreserve` and `/destroy-volumes`.
pub struct FullResources<'a, F> {
    /// The resources.
    pub resources: &'a Resources,
    /// Whether a resource may be shown.
    pub visible: F,
}

impl<F: Fn(&Resource) -> bool> Serialize for FullResources<'_, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let visible = self.resources.iter().filter(|each| (self.visible)(each));
        serializer.collect_seq(visible.map(FullResource))
    }
}

/// Reserved resources by role, in full.
pub struct ReservedResourcesFull<'a, R, F> {
    /// All resources; what is not reserved is skipped.
    pub resources: &'a Resources,
    /// Whether a role may be shown.
    pub role_visible: R,
    /// Whether a resource of such a role may be shown.
    pub visible: F,
}

impl<R, F> Serialize for ReservedResourcesFull<'_, R, F>
where
    R: Fn(&str) -> bool,
    F: Fn(&Resource) -> bool,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let roles = reservation_roles(self.resources, &self.role_visible);
        serializer.collect_map(roles.into_iter().map(|role| {
            let shown = move || {
                let of_role =
                    move |each: &&Resource| each.is_reserved(Some(role)) && (self.visible)(each);
                self.resources.iter().filter(of_role).map(FullResource)
            };
            (role, array(shown))
        }))
    }
}

struct FullResource<'a>(&'a Resource);

impl Serialize for FullResource<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut message = self.0.to_proto();
        to_endpoint(&mut message);
        Embedded(&message).serialize(serializer)
    }
}

fn reservation_roles(resources: &Resources, visible: impl Fn(&str) -> bool) -> Vec<&str> {
    let mut roles: Vec<&str> = resources
        .iter()
        .filter_map(Resource::reservation_role)
        .collect();
    roles.sort_unstable();
    roles.dedup();
    roles.retain(|role| visible(role));
    roles
}

/// Amounts by name, for `/roles`; a name without an amount is left out.
pub fn quantities(quantities: &ResourceQuantities) -> impl Serialize {
    object(|| {
        quantities
            .iter()
            .map(|(name, amount): (&Name, Scalar)| (name.as_str(), amount.to_f64()))
    })
}

/// The role that messages are allocated to: they never mix several. Empty if there is none.
#[must_use]
pub fn allocation_role(resources: &[proto::Resource]) -> &str {
    resources
        .first()
        .and_then(|resource| resource.allocation_info.as_ref())
        .map_or("", |allocation| allocation.role())
}
