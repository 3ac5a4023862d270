//! What a machine sees of its transport: sessions, streams and datagrams, as values.
//!
//! An [`App`] is the one machine that a host runs over all of its connections. The host is real
//! QUIC and WebTransport in production (`mainstem-quic`) and the same code, or a cheaper model of
//! it, in simulation. The machine never learns which.
//!
//! # Sessions and streams
//!
//! A session is one QUIC connection that negotiated an application protocol, or one WebTransport
//! session. [`SessionId`]s are never reused within a host.
//!
//! [`StreamId`]s are numbered per session, per opener and per direction, from 0, in order of
//! opening. The machine numbers the streams that it opens itself: there is no round trip for a
//! name. When the peer's stream credit is used up, the host keeps the stream and its bytes until
//! credit arrives; a reset in the meantime discards them.
//!
//! # Back-pressure
//!
//! A [`Output::Write`] is always taken. With `notify`, the host answers
//! [`StreamEvent::Writable`] once every byte of it has been handed to QUIC, which happens when
//! flow control and the connection's send buffer allow. A machine that keeps one notified write
//! in flight per stream therefore buffers at most that write in the host. Writes without `notify`
//! are for short control messages; a session whose unsent bytes pass the host's limit is closed.
//!
//! # Order
//!
//! Inputs of one stream arrive in order, and after [`Input::Closed`] a session is silent. Streams
//! are not ordered among each other, nor against datagrams. Outputs for a session or stream that
//! is already gone are ignored: the machine need not race the peer.

use crate::payload::Payload;
use crate::time::Instant;
use bytes::Bytes;
use std::net::SocketAddr;

/// A session's name; never reused within a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Whether a stream carries bytes both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Both ends send.
    Bidirectional,
    /// Only the opener sends.
    Unidirectional,
}

/// Who opened a stream, or who ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// This machine.
    Local,
    /// The other end.
    Peer,
}

/// A stream's name within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

impl StreamId {
    /// The first in order, for ranges.
    pub(crate) const MIN: Self = Self(0);

    /// The `index`-th stream (from 0) that `origin` opened in this direction.
    pub const fn new(origin: Origin, direction: Direction, index: u64) -> Self {
        let origin = matches!(origin, Origin::Peer) as u64;
        let direction = matches!(direction, Direction::Unidirectional) as u64;
        Self(index << 2 | direction << 1 | origin)
    }

    /// Who opened it.
    pub const fn origin(self) -> Origin {
        if self.0 & 1 == 0 {
            Origin::Local
        } else {
            Origin::Peer
        }
    }

    /// Its direction.
    pub const fn direction(self) -> Direction {
        if self.0 & 2 == 0 {
            Direction::Bidirectional
        } else {
            Direction::Unidirectional
        }
    }

    /// Its number among the streams of the same opener and direction.
    pub const fn index(self) -> u64 {
        self.0 >> 2
    }
}

/// How a session is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A QUIC connection of its own, protocol chosen by ALPN.
    Quic,
    /// A WebTransport session over HTTP/3, protocol chosen by `WT-Available-Protocols`.
    WebTransport,
}

/// Which end of the connection a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Opened the connection.
    Client,
    /// Accepted it.
    Server,
}

/// What is known about a session when it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Which end this machine is.
    pub side: Side,
    /// How it is carried.
    pub carrier: Carrier,
    /// The negotiated application protocol, such as `moqt-22`.
    pub protocol: String,
    /// Authority and path-and-query of the request; `None` over raw QUIC, where MoQT carries them
    /// in SETUP. On the client side, the URL that the owner connected to.
    pub target: Option<Target>,
    /// The peer's address when the session opened.
    pub remote: SocketAddr,
}

/// Where a session was addressed to.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Host and port as the client wrote them.
    pub authority: String,
    /// Path and query, beginning with `/`. May hold a secret in its query: never log it.
    pub path: String,
}

impl std::fmt::Debug for Target {
    /// Leaves the query out: it may hold a stream key or a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{}{path}", self.authority)
    }
}

/// Why and by whom a session was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// An application close, by either end, with its code and reason.
    Application {
        /// Who closed.
        by: Origin,
        /// The application's code.
        code: u64,
        /// The application's reason, lossily decoded.
        reason: String,
    },
    /// The transport ended it: time-out, reset, refused handshake, unacceptable protocol.
    Transport {
        /// What happened, in words fit for an error message.
        reason: String,
    },
}

