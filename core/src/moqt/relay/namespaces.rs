//! Namespaces: who announces which, and who is told.
//!
//! | request | means | over |
//! |---|---|---|
//! | PUBLISH_NAMESPACE | tracks below the namespace are asked of this publisher | NAMESPACE_DONE to those who watch |
//! | SUBSCRIBE_NAMESPACE | NAMESPACE for each match, now and later | nobody is told |
//!
//! Prefixes are looked up in a trie ([`super::prefixes`]); nothing is scanned.
//!
//! Source: draft-ietf-moq-transport-18 sections 6.1, 6.2, 8.5, 10.15 to 10.18.

use super::mesh::Offer;
use super::{Announced, Relay, RequestKey};
use crate::moqt::error::RequestCode;
use crate::moqt::message::{PublishNamespace, SubscribeNamespace};
use crate::moqt::name::{RequestId, TrackNamespace};
use crate::time::Instant;
use crate::transport::SessionId;

impl Relay {
    pub(super) fn take_publish_namespace(
        &mut self,
        now: Instant,
        key: RequestKey,
        request: &PublishNamespace,
    ) {
        let Some(namespace) = self.allow_publish(key, &request.namespace) else {
            return;
        };
        if self.announced.len() >= self.config.namespaces_max {
            self.refuse(
                key,
                RequestCode::EXCESSIVE_LOAD,
                "too many namespaces (namespaces_max)",
            );
            return;
        }
        if let Offer::Refused(code, reason) = self.judge_announcement(key, request) {
            return self.refuse(key, code, reason);
        }
        if !self.accept(key) {
            self.withdrawn(now, key, &namespace);
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
        if !self.mesh.is_route(&key) {
            self.subscribe_waiting_tracks(now, key, &namespace);
        }
        self.offered(now, key, &namespace);
    }

    pub(super) fn take_subscribe_namespace(
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
        if self.overlaps(key, &prefix) {
            self.refuse(
                key,
                RequestCode::PREFIX_OVERLAP,
                "the prefix overlaps an earlier one",
            );
            return;
        }
        let limit = self.config.namespaces_listed_max;
        if self
            .publishers
            .names_below(prefix.fields(), limit)
            .is_none()
        {
            self.refuse(
                key,
                RequestCode::NAMESPACE_TOO_LARGE,
                "the prefix matches too much",
            );
            return;
        }
        if !self.accept_until(now, key, allowed.expires) {
            return;
        }
        self.remember_permission(now, key, allowed);
        self.watchers.insert(prefix.fields(), key);
        self.watched.insert(key, prefix);
        self.list_namespaces(key);
    }

    /// Tells a SUBSCRIBE_NAMESPACE what matches it now.
    pub(super) fn list_namespaces(&mut self, key: RequestKey) {
        let Some(prefix) = self.watched.get(&key) else {
            return;
        };
        let limit = self.config.namespaces_listed_max;
        let names = self.publishers.names_below(prefix.fields(), limit);
        let skipped = prefix.fields().len();
        let Some(session) = self.sessions.session_mut(key.0) else {
            return;
        };
        for name in names.unwrap_or_default() {
            let suffix = TrackNamespace::new(name.into_iter().skip(skipped));
            if let Ok(suffix) = suffix {
                // A request that ended meanwhile needs no news.
                let _ = session.namespace(key.1, suffix);
            }
        }
    }

    /// Whether a prefix overlaps that of another SUBSCRIBE_NAMESPACE of the session.
    pub(super) fn overlaps(&self, of: RequestKey, prefix: &TrackNamespace) -> bool {
        let session: SessionId = of.0;
        let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        self.watched.range(of_session).any(|(key, other)| {
            *key != of && (other.has_prefix(prefix) || prefix.has_prefix(other))
        })
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
    pub(super) fn namespace_over(&mut self, now: Instant, key: RequestKey) {
        if let Some(Announced { namespace, .. }) = self.announced.remove(&key) {
            self.publishers.remove(namespace.fields(), &key);
            if !self.publishers.is_present(namespace.fields()) {
                self.tell_watchers(&namespace, false);
            }
            self.withdrawn(now, key, &namespace);
        }
        if let Some(prefix) = self.watched.remove(&key) {
            self.watchers.remove(prefix.fields(), &key);
        }
    }
}
