//! [`Host`]: one application machine over all connections of one endpoint. Sans-IO.
//!
//! The driver feeds datagrams and time, and takes packets and events:
//!
//! ```text
//! handle_datagram / handle_timeout / connect / app_mut + drive
//!     -> poll_event until None -> poll_transmit until None -> sleep until next_timeout
//! ```
//!
//! Each of the first row runs the application until neither it nor the transport has anything left
//! to say. Nothing here reads a clock, a socket or a source of randomness.

use crate::config::Config;
use crate::connections::Connections;
use crate::tls::{TlsError, TlsTrust};
use crate::url::SessionUrl;
use bytes::BytesMut;
use mainstem_core::time::{Instant, UnixTime};
use mainstem_core::transport::{Action, App, Carrier, Output, SessionId, Target};
use quinn_proto::EcnCodepoint;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// An application machine and its connections.
pub struct Host<A: App> {
    app: A,
    pub(crate) connections: Connections,
    events: VecDeque<A::Event>,
}

impl<A: App> Host<A> {
    /// A host that serves, connects or both, as `config` says.
    pub fn new(config: Config, app: A) -> Result<Self, TlsError> {
        Ok(Self {
            app,
            connections: Connections::new(config)?,
            events: VecDeque::new(),
        })
    }

    /// A datagram arrived on the socket.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        let now = self.connections.advance(now);
        self.connections.handle_datagram(datagram);
        self.drive(now);
    }

    /// Time has passed. Early or repeated calls change nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.connections.advance(now);
        self.connections.handle_timeout();
        if self.app.next_timeout().is_some_and(|at| at <= now) {
            self.app.handle_timeout(now);
        }
        self.drive(now);
    }

    /// When [`Host::handle_timeout`] is wanted; ask again after every other call.
    pub fn next_timeout(&self) -> Option<Instant> {
        match (self.connections.next_timeout(), self.app.next_timeout()) {
            (Some(transport), Some(app)) => Some(transport.min(app)),
            (transport, app) => transport.or(app),
        }
    }

    /// The next packets to send, written over `buf`: up to `segments_max` of one size to one
    /// destination (the last may be shorter). `None` when there are none now.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        segments_max: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        self.connections.advance(now);
        self.connections.poll_transmit(segments_max, buf)
    }

    /// Begins a session. `Input::Opened` or `Input::Closed` with its id follows.
    pub fn connect(
        &mut self,
        now: Instant,
        request: ConnectRequest,
    ) -> Result<SessionId, ConnectError> {
        let now = self.connections.advance(now);
        let session = self.connections.connect(request)?;
        self.drive(now);
        Ok(session)
    }

    /// The application.
    pub fn app(&self) -> &A {
        &self.app
    }

    /// The application, for commands; call [`Host::drive`] after them.
    pub fn app_mut(&mut self) -> &mut A {
        &mut self.app
    }

    /// The connection id that the first packet of a session was sent to, where this host began it:
    /// logs of both ends name the connection by it.
    pub fn first_connection_id(&self, session: SessionId) -> Option<&[u8]> {
        self.connections.first_id(session)
    }

    /// Does what commands to the application made it want.
    pub fn drive(&mut self, now: Instant) {
        let now = self.connections.advance(now);
        loop {
            while let Some(action) = self.app.poll() {
                match action {
                    Action::Transport(output) => self.connections.perform(output),
                    Action::Event(event) => self.events.push_back(event),
                }
            }
            if let Some(input) = self.connections.poll_input() {
                self.app.handle(now, input);
                continue;
            }
            self.connections.settle();
            if !self.connections.has_input() {
                break;
            }
        }
    }

    /// News from the application, until `None`. Take them after every call that drives.
    pub fn poll_event(&mut self) -> Option<A::Event> {
        self.events.pop_front()
    }

    /// Ends every session with this application code; keep driving until
    /// [`Host::is_closed`] or patience runs out.
    pub fn close_all(&mut self, now: Instant, code: u64, reason: &str) {
        let now = self.connections.advance(now);
        for session in self.connections.session_ids() {
            self.connections.perform(Output::Close {
                session,
                code,
                reason: reason.to_owned(),
            });
        }
        self.drive(now);
    }

    /// Accepts no new connections from now on; those that are open go on.
    pub fn stop_accepting(&mut self) {
        self.connections.stop_accepting();
    }

    /// Whether every connection is closed or closing, with nothing left to be acknowledged. Packets
    /// that say so may still want to be sent.
    pub fn is_closed(&self) -> bool {
        self.connections.is_closed()
    }

    /// Whether no connection is left, not even a closing one.
    pub fn is_idle(&self) -> bool {
        self.connections.connection_count() == 0
    }

    /// Tells the host that the wall clock stepped: it is `time` at `now`.
    pub fn adjust_wall_clock(&mut self, now: Instant, time: UnixTime) {
        self.connections.adjust_wall_clock(now, time);
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.connections.counters
    }

    /// A client that got no session and why, for the log; `None` when there is none left. A few
    /// dozen are kept.
    pub fn poll_refusal(&mut self) -> Option<Refusal> {
        self.connections.refusals.pop_front()
    }
}

