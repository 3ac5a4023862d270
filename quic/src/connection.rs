//! One QUIC connection and the session on it.
//!
//! | phase | entered when | left when |
//! |---|---|---|
//! | `Handshaking` | connected or accepted | the handshake completes or fails |
//! | `Raw` | ALPN is an application protocol; the session is open | closed |
//! | `Http3` | ALPN is `h3`; the session opens with an accepted CONNECT | closed |
//! | `Closing` | either end closed, or a rule or bound was broken | quinn has drained it |
//!
//! A session that we close in peace (code 0) is over for the application at once. Its connection first
//! leaves: streams that were ended are acknowledged, bounded by `Limits::close_timeout`, and everything else
//! that was written is sent once. A close for any other reason waits for nothing.
//!
//! Inputs: quinn's events, the application's outputs (`crate::outputs`), the deadline. Outputs:
//! [`Input`]s for the application (stream bytes in `crate::reading`). A deadline bounds the time until a session is open, and the time
//! for a WebTransport session's last words to be acknowledged.
//!
//! Sources: RFC 9000, draft-ietf-webtrans-http3.

use crate::config::Limits;
use crate::datagrams::Datagrams;
use crate::host::{Counters, Refusal};
use crate::http3::code::{self, Code};
use crate::http3::{Bounds, Effect, Http3};
use crate::send::SendQueue;
use crate::sessions::Sessions;
use crate::streams::StreamTable;
use crate::tls::ALPN_H3;
use crate::wire_id::{WireId, dir};
use bytes::Bytes;
use mainstem_core::canary::{self, Canary};
use mainstem_core::payload::Payload;
use mainstem_core::transport::{
    ANSWER_PRIORITY, Carrier, Closed, Direction, Input, Opened, Origin, SessionId, Side,
    StreamEvent, StreamId, Target,
};
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{ConnectionError, ConnectionId, Event, VarInt};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

/// Refusals kept for the driver to log.
const REFUSALS_MAX: usize = 64;

/// What a connection may use of its host during one step.
pub(crate) struct Context<'a> {
    pub(crate) handle: usize,
    pub(crate) now: Instant,
    pub(crate) limits: &'a Limits,
    /// What this host serves, in its order.
    pub(crate) protocols: &'a [String],
    pub(crate) inputs: &'a mut VecDeque<Input>,
    pub(crate) sessions: &'a mut Sessions,
    pub(crate) counters: &'a mut Counters,
    pub(crate) refusals: &'a mut VecDeque<Refusal>,
}

/// What a client connected for.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) protocols: Vec<String>,
    pub(crate) target: Target,
}

#[derive(Debug)]
pub(crate) enum Phase {
    Handshaking,
    Raw,
    Http3 {
        machine: Box<Http3>,
        control_opened: bool,
    },
    /// `last_words` is the stream whose acknowledgement ends the connection.
    Closing {
        last_words: Option<WireId>,
    },
}

impl Phase {
    /// The application's code in a code on the wire.
    pub(crate) fn application_code(&self, code: VarInt) -> u64 {
        match self {
            Self::Http3 { .. } => code::from_wire(code.into_inner()),
            _ => code.into_inner(),
        }
    }

    /// Whether the code says that the stream went with its session. The word that ends the session
    /// is on another stream, and may come later.
    pub(crate) fn is_session_gone(&self, code: VarInt) -> bool {
        matches!(self, Self::Http3 { .. }) && code.into_inner() == Code::WT_SESSION_GONE.0
    }
}

