//! The request table: commands that ask and answer, and what the peer says on request streams.
//!
//! | phase | means | left by |
//! |---|---|---|
//! | `Pending` | asked, not answered | an answer by the side that was asked, or a cancel |
//! | `Established` | agreed | PUBLISH_DONE, a cancel |
//! | `Ending` | PUBLISH_DONE came, its last data streams have not | the streams, or a time-out |
//!
//! Source: draft-ietf-moq-transport-18 sections 3.3.2, 5.1, 6, 9.3 to 9.22.

use super::{
    Accepted, CommandError, Direction, Event, Instant, Message, Origin, Output, Parameters,
    ProtocolError, PublishDoneCode, REQUEST_PRIORITY, RequestCode, RequestError, RequestId,
    RequestOk, Session, SessionCode, State, StreamCode, StreamId, SubscribeOk, TrackAlias,
    TrackNamespace, checks, request_error,
};
use crate::moqt::message::RequestKind as Kind;
use crate::moqt::message::{
    Namespace, NamespaceDone, Publish, PublishDone, PublishNamespace, RequestUpdate, Subscribe,
    SubscribeNamespace,
};
use crate::moqt::name::FullTrackName;
use crate::moqt::property::Properties;
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Pending,
    Established,
    Ending {
        code: PublishDoneCode,
        reason: String,
        streams: u64,
        deadline: Instant,
    },
}

/// An open request of either end.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) stream: StreamId,
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    pub(super) track: Option<FullTrackName>,
    /// The alias of its data streams, once there is one.
    pub(super) alias: Option<TrackAlias>,
    /// Data streams that we opened for it.
    pub(super) streams_opened: u64,
    /// Data streams of the peer that are over.
    pub(super) streams_ended: u64,
    /// Updates of ours that await their answer.
    updates_sent: usize,
    /// Updates of the peer that await ours.
    updates_received: usize,
    /// Suffixes announced on a SUBSCRIBE_NAMESPACE and not withdrawn.
    announced: BTreeSet<TrackNamespace>,
    /// Whether the peer sent GOAWAY for this request.
    goaway_received: bool,
}

impl Request {
    fn new(stream: StreamId, kind: Kind, track: Option<FullTrackName>) -> Self {
        Self {
            stream,
            kind,
            phase: Phase::Pending,
            track,
            alias: None,
            streams_opened: 0,
            streams_ended: 0,
            updates_sent: 0,
            updates_received: 0,
            announced: BTreeSet::new(),
            goaway_received: false,
        }
    }

    /// Which end asked.
    pub fn origin(&self) -> Origin {
        self.stream.origin()
    }

    /// What was asked for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it was agreed to.
    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established)
    }

    /// Whether this end sends the objects.
    pub(super) fn is_publisher(&self) -> bool {
        matches!(
            (self.kind, self.origin()),
            (Kind::Subscribe, Origin::Peer) | (Kind::Publish, Origin::Local)
        )
    }

    pub(super) fn is_subscriber(&self) -> bool {
        matches!(
            (self.kind, self.origin()),
            (Kind::Subscribe, Origin::Local) | (Kind::Publish, Origin::Peer)
        )
    }

    pub(super) fn ending_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Ending { deadline, .. } => Some(deadline),
            Phase::Pending | Phase::Established => None,
        }
    }
}

/// Commands that ask.
impl Session {
    /// Asks for a track.
    pub fn subscribe(
        &mut self,
        track: FullTrackName,
        parameters: Parameters,
    ) -> Result<RequestId, CommandError> {
        self.ask(Kind::Subscribe, Some(track.clone()), |id| {
            Message::Subscribe(Subscribe {
                request_id: id,
                track,
                parameters,
            })
        })
    }

    /// Offers a track; its data streams may be opened at once, with the returned alias.
    pub fn publish(
        &mut self,
        track: FullTrackName,
        parameters: Parameters,
        properties: Properties,
    ) -> Result<RequestId, CommandError> {
        let track_alias = self.take_alias();
        let id = self.ask(Kind::Publish, Some(track.clone()), |id| {
            Message::Publish(Publish {
                request_id: id,
                track,
                track_alias,
                parameters,
                properties,
            })
        })?;
        if let Some(request) = self.requests.get_mut(&id) {
            request.alias = Some(track_alias);
        }
        Ok(id)
    }

