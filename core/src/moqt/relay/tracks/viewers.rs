//! Viewers of a track: they join, wait, are served, and leave.

use super::super::{Relay, RequestKey, TrackId};
use super::offers::offered_properties;
use super::{Entry, Waiting};
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::error::{PublishDoneCode, RequestCode, StreamCode};
use crate::moqt::message::RequestError;
use crate::moqt::name::FullTrackName;
use crate::moqt::parameter::Parameters;
use crate::moqt::property::Properties;
use crate::moqt::session::Sessions;
use crate::moqt::track::{SubscriberKey, Track};
use crate::time::Instant;

/// Viewers.
impl Relay {
    /// The track of that name, made when it is new; `None` when there are too many.
    pub(in crate::moqt::relay) fn track_of(&mut self, name: FullTrackName) -> Option<TrackId> {
        if let Some(track) = self.names.get(&name) {
            return Some(*track);
        }
        if self.entries.len() >= self.config.tracks_max {
            return None;
        }
        let id = TrackId(self.next_track);
        self.next_track += 1;
        let entry = Entry {
            name: name.clone(),
            track: Track::new(Properties::default(), self.config.track),
            upstreams: BTreeMap::new(),
            asked: BTreeMap::new(),
            new_group: None,
            made_by: None,
            is_wanted: false,
            waiting: BTreeMap::new(),
            offered: BTreeMap::new(),
            orphaned_until: None,
            idle_until: None,
            is_ending: false,
            tried: BTreeSet::new(),
            takeover: BTreeMap::new(),
            takeover_until: None,
            ahead: super::Ahead::default(),
        };
        self.entries.insert(id, entry);
        self.names.insert(name, id);
        Some(id)
    }

