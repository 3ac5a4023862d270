//! A client of relays for programs: publishes and watches, and keeps at it.
//!
//! | type | what it is |
//! |---|---|
//! | [`Client`] | one connection that is begun anew when it is lost; [`Publication`]s and [`Subscription`]s are attached to it |
//! | [`BroadcastViewer`] | the media of one live stream, chunk by chunk, until it ends |
//! | [`BroadcastPublisher`] | chunks of CMAF, cut anywhere, to a live input |
//! | [`Config`] | where to connect to, and how to know the relay |
//!
//! The protocol is core's machines over quic's host; here are the threads around them. Each client has
//! two: the shard's, which never waits, and the driver's, which connects, waits, and calls back. Every
//! callback of a client is called from its driver's thread, one after the other, and none is called
//! after `close` has returned, unless `close` was called from within a callback: then the last one is the
//! news that it is closed.
//!
//! A callback that takes long delays the next one and nothing else, until [`QUEUE_BYTES_MAX`] wait;
//! then whole groups are dropped. Threads do not survive `fork`: open clients in the child.
//!
//! Sources: seed document 000 (surface, close reasons); CONTRACTS A1 (states, reconnect).

#![forbid(unsafe_code)]

mod backoff;
mod client;
mod close;
mod config;
mod decoding;
mod driver;
mod framing;
mod publisher;
mod queue;
mod trust;
mod viewer;

pub use client::{
    Arrival, Client, Error, Handler, OnState, Publication, Start, Subscription, TrackInfo,
};
pub use close::{Close, CloseReason, State};
pub use config::{Config, ConfigError, RELAY_VARIABLE};
pub use decoding::Frame;
pub use framing::Format;
pub use publisher::{BroadcastPublisher, PublisherOptions};
pub use queue::{QUEUE_BYTES_MAX, QUEUE_LEN_MAX};
pub use trust::{CERTIFICATE_VARIABLE, INSECURE_VARIABLE, Trust, TrustError};
pub use viewer::{BroadcastViewer, ViewerOptions};

/// The track of muxed media that every live stream has.
pub const BROADCAST_TRACK: &str = mainstem_core::broadcast::MUXED_TRACK;
