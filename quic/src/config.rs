//! What a host is made of: bounds, entropy, identity. Everything is handed in.
//!
//! Units are in the field names; times are `Duration`. Defaults suit a relay that serves many
//! viewers. Passing a bound is a named close, refusal or drop, never growth: each field says which.
//!
//! Sources: RFC 9000 (transport), RFC 9221 (datagrams), RFC 9308 section 3.2 (idle time-out).

use crate::tls::Certificates;
use mainstem_core::time::UnixTime;
use ring::{hkdf, hmac};
use rustls::crypto::CryptoProvider;
use std::sync::Arc;
use std::time::Duration;

/// Everything that a [`Host`](crate::Host) needs to know.
#[derive(Clone)]
pub struct Config {
    /// Bounds and time-outs.
    pub limits: Limits,
    /// All randomness of QUIC itself. TLS draws its own from `crypto`.
    pub entropy: Entropy,
    /// What to serve; `None` for a host that only connects.
    pub server: Option<Server>,
    /// TLS algorithms and their randomness; `None` for *ring* with AES-128-GCM first. A simulation
    /// hands in a provider whose randomness and key exchange are seeded.
    pub crypto: Option<Arc<CryptoProvider>>,
    /// Congestion control.
    pub congestion: Congestion,
    /// The driver's reading of the platform's clock at `Instant::ZERO`. Only differences count.
    pub epoch: std::time::Instant,
    /// Wall-clock time at `Instant::ZERO`: certificate dates and address tokens.
    pub unix_time_at_epoch: UnixTime,
    /// First byte of every connection id, so that a kernel filter can steer packets to the shard
    /// that owns the connection.
    pub shard: u8,
    /// Whether the driver's socket may fragment packets, which rules out path MTU discovery.
    pub may_fragment: bool,
}

impl Config {
    /// A client-only configuration with default limits; set `server` to serve.
    pub fn new(entropy: Entropy, epoch: std::time::Instant, unix_time_at_epoch: UnixTime) -> Self {
        Self {
            limits: Limits::default(),
            entropy,
            server: None,
            crypto: None,
            congestion: Congestion::Cubic,
            epoch,
            unix_time_at_epoch,
            shard: 0,
            may_fragment: false,
        }
    }
}

/// What a host serves.
#[derive(Clone)]
pub struct Server {
    /// Application protocols, most preferred first, such as `moqt-22`. They are the ALPN ids of
    /// raw QUIC and the answers to `WT-Available-Protocols`.
    pub protocols: Vec<String>,
    /// Whether to serve the protocols over WebTransport too (ALPN `h3`).
    pub web_transport: bool,
    /// Certificates; replaceable while the host runs.
    pub certificates: Certificates,
}

/// Congestion controllers. BBR is left out: it seeds itself, which a simulation cannot override.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// CUBIC, RFC 9438.
    #[default]
    Cubic,
    /// NewReno, RFC 9002 section 7.
    NewReno,
}

