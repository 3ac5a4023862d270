//! What the peer sends: its control stream, request streams, subgroup streams and datagrams.
//!
//! A stream is held back, within a byte bound, while it cannot be understood yet: anything before
//! the peer's SETUP, and a subgroup whose track alias has not been established.
//!
//! Source: draft-ietf-moq-transport-18 sections 3.3 (session initialization), 10 (data streams).

mod held;
mod rules;
mod subgroups;

pub(super) use subgroups::{AliasIn, Bound};

use super::{
    Bytes, Carrier, DataStream, Direction, Event, Instant, Message, Origin, ProtocolError, Ready,
    RequestId, Session, SessionCode, Side, State, StreamCode, StreamEnd, StreamEvent, StreamId,
    Target, TrackAlias, checks,
};
use crate::moqt::control::ControlReader;
use crate::moqt::message::{Setup, StreamRole};
use crate::moqt::object::{self, FetchReader, StreamKind, SubgroupHeader, SubgroupReader};

/// The receiving half of a stream.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) kind: Kind,
    pub(super) ended: Option<StreamEnd>,
    held: usize,
    /// Bytes that its reader has and could not pass on yet, as counted by the session.
    unfinished: usize,
    /// When a subgroup that waits for its alias is given up, and which that is.
    alias_deadline: Option<(Instant, TrackAlias)>,
    /// When its header has to have come; `None` once it has.
    header_deadline: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A unidirectional stream whose type has not fully arrived.
    Untyped(Vec<Bytes>),
    Control(ControlReader),
    Request(ControlReader),
    Subgroup {
        reader: Box<SubgroupReader>,
        header: Option<SubgroupHeader>,
        bound: Option<Bound>,
    },
    Fetch {
        reader: Box<FetchReader>,
        bound: Option<FetchBinding>,
    },
    Discard,
}

/// What a fetch stream belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct FetchBinding {
    pub(super) request: RequestId,
}

impl Incoming {
    pub(super) fn request() -> Self {
        Self::of(Kind::Request(ControlReader::new(StreamRole::Request)))
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            ended: None,
            held: 0,
            unfinished: 0,
            alias_deadline: None,
            header_deadline: None,
        }
    }

    fn has_header(&self) -> bool {
        match &self.kind {
            Kind::Untyped(_) => false,
            Kind::Subgroup { header, .. } => header.is_some(),
            Kind::Fetch { bound, .. } => bound.is_some(),
            Kind::Control(_) | Kind::Request(_) | Kind::Discard => true,
        }
    }
}

impl Session {
    pub(super) fn take_stream_event(
        &mut self,
        now: Instant,
        stream: StreamId,
        event: StreamEvent,
    ) -> Result<(), ProtocolError> {
        match event {
            StreamEvent::Data(data) => {
                self.admit(now, stream)?;
                let Some(incoming) = self.incoming.get_mut(&stream) else {
                    return Ok(());
                };
                incoming.push(data, &mut self.held_bytes);
                self.advance(now, stream)
            }
            StreamEvent::Finished => self.take_end(now, stream, StreamEnd::Finished),
            StreamEvent::Reset(code) => {
                self.take_end(now, stream, StreamEnd::Reset(StreamCode(code)))
            }
            StreamEvent::Writable => {
                if let Some(request) = self.outgoing.get(&stream).map(DataStream::request) {
                    self.event(Event::Writable { request, stream });
                }
                Ok(())
            }
            StreamEvent::Stopped(code) => {
                self.take_stop(now, stream, StreamCode(code));
                Ok(())
            }
        }
    }

    /// Makes room for a stream of the peer that is new.
    fn admit(&mut self, now: Instant, stream: StreamId) -> Result<(), ProtocolError> {
        if stream.origin() == Origin::Local || self.incoming.contains_key(&stream) {
            return Ok(());
        }
        if self.incoming.len() >= self.limits.incoming_streams_max {
            return Err(ProtocolError::new(
                SessionCode::PROTOCOL_VIOLATION,
                "more open streams than were granted (incoming_streams_max)",
            ));
        }
        let mut incoming = match stream.direction() {
            Direction::Bidirectional => Incoming::request(),
            Direction::Unidirectional => Incoming::of(Kind::Untyped(Vec::new())),
        };
        if !incoming.has_header() {
            let deadline = now + self.limits.stream_header_timeout;
            incoming.header_deadline = Some(deadline);
            self.headers.change(stream, None, Some(deadline));
        }
        self.incoming.insert(stream, incoming);
        Ok(())
    }

    fn take_end(
        &mut self,
        now: Instant,
        stream: StreamId,
        end: StreamEnd,
    ) -> Result<(), ProtocolError> {
        if self.control_in == Some(stream) {
            return Err(ProtocolError::violation("control stream closed"));
        }
        self.admit(now, stream)?;
        let Some(incoming) = self.incoming.get_mut(&stream) else {
            return Ok(());
        };
        incoming.ended = Some(end);
        self.advance(now, stream)
    }

