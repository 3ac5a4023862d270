//! Which relay a track comes from, and how it moves to another while its viewers stay.
//!
//! | happens | a track of that relay |
//! |---|---|
//! | its session is lost, or it ends the track with anything but TRACK_ENDED | asks the next best relay |
//! | it says GOAWAY, or withdraws the namespace | asks the next best one, and leaves when that one agrees |
//! | a route with fewer hops appears | likewise |
//! | an original publisher appears here | leaves when the publisher agrees |
//!
//! The new SUBSCRIBE begins at the oldest group that is not complete here, so that what the other
//! relay retains fills it; what arrives twice is dropped by the cache, and what is missing is fetched
//! ([`super::holes`]). Subgroups that were open when
//! the old relay went stay open to viewers for a moment: when the new stream goes on where the old
//! one ended, they see nothing of it; when objects are missing in between, or nothing comes, their
//! stream is reset, as a stream with a hole must be.
//!
//! A relay is never asked for a track that it takes from here.

use super::super::tracks::Upstream;
use super::super::{Relay, RequestKey, Timer, TrackId};
use super::{Kind, MeshTimer, deadline};
use crate::moqt::error::{RequestCode, StreamCode};
use crate::moqt::filter::Filter;
use crate::moqt::message::RequestError;
use crate::moqt::name::{FullTrackName, Location, RequestId, TrackName, TrackNamespace};
use crate::moqt::parameter::Parameters;
use crate::moqt::track::cache::End;
use crate::time::Instant;
use crate::transport::SessionId;

/// Asking.
impl Relay {
    /// Asks the best relay that was not asked yet and does not take the track from here. Returns
    /// whether there is one.
    pub(in crate::moqt::relay) fn ask_route(&mut self, now: Instant, id: TrackId) -> bool {
        let Some(entry) = self.entries.get(&id) else {
            return false;
        };
        let name = entry.name.clone();
        for (session, route) in self.candidates(&name) {
            let may_ask = self.entries.get(&id).is_some_and(|entry| {
                !entry.tried.contains(&session)
                    && entry.upstream_of(session).is_none()
                    && !entry.is_taken_by(session)
            });
            if !may_ask {
                continue;
            }
            let asked = match route {
                Some(route) => self.ask_publisher(id, route, &name),
                None => self.ask_session(id, session, name.clone()),
            };
            if let Some(request) = asked {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.tried.insert(session);
                }
                let at = deadline(now, self.mesh.config.limits.answer_timeout);
                let timer = MeshTimer::Answer((session, request));
                self.timers.insert((at, Timer::Mesh(timer)));
                return true;
            }
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.tried.clear();
        }
        false
    }

    /// Relays that may have a track, best first: members that announced it, by the length of the
    /// prefix and then by hops, then, where no original publisher is at hand, plain upstreams.
    pub(in crate::moqt::relay) fn candidates(
        &self,
        name: &FullTrackName,
    ) -> Vec<(SessionId, Option<RequestKey>)> {
        let covering = self.publishers.covering(name.namespace.fields());
        let has_publisher = covering.iter().any(|key| !self.mesh.is_route(key));
        let mut routes: Vec<(bool, std::cmp::Reverse<usize>, usize, RequestKey)> = covering
            .into_iter()
            .filter_map(|key| {
                let hops = self.mesh.routes.get(&key)?.len();
                let depth = self.announced.get(&key)?.namespace.fields().len();
                let is_leaving = self.mesh.is_leaving(key.0);
                Some((is_leaving, std::cmp::Reverse(depth), hops, key))
            })
            .collect();
        routes.sort_unstable();
        let plain = self
            .mesh
            .links
            .iter()
            .filter(|(_, link)| !has_publisher && link.kind == Kind::Plain && !link.is_leaving);
        routes
            .into_iter()
            .map(|(.., key)| (key.0, Some(key)))
            .chain(plain.map(|(session, _)| (*session, None)))
            .collect()
    }

    /// What a SUBSCRIBE to a publisher says: where to go on, when something is here already or a
    /// viewer knows where it left off.
    pub(in crate::moqt::relay) fn upstream_parameters(&self, id: TrackId) -> Parameters {
        let Some(entry) = self.entries.get(&id) else {
            return Parameters::default();
        };
        let wanted = entry.waiting_from();
        let group = match (entry.track.cache().resume_at(), wanted) {
            (Some(here), Some(wanted)) => Some(here.min(wanted)),
            (here, wanted) => here.or(wanted),
        };
        Parameters {
            filter: group.map(|group| Filter::Absolute {
                start: Location::new(group, 0),
            }),
            ..Parameters::default()
        }
    }

    /// A relay or publisher refused: the next one is asked. Returns whether there is one.
    pub(in crate::moqt::relay) fn try_next_route(&mut self, now: Instant, id: TrackId) -> bool {
        let is_wanted = self
            .entries
            .get(&id)
            .is_some_and(|entry| entry.has_viewers() && entry.made_by.is_none());
        is_wanted && self.ask_route(now, id)
    }

    pub(in crate::moqt::relay) fn take_mesh_timer(&mut self, now: Instant, timer: MeshTimer) {
        match timer {
            MeshTimer::Dial(upstream) => self.take_dial_timer(now, upstream),
            MeshTimer::Answer(key) => {
                let pending = self.upstreams.get(&key).filter(|id| {
                    self.entries
                        .get(id)
                        .is_some_and(|entry| entry.upstreams.get(&key) == Some(&Upstream::Pending))
                });
                if pending.is_some() {
                    self.cancel(key, StreamCode::CANCELLED);
                    let reason = "the next relay did not answer in time";
                    let error = RequestError::new(RequestCode::TIMEOUT, reason);
                    self.upstream_refused(now, key, &error);
                }
            }
            MeshTimer::Takeover(id) => self.take_takeover_timer(now, id),
            MeshTimer::Holes(id) => self.take_holes_timer(now, id),
            MeshTimer::Ahead(id) => self.take_ahead_timer(now, id),
        }
    }
}

