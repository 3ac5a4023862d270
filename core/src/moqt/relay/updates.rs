//! REQUEST_UPDATE: what peers change of requests that were accepted.
//!
//! | of | may change | a refusal ends |
//! |---|---|---|
//! | a subscription | filters, priority, forward, time-outs, its token | the subscription, UPDATE_FAILED |
//! | SUBSCRIBE_TRACKS | prefix, what its PUBLISHes begin with, its token | the request |
//! | SUBSCRIBE_NAMESPACE | prefix, its token | the request |
//! | FETCH | priority while its stream is not open, its token | the fetch |
//! | anything else | nothing that the relay looks at | - |
//!
//! Source: draft-ietf-moq-transport-18 and 19, sections 5.1.2, 10.9 (REQUEST_UPDATE).

use super::access::{Allowed, Cause};
use super::{Announced, Relay, RequestKey, TrackId};
use crate::moqt::error::RequestCode;
use crate::moqt::message::{RequestError, RequestOk};
use crate::moqt::name::{RequestId, TrackNamespace};
use crate::moqt::parameter::Parameters;
use crate::time::Instant;

impl Relay {
    pub(super) fn take_update(
        &mut self,
        now: Instant,
        key: RequestKey,
        update: RequestId,
        parameters: &Parameters,
    ) {
        let mut answer = RequestOk::default();
        let updated = if let Some(track) = self.downstreams.get(&key).copied() {
            self.update_subscription(now, key, track, parameters, &mut answer)
        } else if self.offers.contains(key) {
            self.update_wish(now, key, parameters)
        } else if self.watched.contains_key(&key) {
            self.update_watch(now, key, parameters)
        } else if self.track_of_fetch(key).is_some() {
            self.update_fetch(now, key, parameters)
        } else {
            Ok(())
        };
        let Some(session) = self.sessions.session_mut(key.0) else {
            return;
        };
        match updated {
            Ok(()) => {
                // An update of a request that is over needs no answer.
                let _ = session.accept_update(key.1, answer);
                self.list_after_update(key, parameters);
                self.fill(now, key, update, parameters);
            }
            Err(error) => {
                // The request ends with the refusal.
                let _ = session.reject_update(key.1, error);
                self.request_over(now, key);
            }
        }
    }

    fn update_subscription(
        &mut self,
        now: Instant,
        key: RequestKey,
        track: TrackId,
        parameters: &Parameters,
        answer: &mut RequestOk,
    ) -> Result<(), RequestError> {
        if !parameters.authorization_tokens.is_empty() {
            self.renew(now, key, parameters)
                .map_err(|cause| self.update_denied(cause))?;
        }
        answer.parameters.expires_ms = self.request_expires_ms(now, key);
        if self.update_offer(key, parameters) {
            return Ok(());
        }
        if let Some(entry) = self.entries.get_mut(&track) {
            entry
                .track
                .update(now, &mut self.sessions, key, parameters)?;
            answer.parameters.largest = entry.track.largest();
        }
        self.refresh_forward(track);
        self.ask_new_group(track, parameters.new_group_request);
        self.arm_track(track);
        Ok(())
    }

    fn update_fetch(
        &mut self,
        now: Instant,
        key: RequestKey,
        parameters: &Parameters,
    ) -> Result<(), RequestError> {
        if !parameters.authorization_tokens.is_empty() {
            self.renew(now, key, parameters)
                .map_err(|cause| self.update_denied(cause))?;
        }
        self.set_fetch_priority(key, parameters);
        Ok(())
    }

    /// A viewer shows a newer token.
    fn renew(
        &mut self,
        now: Instant,
        key: RequestKey,
        parameters: &Parameters,
    ) -> Result<(), Cause> {
        let unix = self.unix_now(now);
        let track = self.downstreams.get(&key).copied();
        let track = track.or_else(|| self.track_of_fetch(key));
        let (Some(peer), Some(track)) = (self.peers.get(&key.0), track) else {
            return Ok(());
        };
        let Some(entry) = self.entries.get(&track) else {
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

    /// Whether a request about a prefix may become this one.
    pub(super) fn permit_update(
        &mut self,
        now: Instant,
        key: RequestKey,
        prefix: &TrackNamespace,
        update: &Parameters,
    ) -> Result<Allowed, RequestError> {
        let unix = self.unix_now(now);
        let peer = self.peers.get(&key.0);
        let tokens = &update.authorization_tokens;
        let judged = match peer {
            Some(peer) => self.policy.subscribe(&peer.grant, prefix, tokens, unix),
            None => {
                return Err(self.update_denied(Cause::NotGranted));
            }
        };
        judged.map_err(|denied| self.update_denied(denied.cause))
    }

    fn update_denied(&mut self, cause: Cause) -> RequestError {
        self.count_denial("update", cause.name());
        RequestError::new(cause.request_code(), cause.reason())
    }

    fn update_watch(
        &mut self,
        now: Instant,
        key: RequestKey,
        update: &Parameters,
    ) -> Result<(), RequestError> {
        let Some(watched) = self.watched.get(&key).cloned() else {
            return Ok(());
        };
        let mut prefix = watched.clone();
        let asked = update.namespace_prefix.as_ref();
        if asked.is_some() || !update.authorization_tokens.is_empty() {
            let allowed = self.permit_update(now, key, asked.unwrap_or(&watched), update)?;
            prefix = allowed.namespace.clone();
            self.remember_permission(now, key, allowed);
        }
        if self.overlaps(key, &prefix) {
            let reason = "the prefix overlaps an earlier one";
            return Err(RequestError::new(RequestCode::PREFIX_OVERLAP, reason));
        }
        let limit = self.config.namespaces_listed_max;
        if self
            .publishers
            .names_below(prefix.fields(), limit)
            .is_none()
        {
            let reason = "the prefix matches too much";
            return Err(RequestError::new(RequestCode::NAMESPACE_TOO_LARGE, reason));
        }
        self.watchers.remove(watched.fields(), &key);
        self.watchers.insert(prefix.fields(), key);
        self.watched.insert(key, prefix);
        Ok(())
    }

    /// After the answer, a SUBSCRIBE_NAMESPACE whose prefix moved is told what matches now.
    fn list_after_update(&mut self, key: RequestKey, update: &Parameters) {
        if update.namespace_prefix.is_some() {
            self.list_namespaces(key);
        }
    }
}

impl Announced {
    /// A name below the namespace as the peer calls it.
    pub(super) fn spell(
        &self,
        name: &crate::moqt::name::FullTrackName,
    ) -> Option<crate::moqt::name::FullTrackName> {
        if self.spelling == self.namespace {
            return Some(name.clone());
        }
        let suffix = name.namespace.suffix_after(&self.namespace)?;
        let namespace = self.spelling.joined(&suffix).ok()?;
        crate::moqt::name::FullTrackName::new(namespace, name.name.clone()).ok()
    }
}