    /// Offers the tracks below a namespace.
    pub fn publish_namespace(
        &mut self,
        namespace: TrackNamespace,
        parameters: Parameters,
    ) -> Result<RequestId, CommandError> {
        self.ask(Kind::PublishNamespace, None, |id| {
            Message::PublishNamespace(PublishNamespace {
                request_id: id,
                namespace,
                parameters,
            })
        })
    }

    /// Asks which namespaces below a prefix are published, now and later.
    pub fn subscribe_namespace(
        &mut self,
        prefix: TrackNamespace,
        parameters: Parameters,
    ) -> Result<RequestId, CommandError> {
        self.ask(Kind::SubscribeNamespace, None, |id| {
            Message::SubscribeNamespace(SubscribeNamespace {
                request_id: id,
                prefix,
                parameters,
            })
        })
    }

    /// Changes a request of ours, or a subscription that the peer's PUBLISH established.
    pub fn update(
        &mut self,
        request: RequestId,
        parameters: Parameters,
    ) -> Result<(), CommandError> {
        let limit = self.limits.request_gaps_max;
        let (stream, updates) = {
            let entry = self.established(request)?;
            (entry.stream, entry.updates_sent)
        };
        if updates >= limit {
            return Err(CommandError::TooManyRequests { limit });
        }
        let request_id = self.own_ids.take();
        self.send(
            stream,
            &Message::RequestUpdate(RequestUpdate {
                request_id,
                parameters,
            }),
        )?;
        if let Some(entry) = self.requests.get_mut(&request) {
            entry.updates_sent += 1;
        }
        Ok(())
    }

    /// Gives a request up, whoever asked.
    pub fn cancel(&mut self, request: RequestId, code: StreamCode) -> Result<(), CommandError> {
        let stream = self.find(request)?.stream;
        self.reset(stream, code);
        if self.drop_incoming(stream) {
            self.stop(stream, code);
        }
        self.forget(request);
        Ok(())
    }

    fn ask(
        &mut self,
        kind: Kind,
        track: Option<FullTrackName>,
        message: impl FnOnce(RequestId) -> Message,
    ) -> Result<RequestId, CommandError> {
        if self.state != State::Ready {
            return Err(CommandError::NotReady);
        }
        if self.goaway_received {
            return Err(CommandError::GoingAway);
        }
        let limit = self.limits.requests_max;
        if self.requests.len() >= limit {
            return Err(CommandError::TooManyRequests { limit });
        }
        let id = RequestId(self.own_ids.next());
        let mut head = bytes::BytesMut::new();
        message(id).encode(self.draft, &mut head)?;
        self.own_ids.take();
        let stream = StreamId::new(Origin::Local, Direction::Bidirectional, self.next_bidi);
        self.next_bidi += 1;
        let session = self.id;
        self.transport(Output::Open {
            session,
            stream,
            priority: REQUEST_PRIORITY,
        });
        self.write(stream, head.freeze(), false);
        self.incoming
            .insert(stream, super::incoming::Incoming::request());
        self.request_streams.insert(stream, id);
        self.requests.insert(id, Request::new(stream, kind, track));
        Ok(id)
    }
}

/// Commands that answer.
impl Session {
    /// Agrees to a SUBSCRIBE; objects may follow.
    pub fn accept_subscribe(
        &mut self,
        request: RequestId,
        parameters: Parameters,
        properties: Properties,
    ) -> Result<(), CommandError> {
        let stream = self.pending(request, |kind| kind == Kind::Subscribe)?;
        let track_alias = self.take_alias();
        let answer = SubscribeOk {
            track_alias,
            parameters,
            properties,
        };
        self.send(stream, &Message::SubscribeOk(answer))?;
        if let Some(entry) = self.requests.get_mut(&request) {
            entry.alias = Some(track_alias);
            entry.phase = Phase::Established;
        }
        Ok(())
    }

    /// Agrees to any other request of the peer.
    pub fn accept(&mut self, request: RequestId, answer: RequestOk) -> Result<(), CommandError> {
        let stream = self.pending(request, |kind| {
            !matches!(kind, Kind::Subscribe | Kind::Fetch)
        })?;
        self.send(stream, &Message::RequestOk(answer))?;
        if let Some(entry) = self.requests.get_mut(&request) {
            entry.phase = Phase::Established;
        }
        Ok(())
    }

    /// Refuses a request of the peer.
    pub fn reject(&mut self, request: RequestId, error: RequestError) -> Result<(), CommandError> {
        let stream = self.pending(request, |_| true)?;
        self.send(stream, &Message::RequestError(error))?;
        self.write(stream, bytes::Bytes::new(), true);
        self.discard_rest(stream);
        self.forget(request);
        Ok(())
    }

