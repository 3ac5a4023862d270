//! What model hosts send each other: packets whose frames are values.
//!
//! A packet is never parsed and never wrong: corruption, which real QUIC answers by dropping the packet, is
//! the link's to model as a loss. [`ModelPacket::size`] says what it would weigh on a wire, so that links
//! with a rate can charge for it.
//!
//! Units: bytes. Source: RFC 9000 sections 12 (packets) and 19 (frames); draft-ietf-webtrans-http3.

use bytes::Bytes;
use mainstem_core::transport::{Carrier, Direction, Side, Target};
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// What a packet costs beside its frames: UDP and IP headers, short header, number, tag.
const PACKET_COST: usize = 28 + 9 + 4 + 16;
/// What a frame costs beside its bytes.
const FRAME_COST: usize = 12;
/// A first flight is padded, and a server's holds its certificate.
const HANDSHAKE_BYTES: usize = 1200;

/// The least bytes of a packet: what every path of QUIC carries.
pub(super) const PACKET_BYTES_LEAST: usize = 1200;

/// Names one end's part of a connection. No two in a world are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// [`ModelConfig::identity`](super::ModelConfig::identity) of the host.
    pub identity: u64,
    /// The host's count of connections.
    pub index: u64,
}

/// One packet. Cloning it shares its frames. Its hash leaves payload out, but for its length and its first
/// bytes: payload is checked where it arrives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelPacket {
    /// The receiver's name of the connection; `None` while the sender does not know it.
    pub(super) to: Option<ConnectionId>,
    /// The sender's name of the connection.
    pub(super) from: ConnectionId,
    pub(super) body: Body,
}

impl ModelPacket {
    /// Bytes on the wire, UDP and IP headers included.
    pub fn size(&self) -> usize {
        let body = match &self.body {
            Body::Frames { ack, frames, .. } => {
                let ack = ack.as_ref().map_or(0, |ack| ack.ranges.len() * 4 + 8);
                frames.iter().map(Frame::size).sum::<usize>() + ack
            }
            Body::Retry | Body::Refused(_) | Body::Reset => 24,
        };
        PACKET_COST.saturating_add(body)
    }

    /// Bytes of the largest UDP datagram that it stands for: a packet of more is several of them.
    pub fn largest_datagram(&self) -> usize {
        self.size().min(PACKET_BYTES_LEAST)
    }

    /// A line for a transcript: what is in it, without payload and without secrets.
    pub fn summary(&self) -> String {
        match &self.body {
            Body::Retry => "retry".to_owned(),
            Body::Refused(reason) => format!("refused: {reason}"),
            Body::Reset => "stateless reset".to_owned(),
            Body::Frames {
                number,
                ack,
                frames,
            } => {
                let mut out = format!("#{number}");
                if let Some((_, last)) = ack.as_ref().and_then(|ack| ack.ranges.last()) {
                    let _ = write!(out, " ack..{last}");
                }
                for frame in frames.iter() {
                    out.push(' ');
                    out.push_str(&frame.summary());
                }
                out
            }
        }
    }
}

/// What is in a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Body {
    Frames {
        number: u64,
        ack: Option<Ack>,
        frames: Arc<[Frame]>,
    },
    /// A busy server wants the address proven.
    Retry,
    /// A server takes no such connection.
    Refused(&'static str),
    /// The sender knows no such connection.
    Reset,
}

/// Numbers of packets that arrived, as inclusive ranges in rising order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ack {
    pub(super) ranges: Vec<(u64, u64)>,
    /// How long the largest waited for this.
    pub(super) delay: Duration,
}

/// A stream's name on the wire, the same at both ends: opener, direction, count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WireId(u64);

impl WireId {
    pub(super) fn new(opener: Side, direction: Direction, index: u64) -> Self {
        let server = u64::from(opener == Side::Server);
        let uni = u64::from(direction == Direction::Unidirectional);
        Self(index << 2 | uni << 1 | server)
    }

    pub(super) fn opener(self) -> Side {
        if self.0 & 1 == 0 {
            Side::Client
        } else {
            Side::Server
        }
    }

    pub(super) fn direction(self) -> Direction {
        if self.0 & 2 == 0 {
            Direction::Bidirectional
        } else {
            Direction::Unidirectional
        }
    }

    pub(super) fn index(self) -> u64 {
        self.0 >> 2
    }
}

/// What an end grants the other at the start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Terms {
    pub(super) bidi_streams: u64,
    pub(super) uni_streams: u64,
    pub(super) stream_window: u64,
    pub(super) window: u64,
    pub(super) idle_timeout: Duration,
}

/// A client's first words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hello {
    pub(super) carrier: Carried,
    /// Application protocols over raw QUIC; WebTransport offers them in [`Frame::Connect`].
    pub(super) offered: Vec<String>,
    pub(super) terms: Terms,
    /// Whether this follows a [`Body::Retry`].
    pub(super) proven: bool,
}

