//! [`Config`]: the bounds and habits of a relay.

use super::{fetch, mesh, sdk};
use crate::moqt::{session, track};
use std::time::Duration;

/// Bounds and habits of a relay.
#[derive(Clone, Debug)]
pub struct Config {
    /// What each session is told and allowed.
    pub sessions: session::Config,
    /// Bounds of each track.
    pub track: track::Limits,
    /// Bytes of all retained groups together. The newest group of a track is kept beyond it.
    pub cache_bytes_max: usize,
    /// Bytes of all retained groups, the newest of each track included. Objects beyond it are neither
    /// kept nor forwarded; the streams that they belong to are reset.
    pub cache_bytes_hard_max: usize,
    /// Tracks at a time.
    pub tracks_max: usize,
    /// Announced namespaces at a time.
    pub namespaces_max: usize,
    /// Namespaces that one SUBSCRIBE_NAMESPACE may match.
    pub namespaces_listed_max: usize,
    /// Tracks that one SUBSCRIBE_TRACKS may match when it is asked.
    pub tracks_offered_max: usize,
    /// Different range filters that the SUBSCRIBE_TRACKS of one prefix may have together.
    pub tracks_filters_max: usize,
    /// Bounds of fetches and fills.
    pub fetch: fetch::Limits,
    /// Bounds of each upload of an SDK.
    pub upload: sdk::Limits,
    /// How long viewers keep their subscription when the publisher is lost.
    pub publisher_linger: Duration,
    /// Whether a track that is published unasked is taken from the start and never paused, so that
    /// its newest group is here for the first viewer; otherwise it is forwarded only while somebody
    /// watches. Publishers built on moq-transport end their track when they are asked to pause.
    pub forward_published: bool,
    /// How long an upstream subscription outlives its last viewer.
    pub subscriber_linger: Duration,
    /// Longest time that a SUBSCRIBE may wait for a publisher, whatever RENDEZVOUS_TIMEOUT says.
    pub rendezvous_max: Duration,
    /// How long the control plane may take to resolve a stream key.
    pub resolve_timeout: Duration,
    /// Requests of a session that may wait for it.
    pub requests_held_max: usize,
    /// Bytes of a session that may wait for it: a publisher need not wait for its answer before it
    /// sends.
    pub held_bytes_max: usize,
    /// Who this relay is in a mesh of relays.
    pub mesh: mesh::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sessions: session::Config {
                sessions_max: 100_000,
                implementation: Some(concat!("mainstem/", env!("CARGO_PKG_VERSION")).to_owned()),
                max_filter_ranges: 64,
                ..session::Config::default()
            },
            track: track::Limits::default(),
            cache_bytes_max: 512 << 20,
            cache_bytes_hard_max: 1 << 30,
            tracks_max: 100_000,
            namespaces_max: 100_000,
            namespaces_listed_max: 10_000,
            tracks_offered_max: 10_000,
            tracks_filters_max: 1024,
            fetch: fetch::Limits::default(),
            upload: sdk::Limits::default(),
            publisher_linger: Duration::from_secs(10),
            forward_published: true,
            subscriber_linger: Duration::from_secs(2),
            rendezvous_max: Duration::from_secs(30),
            resolve_timeout: Duration::from_secs(10),
            requests_held_max: 64,
            held_bytes_max: 16 << 20,
            mesh: mesh::Config::default(),
        }
    }
}
