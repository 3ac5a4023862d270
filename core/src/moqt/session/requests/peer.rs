//! What the peer says on request streams: requests, answers, updates, and the ends of streams.
//!
//! Faults of the peer close the session with the code that the specification names. Source:
//! draft-ietf-moq-transport-18 sections 3.3.2, 5.1, 6, 9.3 to 9.22.

use super::super::fetch::FetchState;
use super::super::{
    Event, Instant, Message, Origin, Parameters, ProtocolError, RequestCode, RequestId, Session,
    SessionCode, StreamCode, StreamId, TrackNamespace, checks, request_error,
};
use super::{Phase, Request};
use crate::map::btree_map;
use crate::moqt::message::{FetchTarget, RequestKind as Kind, RequestUpdate};
use crate::moqt::name::FullTrackName;

const REPEATED_TOKEN: (RequestCode, &str) = (
    RequestCode::MALFORMED_AUTH_TOKEN,
    "the same authorization token twice",
);

/// What a request of the peer is about.
struct Asked {
    id: RequestId,
    kind: Kind,
    track: Option<FullTrackName>,
    namespace: Option<TrackNamespace>,
}

impl Request {
    /// Keeps what a request of the peer says of itself.
    fn note(&mut self, message: &Message) {
        match message {
            Message::Fetch(fetch) => self.fetch = Some(FetchState::of(fetch)),
            Message::Subscribe(subscribe) => {
                self.forward = subscribe.parameters.forward.unwrap_or(true);
            }
            Message::Publish(publish) => {
                self.dynamic_groups = publish.properties.dynamic_groups();
            }
            _ => {}
        }
    }
}

/// What the peer says on request streams.
impl Session {
    pub(in crate::moqt::session) fn take_request_message(
        &mut self,
        now: Instant,
        stream: StreamId,
        message: Message,
    ) -> Result<(), ProtocolError> {
        self.note_message(Origin::Peer, stream, &message);
        match self.request_streams.get(&stream).copied() {
            Some(request) => self.take_follow_up(now, request, message),
            None if stream.origin() == Origin::Peer => self.take_first(stream, message),
            None => Ok(()),
        }
    }

    /// Why a request of the peer is refused before the owner sees it, if it is.
    fn refusal_of(
        &self,
        message: &Message,
        kind: Kind,
        track: Option<&FullTrackName>,
        namespace: Option<&TrackNamespace>,
    ) -> Option<(RequestCode, &'static str)> {
        if self.requests.len() >= self.limits.requests_max {
            Some((
                RequestCode::EXCESSIVE_LOAD,
                "too many open requests (requests_max)",
            ))
        } else if self.goaway_sent {
            Some((RequestCode::GOING_AWAY, "this end is going away"))
        } else if self.is_duplicate(kind, track) {
            Some((
                RequestCode::DUPLICATE_SUBSCRIPTION,
                "the track is subscribed to already",
            ))
        } else if namespace.is_some_and(is_reserved) {
            Some((RequestCode::DOES_NOT_EXIST, "reserved namespace"))
        } else if matches!(message, Message::Publish(m) if m.properties.unsupported_mandatory().is_some())
        {
            Some((
                RequestCode::UNSUPPORTED_EXTENSION,
                "a mandatory track property is not understood here",
            ))
        } else if let Message::Fetch(fetch) = message {
            self.fetch_refusal(fetch)
        } else {
            None
        }
    }

    pub(super) fn take_first(
        &mut self,
        stream: StreamId,
        message: Message,
    ) -> Result<(), ProtocolError> {
        let mut message = message;
        let is_repeated = self.resolve_tokens(message.parameters_mut())?;
        let Some(Asked {
            id,
            kind,
            track,
            namespace,
        }) = self.asked(&message)
        else {
            return Err(ProtocolError::violation(
                "a request stream begins with a message that is not a request",
            ));
        };
        self.peer_ids.observe(id)?;
        let refusal = if is_repeated {
            Some(REPEATED_TOKEN)
        } else {
            self.refusal_of(&message, kind, track.as_ref(), namespace.as_ref())
        };
        let mut entry = Request::new(stream, kind, track);
        entry.note(&message);
        if let (Message::Publish(publish), None) = (&message, &refusal) {
            self.bind_alias(publish.track_alias, id, Some(&publish.track))?;
            entry.alias = Some(publish.track_alias);
        }
        self.count_track(kind, entry.track.as_ref());
        self.requests.insert(id, entry);
        self.request_streams.insert(stream, id);
        if let Some((code, reason)) = refusal {
            // The request was inserted a line above, so it can be refused.
            let refused = self.reject(id, request_error(code, reason));
            debug_assert!(refused.is_ok());
            return Ok(());
        }
        if let Message::Subscribe(subscribe) = &message {
            self.expect_fill(id, id, &subscribe.parameters);
        }
        self.event(Event::Request {
            request: id,
            message,
        });
        Ok(())
    }

