//! Publishers of a track: asked, agreeing, refusing, lost, done.

use super::super::{Relay, RequestKey, TrackId};
use super::forward::Asked;
use super::{Entry, Upstream};
use crate::canary::{self, Canary};
use crate::moqt::error::{PublishDoneCode, RequestCode};
use crate::moqt::message::RequestError;
use crate::moqt::name::{FullTrackName, Location, RequestId, TrackName, TrackNamespace};
use crate::moqt::parameter::Parameters;
use crate::moqt::property::Properties;
use crate::moqt::session::Accepted;
use crate::time::Instant;
use crate::transport::SessionId;

/// Publishers.
impl Relay {
    /// Sends SUBSCRIBE to everybody who publishes the track's namespace, or where there is nobody to
    /// another relay. Returns whether anybody was asked.
    pub(super) fn subscribe_upstream(&mut self, now: Instant, id: TrackId) -> bool {
        let Some(entry) = self.entries.get(&id) else {
            return false;
        };
        let name = entry.name.clone();
        self.ask_publishers(id, &name) || self.ask_route(now, id)
    }

    /// Asks everybody who publishes the track's namespace here. Returns whether there is anybody.
    pub(in crate::moqt::relay) fn ask_publishers(
        &mut self,
        id: TrackId,
        name: &FullTrackName,
    ) -> bool {
        let mut asked = false;
        let mut sessions_asked = crate::map::BTreeSet::new();
        for publisher in self.publishers.covering(name.namespace.fields()) {
            if !self.mesh.is_route(&publisher) && sessions_asked.insert(publisher.0) {
                asked |= self.ask_publisher(id, publisher, name).is_some();
                if canary::is_on(Canary::UpstreamTwice) {
                    self.ask_publisher(id, publisher, name);
                }
            }
        }
        asked
    }

    /// Asks a publisher that announced the track's namespace, in the publisher's own spelling.
    pub(in crate::moqt::relay) fn ask_publisher(
        &mut self,
        id: TrackId,
        publisher: RequestKey,
        name: &FullTrackName,
    ) -> Option<RequestId> {
        let spelled = self.announced.get(&publisher)?.spell(name)?;
        self.ask_session(id, publisher.0, spelled)
    }