/// One connection.
pub(crate) struct Connection {
    pub(crate) quic: quinn_proto::Connection,
    pub(crate) phase: Phase,
    pub(crate) session: Option<SessionId>,
    pub(crate) streams: StreamTable,
    is_open: bool,
    intent: Option<Intent>,
    /// The connection id that the first packet was sent to, where we sent it.
    pub(crate) first_id: Option<ConnectionId>,
    /// Datagrams that QUIC has no room for yet.
    pub(crate) unsent: Datagrams,
    /// Streams of HTTP/3 itself that we write.
    own: BTreeMap<WireId, SendQueue>,
    pub(crate) readable: BTreeSet<WireId>,
    /// Whether arriving stream bytes stay in QUIC's windows.
    pub(crate) is_paused: bool,
    /// How the connection is closed once what was written is with the peer.
    pub(crate) leaving: Option<(u64, String)>,
    /// When an unopened session is given up, or last words are.
    pub(crate) deadline: Option<Instant>,
    /// The address that the host counts it under, wherever it moves.
    pub(crate) came_from: IpAddr,
    /// The host's entry in its timers.
    pub(crate) timer: Option<Instant>,
    /// Whether the host counts it among its handshakes.
    pub(crate) is_counted: bool,
    /// Whether the host has it in its queue of connections that may have packets.
    pub(crate) queued: bool,
    /// Whether it is asked for packets for the second time in a row.
    pub(crate) asked_again: bool,
}

impl Connection {
    pub(crate) fn new(quic: quinn_proto::Connection, deadline: Option<Instant>) -> Self {
        Self {
            came_from: quic.remote_address().ip(),
            quic,
            phase: Phase::Handshaking,
            session: None,
            streams: StreamTable::default(),
            is_open: false,
            intent: None,
            first_id: None,
            unsent: Datagrams::default(),
            own: BTreeMap::new(),
            readable: BTreeSet::new(),
            is_paused: false,
            leaving: None,
            deadline,
            timer: None,
            is_counted: true,
            queued: false,
            asked_again: false,
        }
    }

    /// Makes it a client's, with a session that is about to open.
    pub(crate) fn intend(&mut self, intent: Intent, session: SessionId, first_id: ConnectionId) {
        self.first_id = Some(first_id);
        self.intent = Some(intent);
        self.session = Some(session);
    }

