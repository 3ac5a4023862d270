//! The track registry: who feeds a track, who waits for it, who gets it.

use super::{Announced, Relay, RequestKey, Timer, TrackId};
use crate::moqt::error::{PublishDoneCode, RequestCode, StreamCode};
use crate::moqt::message::RequestError;
use crate::moqt::name::{FullTrackName, Location, TrackName, TrackNamespace};
use crate::moqt::parameter::Parameters;
use crate::moqt::property::Properties;
use crate::moqt::session::{Accepted, Sessions};
use crate::moqt::track::{SubscriberKey, Track};
use crate::time::Instant;
use crate::transport::SessionId;
use std::collections::BTreeMap;

/// A track that the relay knows.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: FullTrackName,
    pub(super) track: Track,
    upstreams: BTreeMap<RequestKey, Upstream>,
    /// The upload that feeds it, where it is a track of the relay's own making.
    pub(super) made_by: Option<RequestKey>,
    /// It is to be read as an upload once its publisher agrees.
    pub(super) is_wanted: bool,
    /// Viewers whose SUBSCRIBE waits for the upstream's answer, or for a publisher.
    waiting: BTreeMap<RequestKey, Waiting>,
    /// When the viewers of a lost publisher are let go.
    orphaned_until: Option<Instant>,
    /// When an upstream subscription without viewers is given up.
    pub(super) idle_until: Option<Instant>,
    is_ending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upstream {
    /// Our SUBSCRIBE is not answered yet.
    Pending,
    /// Our SUBSCRIBE was accepted.
    Subscribed,
    /// The peer's PUBLISH was accepted: it is the peer's to end.
    Published,
}

#[derive(Debug)]
struct Waiting {
    parameters: Parameters,
    /// How long it waits for a publisher; `None` while an upstream is being asked.
    until: Option<Instant>,
}

impl Entry {
    fn is_fed(&self) -> bool {
        let is_answered = |upstream: &Upstream| *upstream != Upstream::Pending;
        self.made_by.is_some() || self.upstreams.values().any(is_answered)
    }

    pub(super) fn has_viewers(&self) -> bool {
        self.track.subscribers_len() > 0 || !self.waiting.is_empty()
    }

    /// What a session feeds the track by, and whether it agreed to.
    pub(super) fn upstream_of(&self, session: SessionId) -> Option<(RequestKey, bool)> {
        let of_session = self.upstreams.iter().find(|(key, _)| key.0 == session);
        of_session.map(|(key, upstream)| (*key, *upstream != Upstream::Pending))
    }

    fn next_timeout(&self) -> Option<Instant> {
        let waiting = self.waiting.values().filter_map(|waiting| waiting.until);
        let track = self.track.next_timeout();
        waiting
            .chain(track)
            .chain(self.orphaned_until)
            .chain(self.idle_until)
            .min()
    }
}

