//! What peers ask of the relay: SUBSCRIBE, PUBLISH, and the way of all other requests.
//!
//! Namespaces are in [`super::namespaces`], REQUEST_UPDATE in [`super::updates`].

use super::access::Allowed;
use super::{Relay, RequestKey, Timer};
use crate::moqt::draft::ParameterTable;
use crate::moqt::error::{RequestCode, StreamCode};
use crate::moqt::message::{
    Fetch, FetchTarget, Message, Publish, RequestError, RequestOk, Subscribe,
};
use crate::moqt::name::{FullTrackName, RequestId, TrackNamespace};
use crate::moqt::parameter::Parameters;
use crate::time::{Instant, UnixTime};
use crate::transport::SessionId;

impl Relay {
    pub(super) fn take_request(&mut self, now: Instant, key: RequestKey, message: Message) {
        match message {
            Message::Subscribe(subscribe) => self.take_subscribe(now, key, subscribe),
            Message::Fetch(fetch) => self.take_fetch(now, key, fetch),
            Message::Publish(publish) => self.take_publish(now, key, publish),
            Message::PublishNamespace(request) => self.take_publish_namespace(now, key, &request),
            Message::SubscribeNamespace(request) => {
                self.take_subscribe_namespace(now, key, &request);
            }
            Message::SubscribeTracks(request) => self.take_subscribe_tracks(now, key, request),
            Message::TrackStatus(request) => self.take_track_status(now, key, request),
            _ => self.refuse(
                key,
                RequestCode::NOT_SUPPORTED,
                "this request is not served",
            ),
        }
    }

    fn take_subscribe(&mut self, now: Instant, key: RequestKey, subscribe: Subscribe) {
        let (namespace, parameters) = (&subscribe.track.namespace, &subscribe.parameters);
        let message = || Message::Subscribe(subscribe.clone());
        if !self.hold_for_key(now, key, namespace, parameters, message) {
            self.serve_subscribe(now, key, subscribe);
        }
    }

    fn take_fetch(&mut self, now: Instant, key: RequestKey, fetch: Fetch) {
        let is_held = match &fetch.target {
            FetchTarget::Track(track) => {
                let message = || Message::Fetch(fetch.clone());
                self.hold_for_key(now, key, &track.namespace, &fetch.parameters, message)
            }
            FetchTarget::RelativeJoin { .. } | FetchTarget::AbsoluteJoin { .. } => false,
        };
        if !is_held {
            self.serve_fetch(now, key, fetch);
        }
    }

    pub(super) fn serve_subscribe(&mut self, now: Instant, key: RequestKey, subscribe: Subscribe) {
        let Some(allowed) =
            self.allow_subscribe(now, key, &subscribe.track.namespace, &subscribe.parameters)
        else {
            return;
        };
        let Ok(name) = FullTrackName::new(allowed.namespace.clone(), subscribe.track.name) else {
            self.refuse(
                key,
                RequestCode::DOES_NOT_EXIST,
                "the track's name is too long",
            );
            return;
        };
        self.remember_permission(now, key, allowed);
        self.join_track(now, key, name, subscribe.parameters);
    }

    pub(super) fn allow_subscribe(
        &mut self,
        now: Instant,
        key: RequestKey,
        namespace: &TrackNamespace,
        parameters: &Parameters,
    ) -> Option<Allowed> {
        let unix = self.unix_now(now);
        let peer = self.peers.get(&key.0)?;
        let tokens = &parameters.authorization_tokens;
        match self.policy.subscribe(&peer.grant, namespace, tokens, unix) {
            Ok(allowed) => Some(allowed),
            Err(denied) => {
                self.count_denial("request", denied.cause.name());
                self.refuse(key, denied.cause.request_code(), &denied.cause.reason());
                if denied.ends_session {
                    self.deny_for(key.0, denied.cause);
                }
                None
            }
        }
    }

    /// A token of the session ends the session with it; one of the request ends its subscription.
    pub(super) fn remember_permission(&mut self, now: Instant, key: RequestKey, allowed: Allowed) {
        let Some(peer) = self.peers.get_mut(&key.0) else {
            return;
        };
        peer.kids.extend(allowed.kid);
        let by_session =
            matches!(&peer.grant, super::Grant::Tokens { tokens } if !tokens.is_empty());
        if let Some(expires) = allowed.expires {
            if by_session {
                self.expire_session_at(now, key.0, expires);
            } else {
                self.expire_subscription_at(now, key, expires);
            }
        }
    }

    fn take_publish(&mut self, now: Instant, key: RequestKey, publish: Publish) {
        let Some(namespace) = self.allow_publish(key, &publish.track.namespace) else {
            return;
        };
        let Ok(name) = FullTrackName::new(namespace, publish.track.name) else {
            self.refuse(
                key,
                RequestCode::DOES_NOT_EXIST,
                "the track's name is too long",
            );
            return;
        };
        let is_upload = self.may_upload(key.0, &name);
        let Some(track) = self.track_of(name.clone()) else {
            self.refuse(
                key,
                RequestCode::EXCESSIVE_LOAD,
                "too many tracks (tracks_max)",
            );
            return;
        };
        let forward = is_upload || self.forward_for_publish(track);
        if let Some(told) = self.accept_publish(key, &publish.parameters, forward) {
            self.published_with(key, track, told);
            self.ask_to_forward(key, told, is_upload);
            // The places of an upload are not those of what is made of it.
            let largest = publish.parameters.largest.filter(|_| !is_upload);
            self.upstream_established(now, key, track, largest, publish.properties);
            if is_upload {
                self.begin_upload(now, key, track, name.namespace);
            } else {
                self.offer_track(now, track);
            }
        } else {
            // The request ended meanwhile.
            self.remove_if_unused(track);
        }
    }

