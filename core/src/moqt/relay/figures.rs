//! [`Metrics`]: what a relay has done and holds.

use super::mesh;
use crate::moqt::track::delays::Delays;

/// What the relay does and has done, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Sessions open.
    pub sessions: usize,
    /// Tracks known.
    pub tracks: usize,
    /// Namespaces announced.
    pub namespaces: usize,
    /// Subscriptions to publishers, pending or established.
    pub upstream_subscriptions: usize,
    /// Subscriptions of viewers.
    pub downstream_subscriptions: usize,
    /// Fetches and fills that are being answered.
    pub fetches: usize,
    /// Fetches and fills accepted so far.
    pub fetches_accepted: u64,
    /// Fetches sent to publishers so far.
    pub fetches_upstream: u64,
    /// Fetches and fills so far that the cache answered alone.
    pub fetches_hit: u64,
    /// Those that it answered in part.
    pub fetches_partial: u64,
    /// Those that it had nothing for.
    pub fetches_missed: u64,
    /// Objects of the past handed to viewers' streams; [`Self::objects_sent`] counts them too.
    pub objects_past: u64,
    /// Payload bytes of those.
    pub bytes_past: u64,
    /// Bytes of retained groups.
    pub cache_bytes: usize,
    /// Objects received from publishers, duplicates left out.
    pub objects_received: u64,
    /// Payload bytes of those.
    pub bytes_received: u64,
    /// Objects handed to viewers' streams.
    pub objects_sent: u64,
    /// Payload bytes of those.
    pub bytes_sent: u64,
    /// Groups that slow viewers lost because they were too far behind.
    pub groups_dropped: u64,
    /// Groups that viewers lost because they left the cache.
    pub groups_cut: u64,
    /// Subgroups that viewers lost to a delivery time-out.
    pub groups_expired: u64,
    /// Subgroups whose stream a viewer stopped.
    pub groups_stopped: u64,
    /// What viewers lost because their track was malformed, once for each viewer.
    pub groups_malformed: u64,
    /// Subgroups that viewers lost because an object passed a bound of the cache, once for each viewer.
    pub groups_over_limit: u64,
    /// How long objects waited for the transport of each viewer.
    pub delays: Delays,
    /// Publishers' requests that were ended because of what they sent.
    pub requests_malformed: u64,
    /// Groups that left the cache.
    pub groups_evicted: u64,
    /// Groups that may be evicted.
    pub groups_evictable: usize,
    /// Objects that passed a bound of the cache: neither kept nor forwarded.
    pub objects_over_limit: u64,
    /// Sessions ended for want of permission.
    pub sessions_denied: u64,
    /// The mesh.
    pub mesh: mesh::Metrics,
}