/// Viewers.
impl Relay {
    /// The track of that name, made when it is new; `None` when there are too many.
    pub(super) fn track_of(&mut self, name: FullTrackName) -> Option<TrackId> {
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
            made_by: None,
            is_wanted: false,
            waiting: BTreeMap::new(),
            orphaned_until: None,
            idle_until: None,
            is_ending: false,
        };
        self.entries.insert(id, entry);
        self.names.insert(name, id);
        Some(id)
    }

    /// A viewer that may have the track asks for it.
    pub(super) fn join_track(
        &mut self,
        now: Instant,
        key: RequestKey,
        name: FullTrackName,
        parameters: Parameters,
    ) {
        let Some(id) = self.track_of(name.clone()) else {
            self.refuse(key, RequestCode::EXCESSIVE_LOAD, "too many tracks");
            return;
        };
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.idle_until = None;
        if entry.is_fed() || entry.orphaned_until.is_some() {
            self.serve_viewer(now, id, key, &parameters);
            return;
        }
        let mut until = None;
        if entry.upstreams.is_empty() && !self.subscribe_upstream(id) {
            let wait = parameters.rendezvous_timeout_ms.unwrap_or(0);
            let wait = std::time::Duration::from_millis(wait).min(self.config.rendezvous_max);
            if wait.is_zero() {
                self.refuse_unpublished(key);
                self.remove_if_unused(id);
                return;
            }
            until = Some(now + wait);
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.waiting.insert(key, Waiting { parameters, until });
        self.downstreams.insert(key, id);
        self.arm_track(id);
    }

    fn refuse_unpublished(&mut self, key: RequestKey) {
        let mut error =
            RequestError::new(RequestCode::DOES_NOT_EXIST, "nobody publishes the track");
        error.retry_after_ms = Some(1000);
        self.refuse_with(key, error);
    }

    /// Accepts a viewer's SUBSCRIBE and serves it what is retained.
    fn serve_viewer(
        &mut self,
        now: Instant,
        id: TrackId,
        key: RequestKey,
        parameters: &Parameters,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let Some(session) = self.sessions.session_mut(key.0) else {
            return;
        };
        let answer = Parameters {
            largest: entry.track.largest(),
            ..Parameters::default()
        };
        let properties = entry.track.properties().clone();
        if session.accept_subscribe(key.1, answer, properties).is_err() {
            return;
        }
        self.downstreams.insert(key, id);
        entry
            .track
            .subscribe(now, &mut self.sessions, key, parameters);
    }

    /// A viewer is gone.
    pub(super) fn leave_track(&mut self, now: Instant, key: RequestKey) {
        self.subscription_expiry.remove(&key);
        let Some(id) = self.downstreams.remove(&key) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.track.unsubscribe(key);
        entry.waiting.remove(&key);
        if !entry.has_viewers() {
            entry.idle_until = Some(now + self.config.subscriber_linger);
            self.arm_track(id);
        }
    }

    /// Ends one viewer's subscription from this side.
    pub(super) fn end_subscription(
        &mut self,
        now: Instant,
        key: RequestKey,
        code: PublishDoneCode,
    ) {
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

    pub(super) fn on_track(
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
        self.forget_ended_viewer(key);
    }

    /// PUBLISH_DONE may have been the answer to a write that went through.
    fn forget_ended_viewer(&mut self, key: RequestKey) {
        let Some(id) = self.downstreams.get(&key).copied() else {
            return;
        };
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        if !entry.track.is_subscribed(key) && !entry.waiting.contains_key(&key) {
            self.downstreams.remove(&key);
            self.subscription_expiry.remove(&key);
            self.remove_if_unused(id);
        }
    }
}

/// Publishers.
impl Relay {
    /// Sends SUBSCRIBE to everybody who publishes the track's namespace. Returns whether anybody does.
    fn subscribe_upstream(&mut self, id: TrackId) -> bool {
        let Some(entry) = self.entries.get(&id) else {
            return false;
        };
        let name = entry.name.clone();
        let mut asked = false;
        let mut sessions_asked = std::collections::BTreeSet::new();
        for publisher in self.publishers.covering(name.namespace.fields()) {
            if sessions_asked.insert(publisher.0) {
                asked |= self.ask_publisher(id, publisher, &name);
            }
        }
        asked
    }

    /// Asks a publisher that announced the track's namespace, in the publisher's own spelling.
    pub(super) fn ask_publisher(
        &mut self,
        id: TrackId,
        publisher: RequestKey,
        name: &FullTrackName,
    ) -> bool {
        let Some(spelled) = self.announced.get(&publisher).and_then(|it| it.spell(name)) else {
            return false;
        };
        let session = publisher.0;
        let Some(open) = self.sessions.session_mut(session) else {
            return false;
        };
        let Ok(request) = open.subscribe(spelled, Parameters::default()) else {
            return false;
        };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry
                .upstreams
                .insert((session, request), Upstream::Pending);
            self.upstreams.insert((session, request), id);
        }
        true
    }

    /// A namespace was announced: tracks below it that somebody waits for are asked of it.
    pub(super) fn subscribe_waiting_tracks(
        &mut self,
        now: Instant,
        publisher: RequestKey,
        namespace: &TrackNamespace,
    ) {
        // Names with a common prefix stand next to each other.
        let from = FullTrackName {
            namespace: namespace.clone(),
            name: TrackName::default(),
        };
        let wanted: Vec<(FullTrackName, TrackId)> = self
            .names
            .range(from..)
            .take_while(|(name, _)| name.namespace.has_prefix(namespace))
            .filter(|(_, id)| {
                self.entries.get(id).is_some_and(|entry| {
                    let asked = entry
                        .upstreams
                        .keys()
                        .any(|(session, _)| *session == publisher.0);
                    let is_made = entry.made_by.is_some();
                    entry.has_viewers() && !asked && !is_made && !entry.is_ending
                })
            })
            .map(|(name, id)| (name.clone(), *id))
            .collect();
        for (name, id) in wanted {
            if self.ask_publisher(id, publisher, &name) {
                if let Some(entry) = self.entries.get_mut(&id) {
                    for waiting in entry.waiting.values_mut() {
                        waiting.until = None;
                    }
                }
                self.arm_track(id);
            }
        }
        let _ = now;
    }

    pub(super) fn take_accepted(&mut self, now: Instant, key: RequestKey, accepted: Accepted) {
        let Some(id) = self.upstreams.get(&key).copied() else {
            return;
        };
        match accepted {
            Accepted::Subscribe(answer) => {
                let largest = answer.parameters.largest;
                self.upstream_established(now, key, id, largest, answer.properties);
            }
            Accepted::Request(_) => {}
        }
    }

    /// A publisher feeds the track from now on.
    pub(super) fn upstream_established(
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
        // Who publishes the track itself stands before what is made of an upload.
        if entry.made_by.take().is_some() {
            entry.track.abandon_open(now, &mut self.sessions);
        }
        if let Some(largest) = largest {
            entry.track.observe_largest(largest);
        }
        entry.track.set_properties(properties);
        let name = entry.name.clone();
        if kind == Upstream::Subscribed && self.may_upload(key.0, &name) {
            self.watch_upload(key, id, name.namespace);
        }
        self.serve_waiting(now, id);
    }

    /// The relay makes the track of an upload from now on, unless somebody publishes it.
    pub(super) fn feed_by_upload(&mut self, now: Instant, id: TrackId, upload: RequestKey) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.upstreams.is_empty() {
            entry.made_by = Some(upload);
            self.serve_waiting(now, id);
        }
    }

    /// The track has a publisher: who waited for one is served.
    fn serve_waiting(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.orphaned_until = None;
        entry.is_ending = false;
        let waiting = std::mem::take(&mut entry.waiting);
        for (viewer, waiting) in waiting {
            self.serve_viewer(now, id, viewer, &waiting.parameters);
        }
        self.arm_track(id);
    }

    /// A publisher refused our SUBSCRIBE.
    pub(super) fn upstream_refused(&mut self, now: Instant, key: RequestKey, error: &RequestError) {
        let Some(id) = self.detach(key) else { return };
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.upstreams.is_empty() {
            if self.ask_for_upload(now, key.0, id) {
                return;
            }
            let Some(entry) = self.entries.get_mut(&id) else {
                return;
            };
            let name = entry.name.clone();
            let waiting = std::mem::take(&mut entry.waiting);
            self.refuse_catalogs(&name);
            for viewer in waiting.into_keys() {
                self.downstreams.remove(&viewer);
                self.subscription_expiry.remove(&viewer);
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
    pub(super) fn wait_for_upload(&mut self, id: TrackId, until: Instant) {
        if let Some(entry) = self.entries.get_mut(&id) {
            for waiting in entry.waiting.values_mut() {
                waiting.until.get_or_insert(until);
            }
        }
        self.arm_track(id);
    }

    /// Nobody will make the track: the viewers who wait for it are let go.
    pub(super) fn take_waiting_for_upload(&mut self, name: &FullTrackName) -> Vec<RequestKey> {
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
            self.subscription_expiry.remove(viewer);
        }
        self.remove_if_unused(id);
        waiting
    }

    /// A publisher is gone without a word, or its subscription was cut.
    pub(super) fn upstream_lost(&mut self, now: Instant, key: RequestKey) {
        let Some(id) = self.detach(key) else { return };
        self.lose_upload(now, key);
        self.orphan(now, id);
    }

    /// A publisher ended the track.
    pub(super) fn upstream_done(&mut self, now: Instant, key: RequestKey, code: PublishDoneCode) {
        if code == PublishDoneCode::TRACK_ENDED {
            self.finish_upload(now, key);
        } else {
            self.lose_upload(now, key);
        }
        let Some(id) = self.detach(key) else { return };
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if !entry.upstreams.is_empty() {
            return;
        }
        if code == PublishDoneCode::TRACK_ENDED {
            self.end_track(now, id, code, "the track has ended");
        } else {
            self.orphan(now, id);
        }
    }

    fn detach(&mut self, key: RequestKey) -> Option<TrackId> {
        let id = self.upstreams.remove(&key)?;
        self.entries.get_mut(&id)?.upstreams.remove(&key);
        Some(id)
    }

    /// The last publisher of a track is gone: its viewers wait for another.
    pub(super) fn orphan(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if !entry.upstreams.is_empty() || entry.made_by.is_some() {
            return;
        }
        entry.track.abandon_open(now, &mut self.sessions);
        if entry.has_viewers() && !entry.is_ending {
            entry.orphaned_until = Some(now + self.config.publisher_linger);
            // Somebody else may publish the namespace already.
            self.subscribe_upstream(id);
            self.arm_track(id);
        } else {
            self.remove_if_unused(id);
        }
    }

    pub(super) fn end_track(
        &mut self,
        now: Instant,
        id: TrackId,
        code: PublishDoneCode,
        reason: &'static str,
    ) {
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
        self.forget_ended_viewers(id);
        self.arm_track(id);
    }

    fn forget_ended_viewers(&mut self, id: TrackId) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let ended: Vec<RequestKey> = self
            .downstreams
            .iter()
            .filter(|(key, of)| **of == id && !entry.track.is_subscribed(**key))
            .map(|(key, _)| *key)
            .collect();
        for key in ended {
            self.downstreams.remove(&key);
            self.subscription_expiry.remove(&key);
        }
        self.remove_if_unused(id);
    }
}

