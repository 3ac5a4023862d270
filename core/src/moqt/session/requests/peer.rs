//! What the peer says on request streams: requests, answers, updates, and the ends of streams.
//!
//! Faults of the peer close the session with the code that the specification names. Source:
//! draft-ietf-moq-transport-18 sections 3.3.2, 5.1, 6, 9.3 to 9.22.

use super::super::{
    Accepted, Event, Instant, Message, Origin, ProtocolError, RequestCode, RequestId, Session,
    SessionCode, StreamCode, StreamId, TrackAlias, TrackNamespace, checks, request_error,
};
use super::{Phase, Request};
use crate::moqt::message::RequestKind as Kind;
use crate::moqt::name::FullTrackName;

/// What the peer says on request streams.
impl Session {
    pub(in crate::moqt::session) fn take_request_message(
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

    pub(super) fn take_first(
        &mut self,
        stream: StreamId,
        message: Message,
    ) -> Result<(), ProtocolError> {
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
    pub(super) fn is_duplicate(&self, kind: Kind, track: Option<&FullTrackName>) -> bool {
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
    pub(super) fn take_fetch(
        &mut self,
        stream: StreamId,
        id: RequestId,
    ) -> Result<(), ProtocolError> {
        self.peer_ids.observe(id)?;
        self.requests
            .insert(id, Request::new(stream, Kind::Fetch, None));
        self.request_streams.insert(stream, id);
        let error = request_error(RequestCode::NOT_SUPPORTED, "fetch is not served");
        let refused = self.reject(id, error);
        debug_assert!(refused.is_ok());
        Ok(())
    }

    pub(super) fn take_follow_up(
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

    pub(super) fn take_answer(
        &mut self,
        request: RequestId,
        message: Message,
    ) -> Result<(), ProtocolError> {
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
                if entry.kind == Kind::TrackStatus {
                    let stream = entry.stream;
                    self.write(stream, bytes::Bytes::new(), true);
                    self.discard_rest(stream);
                    self.forget(request);
                }
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
            (message, Phase::Established) => return self.take_notice(request, message),
            _ => return Err(unexpected()),
        };
        self.event(event);
        Ok(())
    }

    /// What a request about a prefix goes on to be told after its answer.
    fn take_notice(&mut self, request: RequestId, message: Message) -> Result<(), ProtocolError> {
        let unexpected = || ProtocolError::violation("answer does not fit its request");
        let Some(entry) = self.requests.get_mut(&request) else {
            return Ok(());
        };
        let event = match (message, entry.kind) {
            (Message::Namespace(message), Kind::SubscribeNamespace) => {
                let suffix = message.suffix;
                entry.announced.insert(suffix.clone());
                Event::Namespace { request, suffix }
            }
            (Message::NamespaceDone(message), Kind::SubscribeNamespace) => {
                if !entry.announced.remove(&message.suffix) {
                    return Err(ProtocolError::violation("NAMESPACE_DONE before NAMESPACE"));
                }
                let suffix = message.suffix;
                Event::NamespaceDone { request, suffix }
            }
            (Message::PublishSkipped(message), Kind::SubscribeTracks) => {
                let (suffix, name) = (message.suffix, message.name);
                Event::PublishSkipped {
                    request,
                    suffix,
                    name,
                }
            }
            _ => return Err(unexpected()),
        };
        self.event(event);
        Ok(())
    }

    /// The peer closed its direction of a request stream.
    pub(in crate::moqt::session) fn request_stream_ended(
        &mut self,
        stream: StreamId,
        code: Option<StreamCode>,
    ) {
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
    pub(in crate::moqt::session) fn request_stream_stopped(
        &mut self,
        stream: StreamId,
        code: StreamCode,
    ) {
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
    pub(in crate::moqt::session) fn settle_ending(&mut self, request: RequestId) {
        let Some(entry) = self.requests.get(&request) else {
            return;
        };
        if let Phase::Ending { streams, .. } = entry.phase
            && entry.streams_ended >= streams
        {
            self.end_request(request);
        }
    }

    pub(in crate::moqt::session) fn expire_ending_requests(&mut self, now: Instant) {
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

    pub(super) fn end_request(&mut self, request: RequestId) {
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
    pub(super) fn bind_alias(
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