    fn take_stop(&mut self, now: Instant, stream: StreamId, code: StreamCode) {
        if stream == self.control_out {
            // A violation, but one that overtakes what the peer sent before it: a publisher that ends
            // its tracks and goes is heard out.
            let deadline = now + self.limits.publish_done_timeout;
            self.control_stopped.get_or_insert(deadline);
            return;
        }
        if let Some(data) = self.take_outgoing(stream) {
            self.event(Event::Stopped {
                request: data.request(),
                stream,
                code,
            });
        } else {
            self.request_stream_stopped(stream, code);
        }
    }

    /// Understands as much of a stream as can be understood now.
    fn advance(&mut self, now: Instant, stream: StreamId) -> Result<(), ProtocolError> {
        let Some(mut incoming) = self.incoming.remove(&stream) else {
            return Ok(());
        };
        let (held, header) = (incoming.alias_deadline, incoming.header_deadline);
        let mut keep = self.advance_taken(now, stream, &mut incoming)?;
        if keep {
            keep = self.count_unfinished(stream, &mut incoming)?;
        }
        self.note_held(stream, held, incoming.alias_deadline.filter(|_| keep));
        if incoming.has_header() || !keep {
            incoming.header_deadline = None;
        }
        self.headers
            .change(stream, header, incoming.header_deadline);
        if !keep || self.state == State::Closed {
            self.release_counted(&incoming);
            return Ok(());
        }
        self.incoming.insert(stream, incoming);
        if self.held_bytes > self.limits.held_bytes_max {
            return Err(ProtocolError::new(
                SessionCode::PROTOCOL_VIOLATION,
                "too many bytes wait for SETUP or for a track alias (held_bytes_max)",
            ));
        }
        Ok(())
    }

    /// Returns whether the stream has to be kept.
    fn advance_taken(
        &mut self,
        now: Instant,
        stream: StreamId,
        incoming: &mut Incoming,
    ) -> Result<bool, ProtocolError> {
        if let Kind::Untyped(pieces) = &mut incoming.kind {
            match self.classify(stream, pieces)? {
                Some(kind) => incoming.kind = kind,
                None => return Ok(incoming.ended.is_none()),
            }
        }
        match &mut incoming.kind {
            Kind::Untyped(_) => Ok(true),
            Kind::Discard => Ok(incoming.ended.is_none()),
            Kind::Control(reader) => {
                while let Some(message) = reader.poll(self.draft)? {
                    self.take_control_message(now, message)?;
                }
                incoming.release(&mut self.held_bytes);
                Ok(true)
            }
            Kind::Request(_) => self.advance_request(now, stream, incoming),
            Kind::Subgroup { .. } => self.advance_subgroup(now, stream, incoming),
            Kind::Fetch { .. } if self.state != State::Ready => Ok(true),
            Kind::Fetch { .. } => self.advance_fetch(stream, incoming),
        }
    }

    fn classify(
        &mut self,
        stream: StreamId,
        pieces: &mut Vec<Bytes>,
    ) -> Result<Option<Kind>, ProtocolError> {
        let Some(kind) = object::stream_kind(pieces)? else {
            return Ok(None);
        };
        let kind = match kind {
            StreamKind::Control => {
                if self.control_in.is_some() {
                    return Err(ProtocolError::violation("second control stream"));
                }
                self.control_in = Some(stream);
                let mut reader = ControlReader::new(StreamRole::Control);
                pieces.drain(..).for_each(|piece| reader.push(&piece));
                Kind::Control(reader)
            }
            StreamKind::Subgroup => {
                let mut reader = SubgroupReader::new(self.limits.object);
                pieces.drain(..).for_each(|piece| reader.push(piece));
                Kind::Subgroup {
                    reader: Box::new(reader),
                    header: None,
                    bound: None,
                }
            }
            StreamKind::Padding => Kind::Discard,
            StreamKind::Fetch => {
                let mut reader = FetchReader::new(self.draft, self.limits.object);
                pieces.drain(..).for_each(|piece| reader.push(piece));
                Kind::Fetch {
                    reader: Box::new(reader),
                    bound: None,
                }
            }
        };
        Ok(Some(kind))
    }

    fn take_control_message(
        &mut self,
        now: Instant,
        message: Message,
    ) -> Result<(), ProtocolError> {
        self.note_message(
            Origin::Peer,
            self.control_in.unwrap_or(self.control_out),
            &message,
        );
        match (message, self.state) {
            (Message::Setup(setup), State::Setup { .. }) => self.take_setup(now, setup),
            (Message::Goaway(goaway), State::Ready) => {
                checks::goaway(self.side, self.goaway_received, &goaway)?;
                if goaway
                    .request_id
                    .is_some_and(|id| id.0 % 2 != self.own_ids.next() % 2)
                {
                    return Err(ProtocolError::new(
                        SessionCode::INVALID_REQUEST_ID,
                        "GOAWAY names a request id of the wrong parity",
                    ));
                }
                self.goaway_received = true;
                self.event(Event::Goaway(goaway));
                Ok(())
            }
            (Message::Setup(_), _) => Err(ProtocolError::violation("second SETUP")),
            (_, State::Setup { .. }) => Err(ProtocolError::violation(
                "control stream does not begin with SETUP",
            )),
            _ => Err(ProtocolError::violation(
                "message does not belong on the control stream",
            )),
        }
    }

