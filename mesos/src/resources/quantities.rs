//! Amounts by name alone, without reservations, ranges and other metadata.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use smallvec::SmallVec;
use thiserror::Error;

use super::collection::Resources;
use super::name::Name;
use super::resource::Resource;
use super::scalar::{Scalar, ScalarError};
use super::value::{TextValue, Value, ValueError};
use crate::proto;

/// How many names need no memory of their own.
const INLINE_NAMES: usize = 4;

type Entries = SmallVec<[(Name, Scalar); INLINE_NAMES]>;

/// Why quantities are refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum QuantitiesError {
    /// A token of the text is not `name:number`.
    #[error("'{0}' is not of the form name:number, such as cpus:2")]
    Token(String),
    /// The amount cannot be understood.
    #[error("'{token}': {source}")]
    Value {
        /// The whole token.
        token: String,
        /// What is wrong with the value.
        source: ValueError,
    },
    /// The amount is not a number that is finite and not negative.
    #[error("'{0}' is not a number of 0 or more")]
    NotAmount(String),
    /// The amount of a message is out of range.
    #[error("{name}: {source}")]
    Scalar {
        /// The name of the resource.
        name: String,
        /// What is wrong with the amount.
        source: ScalarError,
    },
    /// The amount of a message is negative.
    #[error("{name}: {amount} is less than 0")]
    Negative {
        /// The name of the resource.
        name: String,
        /// The amount.
        amount: Scalar,
    },
}

/// Positive amounts by name; a name that is not there has none.
///
/// Upstream: `include/mesos/resource_quantities.hpp`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ResourceQuantities(Entries);

impl ResourceQuantities {
    /// Nothing.
    #[must_use]
    pub fn new() -> ResourceQuantities {
        ResourceQuantities::default()
    }

    /// Parses `cpus:2;mem:1024`. Amounts of 0 are dropped, repeated names are added up.
    ///
    /// # Errors
    /// The first token that is not a name and an amount.
    pub fn parse(text: &str) -> Result<ResourceQuantities, QuantitiesError> {
        let mut quantities = ResourceQuantities::new();
        for token in text.split(';').filter(|token| !token.trim().is_empty()) {
            let (name, value) = token
                .split_once(':')
                .filter(|(name, value)| !name.trim().is_empty() && !value.contains(':'))
                .ok_or_else(|| QuantitiesError::Token(token.trim().to_owned()))?;
            let value = TextValue::parse(value).map_err(|source| QuantitiesError::Value {
                token: token.trim().to_owned(),
                source,
            })?;
            let amount = match value {
                TextValue::Scalar(number) => Scalar::from_f64(number).ok(),
                _ => None,
            };
            let amount =
                amount.ok_or_else(|| QuantitiesError::NotAmount(token.trim().to_owned()))?;
            quantities.increase(name.trim(), amount);
        }
        Ok(quantities)
    }

    /// The amounts of all entries: scalars as they are, ranges and sets by how many items they
    /// have. A shared resource counts once.
    #[must_use]
    pub fn of_all<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> ResourceQuantities {
        let mut quantities = ResourceQuantities::new();
        for resource in resources {
            quantities.increase(resource.name().clone(), amount(resource.value()));
        }
        quantities
    }

    /// The amounts of all scalars. A shared resource counts once.
    #[must_use]
    pub fn of_scalars<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> ResourceQuantities {
        let mut quantities = ResourceQuantities::new();
        for resource in resources {
            if let Some(scalar) = resource.as_scalar() {
                quantities.increase(resource.name().clone(), scalar);
            }
        }
        quantities
    }

