//! What peers ask of the relay: SUBSCRIBE, PUBLISH, namespaces, updates.

use super::access::{Allowed, Cause};
use super::{Announced, Relay, RequestKey};
use crate::moqt::error::{RequestCode, StreamCode};
use crate::moqt::message::{
    Message, Publish, PublishNamespace, RequestError, RequestOk, Subscribe, SubscribeNamespace,
};
use crate::moqt::name::{FullTrackName, TrackNamespace};
use crate::moqt::parameter::Parameters;
use crate::time::Instant;
use crate::transport::SessionId;

impl Relay {
    pub(super) fn take_request(&mut self, now: Instant, key: RequestKey, message: Message) {
        match message {
            Message::Subscribe(subscribe) => self.take_subscribe(now, key, subscribe),
            Message::Publish(publish) => self.take_publish(now, key, publish),
            Message::PublishNamespace(request) => self.take_publish_namespace(now, key, &request),
            Message::SubscribeNamespace(request) => {
                self.take_subscribe_namespace(now, key, &request);
            }
            _ => self.refuse(
                key,
                RequestCode::NOT_SUPPORTED,
                "this request is not served",
            ),
        }
    }

    fn take_subscribe(&mut self, now: Instant, key: RequestKey, subscribe: Subscribe) {
        if !self.hold_for_key(now, key, &subscribe) {
            self.serve_subscribe(now, key, subscribe);
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

    fn allow_subscribe(
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
                self.refuse(key, denied.cause.request_code(), &denied.cause.reason());
                if denied.ends_session {
                    self.deny_for(key.0, denied.cause);
                }
                None
            }
        }
    }

