//! What the owner wants of requests: to ask, and to answer what the peer asks.
//!
//! Faults of the owner, and commands that come too late, are a `CommandError`. Source:
//! draft-ietf-moq-transport-18 sections 5.1, 6, 9.3 to 9.22.

use super::super::timeouts::millis;
use super::super::tokens::Used;
use super::super::{
    Bytes, CommandError, Direction, Duration, Instant, Message, Origin, Output, Parameters,
    PublishDoneCode, REQUEST_PRIORITY, RequestError, RequestId, RequestOk, Session, Side, State,
    StreamCode, StreamId, SubscribeOk, TrackAlias, TrackNamespace,
};
use super::peer::is_reserved;
use super::{Phase, Request, UpdateSent};
use crate::moqt::error::EncodeError;
use crate::moqt::message::RequestKind as Kind;
use crate::moqt::message::{
    Goaway, Namespace, NamespaceDone, Publish, PublishDone, PublishNamespace, PublishStateNotify,
    RequestUpdate, Subscribe, SubscribeNamespace,
};
use crate::moqt::name::{FullTrackName, Location};
use crate::moqt::property::Properties;

/// Commands that ask.
impl Session {
    /// Asks for a track.
    pub fn subscribe(
        &mut self,
        track: FullTrackName,
        parameters: Parameters,
    ) -> Result<RequestId, CommandError> {
        let asked = parameters.clone();
        let filter = parameters.filter;
        let id = self.ask(Kind::Subscribe, Some(track.clone()), |id| {
            Message::Subscribe(Subscribe {
                request_id: id,
                track,
                parameters,
            })
        })?;
        if let Some(entry) = self.requests.get_mut(&id) {
            entry.filter = filter;
            entry.range_filters.clone_from(&asked.range_filters);
        }
        self.expect_fill(id, id, &asked);
        Ok(id)
    }