    /// Reads quantities of a message, such as those of `OfferFilters`.
    ///
    /// # Errors
    /// An amount that is negative, not finite or too large.
    pub fn from_protos<'a>(
        entries: impl IntoIterator<Item = (&'a String, &'a proto::value::Scalar)>,
    ) -> Result<ResourceQuantities, QuantitiesError> {
        let mut quantities = ResourceQuantities::new();
        for (name, scalar) in entries {
            quantities.increase(name.as_str(), amount_of_message(name, scalar.value)?);
        }
        Ok(quantities)
    }

    /// Adds an amount. Amounts of 0 or less are ignored.
    pub fn increase(&mut self, name: impl Into<Name>, amount: Scalar) {
        if !amount.is_positive() {
            return;
        }
        let name = name.into();
        match self.0.binary_search_by(|(mine, _)| mine.cmp(&name)) {
            Ok(index) => {
                if let Some((_, mine)) = self.0.get_mut(index) {
                    *mine += amount;
                }
            }
            Err(index) => self.0.insert(index, (name, amount)),
        }
    }

    /// Takes an amount away, down to nothing.
    pub fn decrease(&mut self, name: &str, amount: Scalar) {
        let Ok(index) = self.0.binary_search_by(|(mine, _)| mine.as_str().cmp(name)) else {
            return;
        };
        match self.0.get_mut(index) {
            Some((_, mine)) if *mine > amount => *mine -= amount,
            _ => {
                self.0.remove(index);
            }
        }
    }

    /// The amount of a name; nothing if it is not there.
    #[must_use]
    pub fn get(&self, name: &str) -> Scalar {
        self.0
            .iter()
            .find(|(mine, _)| *mine == *name)
            .map_or(Scalar::ZERO, |(_, amount)| *amount)
    }

    /// Names and amounts, by ascending name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, Scalar)> {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is at least as much of everything.
    #[must_use]
    pub fn contains(&self, other: &ResourceQuantities) -> bool {
        let mut mine = self.0.iter().peekable();
        other.0.iter().all(|(name, amount)| {
            while mine.peek().is_some_and(|(candidate, _)| candidate < name) {
                mine.next();
            }
            mine.peek()
                .is_some_and(|(candidate, available)| candidate == name && available >= amount)
        })
    }

    /// The sum, or nothing if an amount is out of range.
    #[must_use]
    pub fn checked_add(&self, other: &ResourceQuantities) -> Option<ResourceQuantities> {
        let fits = other
            .iter()
            .all(|(name, amount)| self.get(name.as_str()).checked_add(amount).is_some());
        fits.then(|| self + other)
    }
}

fn amount(value: &Value) -> Scalar {
    let units = match value {
        Value::Scalar(scalar) => return *scalar,
        Value::Ranges(ranges) => ranges.count(),
        Value::Set(set) => set.len() as u64,
    };
    let millis = i64::try_from(units)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000);
    Scalar::from_millis(millis)
}

fn amount_of_message(name: &str, value: f64) -> Result<Scalar, QuantitiesError> {
    let amount = Scalar::from_f64(value).map_err(|source| QuantitiesError::Scalar {
        name: name.to_owned(),
        source,
    })?;
    if amount < Scalar::ZERO {
        return Err(QuantitiesError::Negative {
            name: name.to_owned(),
            amount,
        });
    }
    Ok(amount)
}

impl AddAssign<&ResourceQuantities> for ResourceQuantities {
    fn add_assign(&mut self, other: &ResourceQuantities) {
        for (name, amount) in &other.0 {
            // Most sums are of the same names in the same order, found without a search.
            match self.0.iter_mut().find(|(mine, _)| mine == name) {
                Some((_, mine)) => *mine += *amount,
                None => self.increase(name.clone(), *amount),
            }
        }
    }
}

impl SubAssign<&ResourceQuantities> for ResourceQuantities {
    fn sub_assign(&mut self, other: &ResourceQuantities) {
        for (name, amount) in &other.0 {
            // Comparing names is cheaper than comparing their texts.
            let found = self.0.iter().position(|(mine, _)| mine == name);
            let Some((index, (_, mine))) = found.and_then(|i| Some((i, self.0.get_mut(i)?))) else {
                continue;
            };
            if *mine > *amount {
                *mine -= *amount;
            } else {
                self.0.remove(index);
            }
        }
    }
}

impl Add<&ResourceQuantities> for &ResourceQuantities {
    type Output = ResourceQuantities;

    fn add(self, other: &ResourceQuantities) -> ResourceQuantities {
        let mut sum = self.clone();
        sum += other;
        sum
    }
}

impl Sub<&ResourceQuantities> for &ResourceQuantities {
    type Output = ResourceQuantities;

    fn sub(self, other: &ResourceQuantities) -> ResourceQuantities {
        let mut difference = self.clone();
        difference -= other;
        difference
    }
}

impl<N: Into<Name>> FromIterator<(N, Scalar)> for ResourceQuantities {
    fn from_iter<I: IntoIterator<Item = (N, Scalar)>>(iter: I) -> ResourceQuantities {
        let mut quantities = ResourceQuantities::new();
        for (name, amount) in iter {
            quantities.increase(name, amount);
        }
        quantities
    }
}