/// Moving.
impl Relay {
    /// A member offers a namespace: tracks that have nobody, or somebody worse, are asked of it.
    pub(super) fn take_better_route(
        &mut self,
        now: Instant,
        route: RequestKey,
        namespace: &TrackNamespace,
    ) {
        let hops = self.mesh.routes.get(&route).map_or(0, Vec::len);
        let wanted: Vec<TrackId> = self
            .tracks_below(namespace)
            .filter(|id| {
                self.entries.get(id).is_some_and(|entry| {
                    let has_nobody = entry.upstreams.is_empty() && entry.made_by.is_none();
                    let has_worse = !entry.upstreams.is_empty()
                        && entry
                            .upstreams
                            .keys()
                            .all(|key| self.is_worse(*key, &entry.name, hops));
                    entry.has_viewers() && !entry.is_ending() && (has_nobody || has_worse)
                })
            })
            .collect();
        for id in wanted {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.tried.clear();
            }
            self.ask_route_for_waiting(now, id);
        }
    }

    /// Somebody watches a track again that still comes from another relay. A publisher here, or a better
    /// route, may have come while nobody did.
    pub(in crate::moqt::relay) fn ask_who_came(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if !entry.upstreams.keys().all(|key| self.mesh.is_link(key.0)) {
            return;
        }
        entry.tried.clear();
        let name = entry.name.clone();
        if self.ask_publishers(id, &name) {
            return;
        }
        let covering = self.publishers.covering(name.namespace.fields());
        let routes = covering.iter().filter(|key| !self.mesh.is_leaving(key.0));
        let best = routes.filter_map(|key| Some(self.mesh.routes.get(key)?.len()));
        let has_worse = best.min().is_some_and(|best| {
            let upstreams = self.entries.get(&id).into_iter();
            let mut upstreams = upstreams.flat_map(|entry| entry.upstreams.keys());
            upstreams.all(|key| self.is_worse(*key, &name, best))
        });
        if has_worse {
            self.ask_route(now, id);
        }
    }

    /// A plain upstream is there: tracks that somebody waits for are asked of it.
    pub(super) fn default_route_up(&mut self, now: Instant, _session: SessionId) {
        let wanted: Vec<TrackId> = self
            .entries
            .iter()
            .filter(|(_, entry)| {
                let has_nobody = entry.upstreams.is_empty() && entry.made_by.is_none();
                has_nobody && entry.has_viewers() && !entry.is_ending()
            })
            .map(|(id, _)| *id)
            .collect();
        for id in wanted {
            self.ask_route_for_waiting(now, id);
        }
    }

    fn ask_route_for_waiting(&mut self, now: Instant, id: TrackId) {
        if self.ask_route(now, id) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.stop_rendezvous();
            }
            self.arm_track(id);
        }
    }

    /// Whether what feeds a track is a relay that is worse than a route of so many hops.
    fn is_worse(&self, upstream: RequestKey, name: &FullTrackName, hops: usize) -> bool {
        let Some(link) = self.mesh.links.get(&upstream.0) else {
            return false;
        };
        let best = self.hops_of(upstream.0, name);
        link.is_leaving || best.is_none_or(|best| best > hops)
    }

    /// How far another relay is from a track's publisher, if it offers it.
    fn hops_of(&self, session: SessionId, name: &FullTrackName) -> Option<usize> {
        let covering = self.publishers.covering(name.namespace.fields());
        let of_session = covering.into_iter().filter(|key| key.0 == session);
        let hops = of_session.filter_map(|key| self.mesh.routes.get(&key).map(Vec::len));
        hops.min()
    }

    /// A member withdrew a namespace: its tracks look for another relay.
    pub(super) fn leave_route(
        &mut self,
        now: Instant,
        session: SessionId,
        namespace: &TrackNamespace,
    ) {
        let left: Vec<TrackId> = self
            .tracks_below(namespace)
            .filter(|id| {
                self.entries.get(id).is_some_and(|entry| {
                    let covering = self.publishers.covering(entry.name.namespace.fields());
                    let is_offered = covering.iter().any(|key| key.0 == session);
                    entry.upstream_of(session).is_some() && !is_offered
                })
            })
            .collect();
        for id in left {
            self.ask_route(now, id);
        }
    }

    /// Another relay goes away: everything that comes from it looks for another way.
    pub(super) fn leave_session(&mut self, now: Instant, session: SessionId) {
        let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        let offered: Vec<TrackNamespace> = self
            .announced
            .range(of_session.clone())
            .map(|(_, announced)| announced.namespace.clone())
            .collect();
        for namespace in offered {
            self.announce(&namespace);
        }
        let fed: Vec<TrackId> = self
            .upstreams
            .range(of_session)
            .map(|(_, id)| *id)
            .collect();
        for id in fed {
            self.ask_route(now, id);
        }
    }

    /// A publisher or relay agreed to feed a track: relays that fed it so far are left. One that was asked and is nearer
    /// to the publisher may still agree: who agrees first may only think that it is fed.
    pub(in crate::moqt::relay) fn leave_other_routes(
        &mut self,
        now: Instant,
        id: TrackId,
        taken: RequestKey,
    ) {
        self.look_for_holes(now, id, taken);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.tried.clear();
        let name = entry.name.clone();
        let mut others = entry.upstreams.clone();
        others.remove(&taken);
        others.retain(|key, state| {
            let hops = self.hops_of(key.0, &name);
            let is_nearer = hops.is_some_and(|hops| self.is_worse(taken, &name, hops));
            self.mesh.is_link(key.0) && !(*state == Upstream::Pending && is_nearer)
        });
        let others: Vec<RequestKey> = others.into_keys().collect();
        if others.is_empty() {
            return;
        }
        self.begin_takeover(now, id);
        for key in others {
            self.detach(now, key);
            self.cancel(key, StreamCode::CANCELLED);
        }
    }

    /// A relay asks for a track that comes from it: the track takes another way, or the relay is to
    /// be refused. Returns whether it may have the track.
    pub(in crate::moqt::relay) fn turn_from(
        &mut self,
        now: Instant,
        id: TrackId,
        session: SessionId,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return true;
        };
        let Some((back, _)) = entry.upstream_of(session) else {
            return true;
        };
        if !self.mesh.is_link(session) {
            return true;
        }
        let has_other = entry.upstreams.keys().any(|key| key.0 != session);
        if has_other || self.ask_route(now, id) {
            self.begin_takeover(now, id);
            self.detach(now, back);
            self.cancel(back, StreamCode::CANCELLED);
            return true;
        }
        false
    }

    pub(in crate::moqt::relay) fn tracks_below<'a>(
        &'a self,
        namespace: &'a TrackNamespace,
    ) -> impl Iterator<Item = TrackId> + 'a {
        // Names with a common prefix stand next to each other.
        let from = FullTrackName {
            namespace: namespace.clone(),
            name: TrackName::default(),
        };
        self.names
            .range(from..)
            .take_while(|(name, _)| name.namespace.has_prefix(namespace))
            .map(|(_, id)| *id)
    }
}

