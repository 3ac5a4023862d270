//! The two clocks that a host is told about, in the shapes that quinn and rustls want.
//!
//! | type | made from | used for |
//! |---|---|---|
//! | [`Epoch`] | one `std::time::Instant` from the driver | core instants <-> quinn's instants |
//! | [`WallClock`] | the wall-clock time of the epoch | certificate dates, address tokens |
//!
//! Nothing here reads a clock. A `std::time::Instant` cannot be built from a number, so the driver
//! hands one in and every other is that one plus an offset.

use mainstem_core::time::{Instant, UnixTime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Translates the driver's instants to those of quinn and back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch(std::time::Instant);

impl Epoch {
    pub(crate) fn new(epoch: std::time::Instant) -> Self {
        Self(epoch)
    }

    /// Saturates at the end of what the platform's clock can represent.
    pub(crate) fn to_std(self, at: Instant) -> std::time::Instant {
        self.0
            .checked_add(Duration::from_nanos(at.as_nanos()))
            .unwrap_or(self.0)
    }

    pub(crate) fn to_core(self, at: std::time::Instant) -> Instant {
        Instant::ZERO + at.saturating_duration_since(self.0)
    }
}

/// Wall-clock time that moves only when the host is told the time.
///
/// An atomic, because rustls asks through a shared reference; one host writes it.
#[derive(Clone, Debug)]
pub(crate) struct WallClock {
    millis: Arc<AtomicU64>,
    at_epoch: UnixTime,
}

impl WallClock {
    pub(crate) fn new(at_epoch: UnixTime) -> Self {
        Self {
            millis: Arc::new(AtomicU64::new(at_epoch.as_millis())),
            at_epoch,
        }
    }

    /// Moves to the wall-clock time that belongs to `now`.
    pub(crate) fn advance(&self, now: Instant) {
        let time = self.at_epoch + now.saturating_since(Instant::ZERO);
        self.millis.store(time.as_millis(), Ordering::Relaxed);
    }

    /// Follows a step of the wall clock: from `now` on, the time is `time` and later.
    pub(crate) fn adjust(&mut self, now: Instant, time: UnixTime) {
        let since = now.saturating_since(Instant::ZERO).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.at_epoch = UnixTime::from_millis(time.as_millis().saturating_sub(since));
        self.advance(now);
    }

    fn since_unix_epoch(&self) -> Duration {
        Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

impl rustls::time_provider::TimeProvider for WallClock {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(
            self.since_unix_epoch(),
        ))
    }
}

impl quinn_proto::TimeSource for WallClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH
            .checked_add(self.since_unix_epoch())
            .unwrap_or(UNIX_EPOCH)
    }
}
