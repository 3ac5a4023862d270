//! The engine: takes an encoder in, packages what it sends, and publishes it over MoQT.
//!
//! ```text
//! TCP -> rtmp::server (core) -> packager (core) -> Fleet of Broadcasters (core) on a shard -> relay
//!             ^ may it publish? control plane
//! ```
//!
//! | part | what it does |
//! |---|---|
//! | [`Engine`] | RTMP listener; a task per encoder connection |
//! | [`uplink`] | one shard with all broadcasts; connects them to the relay, and again when lost |
//! | [`publish`](mod@publish) | a file or standard input as a live stream: `mainstem publish` |
//! | [`ControlClient`] | asks the control plane which encoder may publish |
//! | [`tcp`] | where connections come from and go to |
//! | [`metrics`] | what the engine does, in Prometheus' text format |
//!
//! The machines decide; this crate carries. Nothing that happens between engine and relay holds up
//! an encoder: while the relay is away, the newest groups are kept within bounds and the rest is
//! let go.

#![forbid(unsafe_code)]

mod control;
mod engine;
mod inputs;
pub mod metrics;
pub mod publish;
mod rtmp;
pub mod tcp;
mod ticks;
pub mod uplink;
mod wall;

pub use control::{ClientError, ControlClient};
pub use engine::{Config, Engine, Probe, RelayConfig, RtmpConfig, Running, StartError};
pub use metrics::Metrics;
