//! [`Limits`]: the bounds of one track.

use super::cache;
use std::time::Duration;

/// Bounds of one track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What is retained.
    pub cache: cache::Limits,
    /// Unfinished groups older than the newest that a subscriber may have before it loses the
    /// oldest.
    pub groups_behind_max: usize,
    /// How long ago such a group must have begun to be lost: groups that arrive in a burst, after a
    /// publisher's hiccup, are no sign of a slow subscriber.
    pub late_after: Duration,
    /// Unfinished groups that a burst may leave, however young they are.
    pub burst_groups_max: usize,
    /// Bytes handed to a stream in one go.
    pub burst_bytes: usize,
    /// Subscribers from which on an object is written once for all of them: a copy of its payload, and
    /// less to do for each stream.
    pub framed_from: usize,
    /// Payload bytes up to which it is.
    pub framed_bytes_max: usize,
    /// How long the last streams of an ended track may take.
    pub end_timeout: Duration,
    /// Ranges in the range filters of one subscription.
    pub filter_ranges_max: usize,
    /// Fetches and fills that an original publisher answers at a time, per session.
    pub fetches_max: usize,
    /// How long the transport may take nothing for a subscriber that loses groups before its
    /// subscription ends, as too far behind.
    pub hopeless_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cache: cache::Limits::default(),
            groups_behind_max: 2,
            late_after: Duration::from_secs(1),
            burst_groups_max: 7,
            burst_bytes: 64 << 10,
            framed_from: 8,
            framed_bytes_max: 1 << 20,
            end_timeout: Duration::from_secs(5),
            filter_ranges_max: 64,
            fetches_max: 64,
            hopeless_after: Duration::from_secs(30),
        }
    }
}