    /// Agrees to the oldest unanswered update of the peer.
    pub fn accept_update(
        &mut self,
        request: RequestId,
        answer: RequestOk,
    ) -> Result<(), CommandError> {
        let stream = self.answer_update(request)?;
        self.send(stream, &Message::RequestOk(answer))
    }

    /// Refuses the oldest unanswered update of the peer. A subscription ends with it.
    pub fn reject_update(
        &mut self,
        request: RequestId,
        error: RequestError,
    ) -> Result<(), CommandError> {
        let stream = self.answer_update(request)?;
        self.send(stream, &Message::RequestError(error))?;
        if self.find(request)?.is_publisher() {
            self.reset_data_streams(request, StreamCode::CANCELLED);
            return self.publish_done(request, PublishDoneCode::UPDATE_FAILED, "update refused");
        }
        Ok(())
    }

    /// Tells a SUBSCRIBE_NAMESPACE of the peer about a namespace.
    pub fn namespace(
        &mut self,
        request: RequestId,
        suffix: TrackNamespace,
    ) -> Result<(), CommandError> {
        let stream = self.established(request)?.stream;
        self.send(stream, &Message::Namespace(Namespace { suffix }))
    }

    /// Tells a SUBSCRIBE_NAMESPACE of the peer that a namespace is gone.
    pub fn namespace_done(
        &mut self,
        request: RequestId,
        suffix: TrackNamespace,
    ) -> Result<(), CommandError> {
        let stream = self.established(request)?.stream;
        self.send(stream, &Message::NamespaceDone(NamespaceDone { suffix }))
    }

    /// Ends a subscription that this end publishes. Its data streams must be over: those that are
    /// not are reset.
    pub fn publish_done(
        &mut self,
        request: RequestId,
        code: PublishDoneCode,
        reason: &str,
    ) -> Result<(), CommandError> {
        let entry = self.find(request)?;
        if !entry.is_publisher() {
            return Err(CommandError::WrongRequest(request));
        }
        let stream = entry.stream;
        self.reset_data_streams(request, StreamCode::CANCELLED);
        let stream_count = self.find(request)?.streams_opened;
        let done = PublishDone {
            code,
            stream_count: Some(stream_count),
            reason: reason.to_owned(),
        };
        self.send(stream, &Message::PublishDone(done))?;
        self.write(stream, bytes::Bytes::new(), true);
        self.discard_rest(stream);
        self.forget(request);
        Ok(())
    }

    fn answer_update(&mut self, request: RequestId) -> Result<StreamId, CommandError> {
        let entry = self
            .requests
            .get_mut(&request)
            .ok_or(CommandError::UnknownRequest(request))?;
        if entry.updates_received == 0 {
            return Err(CommandError::WrongRequest(request));
        }
        entry.updates_received -= 1;
        Ok(entry.stream)
    }

    fn find(&self, request: RequestId) -> Result<&Request, CommandError> {
        self.requests
            .get(&request)
            .ok_or(CommandError::UnknownRequest(request))
    }

    fn established(&self, request: RequestId) -> Result<&Request, CommandError> {
        let entry = self.find(request)?;
        if entry.phase == Phase::Established {
            Ok(entry)
        } else {
            Err(CommandError::WrongRequest(request))
        }
    }

    fn pending(
        &self,
        request: RequestId,
        fits: impl FnOnce(Kind) -> bool,
    ) -> Result<StreamId, CommandError> {
        let entry = self.find(request)?;
        let is_asked = entry.origin() == Origin::Peer && entry.phase == Phase::Pending;
        if is_asked && fits(entry.kind) {
            Ok(entry.stream)
        } else {
            Err(CommandError::WrongRequest(request))
        }
    }

    fn take_alias(&mut self) -> TrackAlias {
        let alias = TrackAlias(self.next_alias);
        self.next_alias += 1;
        alias
    }

