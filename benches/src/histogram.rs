//! Delays in buckets of about 6 % width: ten minutes of 400 viewers fit into a few kilobytes.

use std::time::Duration;

/// Buckets within each doubling.
const STEPS: u64 = 16;
/// Buckets up to about an hour in microseconds.
const BUCKETS: usize = 32 * 16;

/// Counts of delays.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max: Duration::ZERO,
        }
    }
}

impl Histogram {
    /// Counts one delay.
    pub fn add(&mut self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(micros).min(BUCKETS - 1);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(delay);
    }

    /// How many were counted.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The delay in milliseconds that this share of all stay below, `0.99` for the 99th percentile;
    /// 1 is the largest. Not a number when nothing was counted.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        if self.is_empty() {
            return f64::NAN;
        }
        if share >= 1.0 {
            return self.max.as_secs_f64() * 1000.0;
        }
        let wanted = crate::as_f64(self.total) * share;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if crate::as_f64(seen) >= wanted && seen > 0 {
                return crate::as_f64(start_of(bucket + 1)) / 1000.0;
            }
        }
        self.max.as_secs_f64() * 1000.0
    }
}

fn bucket_of(micros: u64) -> usize {
    let doubling = (micros / STEPS).checked_ilog2().map_or(0, |log| log + 1);
    let step = if doubling == 0 {
        micros
    } else {
        (micros >> (doubling - 1)) - STEPS
    };
    usize::try_from(u64::from(doubling) * STEPS + step).unwrap_or(usize::MAX)
}

fn start_of(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    let (doubling, step) = (bucket / STEPS, bucket % STEPS);
    if doubling == 0 {
        step
    } else {
        (STEPS + step) << (doubling - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_meet_without_gap_and_quantiles_are_close() {
        for bucket in 0..BUCKETS - 1 {
            assert_eq!(bucket_of(start_of(bucket)), bucket);
            assert_eq!(bucket_of(start_of(bucket + 1) - 1), bucket);
        }
        let mut histogram = Histogram::default();
        for ms in 1..=1000 {
            histogram.add(Duration::from_millis(ms));
        }
        assert!((histogram.quantile_ms(0.5) - 500.0).abs() < 40.0);
        assert!((histogram.quantile_ms(0.99) - 990.0).abs() < 70.0);
        assert!((histogram.quantile_ms(1.0) - 1000.0).abs() < f64::EPSILON);
    }
}
