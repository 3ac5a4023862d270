//! The wall clock, in microseconds: what reference times and first group ids are taken from.

use mainstem_core::cmaf::NtpTime;
use mainstem_core::time::UnixTime;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970-01-01 UTC; zero on a machine whose clock stands before it.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The same for a `prft` box.
pub(crate) fn ntp_now() -> NtpTime {
    let micros = since_epoch().as_micros();
    NtpTime::from_unix_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// The same for a catalog.
pub(crate) fn unix_now() -> UnixTime {
    UnixTime::from_millis(unix_millis())
}

/// The same as a number of milliseconds.
pub(crate) fn unix_millis() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}
