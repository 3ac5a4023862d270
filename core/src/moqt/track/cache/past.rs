//! What a cache knows beside its live groups: fetched objects, places without one, and the answer to
//! what is here from a place on.
//!
//! Answers go by pieces, each as long as one thing can be said of it; see [`Piece`]. A question is
//! answered without walking over groups or objects that it is not about. Source:
//! draft-ietf-moq-transport-19, sections 2.1 (object model), 10.12.3 (fetch handling).

use super::{Age, Cache, End, Inserted, Piece, learn_from};
use crate::moqt::name::Location;
use crate::moqt::object::{Object, ObjectStatus};
use crate::moqt::track::span::{LAST, Span, after, before};
use crate::time::Instant;

/// The past: what was fetched, and what is known.
impl Cache {
    /// Keeps an object that was fetched or came in a datagram, unless it is here already or does not
    /// fit; one that is here already counts as received now. Returns whether it was new and kept, or
    /// is here as another one; `evicted` gets the groups of fetched objects that went for it.
    pub fn insert_fetched(
        &mut self,
        now: Instant,
        object: Object,
        evicted: &mut Vec<u64>,
    ) -> Inserted {
        if object.status != ObjectStatus::Normal {
            return Inserted::Stale;
        }
        if self.contradicts(None, &object) {
            return Inserted::Contradicts;
        }
        let subgroups = self.groups.get_mut(&object.group).into_iter();
        for subgroup in subgroups.flat_map(|group| group.subgroups.values_mut()) {
            if let Ok(index) = subgroup.position(object.object) {
                if let Some(received) = subgroup.received.get_mut(index) {
                    *received = now;
                }
                return Inserted::Stale;
            }
        }
        learn_from(&mut self.absent, &object);
        if self.history.insert(now, object, &self.limits, evicted) {
            Inserted::New
        } else {
            Inserted::Stale
        }
    }

    /// Remembers that none of these places has an object.
    pub fn learn_absent(&mut self, span: Span) {
        self.absent.insert(span);
    }

    /// Whether no object exists after this place, in the whole track.
    pub fn is_final(&self, place: Location) -> bool {
        match after(place) {
            Some(next) => self
                .absent
                .covering(next)
                .is_some_and(|span| span.end == LAST),
            None => true,
        }
    }

    /// Drops the fetched objects of a group. Returns how many bytes that freed.
    pub fn evict_history(&mut self, group: u64) -> usize {
        self.history.evict(group)
    }

    /// Nobody feeds the track any more: what is here is history, and stays within its limits. No
    /// subscription may be reading it. Returns its groups and when they came.
    pub fn retire(&mut self) -> Vec<(Instant, u64)> {
        let mut retired = Vec::new();
        let mut evicted = Vec::new();
        for (id, group) in std::mem::take(&mut self.groups) {
            for (_, subgroup) in group.subgroups {
                let first = subgroup.received.first().copied();
                for (object, received) in subgroup.objects.into_iter().zip(subgroup.received) {
                    if object.status == ObjectStatus::Normal {
                        self.history
                            .insert(received, object, &self.limits, &mut evicted);
                    }
                }
                retired.extend(first.map(|first| (first, id)));
            }
        }
        self.bytes = 0;
        retired.retain(|(_, group)| self.history.holds_group(*group));
        retired
    }

    /// Whether a group's objects may still be coming in.
    pub fn is_open(&self, group: u64) -> bool {
        self.groups.get(&group).is_some_and(|group| {
            let mut subgroups = group.subgroups.values();
            subgroups.any(|subgroup| subgroup.end == End::Open)
        })
    }