    /// Puts the tokens of a message into the form by value. Returns whether one was given twice.
    fn resolve_tokens(
        &mut self,
        parameters: Option<&mut Parameters>,
    ) -> Result<bool, ProtocolError> {
        let Some(parameters) = parameters else {
            return Ok(false);
        };
        if parameters.authorization_tokens.is_empty() {
            return Ok(false);
        }
        let tokens = std::mem::take(&mut parameters.authorization_tokens);
        let resolved = self.peer_tokens.take(tokens)?;
        parameters.authorization_tokens = resolved.tokens;
        Ok(resolved.is_repeated)
    }

    /// What a message asks for, if it is a request.
    fn asked(&self, message: &Message) -> Option<Asked> {
        let of_track = |id, kind, track: &FullTrackName| Asked {
            id,
            kind,
            track: Some(track.clone()),
            namespace: Some(track.namespace.clone()),
        };
        let of_namespace = |id, kind, namespace: &TrackNamespace| Asked {
            id,
            kind,
            track: None,
            namespace: Some(namespace.clone()),
        };
        Some(match message {
            Message::Subscribe(m) => of_track(m.request_id, Kind::Subscribe, &m.track),
            Message::Publish(m) => of_track(m.request_id, Kind::Publish, &m.track),
            Message::TrackStatus(m) => of_track(m.request_id, Kind::TrackStatus, &m.track),
            Message::PublishNamespace(m) => {
                of_namespace(m.request_id, Kind::PublishNamespace, &m.namespace)
            }
            Message::SubscribeNamespace(m) => {
                of_namespace(m.request_id, Kind::SubscribeNamespace, &m.prefix)
            }
            Message::SubscribeTracks(m) => {
                of_namespace(m.request_id, Kind::SubscribeTracks, &m.prefix)
            }
            Message::Fetch(m) => match &m.target {
                FetchTarget::Track(track) => of_track(m.request_id, Kind::Fetch, track),
                FetchTarget::RelativeJoin { joining, .. }
                | FetchTarget::AbsoluteJoin { joining, .. } => Asked {
                    id: m.request_id,
                    kind: Kind::Fetch,
                    track: self.requests.get(joining).and_then(|r| r.track.clone()),
                    namespace: None,
                },
            },
            _ => return None,
        })
    }

    /// Up to draft 18 a track can be subscribed to once per session and role.
    pub(super) fn is_duplicate(&self, kind: Kind, track: Option<&FullTrackName>) -> bool {
        let track = track.filter(|_| self.is_limited(kind));
        track.is_some_and(|track| {
            self.peer_tracks.contains_key(&(kind, track.clone()))
                || kind == Kind::Subscribe && self.is_offered(track)
        })
    }

    /// Whether an offer of the track by this end is unanswered: the peer has to answer it first.
    fn is_offered(&self, track: &FullTrackName) -> bool {
        let ids = (track.clone(), RequestId(0))..=(track.clone(), RequestId(u64::MAX));
        let mut offers = self.own_publishes.range(ids);
        offers.any(|(_, id)| {
            let entry = self.requests.get(id);
            entry.is_some_and(|entry| matches!(entry.phase, Phase::Pending))
        })
    }

    fn is_limited(&self, kind: Kind) -> bool {
        let concurrent = self.draft.profile().concurrent_subscriptions;
        !concurrent && matches!(kind, Kind::Subscribe | Kind::Publish)
    }

    /// Counts a request of the peer for a track, where [`Self::is_duplicate`] has to know.
    fn count_track(&mut self, kind: Kind, track: Option<&FullTrackName>) {
        if let Some(track) = track.filter(|_| self.is_limited(kind)) {
            *self.peer_tracks.entry((kind, track.clone())).or_insert(0) += 1;
        }
    }