    fn take_setup(&mut self, now: Instant, setup: Setup) -> Result<(), ProtocolError> {
        let from_transport = self.carrier == Carrier::WebTransport;
        if setup.path.is_some() && (self.side == Side::Client || from_transport) {
            return Err(ProtocolError::new(
                SessionCode::INVALID_PATH,
                "PATH is not allowed here",
            ));
        }
        if setup.authority.is_some() && (self.side == Side::Client || from_transport) {
            return Err(ProtocolError::new(
                SessionCode::INVALID_AUTHORITY,
                "AUTHORITY is not allowed here",
            ));
        }
        let tokens = self
            .peer_tokens
            .take_setup(self.side, setup.authorization_tokens)?;
        let cache = setup.max_auth_token_cache_size.unwrap_or(0);
        let registered = std::mem::take(&mut self.setup_tokens);
        self.own_tokens.set_limit(cache, &registered);
        self.peer_filter_ranges = setup.max_filter_ranges.unwrap_or(0);
        // 0 and absent are no limit; ours holds all the same.
        let updates = setup.max_request_updates.filter(|updates| *updates > 0);
        let updates = updates.and_then(|updates| usize::try_from(updates).ok());
        self.peer_updates_max = updates
            .unwrap_or(usize::MAX)
            .min(self.limits.request_gaps_max);
        let target = match (self.side, self.carrier) {
            (Side::Client, _) => None,
            (Side::Server, Carrier::WebTransport) => self.target.take(),
            (Side::Server, Carrier::Quic) => Some(Target {
                authority: setup.authority.unwrap_or_default(),
                path: setup.path.unwrap_or_default(),
            }),
        };
        self.state = State::Ready;
        let implementation = setup.implementation;
        self.event(Event::Ready(Ready {
            target,
            tokens,
            implementation,
            options: setup.options,
        }));
        let waiting: Vec<StreamId> = self.incoming.keys().copied().collect();
        for stream in waiting {
            self.advance(now, stream)?;
        }
        Ok(())
    }

    fn advance_request(
        &mut self,
        now: Instant,
        stream: StreamId,
        incoming: &mut Incoming,
    ) -> Result<bool, ProtocolError> {
        if self.state != State::Ready {
            return Ok(true);
        }
        incoming.release(&mut self.held_bytes);
        while let Kind::Request(reader) = &mut incoming.kind {
            let Some(message) = reader.poll(self.draft)? else {
                if incoming.ended == Some(StreamEnd::Finished) && reader.is_mid_message() {
                    return Err(ProtocolError::violation(
                        "request stream ends inside a message",
                    ));
                }
                break;
            };
            let alias = match &message {
                Message::Publish(publish) => Some(publish.track_alias),
                Message::SubscribeOk(answer) => Some(answer.track_alias),
                _ => None,
            };
            self.take_request_message(now, stream, message)?;
            if let Some(alias) = alias {
                self.resume_held_streams(now, alias)?;
            }
            if !self.request_streams.contains_key(&stream) {
                incoming.kind = Kind::Discard;
            }
        }
        match incoming.ended {
            None => Ok(true),
            Some(StreamEnd::Finished) => {
                self.request_stream_ended(stream, None);
                Ok(false)
            }
            Some(StreamEnd::Reset(code)) => {
                self.request_stream_ended(stream, Some(code));
                Ok(false)
            }
        }
    }

    /// Keeps a stream only to see it end: what else it says has no meaning any more.
    pub(super) fn discard_rest(&mut self, stream: StreamId) {
        if let Some(incoming) = self.incoming.get_mut(&stream) {
            incoming.kind = Kind::Discard;
        }
    }
}

impl Incoming {
    fn push(&mut self, data: Bytes, held_bytes: &mut usize) {
        let len = data.len();
        if len == 0 {
            return;
        }
        match &mut self.kind {
            Kind::Untyped(pieces) => pieces.push(data),
            Kind::Control(reader) | Kind::Request(reader) => reader.push(&data),
            Kind::Subgroup { reader, .. } => reader.push(data),
            Kind::Fetch { reader, .. } => reader.push(data),
            Kind::Discard => return,
        }
        self.held = self.held.saturating_add(len);
        *held_bytes = held_bytes.saturating_add(len);
    }

    /// Bytes that the reader of the stream keeps.
    fn buffered(&self) -> usize {
        match &self.kind {
            Kind::Untyped(pieces) => pieces.iter().map(Bytes::len).sum(),
            Kind::Control(reader) | Kind::Request(reader) => reader.buffered(),
            Kind::Subgroup { reader, .. } => reader.buffered(),
            Kind::Fetch { reader, .. } => reader.buffered(),
            Kind::Discard => 0,
        }
    }

    /// What was held back has been understood, or is bounded by the reader from here on.
    pub(super) fn release(&mut self, held_bytes: &mut usize) {
        *held_bytes = held_bytes.saturating_sub(self.held);
        self.held = 0;
    }
}