    /// Whether the handshake is still in progress.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::Handshaking)
    }

    /// Whether the session on it is over.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }

    /// The earlier of QUIC's deadline and the host's.
    pub(crate) fn next_timeout(&mut self) -> Option<Instant> {
        match (self.quic.poll_timeout(), self.deadline) {
            (Some(quic), Some(deadline)) => Some(quic.min(deadline)),
            (quic, deadline) => quic.or(deadline),
        }
    }

    /// Works off quinn's events and reads; true when reading is left for the next turn.
    pub(crate) fn process(&mut self, cx: &mut Context<'_>) -> bool {
        while let Some(event) = self.quic.poll() {
            self.event(event, cx);
        }
        self.open_streams(cx);
        let more = self.read(cx);
        self.flush_ready(cx);
        more
    }

    /// The time that `deadline` named has come.
    pub(crate) fn deadline_passed(&mut self, cx: &mut Context<'_>) {
        self.deadline = None;
        if matches!(self.phase, Phase::Closing { .. }) {
            self.close_quic(Code::NO_ERROR.0, "", cx);
        } else if self.leaving.is_some() {
            self.leave(cx);
        } else if self.is_open {
            let reason = "the peer gave up the session's streams and did not say why";
            self.fail(reason, Code::NO_ERROR, cx);
        } else {
            let reason = format!("no session after {:?}", cx.limits.open_timeout);
            self.fail(&reason, Code::NO_ERROR, cx);
        }
    }

    /// The session is over for the peer: its reason is on its way, and is not awaited for ever.
    pub(crate) fn await_close(&mut self, cx: &mut Context<'_>) {
        if self.deadline.is_none() {
            self.deadline = cx.now.checked_add(cx.limits.open_timeout);
        }
    }

    /// Ends the session and the connection for a reason outside the application.
    pub(crate) fn fail(&mut self, reason: &str, code: Code, cx: &mut Context<'_>) {
        self.close_quic(code.0, reason, cx);
        self.end_session(
            Closed::Transport {
                reason: reason.to_owned(),
            },
            cx,
        );
    }

    /// Closes the QUIC connection at once.
    pub(crate) fn close_quic(&mut self, code: u64, reason: &str, cx: &mut Context<'_>) {
        let code = VarInt::from_u64(code).unwrap_or(VarInt::MAX);
        let reason = Bytes::copy_from_slice(reason.as_bytes());
        self.quic.close(cx.now, code, reason);
        self.retire(None);
        self.deadline = None;
    }

    /// Nothing more is read or written, except the last words on one stream.
    pub(crate) fn retire(&mut self, last_words: Option<WireId>) {
        self.phase = Phase::Closing { last_words };
        self.leaving = None;
        self.readable.clear();
        self.own.retain(|wire, _| Some(*wire) == last_words);
        self.streams.clear();
        self.unsent = Datagrams::default();
    }

    /// Tells the application that its session is over, once.
    pub(crate) fn end_session(&mut self, closed: Closed, cx: &mut Context<'_>) {
        let Some(session) = self.session.take() else {
            return;
        };
        cx.sessions.remove(session);
        if self.is_open {
            cx.counters.sessions_open = cx.counters.sessions_open.saturating_sub(1);
        }
        match &closed {
            Closed::Application {
                by: Origin::Local, ..
            } => cx.counters.closed_by_us += 1,
            Closed::Application { .. } => cx.counters.closed_by_peers += 1,
            Closed::Transport { .. } => cx.counters.closed_by_transport += 1,
        }
        cx.inputs.push_back(Input::Closed { session, closed });
    }

    /// Gives the last words of HTTP/3 to QUIC.
    pub(crate) fn send_own(&mut self, wire: WireId, bytes: Bytes, fin: bool) {
        let queue = self.own.entry(wire).or_default();
        queue.push(bytes, Payload::default(), fin, false);
        let _ = queue.flush(&mut self.quic.send_stream(wire.to_quinn()));
    }

    fn event(&mut self, event: Event, cx: &mut Context<'_>) {
        use quinn_proto::StreamEvent as Quic;
        match event {
            Event::Connected => self.connected(cx),
            Event::ConnectionLost { reason } => self.lost(&reason, cx),
            Event::DatagramReceived => self.datagrams(cx),
            // Streams that wait for credit (`Available`) are opened after the events.
            Event::HandshakeDataReady
            | Event::DatagramsUnblocked
            | Event::Stream(Quic::Available { .. }) => {}
            Event::Stream(Quic::Opened { dir }) => self.accept_streams(dir),
            Event::Stream(Quic::Readable { id }) => {
                self.readable.insert(id.into());
            }
            Event::Stream(Quic::Writable { id }) => {
                let wire = WireId::from(id);
                if let Some(id) = self.streams.by_wire(wire) {
                    self.streams.mark_ready(id);
                } else if let Some(queue) = self.own.get_mut(&wire) {
                    let _ = queue.flush(&mut self.quic.send_stream(id));
                }
            }
            Event::Stream(Quic::Finished { id }) => self.send_finished(id.into(), cx),
            Event::Stream(Quic::Stopped { id, error_code }) => {
                self.stopped(id.into(), error_code, cx);
            }
        }
    }

    fn connected(&mut self, cx: &mut Context<'_>) {
        let data = self.quic.crypto_session().handshake_data();
        let data = data.and_then(|data| data.downcast::<HandshakeData>().ok());
        let Some(protocol) = data.and_then(|data| data.protocol) else {
            self.fail(
                "the peer negotiated no application protocol",
                Code::NO_ERROR,
                cx,
            );
            return;
        };
        if protocol == ALPN_H3 {
            self.start_http3(cx);
        } else {
            let protocol = String::from_utf8_lossy(&protocol).into_owned();
            self.phase = Phase::Raw;
            let target = self.intent.take().map(|intent| intent.target);
            self.open_session(Carrier::Quic, protocol, target, cx);
        }
        for direction in [Direction::Bidirectional, Direction::Unidirectional] {
            self.accept_streams(dir(direction));
        }
    }

    fn start_http3(&mut self, cx: &mut Context<'_>) {
        let bounds = Bounds {
            field_section_bytes: cx.limits.field_section_max,
            early_streams: cx.limits.early_streams_max,
            requests: cx.limits.requests_max,
        };
        let machine = match self.intent.take() {
            Some(Intent { protocols, target }) => Http3::client(protocols, target, bounds),
            None => Http3::server(cx.protocols.to_vec(), bounds),
        };
        self.phase = Phase::Http3 {
            machine: Box::new(machine),
            control_opened: false,
        };
    }

    fn open_session(
        &mut self,
        carrier: Carrier,
        protocol: String,
        target: Option<Target>,
        cx: &mut Context<'_>,
    ) {
        self.deadline = None;
        self.is_open = true;
        let session = *self
            .session
            .get_or_insert_with(|| cx.sessions.add(cx.handle));
        cx.counters.sessions_opened += 1;
        cx.counters.sessions_open += 1;
        let opened = Opened {
            side: match self.quic.side() {
                quinn_proto::Side::Client => Side::Client,
                quinn_proto::Side::Server => Side::Server,
            },
            carrier,
            protocol,
            target,
            remote: self.quic.remote_address(),
        };
        cx.inputs.push_back(Input::Opened { session, opened });
    }

    fn lost(&mut self, reason: &ConnectionError, cx: &mut Context<'_>) {
        let is_raw = matches!(self.phase, Phase::Raw);
        let closed = match reason {
            ConnectionError::ApplicationClosed(close) if is_raw => Closed::Application {
                by: Origin::Peer,
                code: close.error_code.into_inner(),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            // A peer that leaves without a capsule, in peace.
            ConnectionError::ApplicationClosed(close)
                if self.is_open && close.error_code.into_inner() == Code::NO_ERROR.0 =>
            {
                Closed::Application {
                    by: Origin::Peer,
                    code: 0,
                    reason: String::new(),
                }
            }
            other => Closed::Transport {
                reason: other.to_string(),
            },
        };
        self.retire(None);
        self.deadline = None;
        self.end_session(closed, cx);
    }

    fn datagrams(&mut self, cx: &mut Context<'_>) {
        while let Some(data) = self.quic.datagrams().recv() {
            let data = match &self.phase {
                Phase::Raw => Some(data),
                Phase::Http3 { machine, .. } => machine.unwrap_datagram(data),
                Phase::Handshaking | Phase::Closing { .. } => None,
            };
            if let (Some(data), Some(session)) = (data, self.session) {
                cx.inputs.push_back(Input::Datagram { session, data });
            }
        }
    }

    fn accept_streams(&mut self, dir: quinn_proto::Dir) {
        let is_over = self.leaving.is_some() || self.is_closing();
        if is_over || self.is_handshaking() {
            return;
        }
        while let Some(id) = self.quic.streams().accept(dir) {
            let wire = WireId::from(id);
            match &mut self.phase {
                Phase::Http3 { machine, .. } => machine.opened(wire),
                _ => {
                    self.add_peer(wire, false);
                }
            }
            self.readable.insert(wire);
        }
    }

    /// A stream of the peer is the application's. What answers it goes before all data.
    fn add_peer(&mut self, wire: WireId, dense: bool) -> StreamId {
        if wire.direction() == Direction::Bidirectional {
            let mut stream = self.quic.send_stream(wire.to_quinn());
            // One that the peer has stopped already sends nothing.
            let _ = stream.set_priority(ANSWER_PRIORITY);
        }
        self.streams.add_peer(wire, dense)
    }

    /// All bytes of a stream of ours were acknowledged.
    fn send_finished(&mut self, wire: WireId, cx: &mut Context<'_>) {
        if let Some(id) = self.streams.by_wire(wire) {
            self.streams.end_send(id);
        } else if self.own.remove(&wire).is_some()
            && matches!(self.phase, Phase::Closing { last_words: Some(last) } if last == wire)
        {
            self.close_quic(Code::NO_ERROR.0, "", cx);
        }
    }

    fn stopped(&mut self, wire: WireId, code: VarInt, cx: &mut Context<'_>) {
        let _ = self.quic.send_stream(wire.to_quinn()).reset(code);
        if let Some(id) = self.streams.by_wire(wire) {
            self.streams.end_send(id);
            if self.phase.is_session_gone(code) {
                self.await_close(cx);
                return;
            }
            let code = self.phase.application_code(code);
            self.tell(id, StreamEvent::Stopped(code), cx);
            return;
        }
        self.own.remove(&wire);
        match &mut self.phase {
            Phase::Http3 { machine, .. } => {
                machine.stopped(wire);
                self.apply_effects(cx);
            }
            Phase::Closing {
                last_words: Some(last),
            } if *last == wire => self.close_quic(Code::NO_ERROR.0, "", cx),
            _ => {}
        }
    }

    /// Opens what waits for the peer's stream credit.
    pub(crate) fn open_streams(&mut self, cx: &mut Context<'_>) {
        if let Phase::Http3 {
            machine,
            control_opened,
        } = &mut self.phase
        {
            if !*control_opened && let Some(id) = self.quic.streams().open(quinn_proto::Dir::Uni) {
                *control_opened = true;
                let bytes = machine.control_stream();
                self.send_own(id.into(), bytes, false);
            }
            self.open_request(cx);
        }
        if self.is_open {
            for id in self.streams.open_waiting(&mut self.quic) {
                self.flush(id, cx);
            }
        }
    }

    pub(crate) fn open_request(&mut self, cx: &mut Context<'_>) {
        let Phase::Http3 { machine, .. } = &mut self.phase else {
            return;
        };
        if machine.wants_request()
            && let Some(id) = self.quic.streams().open(quinn_proto::Dir::Bi)
        {
            machine.request_opened(id.into());
            self.apply_effects(cx);
        }
    }

    pub(crate) fn apply_effects(&mut self, cx: &mut Context<'_>) {
        while let Phase::Http3 { machine, .. } = &mut self.phase
            && let Some(effect) = machine.poll()
        {
            self.apply(effect, cx);
        }
    }

    fn apply(&mut self, effect: Effect, cx: &mut Context<'_>) {
        match effect {
            Effect::Send { stream, bytes, fin } => self.send_own(stream, bytes, fin),
            Effect::Adopt { stream, first } => {
                let id = self.add_peer(stream, true);
                if !first.is_empty() {
                    self.tell(id, StreamEvent::Data(first), cx);
                }
                self.readable.insert(stream);
            }
            Effect::Reset { stream, code } => {
                let code = VarInt::from_u64(code.0).unwrap_or(VarInt::MAX);
                self.own.remove(&stream);
                let _ = self.quic.send_stream(stream.to_quinn()).reset(code);
            }
            Effect::Stop { stream, code } => {
                let code = VarInt::from_u64(code.0).unwrap_or(VarInt::MAX);
                let _ = self.quic.recv_stream(stream.to_quinn()).stop(code);
            }
            Effect::Established { protocol, target } => {
                self.open_session(Carrier::WebTransport, protocol, Some(target), cx);
            }
            Effect::Ended { code, reason } => {
                self.close_quic(Code::NO_ERROR.0, "", cx);
                let by = Origin::Peer;
                self.end_session(Closed::Application { by, code, reason }, cx);
            }
            Effect::Failed { reason } => self.fail(&reason, Code::NO_ERROR, cx),
            Effect::Close { code, reason } => {
                self.refused(reason, cx);
                self.fail(reason, code, cx);
            }
            Effect::Refused(reason) => self.refused(reason, cx),
        }
    }

    fn refused(&self, reason: &'static str, cx: &mut Context<'_>) {
        cx.counters.refused += 1;
        if cx.refusals.len() < REFUSALS_MAX {
            cx.refusals.push_back(Refusal {
                remote: self.quic.remote_address(),
                reason,
            });
        }
    }

    pub(crate) fn flush_ready(&mut self, cx: &mut Context<'_>) {
        while let Some(id) = self.streams.next_ready() {
            self.flush(id, cx);
        }
    }

    /// Hands a stream's bytes to QUIC and answers its notified write.
    pub(crate) fn flush(&mut self, id: StreamId, cx: &mut Context<'_>) {
        if self.streams.flush(id, &mut self.quic) && !canary::is_on(Canary::WritableLost) {
            self.tell(id, StreamEvent::Writable, cx);
        }
    }

    pub(crate) fn tell(&self, stream: StreamId, event: StreamEvent, cx: &mut Context<'_>) {
        if let Some(session) = self.session {
            cx.inputs.push_back(Input::Stream {
                session,
                stream,
                event,
            });
        }
    }
}
