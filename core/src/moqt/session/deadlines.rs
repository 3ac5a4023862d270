//! [`Deadlines`]: who waits until when, in the order of time.
//!
//! A session's next deadline is asked for after everything that happens to it, for each object too;
//! here it is the first entry of a set, however many wait. The owner tells each change, with what was
//! before it.
//!
//! Limits: one entry for each of the owner's, whose own bounds hold.

use super::Instant;
use crate::map::BTreeSet;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Deadlines<K> {
    by_time: BTreeSet<(Instant, K)>,
    /// The first of them, so that asking for it looks at nothing else.
    next: Option<Instant>,
}

impl<K: Ord> Default for Deadlines<K> {
    fn default() -> Self {
        let by_time = BTreeSet::new();
        let next = None;
        Self { by_time, next }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// The deadline of `key` changes.
    pub(super) fn change(&mut self, key: K, before: Option<Instant>, after: Option<Instant>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, key));
        }
        if let Some(after) = after {
            self.by_time.insert((after, key));
        }
        self.next = self.by_time.first().map(|(at, _)| *at);
    }

    /// The earliest.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whose time has come, the earliest first.
    pub(super) fn due(&self, now: Instant) -> Vec<K> {
        let due = self.by_time.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, key)| *key).collect()
    }

    pub(super) fn clear(&mut self) {
        self.by_time.clear();
        self.next = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn deadlines_come_in_order_and_leave_when_they_are_changed() {
        let at = |ms| Some(Instant::ZERO + Duration::from_millis(ms));
        let mut deadlines = Deadlines::default();
        for (key, ms) in [(1, 30), (2, 10), (3, 20)] {
            deadlines.change(key, None, at(ms));
        }
        assert_eq!(deadlines.next(), at(10));
        deadlines.change(2, at(10), at(40));
        deadlines.change(3, at(20), None);
        assert_eq!(deadlines.next(), at(30));
        assert_eq!(
            deadlines.due(Instant::ZERO + Duration::from_millis(40)),
            [1, 2]
        );
        assert!(deadlines.due(Instant::ZERO).is_empty());
    }
}
