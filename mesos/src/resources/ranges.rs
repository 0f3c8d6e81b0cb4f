//! Sets of integers as sorted ranges, such as the ports of a host.

use std::fmt;

use smallvec::SmallVec;

/// The integers from `begin` to `end`, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// The first integer.
    pub begin: u64,
    /// The last integer.
    pub end: u64,
}

/// Up to this many ranges are inserted or removed one by one, in place; more are merged in one
/// pass over both lists.
const IN_PLACE_MAX: usize = 4;

/// A set of integers as ranges that are sorted, disjoint and not adjacent.
///
/// One range is held without allocation, which covers the ports of most offers and tasks.
/// Upstream: `src/common/values.cpp`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Ranges(SmallVec<[Range; 1]>);

impl Ranges {
    /// The ranges in ascending order.
    #[must_use]
    pub fn as_slice(&self) -> &[Range] {
        &self.0
    }

    /// The ranges in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Range> + '_ {
        self.0.iter().copied()
    }

    /// Whether the set has no integers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many integers the set has; the whole range of `u64` counts as `u64::MAX`.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.iter().fold(0, |count: u64, range| {
            count.saturating_add((range.end - range.begin).saturating_add(1))
        })
    }

    /// Whether the set has `value`.
    #[must_use]
    pub fn contains_value(&self, value: u64) -> bool {
        let index = self.0.partition_point(|range| range.end < value);
        self.0.get(index).is_some_and(|range| range.begin <= value)
    }

    /// Whether the set has every integer of `other`.
    #[must_use]
    pub fn contains(&self, other: &Ranges) -> bool {
        if other.0.len() <= IN_PLACE_MAX {
            return other.iter().all(|range| {
                let index = self.0.partition_point(|mine| mine.end < range.begin);
                self.0
                    .get(index)
                    .is_some_and(|mine| mine.begin <= range.begin && range.end <= mine.end)
            });
        }
        let mut mine = self.0.iter();
        let mut current = mine.next();
        other.iter().all(|range| {
            while current.is_some_and(|mine| mine.end < range.begin) {
                current = mine.next();
            }
            current.is_some_and(|mine| mine.begin <= range.begin && range.end <= mine.end)
        })
    }

    /// Whether the sets have an integer in common.
    #[must_use]
    pub fn intersects(&self, other: &Ranges) -> bool {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            if a.end < b.begin {
                left.next();
            } else if b.end < a.begin {
                right.next();
            } else {
                return true;
            }
        }
        false
    }

    /// Adds the integers of one range. A range that ends before it begins is empty.
    pub fn insert(&mut self, range: Range) {
        if range.begin > range.end {
            return;
        }
        let touches_from = self
            .0
            .partition_point(|mine| mine.end < range.begin && mine.end + 1 < range.begin);
        let touches_to = self
            .0
            .partition_point(|mine| mine.begin <= range.end.saturating_add(1));
        let touched = self.0.get(touches_from..touches_to).unwrap_or_default();
        let merged = Range {
            begin: touched
                .first()
                .map_or(range.begin, |first| first.begin.min(range.begin)),
            end: touched
                .last()
                .map_or(range.end, |last| last.end.max(range.end)),
        };
        self.replace(touches_from, touches_to, Some(merged), None);
    }

    /// Removes the integers of one range, as far as they are there.
    pub fn remove(&mut self, range: Range) {
        if range.begin > range.end {
            return;
        }
        let from = self.0.partition_point(|mine| mine.end < range.begin);
        let to = self.0.partition_point(|mine| mine.begin <= range.end);
        let touched = self.0.get(from..to).unwrap_or_default();
        let below = touched
            .first()
            .filter(|first| first.begin < range.begin)
            .map(|first| Range {
                begin: first.begin,
                end: range.begin - 1,
            });
        let above = touched
            .last()
            .filter(|last| last.end > range.end)
            .map(|last| Range {
                begin: range.end + 1,
                end: last.end,
            });
        self.replace(from, to, below, above);
    }

    /// Replaces the ranges `from..to` by up to two others.
    fn replace(&mut self, from: usize, to: usize, first: Option<Range>, second: Option<Range>) {
        let mut at = from;
        for piece in [first, second].into_iter().flatten() {
            match self.0.get_mut(at) {
                Some(slot) if at < to => *slot = piece,
                _ => self.0.insert(at, piece),
            }
            at += 1;
        }
        if at < to {
            self.0.drain(at..to);
        }
    }

    /// Adds the integers of `other`.
    pub fn add(&mut self, other: &Ranges) {
        if other.0.len() <= IN_PLACE_MAX {
            other.iter().for_each(|range| self.insert(range));
        } else if self.0.len() <= IN_PLACE_MAX {
            let mine = std::mem::replace(self, other.clone());
            mine.iter().for_each(|range| self.insert(range));
        } else {
            *self = merge(&self.0, &other.0);
        }
    }

    /// Removes the integers of `other`, as far as they are there.
    pub fn subtract(&mut self, other: &Ranges) {
        if other.0.len() <= IN_PLACE_MAX {
            other.iter().for_each(|range| self.remove(range));
        } else {
            *self = difference(&self.0, &other.0);
        }
    }
}

/// Appends to sorted ranges one that does not begin before any of them.
fn push(ranges: &mut SmallVec<[Range; 1]>, range: Range) {
    match ranges.last_mut() {
        Some(last) if range.begin <= last.end.saturating_add(1) => {
            last.end = last.end.max(range.end);
        }
        _ => ranges.push(range),
    }
}

