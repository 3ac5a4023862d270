//! The driver's clock: the one place where monotonic and wall-clock time are read.
//!
//! Unit: nanoseconds since the clock was started ([`Instant`]); the wall clock is read once and a
//! host follows it by the monotonic one.

use mainstem_core::time::{Instant, UnixTime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A monotonic clock with a beginning. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: std::time::Instant,
    unix_time_at_epoch: UnixTime,
}

impl Clock {
    /// Starts at zero, now.
    pub fn start() -> Self {
        Self {
            epoch: std::time::Instant::now(),
            unix_time_at_epoch: unix_now(),
        }
    }

    /// The time since the start.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    /// What the platform's monotonic clock read at the start.
    pub fn epoch(&self) -> std::time::Instant {
        self.epoch
    }

    /// What the wall clock read at the start.
    pub fn unix_time_at_epoch(&self) -> UnixTime {
        self.unix_time_at_epoch
    }

    /// The wall-clock time that belongs to `at`.
    pub fn unix_time(&self, at: Instant) -> UnixTime {
        self.unix_time_at_epoch + at.saturating_since(Instant::ZERO)
    }

    /// Time from now until `at`; zero when it has passed.
    pub fn until(&self, at: Instant) -> Duration {
        at.saturating_since(self.now())
    }
}

fn unix_now() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
