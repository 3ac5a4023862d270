//! [`Engine`]: listeners, uplink and what they share.

use crate::control::ControlClient;
use crate::inputs::Inputs;
use crate::metrics::Metrics;
use crate::rtmp;
use crate::tcp::Accept;
use crate::ticks::Ticks;
use crate::uplink::{Opener, Target, Trust, Uplink, UplinkStartError};
use mainstem_core::{broadcast, packager};
use mainstem_quic::{SessionUrl, UrlError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What an engine is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// The RTMP listener.
    pub rtmp: RtmpConfig,
    /// Who says which encoder may publish.
    pub control: ControlClient,
    /// Where broadcasts go.
    pub relay: RelayConfig,
    /// Habits and bounds of packaging. [`packager::Config::start`] is set for each encoder.
    pub packager: packager::Config,
    /// Habits and bounds of broadcasts.
    pub broadcast: broadcast::Config,
    /// Broadcasts at a time, those that linger counted.
    pub inputs_max: usize,
    /// Silence of an encoder after which another one may take its input.
    pub stale_after: Duration,
}

/// The RTMP listener.
#[derive(Clone, Copy, Debug)]
pub struct RtmpConfig {
    /// TCP address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Connections at a time; more are closed at once.
    pub connections_max: usize,
    /// Connections of one address that do not publish yet; more are closed at once.
    pub handshakes_per_ip_max: usize,
    /// Bytes that wait to be sent to an encoder; while there are more, nothing is read from it.
    pub unsent_bytes_max: usize,
    /// Bounds and time-outs of each connection.
    pub limits: mainstem_core::rtmp::Limits,
}

/// The relay.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// `moqt://host:port` (raw QUIC) or `https://host:port` (WebTransport), without a path.
    pub url: String,
    /// How to recognise it.
    pub trust: Trust,
}

impl Config {
    /// Defaults for everything but the addresses.
    pub fn new(rtmp: SocketAddr, control: ControlClient, relay: RelayConfig) -> Self {
        let mut broadcast = broadcast::Config::default();
        broadcast.session.grease = mainstem_net::os_seed().ok();
        Self {
            rtmp: RtmpConfig {
                listen: rtmp,
                connections_max: 1024,
                handshakes_per_ip_max: 32,
                unsent_bytes_max: 64 << 10,
                limits: mainstem_core::rtmp::Limits::default(),
            },
            control,
            relay,
            packager: packager::Config::default(),
            broadcast,
            inputs_max: 1024,
            stale_after: Duration::from_secs(5),
        }
    }
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address of the listener.
    #[error("cannot listen for rtmp on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The relay's URL.
    #[error("the relay's address: {0}")]
    Relay(#[from] UrlError),
    /// The way to the relay.
    #[error(transparent)]
    Uplink(#[from] UplinkStartError),
}

/// The engine.
#[derive(Debug)]
pub struct Engine;

/// An engine that is serving. Dropping it ends it without a goodbye; [`Running::stop`] says one.
pub struct Running {
    /// Where it takes RTMP: `rtmp://<this>/live`.
    pub rtmp_addr: SocketAddr,
    /// Its figures.
    pub metrics: Arc<Metrics>,
    shared: Arc<Shared>,
    uplink: Uplink,
    stopping: watch::Sender<bool>,
    listener: JoinHandle<()>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Ticks,
    pub(crate) opener: Opener,
    pub(crate) inputs: Arc<Inputs>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Engine {
    /// Opens the sockets and serves. Call it on a tokio runtime.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let address = config.rtmp.listen;
        let listen = |source| StartError::Listen { address, source };
        let socket = TcpListener::bind(address).await.map_err(listen)?;
        Self::start_on(config, socket)
    }

    /// The same for encoders that come from `socket`; [`RtmpConfig::listen`] is not looked at. Call
    /// it on a tokio runtime.
    pub fn start_on(config: Config, socket: impl Accept) -> Result<Running, StartError> {
        // Known to be good before the first encoder comes.
        config.relay.url.parse::<SessionUrl>()?;
        let address = config.rtmp.listen;
        let listen = |source| StartError::Listen { address, source };
        let rtmp_addr = socket.local_addr().map_err(listen)?;
        let uplink = Uplink::start(config.inputs_max)?;
        let metrics = Arc::new(Metrics::default());
        let shared = Arc::new(Shared {
            clock: Ticks::start(),
            opener: uplink.opener(),
            inputs: Arc::new(Inputs::default()),
            metrics: Arc::clone(&metrics),
            config,
        });
        let (stopping, is_stopping) = watch::channel(false);
        let listener = tokio::spawn(rtmp::listen(socket, Arc::clone(&shared), is_stopping));
        Ok(Running {
            rtmp_addr,
            metrics,
            shared,
            uplink,
            stopping,
            listener,
        })
    }
}

impl Running {
    /// Inputs that have an encoder, or linger after one.
    pub fn inputs(&self) -> usize {
        self.shared.inputs.len()
    }

    /// Asks after the thread that carries broadcasts to the relay, from any thread.
    pub fn probe(&self) -> Probe {
        Probe(self.shared.opener.clone())
    }

    /// Tells the encoders, closes every session, and waits up to `patience` for the goodbyes.
    pub async fn stop(self, patience: Duration) {
        self.stopping.send_replace(true);
        // Connections end by themselves; those that do not in time are dropped with the runtime.
        let _ = tokio::time::timeout(patience, self.listener).await;
        self.uplink.stop("the engine is stopping", patience).await;
    }
}

/// Asks whether an engine is well.
#[derive(Clone)]
pub struct Probe(Opener);

impl Probe {
    /// Whether the thread that carries broadcasts to the relay answers; waits for its answer, so it
    /// blocks. What was handed to that thread before is done by then.
    pub fn is_responsive(&self) -> bool {
        self.0.is_responsive()
    }
}

impl Shared {
    /// The relay's address for publishing to an input with a stream key.
    pub(crate) fn target(&self, input: &str, stream_key: &str) -> Result<Target, UrlError> {
        let base = self.config.relay.url.trim_end_matches('/');
        let url = format!("{base}/publish/{input}?sk={}", percent_encoded(stream_key));
        Ok(Target {
            url: url.parse()?,
            trust: self.config.relay.trust.clone(),
        })
    }
}

/// A value for a query: all but unreserved characters (RFC 3986, 2.3) as percent signs and digits.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(digit.into(), 16));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_query_of_a_url() {
        assert_eq!(percent_encoded("sk_live-9.~"), "sk_live-9.~");
        assert_eq!(percent_encoded("a+b/c?&="), "a%2bb%2fc%3f%26%3d");
    }
}
