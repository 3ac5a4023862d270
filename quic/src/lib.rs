//! QUIC and WebTransport for one application machine, sans-IO.
//!
//! [`Host`] runs one [`App`](mainstem_core::transport::App) over raw QUIC (the ALPN id names the
//! protocol) and over WebTransport (HTTP/3), as server, client or both. Datagrams and time go in,
//! datagrams and events come out. quinn-proto does QUIC, rustls does TLS; HTTP/3 is our own, as
//! far as WebTransport needs it.
//!
//! No clock, socket, thread or operating-system randomness: the driver hands all of it in
//! ([`Config`], [`Entropy`]), so that a simulation replays a run bit by bit.

#![forbid(unsafe_code)]

mod clock;
mod config;
mod connection;
mod connections;
mod datagrams;
mod endpoint;
mod figures;
mod host;
mod http3;
mod outputs;
mod reading;
mod rough;
mod send;
mod sessions;
mod shed;
mod streams;
mod tls;
mod url;
mod wire_id;

pub use config::{Config, Congestion, Entropy, Limits, Liveness, Server};
pub use figures::{Figures, RTT_BOUNDS_MS};
pub use host::{ConnectError, ConnectRequest, Counters, Datagram, Ecn, Host, Refusal, Transmit};
pub use rustls;
pub use tls::{Certificates, TlsError, TlsTrust, default_provider, sha256};
pub use url::{SessionUrl, UrlError};