    /// A viewer that may have the track asks for it.
    pub(in crate::moqt::relay) fn join_track(
        &mut self,
        now: Instant,
        key: RequestKey,
        name: FullTrackName,
        parameters: Parameters,
    ) {
        let Some(id) = self.track_of(name.clone()) else {
            self.refuse(
                key,
                RequestCode::EXCESSIVE_LOAD,
                "too many tracks (tracks_max)",
            );
            return;
        };
        if !self.turn_from(now, id, key.0) {
            self.refuse_unpublished(key);
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if let Err(error) = entry.track.check(&parameters) {
            self.refuse_with(key, error);
            self.remove_if_unused(id);
            return;
        }
        // Who could feed it, or better, may have come while nobody watched, and was not asked then.
        let was_idle = entry.idle_until.take().is_some();
        self.viewed.insert(name, id);
        if entry.is_fed() || entry.orphaned_until.is_some() {
            let is_orphan = entry.upstreams.is_empty() && entry.made_by.is_none();
            self.serve_viewer(now, id, key, &parameters);
            if is_orphan {
                self.subscribe_upstream(now, id);
            } else if was_idle {
                self.ask_who_came(now, id);
            }
            return;
        }
        let is_unfed = entry.upstreams.is_empty();
        let wait = parameters.rendezvous_timeout_ms.unwrap_or(0);
        let wait = std::time::Duration::from_millis(wait).min(self.config.rendezvous_max);
        // Whom to ask, and for what, depends on who waits.
        let waiting = Waiting {
            parameters,
            until: None,
        };
        entry.waiting.insert(key, waiting);
        self.downstreams.insert(key, id);
        if is_unfed
            && !self.subscribe_upstream(now, id)
            && let Some(entry) = self.entries.get_mut(&id)
        {
            if wait.is_zero() {
                self.refuse_unpublished(key);
                self.leave_track(now, key);
                self.remove_if_unused(id);
                return;
            }
            if let Some(waiting) = entry.waiting.get_mut(&key) {
                waiting.until = Some(now + wait);
            }
        }
        self.arm_track(id);
    }

    pub(super) fn refuse_unpublished(&mut self, key: RequestKey) {
        let mut error =
            RequestError::new(RequestCode::DOES_NOT_EXIST, "nobody publishes the track");
        error.retry_after_ms = Some(1000);
        self.refuse_with(key, error);
    }

    /// Accepts a viewer's SUBSCRIBE and serves it what is retained.
    pub(super) fn serve_viewer(
        &mut self,
        now: Instant,
        id: TrackId,
        key: RequestKey,
        parameters: &Parameters,
    ) {
        let expires_ms = self.request_expires_ms(now, key);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if let Err(error) = entry.track.check(parameters) {
            self.refuse_with(key, error);
            self.leave_track(now, key);
            return;
        }
        let Some(session) = self.sessions.session_mut(key.0) else {
            return;
        };
        let answer = Parameters {
            expires_ms,
            largest: entry.track.largest(),
            ..Parameters::default()
        };
        let properties = offered_properties(parameters, entry.track.properties());
        if session.accept_subscribe(key.1, answer, properties).is_err() {
            return;
        }
        self.downstreams.insert(key, id);
        entry
            .track
            .subscribe(now, &mut self.sessions, key, parameters);
        self.subscription_established(now, key, parameters);
        self.refresh_forward(id);
        self.ask_new_group(id, parameters.new_group_request);
        self.drop_ended(id);
    }

    /// A viewer is gone.
    pub(in crate::moqt::relay) fn leave_track(&mut self, now: Instant, key: RequestKey) {
        self.fetches_over(now, key);
        self.subscription_refused(key);
        self.forget_expiry(key);
        let Some(id) = self.downstreams.remove(&key) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.track.unsubscribe(key);
        entry.waiting.remove(&key);
        entry.offered.remove(&key);
        if !entry.has_viewers() {
            self.viewed.remove(&entry.name);
            entry.idle_until = Some(now + self.config.subscriber_linger);
        }
        self.arm_track(id);
        self.refresh_forward(id);
    }

    /// Ends one viewer's subscription, or a request about a prefix, from this side.
    pub(in crate::moqt::relay) fn end_subscription(
        &mut self,
        now: Instant,
        key: RequestKey,
        code: PublishDoneCode,
    ) {
        if self.offers.contains(key) || self.watched.contains_key(&key) {
            self.cancel(key, StreamCode::EXPIRED_AUTH_TOKEN);
            self.request_over(now, key);
            return;
        }
        if let Some(session) = self.sessions.session_mut(key.0) {
            let done = session.publish_done(key.1, code, "auth_failed: the token has expired");
            if done.is_err() {
                let error = RequestError::new(RequestCode::EXPIRED_AUTH_TOKEN, "token expired");
                // A request that ended meanwhile needs no answer.
                let _ = session.reject(key.1, error);
            }
        }
        self.leave_track(now, key);
    }

    pub(in crate::moqt::relay) fn on_track(
        &mut self,
        key: RequestKey,
        act: impl FnOnce(&mut Track, &mut Sessions, SubscriberKey),
    ) {
        let Some(id) = self.downstreams.get(&key) else {
            return;
        };
        if let Some(entry) = self.entries.get_mut(id) {
            act(&mut entry.track, &mut self.sessions, key);
        }
        let id = *id;
        self.drop_ended(id);
        self.arm_track(id);
    }

    /// PUBLISH_DONE may have been the answer to a write that went through.
    pub(in crate::moqt::relay) fn forget_ended_viewer(&mut self, key: RequestKey) {
        if let Some(id) = self.downstreams.get(&key).copied() {
            self.drop_ended(id);
        }
    }

    /// Forgets the viewers that were sent PUBLISH_DONE.
    pub(in crate::moqt::relay) fn drop_ended(&mut self, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let ended = entry.track.take_ended();
        if ended.is_empty() {
            return;
        }
        if !entry.has_viewers() {
            self.viewed.remove(&entry.name);
        }
        for key in ended {
            self.downstreams.remove(&key);
            self.forget_expiry(key);
        }
        self.refresh_forward(id);
        self.remove_if_unused(id);
    }
}