/// Going on where another ended.
impl Relay {
    /// The relay that fed a track is gone and another one is asked: what is open waits for it.
    pub(in crate::moqt::relay) fn begin_takeover(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        for place in entry.track.cache().open_subgroups() {
            entry.takeover.entry(place).or_insert(false);
        }
        self.arm_takeover(now, id);
    }

    /// A session with another relay is lost. It may come back soon, or another one may have its
    /// tracks: what is open waits for that.
    pub(super) fn await_takeover(&mut self, now: Instant, session: SessionId) {
        let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        let fed: Vec<TrackId> = self
            .upstreams
            .range(of_session)
            .map(|(_, id)| *id)
            .collect();
        for id in fed {
            self.begin_takeover(now, id);
        }
    }

    pub(super) fn arm_takeover(&mut self, now: Instant, id: TrackId) {
        let limits = self.mesh.config.limits;
        let at = now + limits.takeover_timeout + limits.answer_timeout;
        let timer = Timer::Mesh(MeshTimer::Takeover(id));
        if let Some(entry) = self.entries.get_mut(&id)
            && !entry.takeover.is_empty()
            && entry.takeover_until.is_none()
        {
            entry.takeover_until = Some(at);
            self.timers.insert((at, timer));
        }
    }

    fn take_takeover_timer(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.takeover_until.is_none_or(|at| at > now) {
            return;
        }
        self.end_takeover(now, id);
    }

