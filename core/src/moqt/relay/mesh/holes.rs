//! Holes: what is missing between the last object of a lost route and the first of the next.
//!
//! The next relay serves what it retains, which may begin later than a track ended here. A moment
//! after it agreed ([`Limits::hole_delay`](super::Limits::hole_delay)) the groups that are missing in
//! between, and the rest of the one that was cut, are fetched from it, and through it from whoever
//! holds them, and go to viewers as if they had come in time.
//!
//! | a fetch of a hole ends | groups that it was for |
//! |---|---|
//! | whole | are complete, but for those in which it left places unknown |
//! | refused, cut, or with its session | stay open, and are reset when their takeover is over |
//!
//! What comes behind an unknown place is not the next of its subgroup: nobody is sent it on the stream of
//! those before it.
//!
//! Bounds: as many groups as the track retains, [`RUNS_MAX`] fetches for one switch.

use super::super::{Relay, RequestKey, Timer, TrackId};
use super::{Mesh, MeshTimer, deadline};
use crate::map::BTreeSet;
use crate::moqt::error::StreamCode;
use crate::moqt::message::{Fetch, FetchTarget};
use crate::moqt::name::{Location, RequestId};
use crate::moqt::object::{GapKind, Object};
use crate::moqt::parameter::Parameters;
use crate::moqt::track::cache::{Cache, End, Subgroup, SubgroupInfo};
use crate::moqt::track::fetched;
use crate::moqt::track::span::Span;
use crate::time::Instant;
use crate::transport::{SessionId, StreamId};

/// Holes that are looked for after one switch.
const RUNS_MAX: usize = 8;

/// A fetch of what is missing.
#[derive(Debug)]
pub(super) struct Hole {
    track: TrackId,
    span: Span,
    /// Objects behind it are here already and wait.
    is_before: bool,
    /// The group of the last item.
    group: u64,
    /// The last item was a gap of which nothing is known.
    is_after_unknown: bool,
    /// Groups with such gaps.
    cut: BTreeSet<u64>,
}

/// A track that goes on with another relay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resumed {
    /// The oldest group that was not complete.
    from: u64,
    by: RequestKey,
    at: Instant,
}

impl Mesh {
    /// The fetches of holes that rest on a session.
    pub(super) fn holes_of(&self, session: SessionId) -> Vec<RequestKey> {
        let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        self.holes.range(of_session).map(|(key, _)| *key).collect()
    }
}

impl Relay {
    /// Another relay agreed to feed a track of which something is here.
    pub(super) fn look_for_holes(&mut self, now: Instant, id: TrackId, by: RequestKey) {
        let entry = self.entries.get(&id);
        let resume_at = entry.and_then(|entry| entry.track.cache().resume_at());
        let Some(from) = resume_at.filter(|_| self.mesh.is_link(by.0)) else {
            return;
        };
        let at = deadline(now, self.mesh.config.limits.hole_delay);
        self.mesh.resumed.insert(id, Resumed { from, by, at });
        self.timers.insert((at, Timer::Mesh(MeshTimer::Holes(id))));
    }

    pub(super) fn take_holes_timer(&mut self, now: Instant, id: TrackId) {
        let Some(resumed) = self.mesh.resumed.get(&id).copied() else {
            return;
        };
        if resumed.at > now {
            return;
        }
        self.mesh.resumed.remove(&id);
        let groups_max = self.config.track.cache.groups_max as u64;
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        if !entry.upstreams.contains_key(&resumed.by) {
            return;
        }
        for span in missing(entry.track.cache(), resumed.from, groups_max) {
            self.fetch_hole(id, resumed.by, span, false);
        }
    }

    /// Returns whether it could be asked for.
    pub(in crate::moqt::relay) fn fetch_hole(
        &mut self,
        track: TrackId,
        by: RequestKey,
        span: Span,
        is_before: bool,
    ) -> bool {
        let Some(open) = self.sessions.session_mut(by.0) else {
            return false;
        };
        let Some(name) = open.request(by.1).and_then(|it| it.track().cloned()) else {
            return false;
        };
        let message = Fetch {
            request_id: RequestId(0),
            target: FetchTarget::Track(name),
            parameters: Parameters {
                filter: Some(fetched::filter_of(span)),
                ..Parameters::default()
            },
        };
        // A session that takes no more requests leaves the hole to the takeover's end.
        let Ok(request) = open.fetch(message) else {
            return false;
        };
        let hole = Hole {
            track,
            span,
            is_before,
            group: span.start.group,
            is_after_unknown: false,
            cut: BTreeSet::new(),
        };
        self.mesh.holes.insert((by.0, request), hole);
        true
    }

