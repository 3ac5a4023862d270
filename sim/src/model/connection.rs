//! One connection between model hosts, and the session on it.
//!
//! | phase | client | server | left when |
//! |---|---|---|---|
//! | `Opening` | said hello, finished, asked | welcomed, showed settings | the session opens or fails |
//! | `Open` | the session is open | the same | closed |
//! | `LastWords` | closed a WebTransport session | the same | acknowledged, answered, or out of time |
//! | `Closing` | told the peer, tells it again | the same | three time-outs later |
//! | `Draining` | was told, or lost the peer | the same | three time-outs later |
//!
//! Raw sessions open after one round trip at the client, half a one later at the server; WebTransport takes
//! two more for settings and request (`opening`), as over `mainstem_quic::Host`. Packets that only a later phase
//! understands are dropped and come again.
//!
//! Inputs: packets, outputs, time. Outputs: [`Input`]s for the application; packets in `crate::model::sending`.
//! Source: RFC 9000 sections 7, 10; draft-ietf-webtrans-http3.

mod opening;

use super::ModelServer;
use super::packet::{Ack, Carried, Close, Connect, ConnectionId, Frame, Hello, Terms};
use super::recovery::Recovery;
use super::streams::Streams;
use bytes::Bytes;
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Carrier, Closed, Input, Origin, Output, SessionId, Side, StreamEvent, StreamId,
};
use mainstem_quic::{Counters, Limits, Refusal};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Refusals kept for the driver to log.
const REFUSALS_MAX: usize = 64;
/// Bytes of a close reason.
const REASON_MAX: usize = 1024;
/// "No error" of HTTP/3, which ends a connection whose session is over.
pub(super) const H3_NO_ERROR: u64 = 0x100;
/// The largest code on a raw QUIC wire.
const CODE_MAX: u64 = (1 << 62) - 1;
/// What a connection may use of its host during one step.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) index: u64,
    pub(super) limits: &'a Limits,
    pub(super) server: Option<&'a ModelServer>,
    pub(super) inputs: &'a mut VecDeque<Input>,
    pub(super) sessions: &'a mut Sessions,
    pub(super) counters: &'a mut Counters,
    pub(super) refusals: &'a mut VecDeque<Refusal>,
}

impl Context<'_> {
    /// Nothing that arrived on a stream is delivered once the application has stopped it, also what
    /// arrived together with the piece that made it stop.
    fn forget_data_of(&mut self, session: SessionId, stream: StreamId) {
        self.inputs.retain(|input| match input {
            Input::Stream {
                session: of_session,
                stream: of,
                event: StreamEvent::Data(_) | StreamEvent::Finished | StreamEvent::Reset(_),
            } => (*of_session, *of) != (session, stream),
            _ => true,
        });
    }
}

/// Which connection carries which session; ids are never reused.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: BTreeMap<SessionId, u64>,
    next: u64,
}

impl Sessions {
    pub(super) fn add(&mut self, index: u64) -> SessionId {
        let id = SessionId(self.next);
        self.next += 1;
        self.by_id.insert(id, index);
        id
    }

    pub(super) fn connection_of(&self, id: SessionId) -> Option<u64> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn ids(&self) -> Vec<SessionId> {
        self.by_id.keys().copied().collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    Open,
    LastWords,
    Closing,
    Draining,
}

/// What a connection is made of.
pub(super) struct Begin {
    pub(super) id: ConnectionId,
    pub(super) peer: Option<ConnectionId>,
    pub(super) remote: SocketAddr,
    pub(super) side: Side,
    pub(super) carried: Carried,
    pub(super) terms: Terms,
    pub(super) keep_alive: Option<Duration>,
    pub(super) packet_bytes: usize,
}

/// One connection. See the module's description.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) peer: Option<ConnectionId>,
    pub(super) remote: SocketAddr,
    pub(super) came_from: IpAddr,
    pub(super) side: Side,
    carried: Carried,
    pub(super) phase: Phase,
    pub(super) session: Option<SessionId>,
    is_open: bool,
    /// Client: what it asks for once it may.
    intent: Option<Connect>,
    /// Server: the protocol that a raw session opens with.
    protocol: String,
    /// Client: its first words, for a second try after a Retry.
    hello: Option<Hello>,
    pub(super) streams: Streams,
    pub(super) datagrams: VecDeque<(Bytes, Option<Instant>)>,
    pub(super) datagram_bytes: usize,
    /// Frames about the connection itself.
    pub(super) control: VecDeque<Frame>,
    pub(super) recovery: Recovery,
    /// When an unopened session is given up, last words are, or a closed connection is forgotten.
    deadline: Option<Instant>,
    own_idle: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) idle_at: Instant,
    pub(super) keep_alive: Option<Duration>,
    alive_at: Option<Instant>,
    /// Nothing that wants an answer was sent since the last packet came.
    pub(super) is_quiet: bool,
    pub(super) close: Option<Close>,
    pub(super) wants_close_sent: bool,
    pub(super) is_counted: bool,
    /// The host's entries in its timers and its queue of connections that may have packets.
    pub(super) timer: Option<Instant>,
    pub(super) is_queued: bool,
}

