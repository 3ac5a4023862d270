//! [`Client`]: a shard that connects to one URL, as often as asked.

use crate::{CallError, Clock, Handle, NoEntropy, Shard, ShardConfig, ShardError, SocketOptions};
use mainstem_core::transport::{App, SessionId};
use mainstem_quic::{ConnectError, ConnectRequest, Limits, SessionUrl, TlsTrust, UrlError};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Silence after which the server counts as lost. A viewer wants to know soon.
const IDLE_TIMEOUT: Duration = Duration::from_secs(6);
/// How often the server's life is asked for. After a restart it answers that the connection is none
/// of its own, and the client connects anew.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How long a goodbye may take: what was published last is acknowledged first, so that it takes about a
/// round trip, and longer only where the server says nothing any more.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// Where to connect to, and how.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `moqt://..` or `https://..`; may hold a secret in its query.
    pub url: String,
    /// How to know the server.
    pub trust: TlsTrust,
    /// Application protocols to offer, most wanted first.
    pub protocols: Vec<String>,
}

/// Why a client did not start, or cannot connect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The socket.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The host has no address.
    #[error("cannot find {host}: {source}")]
    Resolve {
        /// The host's name.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// The connection cannot be begun.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The shard has stopped.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// See the module's description.
pub struct Client<A: App> {
    shard: Shard<A>,
    clock: Clock,
    url: SessionUrl,
    config: ClientConfig,
}

impl<A> Client<A>
where
    A: App + Send + 'static,
    A::Event: Send,
{
    /// Opens a socket; connects when [`Client::connect`] says so. `clock` must be the one that the
    /// machine was made with, if it was told a time.
    pub fn open(
        config: ClientConfig,
        clock: Clock,
        app: A,
        on_event: impl FnMut(A::Event) + Send + 'static,
    ) -> Result<Self, ClientError> {
        Self::open_tuned(config, clock, app, |_| {}, on_event)
    }

    /// As [`Client::open`], with other bounds than the usual ones.
    pub fn open_tuned(
        config: ClientConfig,
        clock: Clock,
        app: A,
        tune: impl FnOnce(&mut Limits),
        on_event: impl FnMut(A::Event) + Send + 'static,
    ) -> Result<Self, ClientError> {
        let url: SessionUrl = config.url.parse()?;
        let mut host = crate::host_config(&clock)?;
        host.limits.idle_timeout = IDLE_TIMEOUT;
        host.limits.keep_alive = Some(KEEP_ALIVE);
        tune(&mut host.limits);
        let shard = ShardConfig {
            name: "client".to_owned(),
            socket: SocketOptions::new(any_address()),
            host,
            clock,
        };
        let shard = Shard::spawn(shard, app, on_event)?;
        Ok(Self {
            shard,
            clock,
            url,
            config,
        })
    }

    /// Begins a session; what becomes of it is the machine's news. Looks the host up each time and
    /// waits for that.
    pub fn connect(&self) -> Result<SessionId, ClientError> {
        self.connect_to(&self.url)
    }

    /// Where [`Client::connect`] connects to.
    pub fn url(&self) -> &SessionUrl {
        &self.url
    }

    /// Begins a session with another server, which is recognised in the same way.
    pub fn connect_to(&self, url: &SessionUrl) -> Result<SessionId, ClientError> {
        let remote = crate::resolve(url, self.shard.local_addr()).map_err(|source| {
            ClientError::Resolve {
                host: url.host.clone(),
                source,
            }
        })?;
        let ClientConfig {
            trust, protocols, ..
        } = self.config.clone();
        let request = ConnectRequest::new(url, remote, protocols, trust);
        Ok(self
            .shard
            .handle()
            .ask(move |host, now| host.connect(now, request))??)
    }

    /// The way to the machine.
    pub fn handle(&self) -> Handle<A> {
        self.shard.handle()
    }

    /// The time that the machine runs on.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Says goodbye, waits for it for a moment, and ends.
    pub fn stop(self) {
        self.shard.stop(0, "", PATIENCE);
    }
}

/// A dual-stack socket reaches every address; without IPv6 there is only the other kind.
fn any_address() -> SocketAddr {
    let dual = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    match UdpSocket::bind(dual) {
        Ok(_) => dual,
        Err(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
    }
}
