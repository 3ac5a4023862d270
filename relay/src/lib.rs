//! The relay program: [`mainstem_core::moqt::relay::Relay`] on a socket, told by the control plane
//! whom to let in.
//!
//! | part | what it does |
//! |---|---|
//! | [`RelayServer`] | one shard with the relay machine; answers its questions, feeds it changes |
//! | [`Admin`] | figures, open sessions and their event logs over HTTP, for who operates it |
//! | [`control`] | the control plane's HTTP face, as a relay needs it |
//! | [`follow`] | keeps the machine told of what changes there |
//! | [`tcp`] | where connections come from and go to |
//! | [`EventLogConfig`] | where sessions' event logs go, when they are asked for |
//! | [`metrics`] | what the relay does, in Prometheus' text format |
//!
//! The machine decides; this crate carries. While the control plane cannot be reached, viewers go on
//! by the keys that are known, and new publishers are refused with a reason that says so.

#![forbid(unsafe_code)]

mod admin;
pub mod control;
mod event_log;
pub mod follow;
pub mod mesh;
pub mod metrics;
mod server;
pub mod tcp;

pub use admin::{Admin, AdminConfig, AdminError};
pub use control::{ClientError, ControlClient};
pub use event_log::EventLogConfig;
pub use mesh::{Discovery, StaticList, Upstreams};
pub use server::{
    Access, CLOCK_SKEW_DEFAULT, Config, MeshControl, MetricsSource, RelayServer, StartError,
};