/// Bounds and time-outs of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in any state, also handshaking and draining ones; more are refused.
    pub connections_max: usize,
    /// Connections of one address; more are refused. 0 for no such limit: many viewers may stand
    /// behind one address.
    pub connections_per_address_max: usize,
    /// Server handshakes in progress; more initials are dropped, so that clients try again.
    pub handshakes_max: usize,
    /// From this many server handshakes in progress on, clients must prove their address (Retry).
    pub handshakes_before_retry: usize,
    /// New connections accepted per second, in bursts of up to one second's worth; more initials
    /// are dropped. 0 for no such limit.
    pub accepts_per_second_max: u32,
    /// Time for a connection to become a session: handshake, HTTP/3 settings and CONNECT.
    pub open_timeout: Duration,
    /// Time for the last words of a WebTransport session to be acknowledged.
    pub close_timeout: Duration,
    /// Silence after which a connection is lost.
    pub idle_timeout: Duration,
    /// Interval of keep-alive packets; `None` for none.
    pub keep_alive: Option<Duration>,
    /// Both of these for connections that this host begins: whoever dials wants to know soon that
    /// the other end is gone. `None` for the same as all others.
    pub client_liveness: Option<Liveness>,
    /// Unidirectional streams that a peer may have open; at most 1024, because quinn allocates a
    /// slot for each when the connection is made.
    pub peer_uni_streams_max: u32,
    /// Bidirectional streams that a peer may have open; at most 1024.
    pub peer_bidi_streams_max: u32,
    /// Streams of a direction that the application may allow one peer beyond that, with
    /// `Output::Allow`. Each costs a slot of some tens of bytes, used or not.
    pub allowed_streams_max: u32,
    /// Unread bytes that one stream of a peer may have in the host.
    pub stream_receive_window: u32,
    /// Unread bytes that all streams of one connection may have in the host.
    pub receive_window: u32,
    /// Unacknowledged bytes of one connection that quinn holds. Smaller means fresher media.
    pub send_window: u64,
    /// Written bytes of one session that quinn would not take yet; passing it closes the session
    /// with `overload_code`.
    pub unsent_bytes_max: usize,
    /// Such bytes of all sessions of the host together; passing it closes those sessions that have
    /// most, with `overload_code`, until an eighth is free again.
    pub unsent_bytes_total_max: usize,
    /// Streams of one session that wait for the peer's credit; passing it closes the session with
    /// `overload_code`.
    pub pending_opens_max: usize,
    /// The application code of a close that the host itself decides.
    pub overload_code: u64,
    /// Bytes read from one connection before others get their turn.
    pub read_budget: usize,
    /// Received datagrams that wait for the application, in bytes per connection.
    pub datagram_receive_buffer: usize,
    /// Datagrams that wait to be sent, in bytes per connection; the oldest make room.
    pub datagram_send_buffer: usize,
    /// Bytes of one HTTP/3 field section, counted as in RFC 9114 section 4.2.2.
    pub field_section_max: usize,
    /// WebTransport streams that arrived before their session was accepted.
    pub early_streams_max: usize,
    /// HTTP requests at once on one connection, the CONNECT of the session among them.
    pub requests_max: usize,
    /// Stateless answers (Retry, Version Negotiation, Reset) waiting to be sent; more are dropped.
    pub responses_max: usize,
    /// Initial estimate of the round trip, before the first sample.
    pub initial_rtt: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            connections_per_address_max: 0,
            handshakes_max: 1024,
            handshakes_before_retry: 256,
            accepts_per_second_max: 0,
            open_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(30),
            keep_alive: Some(Duration::from_secs(10)),
            client_liveness: None,
            peer_uni_streams_max: 256,
            peer_bidi_streams_max: 128,
            allowed_streams_max: 65_536,
            stream_receive_window: 1 << 20,
            receive_window: 4 << 20,
            send_window: 2 << 20,
            unsent_bytes_max: 16 << 20,
            unsent_bytes_total_max: 1 << 30,
            pending_opens_max: 1024,
            overload_code: 0x1,
            read_budget: 256 << 10,
            datagram_receive_buffer: 256 << 10,
            datagram_send_buffer: 256 << 10,
            field_section_max: 16 << 10,
            early_streams_max: 16,
            requests_max: 16,
            responses_max: 256,
            initial_rtt: Duration::from_millis(100),
        }
    }
}

/// How soon a silent peer counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// Silence after which a connection is lost.
    pub idle_timeout: Duration,
    /// Interval of keep-alive packets.
    pub keep_alive: Duration,
}

/// Every random value of QUIC that TLS does not draw.
///
/// Equal entropy and equal inputs give equal packets, provided that [`Config::crypto`] is seeded
/// too and the certificate is Ed25519 (ECDSA draws a nonce).
#[derive(Clone)]
pub struct Entropy {
    /// Seeds quinn's own generator: packet number skips, grease, reset padding.
    pub rng_seed: [u8; 32],
    /// Keys the generator of connection ids, also of a client's first destination id.
    pub connection_id_key: [u8; 32],
    /// Keys stateless resets. Keep it over restarts so that old connections end quickly.
    pub reset_key: [u8; 32],
    /// Keys address validation tokens. Shards behind one address share it.
    pub token_key: [u8; 32],
}

impl Entropy {
    /// Four independent values from one seed of full entropy.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"mainstem-quic entropy").extract(&seed);
        let expand = |label: &'static [u8]| {
            let mut out = [0; 32];
            // 32 bytes are one block of HKDF-SHA256: expand and fill cannot fail.
            if let Ok(okm) = prk.expand(&[label], hkdf::HKDF_SHA256) {
                let _ = okm.fill(&mut out);
            }
            out
        };
        Self {
            rng_seed: expand(b"rng"),
            connection_id_key: expand(b"connection id"),
            reset_key: expand(b"reset"),
            token_key: expand(b"token"),
        }
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy(..)")
    }
}

/// A keyed stream of unpredictable values: HMAC-SHA-256 over a counter.
pub(crate) struct KeyedCounter {
    key: hmac::Key,
    counter: u64,
}

impl KeyedCounter {
    pub(crate) fn new(key: &[u8; 32], label: &[u8]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), label);
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
            counter: 0,
        }
    }

    pub(crate) fn next(&mut self) -> [u8; 32] {
        let tag = hmac::sign(&self.key, &self.counter.to_be_bytes());
        self.counter = self.counter.wrapping_add(1);
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        out
    }
}