/// A received datagram.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub remote: SocketAddr,
    /// Which of our addresses it was sent to, when the socket tells.
    pub local_ip: Option<IpAddr>,
    /// Its ECN mark.
    pub ecn: Option<Ecn>,
    /// Its bytes. Payload delivered to the application shares this allocation, so it should not
    /// hold much beside the datagram.
    pub data: BytesMut,
}

/// Packets to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub destination: SocketAddr,
    /// ECN mark to set.
    pub ecn: Option<Ecn>,
    /// Bytes in the buffer.
    pub size: usize,
    /// Size of each packet but the last, when there are several.
    pub segment_size: Option<usize>,
    /// Which of our addresses to send from.
    pub src_ip: Option<IpAddr>,
}

impl Transmit {
    /// Packets in the buffer.
    pub fn packets(&self) -> usize {
        let segment = self.segment_size.unwrap_or(self.size).max(1);
        self.size.div_ceil(segment)
    }

    pub(crate) fn from_quinn(transmit: &quinn_proto::Transmit) -> Self {
        Self {
            destination: transmit.destination,
            ecn: transmit.ecn.map(Ecn::from_quinn),
            size: transmit.size,
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        }
    }
}

/// Explicit congestion notification marks, RFC 3168.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecn {
    /// ECT(0).
    Ect0,
    /// ECT(1).
    Ect1,
    /// Congestion experienced.
    Ce,
}

impl Ecn {
    pub(crate) fn to_quinn(self) -> EcnCodepoint {
        match self {
            Self::Ect0 => EcnCodepoint::Ect0,
            Self::Ect1 => EcnCodepoint::Ect1,
            Self::Ce => EcnCodepoint::Ce,
        }
    }

    fn from_quinn(ecn: EcnCodepoint) -> Self {
        match ecn {
            EcnCodepoint::Ect0 => Self::Ect0,
            EcnCodepoint::Ect1 => Self::Ect1,
            EcnCodepoint::Ce => Self::Ce,
        }
    }
}

/// A session to open.
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    /// The peer's address.
    pub remote: SocketAddr,
    /// Name for TLS (SNI and verification).
    pub server_name: String,
    /// How to carry the session.
    pub carrier: Carrier,
    /// Application protocols to offer, most wanted first.
    pub protocols: Vec<String>,
    /// Authority and path: the CONNECT of WebTransport; over raw QUIC only reported back.
    pub target: Target,
    /// How to recognise the server.
    pub trust: TlsTrust,
}

impl ConnectRequest {
    /// A request for `url`, whose host the caller has resolved to `remote`.
    pub fn new(
        url: &SessionUrl,
        remote: SocketAddr,
        protocols: Vec<String>,
        trust: TlsTrust,
    ) -> Self {
        Self {
            remote,
            server_name: url.host.clone(),
            carrier: url.carrier,
            protocols,
            target: url.target.clone(),
            trust,
        }
    }
}

/// Why a session could not even begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The host is full.
    #[error("all {0} connections of the host are in use")]
    TooManyConnections(usize),
    /// Nothing to speak was offered.
    #[error("no application protocol was offered")]
    NoProtocol,
    /// TLS cannot be set up as asked.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Not a host name or address that TLS can verify.
    #[error("expected a host name or address to verify, not {0:?}")]
    ServerName(String),
    /// An address that nothing can be sent to.
    #[error("expected an address with a port to connect to, not {0}")]
    Address(SocketAddr),
    /// No connection id is left.
    #[error("no connection id is left for another connection")]
    ConnectionIds,
}

/// A client that got no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its address.
    pub remote: SocketAddr,
    /// Why.
    pub reason: &'static str,
}

/// What has happened on a host since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections now, in any state.
    pub connections_open: u64,
    /// Connections begun or accepted.
    pub connections_opened: u64,
    /// Connections refused: the host was full, or the first packet was bad.
    pub connections_refused: u64,
    /// Connections refused because their address has too many.
    pub connections_refused_address: u64,
    /// First packets dropped because too many handshakes were in progress.
    pub connections_dropped: u64,
    /// Clients asked to prove their address.
    pub retries: u64,
    /// Sessions now.
    pub sessions_open: u64,
    /// Sessions opened.
    pub sessions_opened: u64,
    /// Requests refused and connections closed for breaking HTTP/3.
    pub refused: u64,
    /// Sessions that passed a bound on unsent bytes or waiting streams.
    pub overloads: u64,
    /// Of those, sessions that had most when all together passed their bound.
    pub overloads_shared: u64,
    /// Sessions ended by this host's application.
    pub closed_by_us: u64,
    /// Sessions ended by a peer's application.
    pub closed_by_peers: u64,
    /// Sessions ended by the transport, or never opened.
    pub closed_by_transport: u64,
    /// UDP datagrams received.
    pub datagrams_received: u64,
    /// UDP datagrams sent.
    pub datagrams_sent: u64,
    /// UDP payload bytes received.
    pub bytes_received: u64,
    /// UDP payload bytes sent.
    pub bytes_sent: u64,
    /// Application datagrams that were too large or for a closed session.
    pub datagrams_dropped: u64,
}
