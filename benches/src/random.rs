//! Seeded chance: the same seed gives the same sequence of choices.
//!
//! Source: Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (`SplitMix64`).

use std::time::Duration;

/// A sequence of choices.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An index below `len`; 0 when there is none.
    pub fn index(&mut self, len: usize) -> usize {
        let len = u64::try_from(len).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % len).unwrap_or(0)
    }

    /// A number from 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        crate::as_f64(self.number() >> 12) / crate::as_f64(1 << 52)
    }

    /// A time until something that happens once in `mean` on average, at most eight times that.
    pub fn wait(&mut self, mean: Duration) -> Duration {
        let factor = -(1.0 - self.unit()).ln();
        mean.mul_f64(factor.clamp(0.0, 8.0))
    }

    /// Which of the weights is drawn; 0 when all are zero.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut drawn = self.number() % total.max(1);
        for (index, weight) in weights.iter().enumerate() {
            let weight = u64::from(*weight);
            if drawn < weight {
                return index;
            }
            drawn -= weight;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_choices_within_their_bounds() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        for _ in 0..1000 {
            assert_eq!(a.number(), b.number());
            assert!((0.0..1.0).contains(&a.unit()));
            assert!((0.0..1.0).contains(&b.unit()));
        }
        assert_eq!(Random::new(1).weighted(&[0, 5, 0]), 1);
        assert!(Random::new(1).wait(Duration::from_secs(1)) <= Duration::from_secs(8));
    }
}