/// [`Carrier`] with a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Carried {
    Quic,
    WebTransport,
}

impl Carried {
    pub(super) fn carrier(self) -> Carrier {
        match self {
            Self::Quic => Carrier::Quic,
            Self::WebTransport => Carrier::WebTransport,
        }
    }
}

impl From<Carrier> for Carried {
    fn from(carrier: Carrier) -> Self {
        match carrier {
            Carrier::Quic => Self::Quic,
            Carrier::WebTransport => Self::WebTransport,
        }
    }
}

/// The request for a WebTransport session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Connect {
    pub(super) target: Target,
    pub(super) offered: Vec<String>,
}

impl Hash for Connect {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.target.authority.hash(state);
        self.target.path.hash(state);
        self.offered.hash(state);
    }
}

/// Payload bytes of a frame that count for its hash.
const HASHED_BYTES: usize = 16;

/// Bytes of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Data(pub(super) Bytes);

impl Hash for Data {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.0.len());
        state.write(self.0.get(..HASHED_BYTES).unwrap_or(&self.0));
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Frame {
    /// Client: a connection is wanted.
    Hello(Box<Hello>),
    /// Server: it is granted, with this protocol (none yet over WebTransport).
    Welcome { protocol: String, terms: Box<Terms> },
    /// Client: the handshake is complete.
    Finished,
    /// Server: WebTransport is served here.
    Settings,
    /// Client: a WebTransport session is wanted.
    Connect(Box<Connect>),
    /// Server: it is granted with this protocol, or refused with this status.
    Response(Result<String, u16>),
    /// Keeps the connection alive.
    Ping,
    /// Bytes of a stream.
    Stream {
        stream: WireId,
        offset: u64,
        data: Data,
        fin: bool,
    },
    /// The sending direction is abandoned; `size` bytes of credit were used.
    Reset {
        stream: WireId,
        code: u64,
        size: u64,
    },
    /// No more of this stream is wanted.
    Stop { stream: WireId, code: u64 },
    /// So many streams of a direction may be opened in all.
    MaxStreams(Direction, u64),
    /// So many bytes may be sent in all.
    MaxData(u64),
    /// So many bytes may be sent on this stream.
    MaxStreamData { stream: WireId, max: u64 },
    /// Unreliable.
    Datagram(Data),
    /// The last words of a WebTransport session.
    EndSession { code: u64, reason: String },
    /// The connection is over. Never resent by itself.
    Close(Close),
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Close {
    pub(super) code: u64,
    pub(super) reason: String,
}

impl Frame {
    /// Bytes on the wire.
    pub(super) fn size(&self) -> usize {
        let bytes = match self {
            Self::Hello(_) | Self::Welcome { .. } => HANDSHAKE_BYTES,
            Self::Connect(connect) => {
                let offers: usize = connect.offered.iter().map(String::len).sum();
                connect.target.authority.len() + connect.target.path.len() + offers + 64
            }
            Self::Stream { data, .. } | Self::Datagram(data) => data.0.len(),
            Self::EndSession { reason, .. } | Self::Close(Close { reason, .. }) => reason.len(),
            _ => 0,
        };
        bytes.saturating_add(FRAME_COST)
    }

    /// Whether it is worth sending again when its packet is lost.
    pub(super) fn is_reliable(&self) -> bool {
        !matches!(self, Self::Ping | Self::Datagram(_) | Self::Close(_))
    }

    /// Whether only an open session understands it.
    pub(super) fn needs_session(&self) -> bool {
        match self {
            Self::Stream { .. }
            | Self::Reset { .. }
            | Self::Stop { .. }
            | Self::MaxStreams(..)
            | Self::MaxData(_)
            | Self::MaxStreamData { .. }
            | Self::Datagram(_)
            | Self::EndSession { .. } => true,
            Self::Hello(_)
            | Self::Welcome { .. }
            | Self::Finished
            | Self::Settings
            | Self::Connect(_)
            | Self::Response(_)
            | Self::Ping
            | Self::Close(_) => false,
        }
    }

    fn summary(&self) -> String {
        match self {
            Self::Stream {
                stream,
                offset,
                data,
                fin,
            } => {
                let end = offset.saturating_add(len64(&data.0));
                let fin = if *fin { " fin" } else { "" };
                format!("stream {}[{offset}..{end}{fin}]", stream.0)
            }
            Self::Hello(_) => "hello".to_owned(),
            Self::Connect(connect) => format!("connect {:?}", connect.target),
            Self::Datagram(data) => format!("datagram[{}]", data.0.len()),
            other => format!("{other:?}").to_lowercase(),
        }
    }
}

pub(super) fn len64(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}