    /// Takes an object of a hole; gives back what is none.
    pub(in crate::moqt::relay) fn take_hole_object(
        &mut self,
        now: Instant,
        key: RequestKey,
        stream: StreamId,
        object: Object,
    ) -> Option<Object> {
        let Some(hole) = self.mesh.holes.get_mut(&key) else {
            return Some(object);
        };
        let place = Location::new(object.group, object.object);
        let subgroup = object.subgroup?;
        if !hole.span.contains(place) {
            return None;
        }
        hole.group = place.group;
        let is_after_unknown = std::mem::take(&mut hole.is_after_unknown);
        let track = hole.track;
        let info = SubgroupInfo {
            priority: object.priority,
            has_properties: true,
            end_of_group: false,
            first_object: !is_after_unknown || place.object == 0,
        };
        // A stream that brought nothing of the subgroup yet: its object follows none that is here.
        let source = is_after_unknown.then_some((key.0, stream));
        self.check_takeover(now, track, (place.group, subgroup, place.object));
        self.publish_object(now, now, track, info, object, source);
        self.take_ahead(now, track, (place.group, subgroup));
        None
    }

    /// Takes a gap in what was fetched for a hole.
    pub(in crate::moqt::relay) fn take_hole_gap(
        &mut self,
        key: RequestKey,
        kind: GapKind,
        end: Location,
    ) {
        let Some(hole) = self.mesh.holes.get_mut(&key) else {
            return;
        };
        // As many as the hole has groups, whatever the gap says: none before it, none behind it.
        let last = (end.group).clamp(hole.span.start.group, hole.span.end.group);
        if kind == GapKind::NonExistent {
            hole.group = last;
            return;
        }
        hole.cut.extend(hole.group..=last);
        hole.group = last;
        hole.is_after_unknown = true;
    }

    /// A fetch of a hole is over, if the request was one.
    pub(in crate::moqt::relay) fn hole_ended(
        &mut self,
        now: Instant,
        key: RequestKey,
        is_whole: bool,
    ) {
        let Some(hole) = self.mesh.holes.remove(&key) else {
            return;
        };
        if !is_whole {
            self.cancel(key, StreamCode::CANCELLED);
        }
        if hole.is_before {
            self.give_up_ahead(now, hole.track);
            return;
        }
        let Some(entry) = self.entries.get_mut(&hole.track) else {
            return;
        };
        let groups = hole.span.start.group..=hole.span.end.group;
        for (group, subgroup) in entry.track.cache().open_subgroups() {
            let is_whole = is_whole && !hole.cut.contains(&group);
            if groups.contains(&group) && !is_whole {
                entry.takeover.entry((group, subgroup)).or_insert(false);
            } else if groups.contains(&group) {
                entry.takeover.remove(&(group, subgroup));
                let (track, end) = (&mut entry.track, End::Finished);
                track.end_subgroup(now, &mut self.sessions, group, subgroup, end);
            }
        }
        self.arm_takeover(now, hole.track);
    }
}

/// What is missing of a track from a group on, up to the newest group: the rest of groups that are
/// not complete, and groups of which nothing is here, `groups_max` of them at most.
fn missing(cache: &Cache, from: u64, groups_max: u64) -> Vec<Span> {
    let Some(newest) = cache.newest_group() else {
        return Vec::new();
    };
    let first = from.max(newest.saturating_sub(groups_max.saturating_sub(1)));
    let mut runs: Vec<Span> = Vec::new();
    let mut next = Location::new(first, 0);
    for (id, group) in cache.groups_from(first) {
        // Up to here nothing is missing, unless a group is not whole: then from its rest on.
        if next.group < id {
            let end = Location::new(id.saturating_sub(1), u64::MAX);
            runs.extend(Span::new(next, end));
        }
        let is_whole = group.subgroups.values().all(Subgroup::is_whole);
        let is_resumed = is_whole || id == newest;
        next = match group.subgroups.values().next() {
            Some(only) if !is_resumed && group.subgroups.len() == 1 => {
                let last = only.objects.last().map_or(0, |last| last.object);
                Location::new(id, last.saturating_add(1))
            }
            _ if !is_resumed => Location::new(id, 0),
            _ => Location::new(id.saturating_add(1), 0),
        };
    }
    runs.truncate(RUNS_MAX);
    runs
}
