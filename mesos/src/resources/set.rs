//! Sets of names.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A set of texts, sorted, shared between its clones.
///
/// Upstream keeps the order in which the items were given; the order never matters, so that here
/// it is always ascending.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Set(Arc<BTreeSet<String>>);

impl Set {
    /// The items in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many items the set has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set has no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the set has every item of `other`.
    #[must_use]
    pub fn contains(&self, other: &Set) -> bool {
        self.0.is_superset(&other.0)
    }

    /// Whether the sets have an item in common.
    #[must_use]
    pub fn intersects(&self, other: &Set) -> bool {
        !self.0.is_disjoint(&other.0)
    }

    /// Adds the items of `other`.
    pub fn add(&mut self, other: &Set) {
        if !self.contains(other) {
            Arc::make_mut(&mut self.0).extend(other.0.iter().cloned());
        }
    }

    /// Removes the items of `other`, as far as they are there.
    pub fn subtract(&mut self, other: &Set) {
        if self.intersects(other) {
            Arc::make_mut(&mut self.0).retain(|item| !other.0.contains(item));
        }
    }
}

impl<S: Into<String>> FromIterator<S> for Set {
    fn from_iter<I: IntoIterator<Item = S>>(items: I) -> Set {
        Set(Arc::new(items.into_iter().map(Into::into).collect()))
    }
}

/// `{a, b}`, as in resources.
impl fmt::Display for Set {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{")?;
        for (index, item) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{item}")?;
        }
        formatter.write_str("}")
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algebra() {
        let left = Set::from_iter(["sda1", "sda2"]);
        let right = Set::from_iter(["sda2", "sda3"]);
        let mut sum = left.clone();
        sum.add(&right);
        assert_eq!(sum.to_string(), "{sda1, sda2, sda3}");
        assert!(sum.contains(&left) && sum.contains(&right) && !left.contains(&right));
        sum.subtract(&right);
        assert_eq!(sum, Set::from_iter(["sda1"]));
        assert!(left.intersects(&right) && !sum.intersects(&right));
        assert_eq!(Set::default().to_string(), "{}");
    }
}