    /// Nothing goes on with what was open: its streams are reset.
    pub(in crate::moqt::relay) fn end_takeover(&mut self, now: Instant, id: TrackId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.takeover_until = None;
        for (group, subgroup) in std::mem::take(&mut entry.takeover).into_keys() {
            let end = End::Abandoned;
            entry
                .track
                .end_subgroup(now, &mut self.sessions, group, subgroup, end);
        }
    }

    /// A stream was reset while another relay or publisher feeds the track as well, or is asked to:
    /// that one may go on with it. Returns whether it may.
    pub(in crate::moqt::relay) fn may_be_taken_over(
        &mut self,
        now: Instant,
        id: TrackId,
        lost: RequestKey,
        place: (u64, u64),
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return false;
        };
        if !entry.upstreams.keys().any(|key| *key != lost) {
            return false;
        }
        if entry.track.cache().subgroup(place.0, place.1).is_some() {
            entry.takeover.entry(place).or_insert(false);
            self.arm_takeover(now, id);
        }
        true
    }

    /// Before an object is stored: does it go on where the subgroup stands? If objects are missing in
    /// between, the subgroup's streams are reset first.
    pub(in crate::moqt::relay) fn check_takeover(
        &mut self,
        now: Instant,
        id: TrackId,
        (group, subgroup, object): (u64, u64, u64),
    ) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let Some(overlaps) = entry.takeover.get_mut(&(group, subgroup)) else {
            return;
        };
        let cached = entry.track.cache().subgroup(group, subgroup);
        let last = cached.and_then(|subgroup| subgroup.objects.last());
        let last = last.map(|last| last.object);
        if last.is_some_and(|last| object <= last) {
            *overlaps = true;
            return;
        }
        let goes_on = *overlaps || last.is_none_or(|last| object == last.saturating_add(1));
        entry.takeover.remove(&(group, subgroup));
        if !goes_on {
            let end = End::Abandoned;
            entry
                .track
                .end_subgroup(now, &mut self.sessions, group, subgroup, end);
        }
    }
}