fn merge(left: &[Range], right: &[Range]) -> Ranges {
    let mut result = SmallVec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let next = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a.begin <= b.begin => left.next(),
            (_, Some(_)) => right.next(),
            (_, None) => left.next(),
        };
        match next {
            Some(range) => push(&mut result, *range),
            None => return Ranges(result),
        }
    }
}

fn difference(left: &[Range], right: &[Range]) -> Ranges {
    let mut result = SmallVec::with_capacity(left.len());
    let mut right = right.iter().peekable();
    for range in left {
        let mut rest = Some(*range);
        while let (Some(mine), Some(theirs)) = (rest, right.peek()) {
            if theirs.begin > mine.end {
                break;
            }
            if theirs.end < mine.begin {
                right.next();
                continue;
            }
            if mine.begin < theirs.begin {
                result.push(Range {
                    begin: mine.begin,
                    end: theirs.begin - 1,
                });
            }
            rest = (theirs.end < mine.end).then(|| Range {
                begin: theirs.end + 1,
                end: mine.end,
            });
        }
        result.extend(rest);
    }
    Ranges(result)
}

/// Sorts and coalesces; ranges that end before they begin are left out.
impl FromIterator<Range> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range>>(ranges: I) -> Ranges {
        let mut all: SmallVec<[Range; 1]> = ranges
            .into_iter()
            .filter(|range| range.begin <= range.end)
            .collect();
        all.sort_unstable();
        let mut result = SmallVec::with_capacity(all.len());
        all.iter().for_each(|range| push(&mut result, *range));
        Ranges(result)
    }
}

impl From<std::ops::RangeInclusive<u64>> for Ranges {
    fn from(range: std::ops::RangeInclusive<u64>) -> Ranges {
        Ranges::from_iter([Range {
            begin: *range.start(),
            end: *range.end(),
        }])
    }
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.begin, self.end)
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// `[1-2, 4-9]`, as in resources and attributes.
impl fmt::Display for Ranges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[")?;
        for (index, range) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{range}")?;
        }
        formatter.write_str("]")
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    use super::*;

    fn ranges(pairs: &[(u64, u64)]) -> Ranges {
        pairs
            .iter()
            .map(|&(begin, end)| Range { begin, end })
            .collect()
    }

    #[track_caller]
    fn check(actual: &Ranges, expected: &str) {
        assert_eq!(actual.to_string(), expected);
    }

    #[test]
    fn coalescing() {
        check(&ranges(&[]), "[]");
        check(&ranges(&[(1, 10)]), "[1-10]");
        check(&ranges(&[(4, 6), (1, 3)]), "[1-6]");
        check(&ranges(&[(1, 10), (5, 30), (50, 60)]), "[1-30, 50-60]");
        check(&ranges(&[(1, 4), (5, 5), (7, 7), (7, 7)]), "[1-5, 7-7]");
        check(&ranges(&[(9, 3)]), "[]");
        check(
            &ranges(&[(0, u64::MAX), (u64::MAX, u64::MAX)]),
            "[0-18446744073709551615]",
        );
    }

    #[test]
    fn subtraction() {
        let mut left = ranges(&[(1, 10), (20, 30)]);
        left.subtract(&ranges(&[(2, 3), (9, 22)]));
        check(&left, "[1-1, 4-8, 23-30]");
        let mut all = ranges(&[(0, u64::MAX)]);
        all.subtract(&ranges(&[(0, 0), (u64::MAX, u64::MAX)]));
        check(&all, "[1-18446744073709551614]");
        assert_eq!(all.count(), u64::MAX - 1);
    }

    #[test]
    fn size_stays_small() {
        assert_eq!(size_of::<Ranges>(), 24);
    }

    fn small_ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0_u64..60, 0_u64..6), 0..12).prop_map(|pairs| {
            pairs
                .into_iter()
                .map(|(begin, length)| (begin, begin + length))
                .collect()
        })
    }

    fn values(pairs: &[(u64, u64)]) -> BTreeSet<u64> {
        pairs.iter().flat_map(|&(begin, end)| begin..=end).collect()
    }

    fn model(ranges: &Ranges) -> BTreeSet<u64> {
        ranges
            .iter()
            .flat_map(|range| range.begin..=range.end)
            .collect()
    }

    fn is_canonical(ranges: &Ranges) -> bool {
        ranges
            .as_slice()
            .iter()
            .all(|range| range.begin <= range.end)
            && ranges
                .as_slice()
                .windows(2)
                .all(|pair| pair[0].end + 1 < pair[1].begin)
    }

    proptest! {
        #[test]
        fn agrees_with_sets_of_integers(a in small_ranges(), b in small_ranges()) {
            let (left, right) = (ranges(&a), ranges(&b));
            let (left_values, right_values) = (values(&a), values(&b));
            prop_assert!(is_canonical(&left));
            prop_assert_eq!(&model(&left), &left_values);
            prop_assert_eq!(left.count(), left_values.len() as u64);

            let mut sum = left.clone();
            sum.add(&right);
            prop_assert!(is_canonical(&sum));
            prop_assert_eq!(model(&sum), &left_values | &right_values);

            let mut rest = left.clone();
            rest.subtract(&right);
            prop_assert!(is_canonical(&rest));
            prop_assert_eq!(model(&rest), &left_values - &right_values);

            prop_assert_eq!(left.contains(&right), left_values.is_superset(&right_values));
            prop_assert_eq!(left.intersects(&right), !left_values.is_disjoint(&right_values));
            prop_assert!(left_values.iter().all(|value| left.contains_value(*value)));
            prop_assert!(!left.contains_value(100));
        }
    }
}