/// `cpus:2; mem:1024`, or `{}` for nothing.
impl fmt::Display for ResourceQuantities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_entries(&self.0, formatter)
    }
}

impl fmt::Debug for ResourceQuantities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_entries(&self.0, formatter)
    }
}

fn fmt_entries(entries: &Entries, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    if entries.is_empty() {
        return formatter.write_str("{}");
    }
    for (index, (name, amount)) in entries.iter().enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        write!(formatter, "{separator}{name}:{amount}")?;
    }
    Ok(())
}

/// Upper bounds by name; a name that is not there is not limited, and 0 is a limit.
///
/// Upstream: `include/mesos/resource_quantities.hpp` (`ResourceLimits`).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ResourceLimits(Entries);

impl ResourceLimits {
    /// No limits.
    #[must_use]
    pub fn new() -> ResourceLimits {
        ResourceLimits::default()
    }

    /// Reads limits of a message, such as those of `QuotaConfig`.
    ///
    /// # Errors
    /// An amount that is negative, not finite or too large.
    pub fn from_protos<'a>(
        entries: impl IntoIterator<Item = (&'a String, &'a proto::value::Scalar)>,
    ) -> Result<ResourceLimits, QuantitiesError> {
        let mut limits = ResourceLimits::new();
        for (name, scalar) in entries {
            limits.set(name.as_str(), amount_of_message(name, scalar.value)?);
        }
        Ok(limits)
    }

    /// Sets the limit of a name.
    pub fn set(&mut self, name: impl Into<Name>, limit: Scalar) {
        let name = name.into();
        match self.0.binary_search_by(|(mine, _)| mine.cmp(&name)) {
            Ok(index) => {
                if let Some((_, mine)) = self.0.get_mut(index) {
                    *mine = limit;
                }
            }
            Err(index) => self.0.insert(index, (name, limit)),
        }
    }

    /// The limit of a name, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Scalar> {
        self.0
            .iter()
            .find(|(mine, _)| *mine == *name)
            .map(|(_, limit)| *limit)
    }

    /// Names and limits, by ascending name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, Scalar)> {
        self.0.iter().map(|(name, limit)| (name, *limit))
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the quantities stay within the limits.
    #[must_use]
    pub fn allow(&self, quantities: &ResourceQuantities) -> bool {
        self.iter()
            .all(|(name, limit)| quantities.get(name.as_str()) <= limit)
    }

    /// Lowers the limits by what is used already, down to 0.
    #[must_use]
    pub fn minus(&self, used: &ResourceQuantities) -> ResourceLimits {
        let mut rest = self.clone();
        for (name, limit) in &mut rest.0 {
            *limit = (*limit - used.get(name.as_str())).max(Scalar::ZERO);
        }
        rest
    }
}

impl<N: Into<Name>> FromIterator<(N, Scalar)> for ResourceLimits {
    fn from_iter<I: IntoIterator<Item = (N, Scalar)>>(iter: I) -> ResourceLimits {
        let mut limits = ResourceLimits::new();
        for (name, limit) in iter {
            limits.set(name, limit);
        }
        limits
    }
}

impl fmt::Display for ResourceLimits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_entries(&self.0, formatter)
    }
}

impl fmt::Debug for ResourceLimits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_entries(&self.0, formatter)
    }
}

impl Resources {
    /// The amounts of all scalars by name.
    #[must_use]
    pub fn quantities(&self) -> ResourceQuantities {
        ResourceQuantities::of_scalars(self)
    }

    /// Whether there is at least so much of everything, whatever its reservation and kind;
    /// ranges and sets count by how many items they have.
    #[must_use]
    pub fn contains_quantities(&self, quantities: &ResourceQuantities) -> bool {
        quantities.iter().all(|(name, wanted)| {
            let available: Scalar = self
                .iter()
                .filter(|resource| resource.name() == name)
                .map(|resource| amount(resource.value()))
                .sum();
            available >= wanted
        })
    }

    /// The part that fits into `target`: entries are taken in order, the last one of each name
    /// cut to size. What `target` does not name, and indivisible entries that exceed it, are left
    /// out.
    #[must_use]
    pub fn shrink_to_quantities(&self, target: &ResourceQuantities) -> Resources {
        let mut target = target.clone();
        let taken = self.iter().filter_map(|resource| {
            let rest = target.get(resource.name().as_str());
            let part = take(resource, rest)?;
            target.decrease(resource.name().as_str(), amount(part.value()));
            Some(part)
        });
        taken.collect()
    }

