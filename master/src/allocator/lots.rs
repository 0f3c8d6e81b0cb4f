//! Randomness that depends on nothing but the seed: which agents come first in a run, and draws.
//!
//! Instead of a generator whose state every draw changes, each draw is a hash of what it is for.
//! So it does not matter for the result what else was drawn, and what need not be looked at need
//! not be drawn for.

/// A well-mixed function of both numbers (the finaliser of SplitMix64).
pub(super) fn mix(seed: u64, value: u64) -> u64 {
    let mut mixed = (seed ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number for a text (FNV-1a, mixed).
pub(super) fn hash(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(0, hash)
}

/// A number from 0 to 1, without 1.
fn unit(bits: u64) -> f64 {
    // The 53 bits that a floating point number can hold.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Puts items into a random order.
pub(super) fn shuffle<T>(items: &mut [T], seed: u64) {
    for last in (1..items.len()).rev() {
        let choice = unit(mix(seed, last as u64)) * (last + 1) as f64;
        items.swap(last, (choice as usize).min(last));
    }
}

/// Lots by client.
#[derive(Default, Debug)]
pub(super) struct Lots {
    /// Running sums.
    sums: Vec<f64>,
    /// Whether all clients have as many.
    equal: bool,
}

impl Lots {
    /// One client for each number of lots. What is not positive and finite has next to none.
    pub(super) fn new(lots: impl Iterator<Item = f64>) -> Lots {
        let (mut sum, mut equal, mut first) = (0.0, true, None);
        let sums = lots.map(|lots| {
            let lots = if lots.is_finite() && lots > 0.0 {
                lots
            } else {
                0.0
            };
            equal &= *first.get_or_insert(lots) == lots;
            sum += lots;
            sum
        });
        let sums = sums.collect();
        Lots { sums, equal }
    }

    fn total(&self) -> f64 {
        self.sums.last().copied().unwrap_or(0.0)
    }

    /// The lots of one client.
    fn of(&self, index: usize) -> f64 {
        let sum = |index: usize| self.sums.get(index).copied().unwrap_or(0.0);
        sum(index) - index.checked_sub(1).map_or(0.0, sum)
    }
}

/// Clients drawn one after the other without putting them back: mostly only the first few are
/// asked for.
#[derive(Debug)]
pub(super) struct Draw {
    seed: u64,
    draws: u64,
    drawn: Vec<bool>,
    drawn_lots: f64,
    /// The rest in order, last first, once so much is drawn that drawing again and again would
    /// mostly hit what is gone. If all have equal lots: what is not drawn, in no order.
    rest: Option<Vec<u32>>,
}

impl Draw {
    pub(super) fn new(seed: u64) -> Draw {
        Draw {
            seed,
            draws: 0,
            drawn: Vec::new(),
            drawn_lots: 0.0,
            rest: None,
        }
    }

    /// The index of the next client.
    pub(super) fn next(&mut self, lots: &Lots) -> Option<usize> {
        if lots.equal {
            return self.draw_equal(lots);
        }
        if self.rest.is_none() && self.drawn_lots * 2.0 < lots.total() {
            return self.draw(lots);
        }
        let (seed, drawn) = (mix(self.seed, u64::MAX), &self.drawn);
        let rest = self
            .rest
            .get_or_insert_with(|| sorted_rest(seed, drawn, lots));
        rest.pop().map(|index| index as usize)
    }

    /// Every client is as likely as any other one.
    fn draw_equal(&mut self, lots: &Lots) -> Option<usize> {
        let count = u32::try_from(lots.sums.len()).unwrap_or(u32::MAX);
        let rest = self.rest.get_or_insert_with(|| (0..count).collect());
        let choice = unit(mix(self.seed, self.draws)) * rest.len() as f64;
        self.draws += 1;
        let last = rest.len().checked_sub(1)?;
        Some(rest.swap_remove((choice as usize).min(last)) as usize)
    }

    fn draw(&mut self, lots: &Lots) -> Option<usize> {
        self.drawn.resize(lots.sums.len(), false);
        loop {
            let drawn = unit(mix(self.seed, self.draws)) * lots.total();
            self.draws += 1;
            let index = lots.sums.partition_point(|sum| *sum <= drawn);
            if let Some(gone @ false) = self.drawn.get_mut(index) {
                *gone = true;
                self.drawn_lots += lots.of(index);
                return Some(index);
            }
        }
    }
}

/// What is not drawn yet in the order in which it would be drawn, last first: each has the
/// waiting time of an event that happens `lots` times in a unit of time.
fn sorted_rest(seed: u64, drawn: &[bool], lots: &Lots) -> Vec<u32> {
    let count = u32::try_from(lots.sums.len()).unwrap_or(u32::MAX);
    let mut rest: Vec<(f64, u32)> = (0..count)
        .filter(|index| drawn.get(*index as usize) != Some(&true))
        .map(|index| {
            let wait = -(1.0 - unit(mix(seed, index.into()))).ln();
            let lots = lots.of(index as usize);
            let wait = if lots > 0.0 {
                wait / lots
            } else {
                f64::INFINITY
            };
            (wait, index)
        })
        .collect();
    rest.sort_unstable_by(|left, right| right.0.total_cmp(&left.0).then(right.1.cmp(&left.1)));
    rest.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_is_drawn_once() {
        for count in [0_usize, 1, 2, 7, 100] {
            let lots = Lots::new((0..count).map(|index| index as f64));
            let mut draw = Draw::new(42);
            let mut drawn: Vec<usize> = std::iter::from_fn(|| draw.next(&lots)).collect();
            drawn.sort_unstable();
            assert_eq!(drawn, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn first_places_follow_the_lots() {
        let lots = Lots::new([1.0, 3.0, f64::NAN].into_iter());
        let (mut first, mut second) = ([0; 3], [0; 3]);
        for seed in 0..10_000 {
            let mut draw = Draw::new(mix(7, seed));
            first[draw.next(&lots).unwrap()] += 1;
            second[draw.next(&lots).unwrap()] += 1;
        }
        assert!((2_300..2_700).contains(&first[0]), "{first:?}");
        assert_eq!((first[2], second[2]), (0, 0), "no lots, no chance");
    }

    #[test]
    fn shuffles_are_fair() {
        let mut first = [0; 4];
        for seed in 0..10_000 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items, mix(1, seed));
            first[items[0]] += 1;
        }
        assert!(
            first.iter().all(|count| (2_300..2_700).contains(count)),
            "{first:?}"
        );
    }
}
