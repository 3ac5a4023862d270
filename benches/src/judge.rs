//! [`Judge`]: whether one subscription got every object in order and once.
//!
//! A feed's groups have a fixed number of objects, in one subgroup, so that what is due is known
//! without asking. Groups arrive on streams of their own: the end of one may come after the
//! beginning of the next. The first group may begin anywhere, as a relay that keeps no history
//! serves it; all others begin at their first object.
//!
//! | fault | means |
//! |---|---|
//! | `repeated` | an object came again, or after a later one of its group |
//! | `skipped` | an object came before one that precedes it in its group |
//! | missing | a group that was due is incomplete, or was never begun |

use std::collections::BTreeMap;

/// What a subscription got, and what it should have got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Objects that were due.
    pub due: u64,
    /// Objects of those that arrived.
    pub arrived: u64,
    /// Objects that came twice or too late within their group.
    pub repeated: u64,
    /// Objects left out within a group that went on.
    pub skipped: u64,
}

impl Verdict {
    /// Adds another's figures.
    pub fn add(&mut self, other: Self) {
        self.due += other.due;
        self.arrived += other.arrived;
        self.repeated += other.repeated;
        self.skipped += other.skipped;
    }
}

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Judge {
    group_objects: u64,
    /// First group and the object it began with.
    began: Option<(u64, u64)>,
    /// Groups below are whole or judged.
    floor: u64,
    /// The object that each later group waits for.
    next: BTreeMap<u64, u64>,
    verdict: Verdict,
    /// Order is judged, completeness is not: the viewer did not read for a while.
    is_forgiven: bool,
}

impl Judge {
    /// Nothing has arrived. Groups have `group_objects` objects.
    pub fn new(group_objects: u64) -> Self {
        Self {
            group_objects,
            began: None,
            floor: 0,
            next: BTreeMap::new(),
            verdict: Verdict::default(),
            is_forgiven: false,
        }
    }

    /// From now on groups may be missing: the viewer stops reading.
    pub fn forgive(&mut self, newest: u64) {
        if !self.is_forgiven {
            self.close_until(newest.saturating_sub(1));
            self.is_forgiven = true;
        }
    }

    /// An object arrived.
    pub fn arrived(&mut self, group: u64, object: u64) {
        if self.began.is_none() {
            self.began = Some((group, object));
            self.floor = group;
            self.next.insert(group, object);
        }
        if group < self.floor {
            // A forgiven viewer may get the rest of groups that are judged already.
            self.verdict.repeated += u64::from(!self.is_forgiven);
            return;
        }
        let next = self.next.entry(group).or_insert(0);
        if object < *next {
            self.verdict.repeated += 1;
            return;
        }
        self.verdict.skipped += object - *next;
        *next = object + 1;
        while let Some(entry) = self.next.first_entry()
            && *entry.key() == self.floor
            && *entry.get() >= self.group_objects
        {
            let (group, next) = entry.remove_entry();
            self.floor += 1;
            self.count(group, next);
        }
    }

    /// The verdict, when the subscription ends: groups below `until` were due.
    pub fn finish(mut self, until: u64) -> Verdict {
        self.close_until(until);
        self.verdict
    }

    /// Whether the object was published before the subscription began, at least in part: it is old by
    /// nature.
    pub fn is_history(&self, group: u64) -> bool {
        self.began.is_none_or(|(first, _)| group <= first)
    }

    /// Whether completeness is no longer judged.
    pub fn is_forgiven(&self) -> bool {
        self.is_forgiven
    }

    fn close_until(&mut self, until: u64) {
        if self.began.is_none() || self.is_forgiven {
            return;
        }
        while self.floor < until {
            let group = self.floor;
            let next = self.next.remove(&group).unwrap_or(0);
            self.floor += 1;
            self.count(group, next);
        }
    }

    fn count(&mut self, group: u64, next: u64) {
        if self.is_forgiven {
            return;
        }
        let from = match self.began {
            Some((first, object)) if first == group => object,
            _ => 0,
        };
        self.verdict.due += self.group_objects.saturating_sub(from);
        self.verdict.arrived += next.saturating_sub(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_groups_in_order_are_whole() {
        let mut judge = Judge::new(3);
        for (group, object) in [
            (5, 1),
            (5, 2),
            (6, 0),
            (7, 0),
            (6, 1),
            (7, 1),
            (6, 2),
            (7, 2),
        ] {
            judge.arrived(group, object);
        }
        let whole = Verdict {
            due: 8,
            arrived: 8,
            ..Verdict::default()
        };
        assert_eq!(judge.finish(8), whole);
    }

    #[test]
    fn missing_groups_repeats_and_gaps_are_told_apart() {
        let mut judge = Judge::new(3);
        for (group, object) in [(0, 0), (0, 1), (0, 1), (0, 2), (2, 0), (2, 2)] {
            judge.arrived(group, object);
        }
        let verdict = judge.finish(3);
        assert_eq!((verdict.due, verdict.repeated, verdict.skipped), (9, 1, 1));
        assert_eq!(verdict.due - verdict.arrived, 3);
    }

    #[test]
    fn viewer_that_stalled_may_miss_groups_but_not_get_them_twice() {
        let mut judge = Judge::new(2);
        judge.arrived(0, 0);
        judge.arrived(0, 1);
        judge.forgive(1);
        judge.arrived(9, 0);
        judge.arrived(9, 1);
        judge.arrived(9, 1);
        let verdict = judge.finish(10);
        assert_eq!((verdict.due, verdict.arrived), (2, 2));
        assert_eq!(verdict.repeated, 1);
    }
}
