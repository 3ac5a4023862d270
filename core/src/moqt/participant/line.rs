//! One subscription's objects, put in order.
//!
//! Groups come on streams of their own, and the newer one may be here first. Objects of the group at
//! hand go out as they come; those of newer groups wait until it has ended, or for [`PATIENCE`].
//!
//! | an object is | what becomes of it |
//! |---|---|
//! | of the group at hand, after the last of its subgroup | goes out |
//! | of a newer group | waits; goes out at once if it came in a datagram |
//! | anything else | dropped: it came twice, or too late |
//!
//! A group counts as ended with its first stream that ends: publishers of ours have one for each
//! group. Limits: [`HELD_MAX`] objects and [`HELD_BYTES_MAX`] bytes that wait; past them the group at
//! hand is given up. Source: draft-ietf-moq-transport-18 section 2 (object model).

use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::name::Location;
use crate::moqt::object::{Object, ObjectStatus};
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// How long newer groups wait for the rest of an older one.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
/// Objects of newer groups that may wait.
const HELD_MAX: usize = 4096;
/// Bytes of newer groups that may wait.
const HELD_BYTES_MAX: usize = 32 << 20;
/// Newer groups whose end is known.
const ENDED_MAX: usize = 1024;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The group at hand, and whether it has ended.
    group: Option<(u64, bool)>,
    /// The last object that went out of each subgroup of it.
    last: BTreeMap<Option<u64>, u64>,
    /// The largest place that went out.
    largest: Option<Location>,
    held: BTreeMap<(u64, u64), Object>,
    held_bytes: usize,
    /// When the oldest of them came.
    since: Option<Instant>,
    ended: BTreeSet<u64>,
    out: VecDeque<Object>,
}

impl Line {
    /// An object came.
    pub(super) fn object(&mut self, now: Instant, object: Object) {
        let newer = self.group.is_none_or(|(group, _)| object.group > group);
        if !newer && self.group.is_some_and(|(group, _)| object.group < group) {
            return;
        }
        if newer && self.group.is_some() && object.subgroup.is_some() {
            self.hold(now, object);
        } else {
            if newer {
                self.begin(object.group);
            }
            self.put(object);
        }
        self.advance(now);
    }

    /// A stream of a group is over.
    pub(super) fn ended(&mut self, now: Instant, group: u64) {
        match &mut self.group {
            Some((current, has_ended)) if *current == group => *has_ended = true,
            Some((current, _)) if *current > group => {}
            _ if self.ended.len() < ENDED_MAX => {
                self.ended.insert(group);
            }
            _ => {}
        }
        self.advance(now);
    }