impl Connection {
    pub(super) fn new(begin: Begin, now: Instant, limits: &Limits) -> Self {
        let is_dense = begin.carried == Carried::WebTransport;
        let idle_timeout = begin.terms.idle_timeout;
        Self {
            id: begin.id,
            peer: begin.peer,
            remote: begin.remote,
            came_from: begin.remote.ip(),
            side: begin.side,
            carried: begin.carried,
            phase: Phase::Opening,
            session: None,
            is_open: false,
            intent: None,
            protocol: String::new(),
            hello: None,
            streams: Streams::new(begin.side, is_dense, begin.terms, limits.send_window),
            datagrams: VecDeque::new(),
            datagram_bytes: 0,
            control: VecDeque::new(),
            recovery: Recovery::new(begin.packet_bytes, limits.initial_rtt),
            deadline: Some(now + limits.open_timeout),
            own_idle: idle_timeout,
            idle_timeout,
            idle_at: now + idle_timeout,
            keep_alive: begin.keep_alive,
            alive_at: None,
            is_quiet: true,
            close: None,
            wants_close_sent: false,
            is_counted: true,
            timer: None,
            is_queued: false,
        }
    }

    /// Makes it a client's, with a session that is about to open.
    pub(super) fn ask(&mut self, session: SessionId, hello: Hello, intent: Connect) {
        self.session = Some(session);
        self.intent = Some(intent);
        self.control
            .push_back(Frame::Hello(Box::new(hello.clone())));
        self.hello = Some(hello);
    }