    /// Answers a PUBLISH, with the forward state where the answer can carry it. Returns the state
    /// that holds from then on.
    fn accept_publish(
        &mut self,
        key: RequestKey,
        offered: &Parameters,
        forward: bool,
    ) -> Option<bool> {
        let session = self.sessions.session_mut(key.0)?;
        let mut told = offered.forward.unwrap_or(true);
        let mut answer = RequestOk::default();
        match session.draft().profile().parameter_table {
            ParameterTable::Eighteen => {
                answer.parameters.forward = Some(forward).filter(|forward| !forward);
                told = forward;
            }
            ParameterTable::Twenty => {}
        }
        session.accept(key.1, answer).ok().map(|()| told)
    }

    /// An upload that waits to be asked is asked: the relay reads it whoever watches. Everybody
    /// else is asked when a viewer comes.
    fn ask_to_forward(&mut self, key: RequestKey, told: bool, is_upload: bool) {
        if is_upload && !told {
            let forward = Parameters {
                forward: Some(true),
                ..Parameters::default()
            };
            if let Some(session) = self.sessions.session_mut(key.0) {
                // A request that ended meanwhile need not forward.
                let _ = session.update(key.1, forward);
            }
        }
    }

    pub(super) fn allow_publish(
        &mut self,
        key: RequestKey,
        namespace: &TrackNamespace,
    ) -> Option<TrackNamespace> {
        let peer = self.peers.get(&key.0)?;
        match self.policy.publish(&peer.grant, namespace) {
            Ok(canonical) => Some(canonical),
            Err(denied) => {
                self.count_denial("request", denied.cause.name());
                self.refuse(key, denied.cause.request_code(), &denied.cause.reason());
                None
            }
        }
    }

    /// A request was given up by the peer, or ended here.
    pub(super) fn request_over(&mut self, now: Instant, key: RequestKey) {
        self.keyless.remove(&key);
        self.namespace_over(now, key);
        self.wish_over(key);
        self.question_over(key);
        self.leave_track(now, key);
        self.fetch_upstream_lost(now, key);
        self.upstream_lost(now, key);
    }

    /// A session is over, and all of its requests with it.
    pub(super) fn session_over(&mut self, now: Instant, session: SessionId) {
        if let Some(peer) = self.peers.remove(&session) {
            self.forget_grant(session, &peer.grant);
        }
        self.disarm(Timer::SessionExpiry(session));
        let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        let mut keys: Vec<RequestKey> = Vec::new();
        keys.extend(self.keyless.range(of_session.clone()).map(|(key, _)| *key));
        keys.extend(
            self.announced
                .range(of_session.clone())
                .map(|(key, _)| *key),
        );
        keys.extend(self.watched.range(of_session.clone()).map(|(key, _)| *key));
        keys.extend(self.offers.of_session(session));
        keys.extend(self.questions.of_session(session));
        keys.extend(
            self.downstreams
                .range(of_session.clone())
                .map(|(key, _)| *key),
        );
        keys.extend(self.upstreams.range(of_session).map(|(key, _)| *key));
        keys.extend(self.fetches_of_session(session));
        for key in keys {
            self.request_over(now, key);
        }
    }

    pub(super) fn accept(&mut self, key: RequestKey) -> bool {
        self.sessions
            .session_mut(key.0)
            .is_some_and(|session| session.accept(key.1, RequestOk::default()).is_ok())
    }

    /// Accepts a request about namespaces and says when its permission ends, where the draft can.
    pub(super) fn accept_until(
        &mut self,
        now: Instant,
        key: RequestKey,
        expires: Option<UnixTime>,
    ) -> bool {
        let expires_ms = expires.and_then(|at| self.expires_ms(now, at));
        let Some(session) = self.sessions.session_mut(key.0) else {
            return false;
        };
        let mut answer = RequestOk::default();
        answer.parameters.expires_ms = match session.draft().profile().parameter_table {
            ParameterTable::Eighteen => None,
            ParameterTable::Twenty => expires_ms,
        };
        session.accept(key.1, answer).is_ok()
    }

    pub(super) fn refuse(&mut self, key: RequestKey, code: RequestCode, reason: &str) {
        self.refuse_with(key, RequestError::new(code, reason));
    }

    pub(super) fn refuse_with(&mut self, key: RequestKey, error: RequestError) {
        self.subscription_refused(key);
        self.forget_expiry(key);
        if let Some(session) = self.sessions.session_mut(key.0) {
            // A request that ended meanwhile needs no answer.
            let _ = session.reject(key.1, error);
        }
    }

    pub(super) fn cancel(&mut self, key: RequestKey, code: StreamCode) {
        if let Some(session) = self.sessions.session_mut(key.0) {
            // A request that ended meanwhile needs no cancel.
            let _ = session.cancel(key.1, code);
        }
    }
}
