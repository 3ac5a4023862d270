//! HTTP/3 with WebTransport, as far as one session per connection needs it. Sans-IO.
//!
//! The machine sees the peer's streams until it knows what they are. Its own streams (control,
//! CONNECT) are written by the host on its word; a stream that turns out to belong to the session
//! is handed over with [`Effect::Adopt`] and not seen again.
//!
//! | session state | entered when | streams that name the session |
//! |---|---|---|
//! | `Idle` | the connection begins | wait, within a bound |
//! | `Requested` | client: CONNECT sent | wait, within a bound |
//! | `Open` | 200 sent or received | adopted |
//! | `Over` | closed by either end | refused with `WT_SESSION_GONE` |
//!
//! Inputs: bytes of streams, cut anywhere; ends and resets. Outputs: [`Effect`]s, until `None`.
//! A waiting stream must not be read further ([`Http3::is_waiting`]): its bytes stay in QUIC's
//! receive window. Limits: size of field sections, requests, waiting streams; HTTP/3 frames that
//! mean nothing to us are skipped, however long.
//!
//! Errors of the peer close the connection with an HTTP/3 code ([`Effect::Close`]) or end one
//! request. A second CONNECT is answered with 429, anything that is not a session with 404.
//!
//! Sources: RFC 9114, RFC 9220, RFC 9297, draft-ietf-webtrans-http3.

mod capsule;
pub(crate) mod code;
mod huffman;
mod message;
mod protocols;
mod qpack;
mod settings;
mod streams;
mod wire;

use crate::wire_id::WireId;
use bytes::{BufMut, Bytes, BytesMut};
use code::Code;
use mainstem_core::transport::{Direction, Side, Target};
use settings::Settings;
use std::collections::{BTreeMap, VecDeque};
use streams::{Incoming, Kind};
use wire::{read_varint, write_varint};

/// Unidirectional stream that belongs to a session.
const STREAM_WEBTRANSPORT: u64 = 0x54;
/// First "frame" of a bidirectional stream that belongs to a session.
const FRAME_WEBTRANSPORT: u64 = 0x41;
/// Control stream.
const STREAM_CONTROL: u64 = 0x0;

/// Bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) field_section_bytes: usize,
    pub(crate) early_streams: usize,
    pub(crate) requests: usize,
}