    /// Makes it a server's, whose client may speak `protocol`.
    pub(super) fn welcome(&mut self, hello: &Hello, protocol: String, own: Terms) {
        self.accept_terms(&hello.terms);
        self.protocol.clone_from(&protocol);
        let terms = Box::new(own);
        self.control.push_back(Frame::Welcome { protocol, terms });
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Draining)
    }

    /// A packet with frames arrived.
    pub(super) fn handle(
        &mut self,
        remote: SocketAddr,
        number: u64,
        ack: Option<&Ack>,
        frames: &[Frame],
        cx: &mut Context<'_>,
    ) {
        if self.is_closed() {
            self.handle_closed(frames);
            return;
        }
        if !self.understands(frames) || !self.recovery.receive(cx.now, number, !frames.is_empty()) {
            return;
        }
        if remote != self.remote && self.recovery.is_largest(number) {
            self.remote = remote;
            self.recovery.forget_path();
        }
        self.heard(cx.now);
        if let Some(ack) = ack {
            self.acknowledged(ack, cx);
        }
        for frame in frames {
            if self.is_closed() {
                return;
            }
            self.frame(frame, cx);
        }
        self.report(cx);
    }

    /// The peer does not know this connection.
    pub(super) fn was_forgotten(&mut self, cx: &mut Context<'_>) {
        if !self.is_closed() {
            self.drain(cx);
            let reason = "reset by peer".to_owned();
            self.end_session(Closed::Transport { reason }, cx);
        }
    }

    /// The server takes no such connection.
    pub(super) fn was_refused(&mut self, reason: &str, cx: &mut Context<'_>) {
        if self.phase == Phase::Opening && self.peer.is_none() {
            self.drain(cx);
            let reason = reason.to_owned();
            self.end_session(Closed::Transport { reason }, cx);
        }
    }

    /// The server wants the address proven.
    pub(super) fn prove(&mut self) {
        if let Some(hello) = &mut self.hello
            && !hello.proven
        {
            hello.proven = true;
            let hello = Frame::Hello(Box::new(hello.clone()));
            self.control.push_back(hello);
        }
    }

    /// When [`Connection::handle_timeout`] is wanted.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if self.is_closed() {
            return self.deadline;
        }
        let times = [
            self.deadline,
            Some(self.idle_at),
            self.alive_at,
            self.recovery.next_timeout(),
        ];
        times.into_iter().flatten().min()
    }

    /// Time has passed; true when the connection is to be forgotten.
    pub(super) fn handle_timeout(&mut self, cx: &mut Context<'_>) -> bool {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= cx.now);
        if self.is_closed() {
            return is_due(self.deadline);
        }
        if self.idle_at <= cx.now {
            self.drain(cx);
            let reason = "timed out".to_owned();
            self.end_session(Closed::Transport { reason }, cx);
            return true;
        }
        if is_due(self.alive_at) {
            self.alive_at = self.keep_alive.map(|interval| cx.now + interval);
            self.control.push_back(Frame::Ping);
        }
        if is_due(self.deadline) {
            self.deadline_passed(cx);
            return false;
        }
        let lost = self.recovery.handle_timeout(cx.now);
        self.lost(
            &lost
                .iter()
                .flat_map(|it| it.frames.iter())
                .collect::<Vec<_>>(),
        );
        self.report(cx);
        false
    }

    /// Does one output of this connection's session.
    pub(super) fn perform(&mut self, output: Output, cx: &mut Context<'_>) {
        if let Output::Close { code, reason, .. } = output {
            self.close_session(code, &reason, cx);
            return;
        }
        if self.phase != Phase::Open {
            cx.counters.datagrams_dropped += u64::from(matches!(output, Output::Datagram { .. }));
            return;
        }
        match output {
            Output::Open {
                stream, priority, ..
            } => {
                let is_next = self.streams.open(stream, priority);
                debug_assert!(is_next, "streams are opened in the order of their indexes");
                if self.streams.waiting() > cx.limits.pending_opens_max {
                    self.report(cx);
                    let reason = "more streams wait for the peer's credit than the host keeps";
                    self.overload(reason, cx);
                }
            }
            Output::Write {
                stream,
                head,
                body,
                fin,
                notify,
                ..
            } => {
                self.streams.write(stream, head, &body, fin, notify);
                if self.streams.unsent() > cx.limits.unsent_bytes_max {
                    self.report(cx);
                    self.overload("more bytes are unsent than the host keeps", cx);
                }
            }
            Output::SetPriority {
                stream, priority, ..
            } => self.streams.set_priority(stream, priority),
            Output::Reset { stream, code, .. } => {
                self.streams.reset(stream, self.code(code));
            }
            Output::Stop {
                session,
                stream,
                code,
            } => {
                cx.forget_data_of(session, stream);
                self.streams.stop(stream, self.code(code));
            }
            Output::Datagram { data, until, .. } => self.datagram(data, until, cx),
            Output::Allow {
                direction, streams, ..
            } => {
                let streams = streams.min(cx.limits.allowed_streams_max);
                self.streams.allow(direction, streams.into());
            }
            Output::Close { .. } => {}
        }
        self.report(cx);
    }

    /// Stops reading, or goes on.
    pub(super) fn pause(&mut self, is_paused: bool, cx: &mut Context<'_>) {
        self.streams.is_paused = is_paused;
        if !is_paused {
            self.streams.resume();
            self.report(cx);
        }
    }

    /// Ends the session and the connection for a reason outside the application.
    pub(super) fn fail(&mut self, reason: &str, cx: &mut Context<'_>) {
        self.close(H3_NO_ERROR, reason, cx);
        let reason = reason.to_owned();
        self.end_session(Closed::Transport { reason }, cx);
    }

    /// Tells the application that its session is over, once.
    pub(super) fn end_session(&mut self, closed: Closed, cx: &mut Context<'_>) {
        let Some(session) = self.session.take() else {
            return;
        };
        cx.sessions.by_id.remove(&session);
        if std::mem::take(&mut self.is_open) {
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

    fn handle_closed(&mut self, frames: &[Frame]) {
        if frames.iter().any(|frame| matches!(frame, Frame::Close(_))) {
            self.phase = Phase::Draining;
            self.wants_close_sent = false;
        } else if self.phase == Phase::Closing {
            self.wants_close_sent = true;
        }
    }

    /// Whether frames for an open session find one, or bring it along.
    fn understands(&self, frames: &[Frame]) -> bool {
        let opens = |frame: &Frame| {
            let is_raw = self.carried == Carried::Quic;
            match frame {
                Frame::Welcome { .. } | Frame::Finished => is_raw,
                Frame::Connect(_) | Frame::Response(_) => true,
                _ => false,
            }
        };
        self.phase != Phase::Opening
            || !frames.iter().any(Frame::needs_session)
            || frames.iter().any(opens)
    }

    fn heard(&mut self, now: Instant) {
        self.is_quiet = true;
        self.idle_at = now + self.idle_timeout.max(self.recovery.closing_period());
        self.alive_at = self.keep_alive.map(|interval| now + interval);
    }

    fn acknowledged(&mut self, ack: &Ack, cx: &mut Context<'_>) {
        let (arrived, lost) = self.recovery.acknowledged(cx.now, ack);
        let mut is_over = false;
        for frame in arrived.iter().flat_map(|it| it.frames.iter()) {
            is_over |= matches!(frame, Frame::EndSession { .. });
            self.streams.arrived(frame);
        }
        if is_over && self.phase == Phase::LastWords {
            self.close(H3_NO_ERROR, "", cx);
            return;
        }
        self.lost(
            &lost
                .iter()
                .flat_map(|it| it.frames.iter())
                .collect::<Vec<_>>(),
        );
        self.streams.hand_over_blocked();
    }

    fn lost(&mut self, frames: &[&Frame]) {
        for frame in frames.iter().filter(|frame| frame.is_reliable()) {
            match frame {
                Frame::Stream { .. } => self.streams.lost(frame),
                // Once the session is over its last words matter, and that its streams are.
                frame if frame.needs_session() => self.streams.lost(frame),
                frame => self.control.push_back((*frame).clone()),
            }
        }
    }

    fn frame(&mut self, frame: &Frame, cx: &mut Context<'_>) {
        match frame {
            Frame::Welcome { protocol, terms } => self.welcomed(protocol, terms, cx),
            Frame::Finished => self.finished(cx),
            Frame::Settings => self.settings(cx),
            Frame::Connect(connect) => self.connect(connect, cx),
            Frame::Response(response) => self.response(response, cx),
            Frame::Hello(_) => self.recovery.hurry(cx.now),
            Frame::Ping => {}
            Frame::Close(close) => self.closed(close, cx),
            // Whoever reads nothing does not read this either; what ends it is the close that follows.
            Frame::EndSession { .. } if self.streams.is_paused => {}
            Frame::EndSession { code, reason } => {
                if self.phase == Phase::Open {
                    self.report(cx);
                    let (by, code, reason) = (Origin::Peer, *code, reason.clone());
                    self.end_session(Closed::Application { by, code, reason }, cx);
                }
                self.close(H3_NO_ERROR, "", cx);
            }
            Frame::Datagram(data) => {
                if let (Phase::Open, Some(session)) = (self.phase, self.session) {
                    self.report(cx);
                    let data = data.0.clone();
                    cx.inputs.push_back(Input::Datagram { session, data });
                }
            }
            stream => {
                if self.phase == Phase::Open
                    && let Err(violation) = self.streams.handle(stream)
                {
                    self.fail(violation.0, cx);
                }
            }
        }
    }

    /// The peer closed the connection.
    fn closed(&mut self, close: &Close, cx: &mut Context<'_>) {
        let is_open = self.phase == Phase::Open;
        self.report(cx);
        let is_raw = self.carried == Carried::Quic;
        let by = Origin::Peer;
        let closed = if is_open && is_raw {
            let (code, reason) = (close.code, close.reason.clone());
            Closed::Application { by, code, reason }
        } else if is_open && close.code == H3_NO_ERROR {
            // A peer that leaves without last words, in peace.
            let (code, reason) = (0, String::new());
            Closed::Application { by, code, reason }
        } else {
            let reason = format!("closed by peer: {} (code {})", close.reason, close.code);
            Closed::Transport { reason }
        };
        self.drain(cx);
        self.end_session(closed, cx);
    }

    /// Ends the session by our own wish.
    fn close_session(&mut self, code: u64, reason: &str, cx: &mut Context<'_>) {
        if self.phase == Phase::LastWords || self.is_closed() {
            return;
        }
        self.report(cx);
        let cut = cut(reason).to_owned();
        let told = self.code(code);
        if self.phase == Phase::Open && self.carried == Carried::WebTransport {
            self.streams.clear();
            self.datagrams.clear();
            self.phase = Phase::LastWords;
            let words = Frame::EndSession {
                code: told,
                reason: cut,
            };
            self.streams.control.push_back(words);
            self.deadline = Some(cx.now + cx.limits.close_timeout);
        } else {
            let told = match self.carried {
                Carried::Quic => told,
                Carried::WebTransport => H3_NO_ERROR,
            };
            self.close(told, &cut, cx);
        }
        let closed = Closed::Application {
            by: Origin::Local,
            code,
            reason: reason.to_owned(),
        };
        self.end_session(closed, cx);
    }

    fn overload(&mut self, reason: &str, cx: &mut Context<'_>) {
        cx.counters.overloads += 1;
        self.close_session(cx.limits.overload_code, reason, cx);
    }

    fn deadline_passed(&mut self, cx: &mut Context<'_>) {
        if self.phase == Phase::LastWords {
            self.close(H3_NO_ERROR, "", cx);
        } else {
            let reason = format!("no session after {:?}", cx.limits.open_timeout);
            self.fail(&reason, cx);
        }
    }

    /// Closes the connection at once.
    fn close(&mut self, code: u64, reason: &str, cx: &mut Context<'_>) {
        self.drain(cx);
        self.phase = Phase::Closing;
        let reason = cut(reason).to_owned();
        self.close = Some(Close { code, reason });
        self.wants_close_sent = true;
    }

    /// Nothing more is sent; what is under way may still come.
    fn drain(&mut self, cx: &mut Context<'_>) {
        self.phase = Phase::Draining;
        self.is_counted = false;
        self.deadline = Some(cx.now + self.recovery.closing_period());
        self.streams.clear();
        self.streams.control.clear();
        self.control.clear();
        self.datagrams.clear();
    }

    /// The same datagram queue as `mainstem_quic`'s: the oldest make room.
    fn datagram(&mut self, data: Bytes, until: Option<Instant>, cx: &mut Context<'_>) {
        let max = cx.limits.datagram_send_buffer;
        if cost(&data) > max || data.len() > super::DATAGRAM_BYTES_MAX {
            cx.counters.datagrams_dropped += 1;
            return;
        }
        while self.datagram_bytes.saturating_add(cost(&data)) > max
            && let Some((oldest, _)) = self.datagrams.pop_front()
        {
            self.datagram_bytes = self.datagram_bytes.saturating_sub(cost(&oldest));
            cx.counters.datagrams_dropped += 1;
        }
        self.datagram_bytes = self.datagram_bytes.saturating_add(cost(&data));
        self.datagrams.push_back((data, until));
    }

    /// Tells the application what happened on streams.
    fn report(&mut self, cx: &mut Context<'_>) {
        while let Some((stream, event)) = self.streams.told.pop_front() {
            if let Some(session) = self.session {
                cx.inputs.push_back(Input::Stream {
                    session,
                    stream,
                    event,
                });
            }
        }
    }

    /// A code as the carrier's wire holds it.
    fn code(&self, code: u64) -> u64 {
        match self.carried.carrier() {
            Carrier::Quic => code.min(CODE_MAX),
            Carrier::WebTransport => code.min(u64::from(u32::MAX)),
        }
    }
}

/// What a datagram takes while it waits.
pub(super) fn cost(data: &Bytes) -> usize {
    data.len()
        .saturating_add(size_of::<(Bytes, Option<Instant>)>())
}

/// A reason that is not longer than [`REASON_MAX`], cut at a character.
fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default()
}
