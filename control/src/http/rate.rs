//! Token buckets: so many at once, so many a second in the long run, by whom.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// Most keys that are remembered; beyond, the half that has rested longest is forgotten.
const KEYS_MAX: usize = 8192;

/// A bucket for each key.
pub(super) struct Buckets<K> {
    per_second: f64,
    burst: f64,
    levels: Mutex<BTreeMap<K, Level>>,
}

#[derive(Clone, Copy)]
struct Level {
    tokens: f64,
    at: Instant,
}

impl<K: Ord + Clone> Buckets<K> {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        Self {
            per_second: f64::from(per_second.max(1)),
            burst: f64::from(burst.max(1)),
            levels: Mutex::default(),
        }
    }

    /// Takes `count` tokens of `key`, or says in how many whole seconds they will be there.
    pub(super) fn take(&self, key: &K, count: u32, now: Instant) -> Result<(), u64> {
        self.change(key, f64::from(count).min(self.burst), now)
    }

    /// Whether a token is there, without taking it.
    pub(super) fn check(&self, key: &K, now: Instant) -> Result<(), u64> {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let level = levels
            .get(key)
            .map_or(self.burst, |level| self.level(*level, now));
        self.verdict(level, 1.0)
    }

    fn change(&self, key: &K, count: f64, now: Instant) -> Result<(), u64> {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        if levels.len() >= KEYS_MAX && !levels.contains_key(key) {
            forget_half(&mut levels);
        }
        let level = levels.entry(key.clone()).or_insert(Level {
            tokens: self.burst,
            at: now,
        });
        let tokens = self.level(*level, now);
        let verdict = self.verdict(tokens, count);
        let left = if verdict.is_ok() {
            tokens - count
        } else {
            tokens
        };
        *level = Level {
            tokens: left,
            at: now,
        };
        verdict
    }

    fn level(&self, level: Level, now: Instant) -> f64 {
        let rested = now.saturating_duration_since(level.at).as_secs_f64();
        rested
            .mul_add(self.per_second, level.tokens)
            .min(self.burst)
    }

    fn verdict(&self, tokens: f64, count: f64) -> Result<(), u64> {
        if tokens >= count {
            return Ok(());
        }
        let seconds = ((count - tokens) / self.per_second).ceil().max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive whole number"
        )]
        Err(seconds as u64)
    }
}

/// Whom an address belongs to: an IPv6 network of 64 bits is one customer's.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Half at a time, so that a flood of new keys does not pay for a search each.
fn forget_half<K: Ord>(levels: &mut BTreeMap<K, Level>) {
    let mut times: Vec<_> = levels.values().map(|level| level.at).collect();
    times.sort_unstable();
    if let Some(&middle) = times.get(times.len() / 2) {
        let mut left = times.len() / 2;
        levels.retain(|_, level| {
            let is_old = level.at <= middle && left > 0;
            left -= usize::from(is_old);
            !is_old
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (buckets, start) = (Buckets::new(2, 3), Instant::now());
        let take = |key: &str, count, ms| {
            buckets.take(&key.to_owned(), count, start + Duration::from_millis(ms))
        };
        assert_eq!(take("a", 3, 0), Ok(()));
        assert_eq!(take("a", 1, 100), Err(1));
        assert_eq!(take("b", 1, 100), Ok(()));
        assert_eq!(take("a", 1, 500), Ok(()));
        assert_eq!(take("a", 3, 500), Err(2));
        assert_eq!(take("a", 99, 10_000), Ok(()));
        assert_eq!(
            buckets.check(&"a".to_owned(), start + Duration::from_secs(10)),
            Err(1)
        );
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn memory_is_bounded() {
        let (buckets, now) = (Buckets::new(1, 10), Instant::now());
        for key in 0..20_000 {
            assert_eq!(buckets.take(&key, 1, now), Ok(()));
        }
        assert!(buckets.levels.lock().unwrap().len() <= KEYS_MAX);
    }
}