    /// Removes a request and resets what is still being sent for it.
    pub(super) fn forget(&mut self, request: RequestId) {
        self.reset_data_streams(request, StreamCode::CANCELLED);
        let Some(entry) = self.requests.remove(&request) else {
            return;
        };
        self.request_streams.remove(&entry.stream);
        if let Some(alias) = entry.alias.filter(|_| entry.is_subscriber())
            && self.aliases_in.get(&alias) == Some(&request)
        {
            self.aliases_in.remove(&alias);
            // Another subscription to the same track may have the same alias.
            let shares = |other: &Request| other.alias == Some(alias) && other.is_subscriber();
            let heir = self.requests.iter().find(|(_, other)| shares(other));
            match heir.map(|(id, _)| *id) {
                Some(heir) => {
                    self.aliases_in.insert(alias, heir);
                }
                None => self.retire_alias(alias),
            }
        }
    }
}

/// What the peer says on request streams.
impl Session {
    pub(super) fn take_request_message(
        &mut self,
        now: Instant,
        stream: StreamId,
        message: Message,
    ) -> Result<(), ProtocolError> {
        match self.request_streams.get(&stream).copied() {
            Some(request) => self.take_follow_up(now, request, message),
            None if stream.origin() == Origin::Peer => self.take_first(stream, message),
            None => Ok(()),
        }
    }

    fn take_first(&mut self, stream: StreamId, message: Message) -> Result<(), ProtocolError> {
        if let Some(parameters) = message.parameters() {
            checks::request_tokens(&parameters.authorization_tokens)?;
        }
        let (id, kind, track, namespace) = match &message {
            Message::Subscribe(m) => (
                m.request_id,
                Kind::Subscribe,
                Some(m.track.clone()),
                &m.track.namespace,
            ),
            Message::Publish(m) => (
                m.request_id,
                Kind::Publish,
                Some(m.track.clone()),
                &m.track.namespace,
            ),
            Message::PublishNamespace(m) => {
                (m.request_id, Kind::PublishNamespace, None, &m.namespace)
            }
            Message::SubscribeNamespace(m) => {
                (m.request_id, Kind::SubscribeNamespace, None, &m.prefix)
            }
            Message::SubscribeTracks(m) => (m.request_id, Kind::SubscribeTracks, None, &m.prefix),
            Message::TrackStatus(m) => (
                m.request_id,
                Kind::TrackStatus,
                Some(m.track.clone()),
                &m.track.namespace,
            ),
            Message::Fetch(m) => return self.take_fetch(stream, m.request_id),
            _ => {
                return Err(ProtocolError::violation(
                    "a request stream begins with a message that is not a request",
                ));
            }
        };
        self.peer_ids.observe(id)?;
        let refusal = if self.requests.len() >= self.limits.requests_max {
            Some((RequestCode::EXCESSIVE_LOAD, "too many open requests"))
        } else if self.goaway_sent {
            Some((RequestCode::GOING_AWAY, "this end is going away"))
        } else if self.is_duplicate(kind, track.as_ref()) {
            Some((
                RequestCode::DUPLICATE_SUBSCRIPTION,
                "the track is subscribed to already",
            ))
        } else if is_reserved(namespace) {
            Some((RequestCode::DOES_NOT_EXIST, "reserved namespace"))
        } else {
            None
        };
        let mut entry = Request::new(stream, kind, track);
        if let (Message::Publish(publish), None) = (&message, &refusal) {
            self.bind_alias(publish.track_alias, id, Some(&publish.track))?;
            entry.alias = Some(publish.track_alias);
        }
        self.requests.insert(id, entry);
        self.request_streams.insert(stream, id);
        match refusal {
            Some((code, reason)) => {
                // The request was inserted a line above, so it can be refused.
                let refused = self.reject(id, request_error(code, reason));
                debug_assert!(refused.is_ok());
            }
            None => self.event(Event::Request {
                request: id,
                message,
            }),
        }
        Ok(())
    }

    /// Up to draft 18 a track can be subscribed to once per session and role.
    fn is_duplicate(&self, kind: Kind, track: Option<&FullTrackName>) -> bool {
        if self.draft.profile().concurrent_subscriptions
            || !matches!(kind, Kind::Subscribe | Kind::Publish)
        {
            return false;
        }
        self.requests.values().any(|other| {
            other.kind == kind && other.origin() == Origin::Peer && other.track.as_ref() == track
        })
    }

    /// FETCH is answered like any other request once it is served; the refusal is complete.
    fn take_fetch(&mut self, stream: StreamId, id: RequestId) -> Result<(), ProtocolError> {
        self.peer_ids.observe(id)?;
        self.requests
            .insert(id, Request::new(stream, Kind::Fetch, None));
        self.request_streams.insert(stream, id);
        let error = request_error(RequestCode::NOT_SUPPORTED, "fetch is not served");
        let refused = self.reject(id, error);
        debug_assert!(refused.is_ok());
        Ok(())
    }