/// Time.
impl Relay {
    pub(super) fn arm_track(&mut self, id: TrackId) {
        if let Some(at) = self.entries.get(&id).and_then(Entry::next_timeout) {
            self.timers.insert((at, Timer::Track(id)));
        }
    }

    pub(super) fn take_track_timer(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let given_up: Vec<RequestKey> = entry
            .waiting
            .iter()
            .filter(|(_, waiting)| due(waiting.until))
            .map(|(key, _)| *key)
            .collect();
        for key in &given_up {
            entry.waiting.remove(key);
        }
        let (is_idle, is_orphaned) = (due(entry.idle_until), due(entry.orphaned_until));
        entry.track.handle_timeout(now, &mut self.sessions);
        for key in given_up {
            self.downstreams.remove(&key);
            self.refuse(
                key,
                RequestCode::TIMEOUT,
                "nobody published the track in time",
            );
        }
        if is_orphaned {
            let reason = "the publisher was lost and did not come back";
            self.end_track(now, id, PublishDoneCode::TRACK_ENDED, reason);
        } else {
            let is_ending = self.entries.get(&id).is_some_and(|entry| entry.is_ending);
            if is_ending {
                self.forget_ended_viewers(id);
            }
        }
        if is_idle {
            self.give_up_idle(now, id);
        }
        self.remove_if_unused(id);
        self.arm_track(id);
    }

