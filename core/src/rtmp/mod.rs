//! RTMP: the server's half of a publish, from bytes to access units.
//!
//! Sources: RTMP 1.0 (Adobe, 2012), AMF 0 (Adobe, 2007), FLV 10.1 annex E, Enhanced RTMP v1 and v2
//! (veovera).
//!
//! | module | turns | into |
//! |---|---|---|
//! | [`server`] | bytes of one TCP connection | answers and [`Event`](server::Event)s |
//! | [`target`] | app, stream name and URL | input and stream key |
//! | [`flv`] | audio and video messages | codec configurations and frames |
//! | [`amf0`] | commands and metadata | values |
//!
//! RTMPS is the same machine behind TLS, which the owner ends. Playback is refused.

pub mod amf0;
mod chunk;
pub mod flv;
mod handshake;
mod limits;
pub mod server;
pub mod target;

pub use chunk::ChunkError;
pub use limits::{AmfLimits, Limits};