    /// What is known of the first place of a range, and how far that goes, groups ascending.
    pub fn piece(&self, span: Span, age: Age) -> Piece<'_> {
        let held = self.next_held(span, age);
        let mut end = span.end;
        if let Some(object) = held {
            let place = Location::new(object.group, object.object);
            if place == span.start {
                return Piece::Object(object);
            }
            end = before(place).unwrap_or(end).min(end);
        }
        let start = span.start;
        if let Some(absent) = self.absent.covering(start) {
            let end = absent.end.min(end);
            return Piece::Absent(Span { start, end });
        }
        if let Some(absent) = self.absent.next_after(start) {
            end = before(absent.start).unwrap_or(end).min(end);
        }
        Piece::Unknown(Span { start, end })
    }

    /// What is known of the place that comes first with groups descending: the first one of the last
    /// group of a range. An answer about several groups covers each of them whole, as far as the
    /// range goes.
    pub fn piece_descending(&self, span: Span, age: Age) -> Piece<'_> {
        let last = Span::of_group(span.end.group);
        let Some(group) = last.intersect(&span) else {
            return Piece::Absent(span);
        };
        if self.holds_group(span.end.group) || group.start == span.start {
            return self.piece(group, age);
        }
        let below = self
            .group_before(span.end.group)
            .and_then(|g| g.checked_add(1));
        let floor = below.map_or(span.start, |g| Location::new(g, 0).max(span.start));
        // Nothing is held from `floor` to the end of the range.
        let absent = self.absent.covering(span.end).map(|absent| absent.start);
        let is_absent = absent.is_some();
        let run = absent.or_else(|| {
            let above = self.absent.last_before(span.end).map(|absent| absent.end);
            above.and_then(after)
        });
        let mut start = run.unwrap_or(Location::ZERO).max(floor);
        if start.object > 0 && start > span.start {
            // Only whole groups: the one that is cut begins a piece of its own.
            start = Location::new(start.group.saturating_add(1), 0);
        }
        match Span::new(start, span.end) {
            Some(span) if is_absent => Piece::Absent(span),
            Some(span) => Piece::Unknown(span),
            None => self.piece(group, age),
        }
    }

    /// How far nothing is held from the first place of a range on, groups ascending.
    pub fn hole(&self, span: Span, age: Age) -> Span {
        let held = self.next_held(span, age);
        let end = held.and_then(|object| before(Location::new(object.group, object.object)));
        Span {
            start: span.start,
            end: end.unwrap_or(span.end).min(span.end).max(span.start),
        }
    }

    /// The same with groups descending, from the end of the range on: whole groups, or a part of
    /// the last one.
    pub fn hole_descending(&self, span: Span, age: Age) -> Span {
        let Some(last) = Span::of_group(span.end.group).intersect(&span) else {
            return span;
        };
        if self.next_held(last, age).is_some() {
            return self.hole(last, age);
        }
        let mut start = span.start;
        let mut below = span.end.group;
        while let Some(group) = self.group_before(below) {
            below = group;
            if group < span.start.group {
                break;
            }
            if self.next_held_in(group, 0, age).is_some() {
                start = Location::new(group.saturating_add(1), 0);
                break;
            }
        }
        Span {
            start: start.max(span.start),
            end: span.end,
        }
    }

    fn holds_group(&self, group: u64) -> bool {
        self.groups.contains_key(&group) || self.history.holds_group(group)
    }

    fn group_before(&self, group: u64) -> Option<u64> {
        let live = self.groups.range(..group).next_back().map(|(id, _)| *id);
        live.max(self.history.group_before(group))
    }

    fn next_held(&self, span: Span, age: Age) -> Option<&Object> {
        let mut group = span.start.group;
        let mut object = span.start.object;
        loop {
            if let Some(held) = self.next_held_in(group, object, age) {
                let place = Location::new(held.group, held.object);
                return (place <= span.end).then_some(held);
            }
            let from = group.checked_add(1)?;
            let live = self.groups.range(from..).next().map(|(id, _)| *id);
            let fetched = self.history.group_from(from);
            group = live.into_iter().chain(fetched).min()?;
            object = 0;
            if group > span.end.group {
                return None;
            }
        }
    }

    fn next_held_in(&self, group: u64, object: u64, age: Age) -> Option<&Object> {
        let fetched = self
            .history
            .objects_from(group, object)
            .find(|(received, _)| age.admits(*received))
            .map(|(_, object)| object);
        let subgroups = self.groups.get(&group).into_iter();
        let live = subgroups
            .flat_map(|group| group.subgroups.values())
            .filter_map(|subgroup| subgroup.next_held(object, age));
        live.chain(fetched).min_by_key(|object| object.object)
    }
}
