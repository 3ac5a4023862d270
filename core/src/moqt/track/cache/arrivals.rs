//! An object beside what is here already: the same one again, another one in its place, or the next.
//!
//! | an object comes | is compared with | and is |
//! |---|---|---|
//! | beyond all of its group | nothing | new |
//! | below that | what is held of its place, whichever subgroup holds it | the same, or the track is malformed |
//! | by fetch or datagram | what is held of its place | the same, or the track is malformed |
//!
//! The same are two objects with one forwarding preference, subgroup, priority and payload; properties
//! may differ, and an object that has become one that says where its group ends is no contradiction.
//!
//! An object is the next of its subgroup when its id is, when the stream that brought it had the one
//! before it as its last, or when nothing can be between them. One of which that is not known is
//! marked: nobody is sent it on the stream of those before it.
//!
//! Source: draft-ietf-moq-transport-19, Sections 2.4.2 (malformed tracks), 9.1 (caching relays), 11.4.3
//! (closing subgroup streams).

use super::{Cache, End, Subgroup};
use crate::moqt::name::Location;
use crate::moqt::object::{Object, ObjectStatus};
use crate::moqt::track::span::Spans;
use crate::transport::{SessionId, StreamId};

/// The stream of a publisher that brought an object.
pub type Source = (SessionId, StreamId);

/// Streams that bring the same subgroup and are told apart.
const SOURCES_MAX: usize = 8;

impl Cache {
    /// Whether an object of a subgroup came before others that belong in front of it, for all that is
    /// known, and may come from elsewhere. `is_first` is whether its stream began the subgroup.
    pub fn is_ahead(&self, is_first: bool, object: &Object, source: Source) -> bool {
        let Some(subgroup) = object.subgroup.filter(|_| object.group >= self.floor()) else {
            return false;
        };
        match self.subgroup(object.group, subgroup) {
            Some(held) => {
                let last = held.objects.last().map(|last| last.object);
                last < Some(object.object)
                    && held.end == End::Open
                    && !held.is_next(&self.absent, object, Some(source))
            }
            None => !is_first && object.object > 0,
        }
    }

    /// Whether an object is held as another one. `priority` is that of its stream.
    pub(super) fn contradicts(&self, priority: Option<u8>, object: &Object) -> bool {
        let differs = |held: &Object| !is_same(held, object, priority);
        if !self.history.is_empty()
            && let Some(held) = self.history.object(object.group, object.object)
            && differs(held)
        {
            return true;
        }
        let group = self.groups.get(&object.group);
        // What comes in order is beyond all that is here.
        let Some(group) = group.filter(|group| group.last >= Some(object.object)) else {
            return false;
        };
        group.subgroups.values().any(|subgroup| {
            let held = subgroup.position(object.object).ok();
            let held = held.and_then(|index| subgroup.objects.get(index));
            held.is_some_and(differs)
        })
    }
}

impl Subgroup {
    /// Whether all of its objects are here, from the first that is here on.
    pub fn is_whole(&self) -> bool {
        self.end == End::Finished && self.breaks.is_empty()
    }

    /// Whether an object must not be sent on the stream of those before it, by its index.
    pub(in crate::moqt::track) fn is_break(&self, index: usize) -> bool {
        !self.breaks.is_empty() && self.breaks.binary_search(&index).is_ok()
    }

    /// A stream brought an object that is not new.
    pub(super) fn note_repeat(&mut self, object: u64, source: Option<Source>) {
        let is_last = self
            .objects
            .last()
            .is_some_and(|last| last.object == object);
        if let Some(source) = source
            && is_last
            && self.sources.len() < SOURCES_MAX
            && !self.sources.contains(&source)
        {
            self.sources.push(source);
        }
    }

    /// A stream brought an object that is about to be added.
    pub(super) fn note_source(&mut self, absent: &Spans, object: &Object, source: Option<Source>) {
        if !self.is_next(absent, object, source) {
            self.breaks.push(self.objects.len());
        }
        self.sources.clear();
        self.sources.extend(source);
    }

    fn is_next(&self, absent: &Spans, object: &Object, source: Option<Source>) -> bool {
        let Some(last) = self.objects.last() else {
            return true;
        };
        let next = last.object.saturating_add(1);
        // What is published here comes in order.
        if object.object == next || source.is_none_or(|source| self.sources.contains(&source)) {
            return true;
        }
        let between = absent.covering(Location::new(object.group, next));
        let until = Location::new(object.group, object.object.saturating_sub(1));
        between.is_some_and(|span| span.end >= until)
    }
}

/// Whether two objects of one place are the same, as far as no relay may change them. `priority` is
/// that of the stream which brought the second one.
pub(super) fn is_same(held: &Object, again: &Object, priority: Option<u8>) -> bool {
    if held.status != ObjectStatus::Normal || again.status != ObjectStatus::Normal {
        return true;
    }
    let priorities = held.priority.zip(again.priority.or(priority));
    held.subgroup == again.subgroup
        && priorities.is_none_or(|(held, again)| held == again)
        && held.payload == again.payload
}