    /// No viewer is left: ends our upstream subscriptions and forgets what they brought.
    fn give_up_idle(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.idle_until = None;
        if entry.has_viewers() {
            return;
        }
        if let Some(upload) = entry.made_by {
            // With the last viewer of what is made of it, the upload may have lost its last.
            if let Some(broadcast) = self.uploaded_track(upload) {
                self.give_up_idle(now, broadcast);
            }
            return;
        }
        let ours: Vec<RequestKey> = entry
            .upstreams
            .iter()
            .filter(|(_, upstream)| **upstream != Upstream::Published)
            .map(|(key, _)| *key)
            .collect();
        for key in ours {
            if !self.has_viewers_of_made(key) {
                self.detach(key);
                self.cancel(key, StreamCode::CANCELLED);
                self.lose_upload(now, key);
            }
        }
        self.remove_if_unused(id);
    }

    /// Forgets a track that nobody feeds and nobody wants.
    pub(super) fn remove_if_unused(&mut self, id: TrackId) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        if entry.is_fed() || !entry.upstreams.is_empty() || entry.has_viewers() {
            return;
        }
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        self.names.remove(&entry.name);
        self.cache_bytes = self.cache_bytes.saturating_sub(entry.track.cache().bytes());
        let counters = entry.track.counters();
        self.metrics.objects_sent += counters.objects_sent;
        self.metrics.bytes_sent += counters.bytes_sent;
        self.metrics.groups_dropped += counters.groups_dropped;
    }
}

impl Announced {
    /// A track below the namespace as its publisher calls it.
    fn spell(&self, name: &FullTrackName) -> Option<FullTrackName> {
        if self.spelling == self.namespace {
            return Some(name.clone());
        }
        let suffix = name.namespace.suffix_after(&self.namespace)?;
        let namespace = self.spelling.joined(&suffix).ok()?;
        FullTrackName::new(namespace, name.name.clone()).ok()
    }
}

/// What a viewer is told when the publisher refused: the cause, where it is the viewer's concern.
fn refusal_downstream(error: &RequestError) -> RequestError {
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
