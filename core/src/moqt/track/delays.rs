//! [`Delays`]: how long objects wait for the transport, in buckets.
//!
//! Measured per write: from the moment that an object was here and could have been sent, to the moment
//! that the transport has taken it. A viewer that keeps up stands in the first bucket; the rest is
//! queueing by flow control, congestion and credit. Counting takes no memory and no division.

use std::time::Duration;

/// Upper bounds of the buckets in milliseconds; one more holds the rest.
pub const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000];
const BUCKETS: usize = BOUNDS_MS.len() + 1;

/// See the module's description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// Delays up to each bound, and those beyond the last.
    pub counts: [u64; BUCKETS],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Delays {
    /// Counts one.
    pub fn add(&mut self, delay: Duration) {
        let us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.partition_point(|bound| bound.saturating_mul(1000) < us);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_fall_into_the_bucket_of_their_bound() {
        let mut delays = Delays::default();
        for us in [0, 1000, 1001, 5_000_000, 5_000_001] {
            delays.add(Duration::from_micros(us));
        }
        assert_eq!(delays.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(delays.total(), 5);
        let mut twice = delays;
        twice.merge(&delays);
        assert_eq!(twice.total(), 10);
    }
}
