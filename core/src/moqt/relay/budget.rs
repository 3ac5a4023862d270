//! [`Ages`]: which retained groups may go, oldest first, when all of them together pass the budget.
//!
//! A group stands here from the moment that a newer one of its track takes its place, so that the
//! newest group of a track is never a candidate, and an eviction looks at nothing in vain. What a
//! track drops by itself, by its own limits, leaves at once: there is one entry per group that may
//! go, and no more.
//!
//! Limits: the tracks', each of which bounds its groups. Source: draft-ietf-moq-transport-19 section
//! 8.1 (caching relays) leaves the policy to the relay.

use super::TrackId;
use crate::map::{BTreeMap, BTreeSet};
use crate::time::Instant;
use std::ops::RangeInclusive;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Ages {
    by_age: BTreeSet<(Instant, TrackId, u64)>,
    by_group: BTreeMap<(TrackId, u64), Instant>,
}

impl Ages {
    /// A group may go. One that stands here already keeps its age.
    pub(super) fn insert(&mut self, (at, track, group): (Instant, TrackId, u64)) {
        if let crate::map::btree_map::Entry::Vacant(entry) = self.by_group.entry((track, group)) {
            entry.insert(at);
            self.by_age.insert((at, track, group));
        }
    }

    /// Since when the oldest may go.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.by_age.first().map(|(at, _, _)| *at)
    }

    /// Takes the oldest out.
    pub(super) fn pop_first(&mut self) -> Option<(Instant, TrackId, u64)> {
        let (at, track, group) = self.by_age.pop_first()?;
        self.by_group.remove(&(track, group));
        Some((at, track, group))
    }

    /// A track dropped these groups by itself.
    pub(super) fn forget(&mut self, track: TrackId, groups: RangeInclusive<u64>) {
        let (first, last) = groups.into_inner();
        if first > last {
            return;
        }
        let gone = self
            .by_group
            .extract_if((track, first)..=(track, last), |_, _| true);
        for ((track, group), at) in gone {
            self.by_age.remove(&(at, track, group));
        }
    }

    /// A track is gone.
    pub(super) fn forget_track(&mut self, track: TrackId) {
        self.forget(track, 0..=u64::MAX);
    }

    /// Groups that may go.
    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn oldest_goes_first_and_what_a_track_dropped_leaves_no_entry() {
        let mut ages = Ages::default();
        let (a, b) = (TrackId(1), TrackId(2));
        for (time, track, group) in [(3, a, 0), (1, b, 7), (2, a, 1), (9, a, 1), (4, b, 8)] {
            ages.insert((at(time), track, group));
        }
        assert_eq!(ages.len(), 4);
        ages.forget(a, 0..=0);
        assert_eq!(ages.pop_first(), Some((at(1), b, 7)));
        assert_eq!(ages.pop_first(), Some((at(2), a, 1)));
        ages.forget_track(b);
        assert_eq!(ages.pop_first(), None);
        assert!(ages.by_group.is_empty());
    }
}