    /// What waits has waited long enough.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.give_up();
            self.advance(now);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.since.map(|since| since + PATIENCE)
    }

    /// The next object in order.
    pub(super) fn poll(&mut self) -> Option<Object> {
        self.out.pop_front()
    }

    /// Where to go on in another session; `None` when nothing came yet.
    pub(super) fn resume_at(&self) -> Option<Location> {
        let next = |at: Location| Location::new(at.group, at.object.saturating_add(1));
        self.largest.map(next)
    }

    /// The streams of the session are gone. What is whole goes out; the group at hand may go on.
    pub(super) fn cut(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
        self.since = None;
        self.ended.clear();
        if let Some((_, has_ended)) = &mut self.group {
            *has_ended = false;
        }
    }

    /// The publisher began its numbers anew.
    pub(super) fn begin_anew(&mut self) {
        let out = std::mem::take(&mut self.out);
        *self = Self {
            out,
            ..Self::default()
        };
    }

    /// No more comes: what waits goes out.
    pub(super) fn finish(&mut self) {
        while !self.held.is_empty() {
            self.give_up();
        }
    }

    fn begin(&mut self, group: u64) {
        self.group = Some((group, self.ended.remove(&group)));
        self.ended = self.ended.split_off(&group);
        self.last.clear();
    }

    fn put(&mut self, object: Object) {
        let last = self.last.get(&object.subgroup);
        if last.is_some_and(|last| object.object <= *last) {
            return;
        }
        // A subgroup that goes on in another session begins where the old one stopped.
        let place = Location::new(object.group, object.object);
        if last.is_none() && self.largest.is_some_and(|largest| place == largest) {
            return;
        }
        self.last.insert(object.subgroup, object.object);
        self.largest = self.largest.max(Some(place));
        if object.status == ObjectStatus::Normal {
            self.out.push_back(object);
        } else if let Some((_, has_ended)) = &mut self.group {
            *has_ended = true;
        }
    }

    fn hold(&mut self, now: Instant, object: Object) {
        self.since.get_or_insert(now);
        let bytes = object.payload.len();
        if self
            .held
            .insert((object.group, object.object), object)
            .is_none()
        {
            self.held_bytes = self.held_bytes.saturating_add(bytes);
        }
        if self.held.len() > HELD_MAX || self.held_bytes > HELD_BYTES_MAX {
            self.give_up();
        }
    }

    /// The next group that waits takes the place of the one at hand.
    fn give_up(&mut self) {
        let Some((&(group, _), _)) = self.held.first_key_value() else {
            self.since = None;
            return;
        };
        self.begin(group);
        let rest = self.held.split_off(&(group.saturating_add(1), 0));
        let of_group = std::mem::replace(&mut self.held, rest);
        for object in of_group.into_values() {
            self.held_bytes = self.held_bytes.saturating_sub(object.payload.len());
            self.put(object);
        }
        if self.held.is_empty() {
            self.since = None;
        }
    }

    fn advance(&mut self, now: Instant) {
        while self.group.is_some_and(|(_, has_ended)| has_ended) && !self.held.is_empty() {
            self.give_up();
            self.since = self.since.map(|_| now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(group: u64, id: u64) -> Object {
        Object {
            group,
            object: id,
            subgroup: Some(0),
            ..Object::default()
        }
    }

    fn drained(line: &mut Line) -> Vec<(u64, u64)> {
        std::iter::from_fn(|| line.poll())
            .map(|object| (object.group, object.object))
            .collect()
    }

    const NOW: Instant = Instant::ZERO;

    #[test]
    fn a_newer_group_waits_for_the_end_of_the_older_one() {
        let mut line = Line::default();
        for (group, id) in [(5, 0), (6, 0), (5, 1), (7, 0), (6, 1)] {
            line.object(NOW, object(group, id));
        }
        assert_eq!(drained(&mut line), [(5, 0), (5, 1)]);
        line.ended(NOW, 6);
        line.ended(NOW, 5);
        assert_eq!(drained(&mut line), [(6, 0), (6, 1), (7, 0)]);
        assert_eq!(line.resume_at(), Some(Location::new(7, 1)));
    }

    #[test]
    fn an_older_group_that_stands_still_is_given_up() {
        let mut line = Line::default();
        line.object(NOW, object(1, 0));
        line.object(NOW, object(2, 0));
        let at = line.next_timeout().unwrap();
        line.handle_timeout(NOW);
        assert_eq!(drained(&mut line), [(1, 0)]);
        line.handle_timeout(at);
        line.object(at, object(1, 1));
        assert_eq!(drained(&mut line), [(2, 0)]);
        assert_eq!(line.next_timeout(), None);
    }

    #[test]
    fn nothing_comes_twice_after_a_cut() {
        let mut line = Line::default();
        for id in 0..3 {
            line.object(NOW, object(1, id));
        }
        line.cut();
        for (group, id) in [(1, 2), (1, 3), (2, 0)] {
            line.object(NOW, object(group, id));
        }
        line.finish();
        let expected = [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0)];
        assert_eq!(drained(&mut line), expected);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut line = Line::default();
        line.object(NOW, object(0, 0));
        for id in 0..=HELD_MAX as u64 {
            line.object(NOW, object(1, id));
        }
        assert_eq!(drained(&mut line).len(), HELD_MAX + 2);
        assert_eq!(line.held_bytes, 0);
    }
}