    /// Asks a session for the track, by the name that it knows.
    pub(in crate::moqt::relay) fn ask_session(
        &mut self,
        id: TrackId,
        session: SessionId,
        spelled: FullTrackName,
    ) -> Option<RequestId> {
        let mut parameters = self.upstream_parameters(id);
        if let Some(entry) = self.entries.get(&id) {
            entry.add_wishes(&mut parameters);
        }
        let asked = Asked::new(parameters.forward.unwrap_or(true)).from(parameters.filter);
        let open = self.sessions.session_mut(session)?;
        let request = open.subscribe(spelled, parameters).ok()?;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry
                .upstreams
                .insert((session, request), Upstream::Pending);
            entry.asked.insert((session, request), asked);
            self.upstreams.insert((session, request), id);
        }
        Some(request)
    }

    /// A namespace was announced: tracks below it that somebody waits for are asked of it.
    pub(in crate::moqt::relay) fn subscribe_waiting_tracks(
        &mut self,
        now: Instant,
        publisher: RequestKey,
        namespace: &TrackNamespace,
    ) {
        if canary::is_on(Canary::ResubscribeForgotten) {
            return;
        }
        // Names with a common prefix stand next to each other.
        let from = FullTrackName {
            namespace: namespace.clone(),
            name: TrackName::default(),
        };
        let wanted: Vec<(FullTrackName, TrackId)> = self
            .viewed
            .range(from..)
            .take_while(|(name, _)| name.namespace.has_prefix(namespace))
            .filter(|(_, id)| {
                self.entries.get(id).is_some_and(|entry| {
                    let asked = entry
                        .upstreams
                        .keys()
                        .any(|(session, _)| *session == publisher.0);
                    let is_made = entry.made_by.is_some();
                    entry.has_viewers() && !asked && !is_made && !entry.is_ending()
                })
            })
            .map(|(name, id)| (name.clone(), *id))
            .collect();
        for (name, id) in wanted {
            if self.ask_publisher(id, publisher, &name).is_some() {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.stop_rendezvous();
                }
                self.arm_track(id);
            }
        }
        let _ = now;
    }

    pub(in crate::moqt::relay) fn take_accepted(
        &mut self,
        now: Instant,
        key: RequestKey,
        accepted: Accepted,
    ) {
        if let Accepted::Fetch(answer) = &accepted {
            self.take_fetch_ok(now, key, answer);
        }
        match accepted {
            Accepted::Subscribe(answer) => {
                if let Some(id) = self.upstreams.get(&key).copied() {
                    let largest = answer.parameters.largest;
                    self.upstream_established(now, key, id, largest, answer.properties);
                }
            }
            Accepted::Request(answer) => {
                self.announcement_accepted(key);
                self.offer_accepted(now, key, &answer.parameters);
                self.status_answered(key, answer);
            }
            Accepted::Fetch(_) => {}
        }
    }

    /// A publisher feeds the track from now on.
    pub(in crate::moqt::relay) fn upstream_established(
        &mut self,
        now: Instant,
        key: RequestKey,
        id: TrackId,
        largest: Option<Location>,
        properties: Properties,
    ) {
        self.upstreams.insert(key, id);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let kind = match entry.upstreams.get(&key) {
            Some(Upstream::Pending) => Upstream::Subscribed,
            Some(Upstream::Subscribed | Upstream::Published) | None => Upstream::Published,
        };
        entry.upstreams.insert(key, kind);
        entry.asked.entry(key).or_insert(Asked::new(true));
        // Who publishes the track itself stands before what is made of an upload.
        if entry.made_by.take().is_some() {
            entry.track.abandon_open(now, &mut self.sessions);
        }
        if let Some(largest) = largest {
            entry.track.observe_largest(largest);
        }
        entry.track.set_properties(properties);
        let name = entry.name.clone();
        self.leave_other_routes(now, id, key);
        if kind == Upstream::Published && !self.mesh.is_link(key.0) {
            self.offered(now, key, &name.namespace);
        }
        if kind == Upstream::Subscribed && self.may_upload(key.0, &name) {
            self.watch_upload(key, id, name.namespace);
        }
        self.widen_start(id, key, largest);
        self.serve_waiting(now, id);
    }

    /// A publisher told how far its track has come: viewers that can be told are.
    pub(in crate::moqt::relay) fn upstream_notified(&mut self, key: RequestKey, told: &Parameters) {
        let entry = self.upstreams.get(&key);
        let entry = entry.and_then(|id| self.entries.get_mut(id));
        let (Some(entry), Some(largest)) = (entry, told.largest) else {
            return;
        };
        if self.uploads.contains_key(&key) || Some(largest) <= entry.track.largest() {
            return;
        }
        entry.track.observe_largest(largest);
        for viewer in entry.track.subscribers() {
            if let Some(session) = self.sessions.session_mut(viewer.0) {
                // Before draft 20 there is no such message.
                let _ = session.notify_state(viewer.1, largest);
            }
        }
    }

    /// The relay makes the track of an upload from now on, unless somebody publishes it.
    pub(in crate::moqt::relay) fn feed_by_upload(
        &mut self,
        now: Instant,
        id: TrackId,
        upload: RequestKey,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.upstreams.is_empty() {
            entry.made_by = Some(upload);
            self.serve_waiting(now, id);
            self.offer_track(now, id);
        }
    }

    /// The track has a publisher: who waited for one is served.
    pub(super) fn serve_waiting(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.orphaned_until = None;
        entry.is_ending = false;
        let waiting = std::mem::take(&mut entry.waiting);
        for (viewer, waiting) in waiting {
            self.serve_viewer(now, id, viewer, &waiting.parameters);
        }
        self.refresh_forward(id);
        self.arm_track(id);
    }

    /// The peer's PUBLISH was accepted with this forward state.
    pub(in crate::moqt::relay) fn published_with(
        &mut self,
        key: RequestKey,
        id: TrackId,
        forward: bool,
    ) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.asked.insert(key, Asked::new(forward));
        }
    }

    /// The forward state that the answer to a PUBLISH asks for.
    pub(in crate::moqt::relay) fn forward_for_publish(&self, id: TrackId) -> bool {
        let wanted = self.entries.get(&id).and_then(Entry::wanted_forward);
        self.config.forward_published || wanted.unwrap_or(false)
    }

    /// A publisher refused our SUBSCRIBE.
    pub(in crate::moqt::relay) fn upstream_refused(
        &mut self,
        now: Instant,
        key: RequestKey,
        error: &RequestError,
    ) {
        if self.status_refused(key, error) {
            return;
        }
        let Some(id) = self.detach(now, key) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.upstreams.is_empty() {
            if self.ask_for_upload(now, key.0, id) || self.try_next_route(now, id) {
                return;
            }
            self.end_takeover(now, id);
            let Some(entry) = self.entries.get_mut(&id) else {
                return;
            };
            let name = entry.name.clone();
            let waiting = std::mem::take(&mut entry.waiting);
            self.refuse_catalogs(&name);
            for viewer in waiting.into_keys() {
                self.downstreams.remove(&viewer);
                self.forget_expiry(viewer);
                let error = RequestError {
                    redirect: None,
                    ..refusal_downstream(error)
                };
                self.refuse_with(viewer, error);
            }
            self.orphan(now, id);
        }
    }

    /// The viewers of a track wait for it to be made, until then.
    pub(in crate::moqt::relay) fn wait_for_upload(&mut self, id: TrackId, until: Instant) {
        if let Some(entry) = self.entries.get_mut(&id) {
            for waiting in entry.waiting.values_mut() {
                waiting.until.get_or_insert(until);
            }
        }
        self.arm_track(id);
    }

    /// Nobody will make the track: the viewers who wait for it are let go.
    pub(in crate::moqt::relay) fn take_waiting_for_upload(
        &mut self,
        name: &FullTrackName,
    ) -> Vec<RequestKey> {
        let Some(id) = self.names.get(name).copied() else {
            return Vec::new();
        };
        let Some(entry) = self.entries.get_mut(&id) else {
            return Vec::new();
        };
        if !entry.upstreams.is_empty() {
            return Vec::new();
        }
        let waiting: Vec<RequestKey> = std::mem::take(&mut entry.waiting).into_keys().collect();
        for viewer in &waiting {
            self.downstreams.remove(viewer);
            self.forget_expiry(*viewer);
        }
        self.remove_if_unused(id);
        waiting
    }

    /// A publisher is gone without a word, or its subscription was cut.
    pub(in crate::moqt::relay) fn upstream_lost(&mut self, now: Instant, key: RequestKey) {
        let Some(id) = self.detach(now, key) else {
            return;
        };
        self.lose_upload(now, key);
        self.orphan(now, id);
    }

    /// A publisher ended the track.
    pub(in crate::moqt::relay) fn upstream_done(
        &mut self,
        now: Instant,
        key: RequestKey,
        code: PublishDoneCode,
    ) {
        if code == PublishDoneCode::TRACK_ENDED {
            self.finish_upload(now, key);
        } else {
            self.lose_upload(now, key);
        }
        let Some(id) = self.detach(now, key) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if !entry.upstreams.is_empty() {
            return;
        }
        if code == PublishDoneCode::TRACK_ENDED && canary::is_on(Canary::TrackEndForgotten) {
            return;
        }
        if code == PublishDoneCode::TRACK_ENDED {
            self.end_track(now, id, code, "the track has ended");
        } else {
            self.orphan(now, id);
        }
    }

    /// A request feeds its track no more.
    pub(in crate::moqt::relay) fn detach(
        &mut self,
        now: Instant,
        key: RequestKey,
    ) -> Option<TrackId> {
        let id = self.upstreams.remove(&key)?;
        let entry = self.entries.get_mut(&id)?;
        let kind = entry.upstreams.remove(&key);
        entry.asked.remove(&key);
        if kind == Some(Upstream::Published) {
            let namespace = entry.name.namespace.clone();
            self.withdrawn(now, key, &namespace);
        }
        Some(id)
    }

    /// The last publisher of a track is gone: its viewers wait for another.
    pub(in crate::moqt::relay) fn orphan(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if !entry.upstreams.is_empty() || entry.made_by.is_some() {
            return;
        }
        if entry.has_viewers() && !entry.is_ending() {
            entry.orphaned_until = Some(now + self.config.publisher_linger);
            // Somebody else may publish the namespace already.
            if !canary::is_on(Canary::ResubscribeForgotten) && self.subscribe_upstream(now, id) {
                self.begin_takeover(now, id);
            } else if let Some(entry) = self.entries.get_mut(&id)
                && entry.takeover.is_empty()
            {
                entry.track.abandon_open(now, &mut self.sessions);
            }
            self.arm_track(id);
        } else {
            entry.track.abandon_open(now, &mut self.sessions);
            self.remove_if_unused(id);
        }
    }

    pub(in crate::moqt::relay) fn end_track(
        &mut self,
        now: Instant,
        id: TrackId,
        code: PublishDoneCode,
        reason: &'static str,
    ) {
        self.flush_ahead(now, id);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.is_ending = true;
        entry.orphaned_until = None;
        entry.track.abandon_open(now, &mut self.sessions);
        entry.track.finish(now, &mut self.sessions, code, reason);
        let waiting = std::mem::take(&mut entry.waiting);
        for viewer in waiting.into_keys() {
            self.downstreams.remove(&viewer);
            self.refuse_unpublished(viewer);
        }
        self.withdraw_offers(id, code, reason);
        self.drop_ended(id);
        self.remove_if_unused(id);
        self.arm_track(id);
    }
}

/// What a viewer is told when the publisher refused: the cause, where it is the viewer's concern.
pub(in crate::moqt::relay) fn refusal_downstream(error: &RequestError) -> RequestError {
    let code = match error.code {
        RequestCode::DOES_NOT_EXIST
        | RequestCode::INVALID_RANGE
        | RequestCode::NOT_SUPPORTED
        | RequestCode::TIMEOUT
        | RequestCode::EXCESSIVE_LOAD
        | RequestCode::GOING_AWAY
        | RequestCode::UNSUPPORTED_EXTENSION
        | RequestCode::MALFORMED_TRACK => error.code,
        // The publisher refused us, not the viewer.
        _ => RequestCode::INTERNAL_ERROR,
    };
    let mut refusal = RequestError::new(code, error.reason.clone());
    refusal.retry_after_ms = error.retry_after_ms;
    refusal
}