    /// A token of the session ends the session with it; one of the request ends its subscription.
    fn remember_permission(&mut self, now: Instant, key: RequestKey, allowed: Allowed) {
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
            self.refuse(key, RequestCode::EXCESSIVE_LOAD, "too many tracks");
            return;
        };
        let accepted = self
            .sessions
            .session_mut(key.0)
            .is_some_and(|session| session.accept(key.1, RequestOk::default()).is_ok());
        if accepted {
            self.ask_to_forward(key, &publish.parameters);
            // The places of an upload are not those of what is made of it.
            let largest = publish.parameters.largest.filter(|_| !is_upload);
            self.upstream_established(now, key, track, largest, publish.properties);
            if is_upload {
                self.begin_upload(now, key, track, name.namespace);
            }
        } else {
            // The request ended meanwhile.
            self.remove_if_unused(track);
        }
    }

    /// A publisher that waits to be asked is asked: objects are retained for those who come later.
    fn ask_to_forward(&mut self, key: RequestKey, parameters: &Parameters) {
        if parameters.forward == Some(false) {
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

    fn allow_publish(
        &mut self,
        key: RequestKey,
        namespace: &TrackNamespace,
    ) -> Option<TrackNamespace> {
        let peer = self.peers.get(&key.0)?;
        match self.policy.publish(&peer.grant, namespace) {
            Ok(canonical) => Some(canonical),
            Err(denied) => {
                self.refuse(key, denied.cause.request_code(), &denied.cause.reason());
                None
            }
        }
    }

    fn take_publish_namespace(
        &mut self,
        now: Instant,
        key: RequestKey,
        request: &PublishNamespace,
    ) {
        let Some(namespace) = self.allow_publish(key, &request.namespace) else {
            return;
        };
        if self.announced.len() >= self.config.namespaces_max {
            self.refuse(key, RequestCode::EXCESSIVE_LOAD, "too many namespaces");
            return;
        }
        if !self.accept(key) {
            return;
        }
        let is_first = !self.publishers.is_present(namespace.fields());
        self.publishers.insert(namespace.fields(), key);
        let announced = Announced {
            namespace: namespace.clone(),
            spelling: request.namespace.clone(),
        };
        self.announced.insert(key, announced);
        if is_first {
            self.tell_watchers(&namespace, true);
        }
        self.subscribe_waiting_tracks(now, key, &namespace);
    }

    fn take_subscribe_namespace(
        &mut self,
        now: Instant,
        key: RequestKey,
        request: &SubscribeNamespace,
    ) {
        let Some(allowed) = self.allow_subscribe(now, key, &request.prefix, &request.parameters)
        else {
            return;
        };
        let prefix = allowed.namespace.clone();
        if self.overlaps(key.0, &prefix) {
            self.refuse(
                key,
                RequestCode::PREFIX_OVERLAP,
                "the prefix overlaps an earlier one",
            );
            return;
        }
        let limit = self.config.namespaces_listed_max;
        let Some(names) = self.publishers.names_below(prefix.fields(), limit) else {
            self.refuse(
                key,
                RequestCode::NAMESPACE_TOO_LARGE,
                "the prefix matches too much",
            );
            return;
        };
        if !self.accept(key) {
            return;
        }
        self.remember_permission(now, key, allowed);
        self.watchers.insert(prefix.fields(), key);
        self.watched.insert(key, prefix.clone());
        let Some(session) = self.sessions.session_mut(key.0) else {
            return;
        };
        for name in names {
            let suffix = TrackNamespace::new(name.into_iter().skip(prefix.fields().len()));
            if let Ok(suffix) = suffix {
                // A request that ended meanwhile needs no news.
                let _ = session.namespace(key.1, suffix);
            }
        }
    }

    fn overlaps(&self, session: SessionId, prefix: &TrackNamespace) -> bool {
        use crate::moqt::name::RequestId;
        let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        self.watched
            .range(of_session)
            .any(|(_, other)| other.has_prefix(prefix) || prefix.has_prefix(other))
    }

    /// Tells who asked that a namespace came or went.
    fn tell_watchers(&mut self, namespace: &TrackNamespace, is_published: bool) {
        for (session, request) in self.watchers.covering(namespace.fields()) {
            let Some(prefix) = self.watched.get(&(session, request)) else {
                continue;
            };
            let Some(suffix) = namespace.suffix_after(prefix) else {
                continue;
            };
            if let Some(session) = self.sessions.session_mut(session) {
                // A request that ended meanwhile needs no news.
                let _ = if is_published {
                    session.namespace(request, suffix)
                } else {
                    session.namespace_done(request, suffix)
                };
            }
        }
    }

    /// A namespace request, of either kind, is over.
    pub(super) fn namespace_over(&mut self, key: RequestKey) {
        if let Some(Announced { namespace, .. }) = self.announced.remove(&key) {
            self.publishers.remove(namespace.fields(), &key);
            if !self.publishers.is_present(namespace.fields()) {
                self.tell_watchers(&namespace, false);
            }
        }
        if let Some(prefix) = self.watched.remove(&key) {
            self.watchers.remove(prefix.fields(), &key);
        }
    }

    pub(super) fn take_update(&mut self, now: Instant, key: RequestKey, parameters: &Parameters) {
        let mut answer = RequestOk::default();
        if let Some(track) = self.downstreams.get(&key).copied() {
            if !parameters.authorization_tokens.is_empty()
                && let Err(cause) = self.renew(now, key, parameters)
            {
                let error = RequestError::new(cause.request_code(), cause.reason());
                if let Some(session) = self.sessions.session_mut(key.0) {
                    // The subscription ends with the refusal.
                    let _ = session.reject_update(key.1, error);
                }
                self.request_over(now, key);
                return;
            }
            if let Some(entry) = self.entries.get_mut(&track) {
                entry.track.update(now, &mut self.sessions, key, parameters);
                answer.parameters.largest = entry.track.largest();
            }
        }
        if let Some(session) = self.sessions.session_mut(key.0) {
            // An update of a request that is over needs no answer.
            let _ = session.accept_update(key.1, answer);
        }
    }

    /// A viewer shows a newer token.
    fn renew(
        &mut self,
        now: Instant,
        key: RequestKey,
        parameters: &Parameters,
    ) -> Result<(), Cause> {
        let unix = self.unix_now(now);
        let (Some(peer), Some(track)) = (self.peers.get(&key.0), self.downstreams.get(&key)) else {
            return Ok(());
        };
        let Some(entry) = self.entries.get(track) else {
            return Ok(());
        };
        let tokens = &parameters.authorization_tokens;
        let allowed = self
            .policy
            .subscribe(&peer.grant, &entry.name.namespace, tokens, unix)
            .map_err(|denied| denied.cause)?;
        if let Some(peer) = self.peers.get_mut(&key.0) {
            peer.kids.extend(allowed.kid);
        }
        if let Some(expires) = allowed.expires {
            self.expire_subscription_at(now, key, expires);
        }
        Ok(())
    }

    /// A request was given up by the peer, or ended here.
    pub(super) fn request_over(&mut self, now: Instant, key: RequestKey) {
        self.keyless.remove(&key);
        self.keyless.remove(&key);
        self.namespace_over(key);
        self.leave_track(now, key);
        self.upstream_lost(now, key);
    }

    /// A session is over, and all of its requests with it.
    pub(super) fn session_over(&mut self, now: Instant, session: SessionId) {
        use crate::moqt::name::RequestId;
        self.peers.remove(&session);
        self.ops.retain(|_, of| *of != session);
        let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        let mut keys: Vec<RequestKey> = Vec::new();
        keys.extend(self.keyless.range(of_session.clone()).map(|(key, _)| *key));
        keys.extend(
            self.announced
                .range(of_session.clone())
                .map(|(key, _)| *key),
        );
        keys.extend(self.watched.range(of_session.clone()).map(|(key, _)| *key));
        keys.extend(self.keyless.range(of_session.clone()).map(|(key, _)| *key));
        keys.extend(
            self.downstreams
                .range(of_session.clone())
                .map(|(key, _)| *key),
        );
        keys.extend(self.upstreams.range(of_session).map(|(key, _)| *key));
        for key in keys {
            self.request_over(now, key);
        }
    }

    pub(super) fn accept(&mut self, key: RequestKey) -> bool {
        self.sessions
            .session_mut(key.0)
            .is_some_and(|session| session.accept(key.1, RequestOk::default()).is_ok())
    }

    pub(super) fn refuse(&mut self, key: RequestKey, code: RequestCode, reason: &str) {
        self.refuse_with(key, RequestError::new(code, reason));
    }

    pub(super) fn refuse_with(&mut self, key: RequestKey, error: RequestError) {
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
