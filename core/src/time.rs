//! Time as a parameter. Three clocks, three types, never mixed.
//!
//! | type | unit | what it is for |
//! |---|---|---|
//! | [`Instant`] | nanoseconds since the driver's epoch | timers, ages, measured delays |
//! | [`UnixTime`] | milliseconds since 1970-01-01 UTC | tokens, catalogs, expiry |
//! | [`MediaTime`] | ticks of a timescale | presentation and decode times of media |
//!
//! Nothing here reads a clock: the driver (production or simulation) hands the values in.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the driver's monotonic clock, in nanoseconds since an epoch that the driver chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The driver's epoch.
    pub const ZERO: Self = Self(0);

    /// The instant `nanos` nanoseconds after the epoch (584 years fit).
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of the representable range.
    fn add(self, rhs: Duration) -> Self {
        let nanos = u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.saturating_since(rhs)
    }
}

/// Wall-clock time, in milliseconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// From whole seconds since the Unix epoch (the unit of `exp` in a JWT).
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for UnixTime {
    type Output = Self;

    /// Saturates at the end of the representable range.
    fn add(self, rhs: Duration) -> Self {
        let millis = u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// A media time: `ticks / timescale` seconds. `timescale` is never zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MediaTime {
    ticks: i64,
    timescale: std::num::NonZeroU32,
}

impl MediaTime {
    /// `ticks` units of `1 / timescale` seconds.
    pub const fn new(ticks: i64, timescale: std::num::NonZeroU32) -> Self {
        Self { ticks, timescale }
    }

    /// The number of ticks.
    pub const fn ticks(self) -> i64 {
        self.ticks
    }

    /// Ticks per second.
    pub const fn timescale(self) -> std::num::NonZeroU32 {
        self.timescale
    }

    /// The same time in another timescale, rounded towards negative infinity and saturated.
    pub fn rescale(self, timescale: std::num::NonZeroU32) -> Self {
        let scaled = (i128::from(self.ticks) * i128::from(timescale.get()))
            .div_euclid(i128::from(self.timescale.get()));
        let ticks = i64::try_from(scaled).unwrap_or(if scaled < 0 { i64::MIN } else { i64::MAX });
        Self { ticks, timescale }
    }

    /// The time in microseconds, rounded towards negative infinity and saturated.
    pub fn as_micros(self) -> i64 {
        const MICROS: std::num::NonZeroU32 = std::num::NonZeroU32::new(1_000_000).unwrap();
        self.rescale(MICROS).ticks
    }
}

impl fmt::Debug for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ticks, self.timescale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn rescaling_rounds_down_and_saturates() {
        let hz = |n| NonZeroU32::new(n).unwrap();
        assert_eq!(MediaTime::new(-1, hz(3)).rescale(hz(2)).ticks(), -1);
        assert_eq!(MediaTime::new(5, hz(1000)).as_micros(), 5000);
        assert_eq!(
            MediaTime::new(i64::MAX, hz(1)).rescale(hz(2)).ticks(),
            i64::MAX
        );
        assert_eq!(
            MediaTime::new(i64::MIN, hz(1)).rescale(hz(2)).ticks(),
            i64::MIN
        );
    }

    #[test]
    fn instants_never_underflow() {
        assert_eq!(Instant::ZERO - Instant::from_nanos(5), Duration::ZERO);
        assert_eq!(Instant::ZERO + Duration::MAX, Instant::from_nanos(u64::MAX));
    }
}