    /// Notes an offer of this end, where [`Self::is_duplicate`] has to know.
    pub(super) fn count_offer(&mut self, kind: Kind, track: Option<&FullTrackName>, id: RequestId) {
        let is_offer = kind == Kind::Publish && self.is_limited(kind);
        if let Some(track) = track.filter(|_| is_offer) {
            self.own_publishes.insert((track.clone(), id));
        }
    }

    /// A request of either end is over.
    pub(super) fn uncount_track(&mut self, id: RequestId, entry: &Request) {
        if entry.origin() == Origin::Local && entry.kind == Kind::Publish {
            if let Some(track) = entry.track.clone() {
                self.own_publishes.remove(&(track, id));
            }
            return;
        }
        let is_counted = entry.origin() == Origin::Peer && self.is_limited(entry.kind);
        if let Some(track) = entry.track.as_ref().filter(|_| is_counted) {
            let key = (entry.kind, track.clone());
            if let btree_map::Entry::Occupied(mut count) = self.peer_tracks.entry(key) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
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
                self.take_update(request, update)
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
                self.arm(request);
                self.settle_ending(request);
                Ok(())
            }
            Message::Goaway(goaway) => {
                let is_second = std::mem::replace(&mut entry.goaway_received, true);
                checks::goaway(self.side, is_second, &goaway)?;
                self.event(Event::RequestGoaway { request, goaway });
                Ok(())
            }
            Message::PublishStateNotify(notify)
                if entry.is_subscriber() && entry.phase == Phase::Established =>
            {
                let parameters = notify.parameters;
                self.event(Event::StateNotified {
                    request,
                    parameters,
                });
                Ok(())
            }
            message if entry.origin() == Origin::Local || entry.kind == Kind::Publish => {
                self.take_answer(now, request, message)
            }
            _ => Err(unexpected()),
        }
    }

    fn take_update(
        &mut self,
        request: RequestId,
        update: RequestUpdate,
    ) -> Result<(), ProtocolError> {
        let Some(entry) = self.requests.get_mut(&request) else {
            return Ok(());
        };
        if entry.updates_received >= self.limits.request_updates_max {
            return Err(ProtocolError::new(
                SessionCode::TOO_MANY_REQUEST_UPDATES,
                "too many unanswered updates of one request (request_updates_max)",
            ));
        }
        entry.updates_received += 1;
        let RequestUpdate {
            request_id,
            mut parameters,
        } = update;
        parameters.check_update_of(self.draft, entry.kind)?;
        if let Some(forward) = parameters.forward {
            entry.forward = forward;
        }
        self.peer_ids.observe(request_id)?;
        if self.resolve_tokens(Some(&mut parameters))? {
            let (code, reason) = REPEATED_TOKEN;
            // The update was counted above, so it can be refused.
            let refused = self.reject_update(request, request_error(code, reason));
            debug_assert!(refused.is_ok());
            return Ok(());
        }
        self.expect_fill(request_id, request, &parameters);
        self.event(Event::Update {
            request,
            update: request_id,
            parameters,
        });
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
        let is_fetch_answered = entry.kind == Kind::Fetch && entry.is_established();
        let goes_on = finished
            && (matches!(entry.phase, Phase::Ending { .. })
                || is_fetch_answered
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
        // Who publishes or answers ends that by what it sends: an answer, PUBLISH_DONE, a reset. That
        // it reads no more may overtake that, and says nothing else.
        let speaks_last = |entry: &Request| {
            let is_answer = matches!(entry.kind, Kind::Fetch | Kind::TrackStatus);
            entry.is_subscriber() || (is_answer && entry.origin() == Origin::Local)
        };
        if self.requests.get(&request).is_some_and(speaks_last) {
            return;
        }
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

    pub(in crate::moqt::session) fn end_request(&mut self, request: RequestId) {
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
}

/// Namespaces that this end must not pass on: `.` for any use, and session-level ones that it does
/// not know.
pub(super) fn is_reserved(namespace: &TrackNamespace) -> bool {
    namespace
        .fields()
        .first()
        .is_some_and(|field| matches!(&field[..], b"." | b".session"))
}