/// What happened on one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// Bytes arrived, in order. The first event of a peer's stream announces it.
    Data(Bytes),
    /// The peer finished its direction; no more data.
    Finished,
    /// The peer abandoned its direction with this code; no more data.
    Reset(u64),
    /// The peer asks not to be sent more on this stream. The host has reset the sending direction.
    Stopped(u64),
    /// The last notified write has been handed to QUIC in full.
    Writable,
}

/// What the world did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A session is ready for use.
    Opened {
        /// Its name.
        session: SessionId,
        /// What is known about it.
        opened: Opened,
    },
    /// Something happened on a stream.
    Stream {
        /// The session.
        session: SessionId,
        /// The stream.
        stream: StreamId,
        /// What happened.
        event: StreamEvent,
    },
    /// A datagram arrived.
    Datagram {
        /// The session.
        session: SessionId,
        /// Its bytes.
        data: Bytes,
    },
    /// The session is over. It may never have opened (a client's connection attempt that failed).
    Closed {
        /// The session.
        session: SessionId,
        /// Why.
        closed: Closed,
    },
}

/// Sending priority of what answers a stream of the peer, until [`Output::SetPriority`] changes it: the
/// peer waits for it, and may hold back the credit that everything else needs until it has it.
pub const ANSWER_PRIORITY: i32 = i32::MAX - 1;

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a stream. Indexes of one direction are used in order, without a gap.
    Open {
        /// The session.
        session: SessionId,
        /// The stream, named by the machine.
        stream: StreamId,
        /// Sending priority: higher goes first among a session's streams.
        priority: i32,
    },
    /// Send bytes: `head`, then `body`.
    Write {
        /// The session.
        session: SessionId,
        /// A stream that this end may send on.
        stream: StreamId,
        /// Framing, first.
        head: Bytes,
        /// Payload, after it.
        body: Payload,
        /// Whether this ends the sending direction.
        fin: bool,
        /// Whether to answer [`StreamEvent::Writable`].
        notify: bool,
    },
    /// Change a stream's sending priority; what the transport holds already may keep its place.
    SetPriority {
        /// The session.
        session: SessionId,
        /// A stream that this end may send on.
        stream: StreamId,
        /// Sending priority: higher goes first among a session's streams.
        priority: i32,
    },
    /// Abandon the sending direction; unsent bytes are dropped.
    Reset {
        /// The session.
        session: SessionId,
        /// The stream.
        stream: StreamId,
        /// Application code.
        code: u64,
    },
    /// Ask the peer to stop sending; no more of its data is delivered.
    Stop {
        /// The session.
        session: SessionId,
        /// The stream.
        stream: StreamId,
        /// Application code.
        code: u64,
    },
    /// Send a datagram; dropped when it is too large or the path has no room.
    Datagram {
        /// The session.
        session: SessionId,
        /// Its bytes.
        data: Bytes,
        /// Past this time it is dropped instead.
        until: Option<Instant>,
    },
    /// Let the peer have this many streams of a direction open at a time, instead of as many as the
    /// host gives everybody. The host may hold it to a bound of its own.
    Allow {
        /// The session.
        session: SessionId,
        /// Which streams.
        direction: Direction,
        /// How many.
        streams: u32,
    },
    /// End the session. `Input::Closed` by [`Origin::Local`] follows.
    Close {
        /// The session.
        session: SessionId,
        /// Application code.
        code: u64,
        /// Reason for the peer; no secrets.
        reason: String,
    },
}

/// What an [`App`] puts out: transport work for the host, or an event for the machine's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<E> {
    /// Work for the host.
    Transport(Output),
    /// News for whoever owns the machine.
    Event(E),
}

/// A machine that runs over a host's sessions.
///
/// Contract: after each `handle`, `handle_timeout` or command, `poll` is called until `None`.
/// `handle_timeout` before the deadline, or twice, changes nothing.
pub trait App {
    /// News for the machine's owner.
    type Event;

    /// What the world did.
    fn handle(&mut self, now: Instant, input: Input);
    /// The time that `next_timeout` named has come.
    fn handle_timeout(&mut self, now: Instant);
    /// The next thing to do, until `None`.
    fn poll(&mut self) -> Option<Action<Self::Event>>;
    /// When `handle_timeout` is wanted; `None` when no deadline is set.
    fn next_timeout(&self) -> Option<Instant>;
}
