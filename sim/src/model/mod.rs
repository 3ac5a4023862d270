//! A cheaper transport for mass seeds: the streams and datagrams of QUIC without its bytes.
//!
//! [`ModelHost`] runs an [`App`] as `mainstem_quic::Host` does, with the same face, the same `Limits` and the
//! same inputs in the same order per stream; its packets are values, so there is no cryptography, no
//! parsing and no copy. The application never learns which of the two it runs over.
//!
//! | as over QUIC | left out |
//! |---|---|
//! | one round trip, protocol negotiation, WebTransport's request with its bounds, Retry | TLS, certificates, 0-RTT |
//! | order within a stream, none among streams; loss found and repaired; duplicates dropped | header formats |
//! | credit for streams and bytes, `Output::Allow`, send window, `Writable`, bounds on what waits | receive buffer of datagrams: they are read at once |
//! | FIN, reset, stop, with the carrier's codes; priorities where the window is short | ECN, pacing, path MTU |
//! | closing, draining, idle time-out, keep-alive, a restarted host's reset | key updates |
//! | a client that moves is followed | validation of the new path |
//!
//! The driver feeds packets and time as it would datagrams:
//!
//! ```text
//! handle_packet / handle_timeout / connect / app_mut + drive
//!     -> poll_event until None -> poll_transmit until None -> sleep until next_timeout
//! ```
//!
//! Units: bytes; times are `Duration` or the driver's [`Instant`]. Deterministic, and without randomness of
//! its own. Limits: [`mainstem_quic::Limits`]. Sources: RFC 9000, RFC 9002, RFC 9221,
//! draft-ietf-webtrans-http3.

mod connection;
mod connections;
mod credit;
mod incoming;
mod outgoing;
mod packet;
mod recovery;
mod sending;
mod streams;

pub use packet::{ConnectionId, ModelPacket};

use connections::Connections;
use mainstem_core::time::Instant;
use mainstem_core::transport::{Action, App, Output, SessionId};
use mainstem_quic::{ConnectError, ConnectRequest, Counters, Limits, Refusal};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// The largest datagram of an application: what fits the smallest packet of QUIC.
pub const DATAGRAM_BYTES_MAX: usize = 1162;

/// Frames of one packet when nothing else is said: as much as ten of QUIC's, which a machine's network card
/// gets in one piece.
pub const PACKET_BYTES: usize = 12_000;

/// What a model host is made of.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// Unlike that of every other host of the world, and of every other life of this host: connections
    /// are named by it.
    pub identity: u64,
    /// Bounds and time-outs.
    pub limits: Limits,
    /// What to serve; `None` for a host that only connects.
    pub server: Option<ModelServer>,
    /// Bytes of frames in one packet, from 1,200 on: as many share one fate. Less is dearer and closer to
    /// what a lossy path does.
    pub packet_bytes: usize,
}

impl ModelConfig {
    /// A client-only configuration with default limits; set `server` to serve.
    pub fn new(identity: u64) -> Self {
        Self {
            identity,
            limits: Limits::default(),
            server: None,
            packet_bytes: PACKET_BYTES,
        }
    }
}

/// What a model host serves.
#[derive(Clone, Debug)]
pub struct ModelServer {
    /// Application protocols, most preferred first.
    pub protocols: Vec<String>,
    /// Whether to serve them over WebTransport too.
    pub web_transport: bool,
}

/// A packet to send.
#[derive(Clone, Debug)]
pub struct ModelTransmit {
    /// Where to.
    pub destination: SocketAddr,
    /// What.
    pub packet: ModelPacket,
}

/// An application machine and its connections. See the module's description.
#[derive(Debug)]
pub struct ModelHost<A: App> {
    app: A,
    connections: Connections,
    events: VecDeque<A::Event>,
}

impl<A: App> ModelHost<A> {
    /// A host that serves, connects or both, as `config` says.
    pub fn new(mut config: ModelConfig, app: A) -> Self {
        config.packet_bytes = config.packet_bytes.max(1200);
        Self {
            app,
            connections: Connections::new(config),
            events: VecDeque::new(),
        }
    }

    /// A packet arrived from `remote`.
    pub fn handle_packet(&mut self, now: Instant, remote: SocketAddr, packet: &ModelPacket) {
        let now = self.connections.advance(now);
        self.connections.handle_packet(remote, packet);
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

    /// When [`ModelHost::handle_timeout`] is wanted; ask again after every other call.
    pub fn next_timeout(&self) -> Option<Instant> {
        match (self.connections.next_timeout(), self.app.next_timeout()) {
            (Some(transport), Some(app)) => Some(transport.min(app)),
            (transport, app) => transport.or(app),
        }
    }

    /// The next packet to send; `None` when there is none now.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<ModelTransmit> {
        self.connections.advance(now);
        self.connections.poll_transmit()
    }

    /// Begins a session. `Input::Opened` or `Input::Closed` with its id follows. The request's trust and
    /// server name do not matter here.
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

    /// The application, for commands; call [`ModelHost::drive`] after them.
    pub fn app_mut(&mut self) -> &mut A {
        &mut self.app
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
            let Some(input) = self.connections.poll_input() else {
                break;
            };
            self.app.handle(now, input);
        }
    }

    /// News from the application, until `None`. Take them after every call that drives.
    pub fn poll_event(&mut self) -> Option<A::Event> {
        self.events.pop_front()
    }

    /// Ends every session with this application code; keep driving until
    /// [`ModelHost::is_closed`] or patience runs out.
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

    /// Whether every connection is closed or closing. Packets that say so may still want to be sent.
    pub fn is_closed(&self) -> bool {
        self.connections.is_closed()
    }

    /// Whether no connection is left, not even a closing one.
    pub fn is_idle(&self) -> bool {
        self.connections.is_idle()
    }

    /// Stops reading a session's streams, or goes on. A session that is gone stays so.
    pub fn pause(&mut self, now: Instant, session: SessionId, is_paused: bool) {
        let now = self.connections.advance(now);
        self.connections.pause(session, is_paused);
        self.drive(now);
    }

    /// Forgets a session and its connection without a word to the peer. The application is told that
    /// the transport ended it.
    pub fn abandon(&mut self, now: Instant, session: SessionId) {
        let now = self.connections.advance(now);
        self.connections.abandon(session);
        self.drive(now);
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.connections.counters
    }

    /// A client that got no session and why, for the log; `None` when there is none left.
    pub fn poll_refusal(&mut self) -> Option<Refusal> {
        self.connections.refusals.pop_front()
    }
}
