//! Random numbers that are the same in each run.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A stream of random numbers that depends on its seed alone: not on the platform, a thread, or the version of a library.
///
/// It is SplitMix64: good enough for faults, useless for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for each `name` under the same seed, so that drawing more from one does not change another.
    pub fn named(seed: u64, name: &str) -> Self {
        let mut hash = Hash::default();
        hash.add(&seed.to_le_bytes());
        hash.add(name.as_bytes());
        let mut stream = Self(hash.0);
        stream.next();
        stream
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(end);
        (wide >> 64) as u64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        // 53 bits are what an f64 holds exactly.
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        unit < probability
    }

    /// A duration of the range.
    pub fn duration(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let span = range.end().saturating_sub(*range.start());
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        *range.start() + Duration::from_nanos(self.below(nanos.saturating_add(1)))
    }

    /// One of the items; none if there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let index = self.below(items.len() as u64);
        items.get(index as usize)
    }
}

/// FNV-1a, 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash(pub(super) u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_never_change() {
        let mut random = Random::new(1_234_567);
        // From the reference implementation of SplitMix64.
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!([(); 3].map(|()| random.next()), expected);
        let mut one = Random::named(1, "a");
        let mut other = Random::named(1, "b");
        assert_ne!(one.next(), other.next());
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut random = Random::new(7);
        let range = Duration::from_millis(2)..=Duration::from_millis(5);
        for _ in 0..1000 {
            assert!(random.below(10) < 10);
            assert!(range.contains(&random.duration(&range)));
        }
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick::<u8>(&[]), None);
        assert!(!random.chance(0.0));
        assert!(random.chance(1.0));
        let heads = (0..1000).filter(|_| random.chance(0.5)).count();
        assert!((400..600).contains(&heads), "{heads}");
    }
}