    /// Offers a track; its data streams may be opened at once, with the returned alias.
    pub fn publish(
        &mut self,
        track: FullTrackName,
        parameters: Parameters,
        properties: Properties,
    ) -> Result<RequestId, CommandError> {
        may_publish(&track.namespace)?;
        let track_alias = self.take_alias();
        let default_priority = properties.default_publisher_priority();
        let forward = parameters.forward.unwrap_or(true);
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
            request.default_priority = default_priority;
            request.forward = forward;
        }
        Ok(id)
    }

    /// Offers the tracks below a namespace.
    pub fn publish_namespace(
        &mut self,
        namespace: TrackNamespace,
        parameters: Parameters,
    ) -> Result<RequestId, CommandError> {
        may_publish(&namespace)?;
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
        let asked = prefix.clone();
        let id = self.ask(Kind::SubscribeNamespace, None, |id| {
            Message::SubscribeNamespace(SubscribeNamespace {
                request_id: id,
                prefix,
                parameters,
            })
        })?;
        self.note_prefix(id, Some(asked));
        Ok(id)
    }

    /// Changes a request of ours, or a subscription that the peer's PUBLISH established. Returns the
    /// update's own id.
    pub fn update(
        &mut self,
        request: RequestId,
        parameters: Parameters,
    ) -> Result<RequestId, CommandError> {
        let limit = self.peer_updates_max;
        let entry = self.established(request)?;
        let (stream, unanswered) = (entry.stream, entry.updates_sent.len());
        if unanswered >= limit {
            return Err(CommandError::TooManyUpdates { limit });
        }
        self.check_update(request, &parameters)?;
        let request_id = RequestId(self.own_ids.next());
        let asked = parameters.clone();
        let mut message = Message::RequestUpdate(RequestUpdate {
            request_id,
            parameters,
        });
        let (head, used) = self.encode_request(stream, &mut message)?;
        self.write(stream, head, false);
        self.own_ids.take();
        if let Some(entry) = self.requests.get_mut(&request) {
            entry.updates_sent.push_back(UpdateSent {
                tokens: used,
                filter: asked.filter,
                range_filters: asked.range_filters.clone(),
            });
        }
        self.expect_fill(request_id, request, &asked);
        self.note_prefix(request, asked.namespace_prefix);
        Ok(request_id)
    }

    /// Encodes a message that asks, its tokens in the form in which they may be sent.
    fn encode_request(
        &mut self,
        stream: StreamId,
        message: &mut Message,
    ) -> Result<(Bytes, Used), CommandError> {
        let asks = message
            .parameters_mut()
            .is_some_and(|parameters| !parameters.authorization_tokens.is_empty());
        if !asks {
            return Ok((self.encoded(message)?, Used::new()));
        }
        // When nothing is sent, nothing is registered.
        let before = self.own_tokens.clone();
        let result = self.encode_with_tokens(stream, message);
        if result.is_err() {
            self.own_tokens = before;
        }
        result
    }

    fn encode_with_tokens(
        &mut self,
        stream: StreamId,
        message: &mut Message,
    ) -> Result<(Bytes, Used), CommandError> {
        let mut used = Used::new();
        if let Some(parameters) = message.parameters_mut() {
            let tokens = std::mem::take(&mut parameters.authorization_tokens);
            (parameters.authorization_tokens, used) = self.own_tokens.prepare(stream, tokens)?;
        }
        Ok((self.encoded(message)?, used))
    }

    fn encoded(&self, message: &Message) -> Result<Bytes, CommandError> {
        let mut head = bytes::BytesMut::new();
        message.encode(self.draft, &mut head)?;
        Ok(head.freeze())
    }

    /// Asks the peer to move one request elsewhere, once. `uri` is where to, empty for this session;
    /// only servers may name a place. The request is reset with GOING_AWAY when `timeout` is over; one of
    /// less than a millisecond is none.
    pub fn goaway_request(
        &mut self,
        now: Instant,
        request: RequestId,
        uri: &str,
        timeout: Duration,
    ) -> Result<(), CommandError> {
        if self.side == Side::Client && !uri.is_empty() {
            let reason = "a client must not send a server elsewhere";
            return Err(EncodeError::Invalid(reason).into());
        }
        let entry = self
            .requests
            .get_mut(&request)
            .ok_or(CommandError::UnknownRequest(request))?;
        if std::mem::replace(&mut entry.goaway_sent, true) {
            return Ok(());
        }
        let timeout_ms = millis(timeout);
        entry.goaway_deadline = (timeout_ms > 0).then(|| now + timeout);
        let stream = entry.stream;
        let goaway = Goaway {
            new_session_uri: uri.to_owned(),
            timeout_ms,
            request_id: None,
        };
        self.send(stream, &Message::Goaway(goaway))?;
        self.arm(request);
        Ok(())
    }

    /// Gives a request up, whoever asked.
    pub fn cancel(&mut self, request: RequestId, code: StreamCode) -> Result<(), CommandError> {
        let stream = self.find(request)?.stream;
        self.reset(stream, code);
        if self.drop_incoming(stream) {
            self.stop(stream, code);
        }
        self.forget_with(request, code);
        Ok(())
    }

    pub(in crate::moqt::session) fn ask(
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
        let mut message = message(id);
        self.check_ranges(&message)?;
        let stream = StreamId::new(Origin::Local, Direction::Bidirectional, self.next_bidi);
        let (head, used) = self.encode_request(stream, &mut message)?;
        self.own_ids.take();
        self.next_bidi += 1;
        let session = self.id;
        self.transport(Output::Open {
            session,
            stream,
            priority: REQUEST_PRIORITY,
        });
        self.note_message(Origin::Local, stream, &message);
        self.write(stream, head, false);
        self.incoming
            .insert(stream, super::super::incoming::Incoming::request());
        self.request_streams.insert(stream, id);
        self.count_offer(kind, track.as_ref(), id);
        let mut request = Request::new(stream, kind, track);
        request.tokens_used = used;
        self.requests.insert(id, request);
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
        let default_priority = properties.default_publisher_priority();
        let answer = SubscribeOk {
            track_alias,
            parameters,
            properties,
        };
        self.send(stream, &Message::SubscribeOk(answer))?;
        if let Some(entry) = self.requests.get_mut(&request) {
            entry.alias = Some(track_alias);
            entry.default_priority = default_priority;
            entry.phase = Phase::Established;
        }
        Ok(())
    }

    /// Agrees to any other request of the peer. A TRACK_STATUS is over with it.
    pub fn accept(&mut self, request: RequestId, answer: RequestOk) -> Result<(), CommandError> {
        let stream = self.pending(request, |kind| {
            !matches!(kind, Kind::Subscribe | Kind::Fetch)
        })?;
        let forward = answer.parameters.forward;
        self.check_new_group(request, &answer.parameters)?;
        self.end_crossing_subscribe(request);
        self.send(stream, &Message::RequestOk(answer))?;
        let Some(entry) = self.requests.get_mut(&request) else {
            return Ok(());
        };
        entry.phase = Phase::Established;
        if let Some(forward) = forward {
            entry.forward = forward;
        }
        if entry.kind == Kind::TrackStatus {
            self.finish(request);
        }
        Ok(())
    }

    /// Tells the subscriber how far the track has come (20 and later). What the subscriber controls,
    /// its forward state and its filter, is not this end's to change.
    pub fn notify_state(
        &mut self,
        request: RequestId,
        largest: Location,
    ) -> Result<(), CommandError> {
        let entry = self.established(request)?;
        if !entry.is_publisher() {
            return Err(CommandError::WrongRequest(request));
        }
        let stream = entry.stream;
        let parameters = Parameters {
            largest: Some(largest),
            ..Parameters::default()
        };
        let notify = PublishStateNotify { parameters };
        self.send(stream, &Message::PublishStateNotify(notify))
    }

    /// Closes our direction of a request that is over, and forgets it.
    pub(in crate::moqt::session) fn finish(&mut self, request: RequestId) {
        let Some(stream) = self.requests.get(&request).map(|entry| entry.stream) else {
            return;
        };
        self.write(stream, Bytes::new(), true);
        self.discard_rest(stream);
        self.forget(request);
    }

    /// Refuses a request of the peer.
    pub fn reject(&mut self, request: RequestId, error: RequestError) -> Result<(), CommandError> {
        let stream = self.pending(request, |_| true)?;
        super::super::duties::check_refusal(self.find(request)?.kind, &error)?;
        self.send(stream, &Message::RequestError(error))?;
        self.write(stream, Bytes::new(), true);
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

    /// Refuses the oldest unanswered update of the peer. A subscription or a request about a
    /// namespace ends with it.
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
        if self.find(request)?.kind == Kind::Fetch {
            self.reset_data_streams(request, StreamCode::CANCELLED);
        }
        let is_about_namespace = matches!(
            self.find(request)?.kind,
            Kind::PublishNamespace | Kind::SubscribeNamespace | Kind::SubscribeTracks
        );
        if is_about_namespace {
            return self.finish_request(request);
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
        self.write(stream, Bytes::new(), true);
        self.discard_rest(stream);
        self.forget(request);
        Ok(())
    }

    pub(super) fn answer_update(&mut self, request: RequestId) -> Result<StreamId, CommandError> {
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

    pub(in crate::moqt::session) fn find(
        &self,
        request: RequestId,
    ) -> Result<&Request, CommandError> {
        self.requests
            .get(&request)
            .ok_or(CommandError::UnknownRequest(request))
    }

    pub(super) fn established(&self, request: RequestId) -> Result<&Request, CommandError> {
        let entry = self.find(request)?;
        if entry.phase == Phase::Established {
            Ok(entry)
        } else {
            Err(CommandError::WrongRequest(request))
        }
    }

    pub(in crate::moqt::session) fn pending(
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

    pub(super) fn take_alias(&mut self) -> TrackAlias {
        let alias = TrackAlias(self.next_alias);
        self.next_alias += 1;
        alias
    }

    /// Removes a request and resets what is still being sent for it.
    pub(in crate::moqt::session) fn forget(&mut self, request: RequestId) {
        self.forget_with(request, StreamCode::CANCELLED);
    }

    /// The same, with the code that its data streams are reset with.
    fn forget_with(&mut self, request: RequestId, code: StreamCode) {
        let entry = self.requests.remove(&request);
        self.reset_data_streams(request, code);
        let Some(entry) = entry else {
            return;
        };
        self.request_streams.remove(&entry.stream);
        self.waiting.change(request, entry.armed, None);
        self.uncount_track(request, &entry);
        for fill in &entry.fills {
            self.fills.remove(fill);
        }
        for stream in &entry.fetch_streams {
            if self.drop_incoming(*stream) {
                self.stop(*stream, StreamCode::CANCELLED);
            }
        }
        if let Some(alias) = entry.alias.filter(|_| entry.is_subscriber()) {
            self.unbind_alias(alias, request);
        }
    }
}

/// Namespaces that no application may publish under.
fn may_publish(namespace: &TrackNamespace) -> Result<(), CommandError> {
    if is_reserved(namespace) {
        let reason = "namespaces . and .session must not be published";
        return Err(EncodeError::Invalid(reason).into());
    }
    Ok(())
}