    fn take_follow_up(
        &mut self,
        now: Instant,
        request: RequestId,
        message: Message,
    ) -> Result<(), ProtocolError> {
        let Some(entry) = self.requests.get_mut(&request) else {
            return Ok(());
        };
        let unexpected = || ProtocolError::violation("message does not fit its request stream");
        if matches!(entry.phase, Phase::Ending { .. }) {
            return Err(ProtocolError::violation("message after PUBLISH_DONE"));
        }
        match message {
            Message::RequestUpdate(update) => {
                let may_update = entry.origin() == Origin::Peer || entry.kind == Kind::Publish;
                if !may_update {
                    return Err(unexpected());
                }
                if entry.updates_received >= self.limits.request_gaps_max {
                    return Err(ProtocolError::new(
                        SessionCode::TOO_MANY_REQUEST_UPDATES,
                        "too many unanswered updates of one request",
                    ));
                }
                entry.updates_received += 1;
                let kind = entry.kind;
                update.parameters.check_update_of(self.draft, kind)?;
                checks::request_tokens(&update.parameters.authorization_tokens)?;
                self.peer_ids.observe(update.request_id)?;
                self.event(Event::Update {
                    request,
                    parameters: update.parameters,
                });
                Ok(())
            }
            Message::PublishDone(done) if entry.is_subscriber() => {
                let deadline = now + self.limits.publish_done_timeout;
                let streams = done.stream_count.unwrap_or(u64::MAX);
                let (code, reason) = (done.code, done.reason);
                entry.phase = Phase::Ending {
                    code,
                    reason,
                    streams,
                    deadline,
                };
                self.settle_ending(request);
                Ok(())
            }
            Message::Goaway(goaway) => {
                let is_second = std::mem::replace(&mut entry.goaway_received, true);
                checks::goaway(self.side, is_second, &goaway)?;
                self.event(Event::Goaway(goaway));
                Ok(())
            }
            Message::PublishStateNotify(_) if entry.is_subscriber() => Ok(()),
            message if entry.origin() == Origin::Local || entry.kind == Kind::Publish => {
                self.take_answer(request, message)
            }
            _ => Err(unexpected()),
        }
    }

    fn take_answer(&mut self, request: RequestId, message: Message) -> Result<(), ProtocolError> {
        let unexpected = || ProtocolError::violation("answer does not fit its request");
        let Some(entry) = self.requests.get_mut(&request) else {
            return Ok(());
        };
        let asked_by_us = entry.origin() == Origin::Local;
        let event = match (message, &entry.phase) {
            (Message::SubscribeOk(answer), Phase::Pending)
                if asked_by_us && entry.kind == Kind::Subscribe =>
            {
                entry.phase = Phase::Established;
                entry.alias = Some(answer.track_alias);
                let track = entry.track.clone();
                self.bind_alias(answer.track_alias, request, track.as_ref())?;
                let accepted = Accepted::Subscribe(answer);
                Event::Accepted { request, accepted }
            }
            (Message::RequestOk(answer), Phase::Pending)
                if asked_by_us && !matches!(entry.kind, Kind::Subscribe | Kind::Fetch) =>
            {
                checks::request_ok(self.draft, entry.kind, &answer)?;
                entry.phase = Phase::Established;
                let accepted = Accepted::Request(answer);
                Event::Accepted { request, accepted }
            }
            (Message::RequestError(error), Phase::Pending) if asked_by_us => {
                checks::request_error(self.side, entry.kind, &error)?;
                let stream = entry.stream;
                self.write(stream, bytes::Bytes::new(), true);
                self.discard_rest(stream);
                self.forget(request);
                Event::Rejected { request, error }
            }
            (Message::RequestOk(answer), Phase::Established) if entry.updates_sent > 0 => {
                checks::request_ok(self.draft, Kind::Update, &answer)?;
                entry.updates_sent -= 1;
                let answer = Ok(answer);
                Event::Updated { request, answer }
            }
            (Message::RequestError(error), Phase::Established) if entry.updates_sent > 0 => {
                checks::request_error(self.side, entry.kind, &error)?;
                entry.updates_sent -= 1;
                let answer = Err(error);
                Event::Updated { request, answer }
            }
            (Message::Namespace(message), Phase::Established)
                if entry.kind == Kind::SubscribeNamespace =>
            {
                let suffix = message.suffix;
                entry.announced.insert(suffix.clone());
                Event::Namespace { request, suffix }
            }
            (Message::NamespaceDone(message), Phase::Established)
                if entry.kind == Kind::SubscribeNamespace =>
            {
                if !entry.announced.remove(&message.suffix) {
                    return Err(ProtocolError::violation("NAMESPACE_DONE before NAMESPACE"));
                }
                let suffix = message.suffix;
                Event::NamespaceDone { request, suffix }
            }
            (Message::PublishSkipped(_), Phase::Established)
                if entry.kind == Kind::SubscribeTracks =>
            {
                return Ok(());
            }
            _ => return Err(unexpected()),
        };
        self.event(event);
        Ok(())
    }