/// What the host is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Write on a request stream; it stays the machine's.
    Send {
        stream: WireId,
        bytes: Bytes,
        fin: bool,
    },
    /// The peer's stream belongs to the session; these bytes are its first.
    Adopt { stream: WireId, first: Bytes },
    /// Abandon sending on a stream.
    Reset { stream: WireId, code: Code },
    /// Take no more from a stream.
    Stop { stream: WireId, code: Code },
    /// The session is open.
    Established { protocol: String, target: Target },
    /// The peer ended the open session.
    Ended { code: u64, reason: String },
    /// The session ended, or never began, for a reason outside the application.
    Failed { reason: String },
    /// The peer broke the rules of HTTP/3: close the connection.
    Close { code: Code, reason: &'static str },
    /// A request was answered without a session, for this reason.
    Refused(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    Idle,
    Requested(WireId),
    Open(WireId),
    Over,
}

/// One connection's HTTP/3.
#[derive(Debug)]
pub(crate) struct Http3 {
    side: Side,
    bounds: Bounds,
    /// Server: what we speak, in our order. Client: what we offer.
    protocols: Vec<String>,
    /// Client: what to ask for.
    target: Option<Target>,
    settings: Option<Settings>,
    /// Which of the streams that may exist once the peer has opened.
    seen: [bool; 3],
    streams: BTreeMap<WireId, Incoming>,
    requests: usize,
    waiting: usize,
    session: Session,
    effects: VecDeque<Effect>,
    closed: bool,
}

impl Http3 {
    /// The server's end; `protocols` in its order of preference.
    pub(crate) fn server(protocols: Vec<String>, bounds: Bounds) -> Self {
        Self::new(Side::Server, protocols, None, bounds)
    }

    /// The client's end, which asks for one session at `target`.
    pub(crate) fn client(protocols: Vec<String>, target: Target, bounds: Bounds) -> Self {
        Self::new(Side::Client, protocols, Some(target), bounds)
    }

    fn new(side: Side, protocols: Vec<String>, target: Option<Target>, bounds: Bounds) -> Self {
        Self {
            side,
            bounds,
            protocols,
            target,
            settings: None,
            seen: [false; 3],
            streams: BTreeMap::new(),
            requests: 0,
            waiting: 0,
            session: Session::Idle,
            effects: VecDeque::new(),
            closed: false,
        }
    }

    /// What our control stream begins with; nothing follows.
    pub(crate) fn control_stream(&self) -> Bytes {
        let mut out = Vec::new();
        write_varint(STREAM_CONTROL, &mut out);
        settings::encode(self.bounds.field_section_bytes, &mut out);
        out.into()
    }

    /// Whether a client wants a bidirectional stream for its CONNECT now.
    pub(crate) fn wants_request(&self) -> bool {
        self.side == Side::Client && self.session == Session::Idle && self.settings.is_some()
    }

    /// The client's CONNECT goes on this stream.
    pub(crate) fn request_opened(&mut self, stream: WireId) {
        let section = self
            .target
            .as_ref()
            .and_then(|target| message::encode_connect(target, &self.protocols));
        let Some(section) = section else {
            self.fail("the URL or a protocol holds characters that HTTP cannot carry");
            return;
        };
        let mut frame = Vec::new();
        wire::write_frame(streams::HEADERS, &section, &mut frame);
        self.session = Session::Requested(stream);
        let response = Incoming::response();
        self.count(&response);
        self.streams.insert(stream, response);
        self.effects.push_back(Effect::Send {
            stream,
            bytes: frame.into(),
            fin: false,
        });
    }

    /// The peer opened a stream.
    pub(crate) fn opened(&mut self, stream: WireId) {
        self.streams.insert(stream, Incoming::new());
    }

    /// Bytes of a stream that is not adopted.
    pub(crate) fn data(&mut self, stream: WireId, data: Bytes) {
        self.with_stream(stream, |machine, incoming| {
            machine.consume(stream, incoming, data)
        });
    }

    /// The peer finished a stream that is not adopted.
    pub(crate) fn finished(&mut self, stream: WireId) {
        self.with_stream(stream, |machine, incoming| {
            machine.end(stream, &incoming).map(|()| None)
        });
    }

    /// The peer reset a stream that is not adopted.
    pub(crate) fn reset(&mut self, stream: WireId) {
        self.with_stream(stream, |machine, incoming| {
            machine.abort(stream, &incoming).map(|()| None)
        });
    }

    /// The peer asked not to be sent more on a stream of ours. Before the response that is how a
    /// server says that it read enough of the request; the response says the rest.
    pub(crate) fn stopped(&mut self, stream: WireId) {
        if self.session == Session::Open(stream) {
            self.fail("the peer stopped the stream of the session");
        }
    }

    /// Whether a stream waits for its session and must not be read further.
    pub(crate) fn is_waiting(&self, stream: WireId) -> bool {
        matches!(
            self.streams.get(&stream),
            Some(incoming) if matches!(incoming.kind, Kind::Waiting { .. })
        )
    }

    /// The next thing to do, until `None`.
    pub(crate) fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What a stream of ours begins with; empty when no session is open.
    pub(crate) fn stream_header(&self, direction: Direction) -> Bytes {
        let Session::Open(session) = self.session else {
            return Bytes::new();
        };
        let kind = match direction {
            Direction::Bidirectional => FRAME_WEBTRANSPORT,
            Direction::Unidirectional => STREAM_WEBTRANSPORT,
        };
        let mut out = Vec::with_capacity(10);
        write_varint(kind, &mut out);
        write_varint(session.0, &mut out);
        out.into()
    }

    /// A datagram of the session as QUIC carries it.
    pub(crate) fn wrap_datagram(&self, data: &[u8]) -> Option<Bytes> {
        let Session::Open(session) = self.session else {
            return None;
        };
        let mut out = BytesMut::with_capacity(8 + data.len());
        write_varint(session.0 / 4, &mut out);
        out.put_slice(data);
        Some(out.freeze())
    }

    /// The session's datagram in one of QUIC; `None` when it is not the session's.
    pub(crate) fn unwrap_datagram(&self, mut data: Bytes) -> Option<Bytes> {
        let Session::Open(session) = self.session else {
            return None;
        };
        let (quarter, len) = read_varint(&data)?;
        (quarter == session.0 / 4).then(|| data.split_off(len))
    }

    /// Ends the open session: its last words and the stream they go on.
    pub(crate) fn close_session(&mut self, code: u64, reason: &str) -> Option<(WireId, Bytes)> {
        let Session::Open(session) = self.session else {
            return None;
        };
        self.session = Session::Over;
        let mut capsule = Vec::new();
        capsule::encode_close(code, reason, &mut capsule);
        let mut frame = Vec::new();
        wire::write_frame(streams::DATA, &capsule, &mut frame);
        Some((session, frame.into()))
    }

    /// Takes a stream's state out for the time of a step, and puts back what is left of it.
    fn with_stream(
        &mut self,
        stream: WireId,
        step: impl FnOnce(&mut Self, Incoming) -> Result<Option<Incoming>, Fault>,
    ) {
        if self.closed {
            return;
        }
        let Some(incoming) = self.streams.remove(&stream) else {
            return;
        };
        self.uncount(&incoming);
        match step(self, incoming) {
            Ok(Some(incoming)) => {
                self.count(&incoming);
                self.streams.insert(stream, incoming);
            }
            Ok(None) => {}
            Err(Fault { code, reason }) => {
                self.closed = true;
                self.session = Session::Over;
                self.effects.push_back(Effect::Close { code, reason });
            }
        }
    }

    fn count(&mut self, incoming: &Incoming) {
        self.requests += usize::from(matches!(incoming.kind, Kind::Request(_)));
        self.waiting += usize::from(matches!(incoming.kind, Kind::Waiting { .. }));
    }

    fn uncount(&mut self, incoming: &Incoming) {
        self.requests -= usize::from(matches!(incoming.kind, Kind::Request(_)));
        self.waiting -= usize::from(matches!(incoming.kind, Kind::Waiting { .. }));
    }

    fn fail(&mut self, reason: &str) {
        if self.session != Session::Over {
            self.session = Session::Over;
            self.effects.push_back(Effect::Failed {
                reason: reason.to_owned(),
            });
        }
    }

    /// The session is open on `stream`: streams that waited for it join, others are refused.
    fn establish(&mut self, stream: WireId, protocol: String, target: Target) {
        self.session = Session::Open(stream);
        self.effects
            .push_back(Effect::Established { protocol, target });
        let is_waiting = |incoming: &Incoming| matches!(incoming.kind, Kind::Waiting { .. });
        let waiting: Vec<WireId> = self
            .streams
            .iter()
            .filter(|(_, incoming)| is_waiting(incoming))
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            if let Some(incoming) = self.streams.remove(&id) {
                self.uncount(&incoming);
                if let Kind::Waiting { session, first } = incoming.kind {
                    self.adopt(id, session, first);
                }
            }
        }
    }

    /// A stream of the peer names a session: gives it to the session or turns it away.
    fn adopt(&mut self, stream: WireId, session: WireId, first: Bytes) {
        let code = match self.session {
            Session::Open(open) if open == session => {
                self.effects.push_back(Effect::Adopt { stream, first });
                return;
            }
            Session::Over => Code::WT_SESSION_GONE,
            _ => Code::WT_BUFFERED_STREAM_REJECTED,
        };
        self.turn_away(stream, code);
    }

    fn turn_away(&mut self, stream: WireId, code: Code) {
        self.effects.push_back(Effect::Stop { stream, code });
        if stream.direction() == Direction::Bidirectional {
            self.effects.push_back(Effect::Reset { stream, code });
        }
    }
}

/// A violation that ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault {
    code: Code,
    reason: &'static str,
}

impl Fault {
    const fn new(code: Code, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

#[cfg(test)]
mod tests;