    /// The part that stays within `limits`: entries are taken in order, the last one of each name
    /// cut to size. Names without limit are kept as they are; indivisible entries that exceed
    /// their limit are left out.
    #[must_use]
    pub fn shrink_to_limits(&self, limits: &ResourceLimits) -> Resources {
        let mut limits = limits.clone();
        let taken = self.iter().filter_map(|resource| {
            let name = resource.name().as_str();
            let Some(rest) = limits.get(name) else {
                return Some(resource.clone());
            };
            let part = take(resource, rest)?;
            limits.set(name, rest - amount(part.value()));
            Some(part)
        });
        taken.collect()
    }
}

/// At most `rest` of a resource, or nothing if that is empty or the resource cannot be divided.
fn take(resource: &Resource, rest: Scalar) -> Option<Resource> {
    if !rest.is_positive() {
        return None;
    }
    let mut part = resource.clone();
    part.shrink(rest).then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantities(text: &str) -> ResourceQuantities {
        ResourceQuantities::parse(text).unwrap()
    }

    #[test]
    fn parsing() {
        assert_eq!(
            quantities("mem:32; cpus:0.5;cpus:1;disk:0").to_string(),
            "cpus:1.5; mem:32"
        );
        assert_eq!(quantities("").to_string(), "{}");
        for (text, expected) in [
            (
                "cpus",
                "'cpus' is not of the form name:number, such as cpus:2",
            ),
            (
                "cpus:1:2",
                "'cpus:1:2' is not of the form name:number, such as cpus:2",
            ),
            ("cpus:-1", "'cpus:-1' is not a number of 0 or more"),
            ("ports:[1-2]", "'ports:[1-2]' is not a number of 0 or more"),
            (
                "cpus:[",
                "'cpus:[': '[' has brackets that do not match; allowed are a number, ranges like [1-10,20-30] or a set like {a,b}",
            ),
        ] {
            assert_eq!(
                ResourceQuantities::parse(text).unwrap_err().to_string(),
                expected
            );
        }
    }

    #[test]
    fn algebra() {
        let (left, right) = (quantities("cpus:2;mem:10"), quantities("cpus:1;disk:5"));
        assert_eq!(&left + &right, quantities("cpus:3;disk:5;mem:10"));
        assert_eq!(&left - &right, quantities("cpus:1;mem:10"));
        assert_eq!(&right - &left, quantities("disk:5"));
        assert!((&left + &right).contains(&left));
        assert!(!left.contains(&right));
        assert!(left.contains(&ResourceQuantities::new()));
        assert_eq!(left.get("cpus").millis(), 2_000);
        assert_eq!(left.get("gpus"), Scalar::ZERO);
        let huge: ResourceQuantities = [("cpus", Scalar::MAX)].into_iter().collect();
        assert_eq!(huge.checked_add(&right), None);
    }

    #[test]
    fn limits() {
        let limits: ResourceLimits = [("cpus", Scalar::from_millis(2_000)), ("gpus", Scalar::ZERO)]
            .into_iter()
            .collect();
        assert!(limits.allow(&quantities("cpus:2;mem:1000")));
        assert!(!limits.allow(&quantities("gpus:1")));
        let rest = limits.minus(&quantities("cpus:1.5;gpus:4"));
        assert_eq!(rest.to_string(), "cpus:0.5; gpus:0");
        assert!(ResourceLimits::new().allow(&quantities("cpus:1000")));
    }

    #[test]
    fn shrinking() {
        let resources = Resources::parse("cpus:4;mem:100;ports:[1-9]", "*").unwrap();
        let part = resources.shrink_to_quantities(&quantities("cpus:1.5;gpus:1"));
        assert_eq!(part.to_string(), "cpus:1.5");
        let limits: ResourceLimits = [("cpus", Scalar::from_millis(500)), ("mem", Scalar::ZERO)]
            .into_iter()
            .collect();
        let part = resources.shrink_to_limits(&limits);
        assert_eq!(part.to_string(), "cpus:0.5; ports:[1-9]");
    }

    #[test]
    fn containment_in_resources() {
        let resources = Resources::parse("cpus(a):1;cpus:1;ports:[1-3]", "*").unwrap();
        assert!(resources.contains_quantities(&quantities("cpus:2;ports:3")));
        assert!(!resources.contains_quantities(&quantities("cpus:2.001")));
        assert!(!resources.contains_quantities(&quantities("mem:1")));
    }
}