    /// The peer closed its direction of a request stream.
    pub(super) fn request_stream_ended(&mut self, stream: StreamId, code: Option<StreamCode>) {
        let Some(request) = self.request_streams.get(&stream).copied() else {
            return;
        };
        let Some(entry) = self.requests.get(&request) else {
            return;
        };
        let finished = code.is_none();
        // A FIN after SUBSCRIBE only says that no update will follow; a subscription is given up by
        // STOP_SENDING. The peer that was asked ends the request by its FIN, and so does the one
        // that withdraws a namespace.
        let goes_on = finished
            && (matches!(entry.phase, Phase::Ending { .. })
                || (entry.origin() == Origin::Peer
                    && matches!(
                        entry.kind,
                        Kind::Subscribe | Kind::Fetch | Kind::TrackStatus
                    )));
        if goes_on {
            return;
        }
        if finished {
            self.write(stream, bytes::Bytes::new(), true);
        } else {
            self.reset(stream, StreamCode::CANCELLED);
        }
        self.forget(request);
        self.event(Event::Cancelled { request, code });
    }

    /// The peer wants no more of our direction of a request stream.
    pub(super) fn request_stream_stopped(&mut self, stream: StreamId, code: StreamCode) {
        let Some(request) = self.request_streams.get(&stream).copied() else {
            return;
        };
        if self.drop_incoming(stream) {
            self.stop(stream, StreamCode::CANCELLED);
        }
        self.forget(request);
        self.event(Event::Cancelled {
            request,
            code: Some(code),
        });
    }

    /// Ends a request whose PUBLISH_DONE has come once all of its streams have.
    pub(super) fn settle_ending(&mut self, request: RequestId) {
        let Some(entry) = self.requests.get(&request) else {
            return;
        };
        if let Phase::Ending { streams, .. } = entry.phase
            && entry.streams_ended >= streams
        {
            self.end_request(request);
        }
    }

    pub(super) fn expire_ending_requests(&mut self, now: Instant) {
        let due: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, entry)| {
                entry
                    .ending_deadline()
                    .is_some_and(|deadline| deadline <= now)
            })
            .map(|(id, _)| *id)
            .collect();
        for request in due {
            self.end_request(request);
        }
    }

    fn end_request(&mut self, request: RequestId) {
        let Some(entry) = self.requests.get(&request) else {
            return;
        };
        let Phase::Ending { code, reason, .. } = entry.phase.clone() else {
            return;
        };
        let stream = entry.stream;
        self.write(stream, bytes::Bytes::new(), true);
        self.discard_rest(stream);
        self.forget(request);
        self.event(Event::PublishDone {
            request,
            code,
            reason,
        });
    }

    /// Ties an alias to the subscription to `track`. Subscriptions to one track may share an alias;
    /// what comes under it goes to the first of them.
    fn bind_alias(
        &mut self,
        alias: TrackAlias,
        request: RequestId,
        track: Option<&FullTrackName>,
    ) -> Result<(), ProtocolError> {
        let holder = *self.aliases_in.entry(alias).or_insert(request);
        let is_other = self
            .requests
            .get(&holder)
            .is_some_and(|other| other.track.as_ref() != track);
        if holder != request && is_other {
            return Err(ProtocolError::new(
                SessionCode::DUPLICATE_TRACK_ALIAS,
                "track alias names another track already",
            ));
        }
        Ok(())
    }
}

/// Namespaces that this end must not pass on: `.` for any use, and session-level ones that it does
/// not know.
fn is_reserved(namespace: &TrackNamespace) -> bool {
    namespace
        .fields()
        .first()
        .is_some_and(|field| matches!(&field[..], b"." | b".session"))
}
