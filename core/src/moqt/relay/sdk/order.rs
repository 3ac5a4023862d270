//! Objects that come on streams of their own, put back into the order of the upload.
//!
//! | the group at hand | next is |
//! |---|---|
//! | has the next object | that object |
//! | has a later one, on the one stream that the group has | that one: the publisher skipped numbers |
//! | has a later one, on another stream | awaited until `wait` is over, then skipped |
//! | is over | the next group, if its number follows |
//! | is over, and a later group is here | what is between is awaited until `wait` is over |
//! | is not over, and later groups are here | awaited until `wait` is over, then left |
//!
//! A publisher that skips group numbers, or does not end its streams, is awaited once: from then on
//! the next group that is here is the next. An object that comes late all the same ends that trust.
//!
//! The upload begins at the first object that begins an init segment; the first groups may come in
//! any order. What was skipped is told as a [`Step::Gap`]; what comes too late is dropped.
//!
//! Units: bytes, objects. Limits: [`Limits`]; passing one skips, like a wait that is over.

use super::shape;
use crate::map::{BTreeMap, BTreeSet};
use crate::payload::Payload;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Bounds of what waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects.
    pub objects_max: usize,
    /// Payload bytes.
    pub bytes_max: usize,
    /// How long a missing object is awaited.
    pub wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            objects_max: 4096,
            bytes_max: 16 << 20,
            wait: Duration::from_secs(1),
        }
    }
}

/// What comes next in the upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Object(Payload),
    /// Objects are missing here.
    Gap,
}

/// One object of the upload and where it came.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) group: u64,
    pub(super) object: u64,
    /// `None` for an object that came in a datagram.
    pub(super) subgroup: Option<u64>,
    /// The group ends here.
    pub(super) ends_group: bool,
    /// `None` for an object that only says that the group ends.
    pub(super) payload: Option<Payload>,
}

/// What an object came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Carrier {
    /// The stream of a subgroup.
    Subgroup(u64),
    Datagram,
}

#[derive(Debug, Default)]
struct Group {
    held: BTreeMap<u64, (Carrier, Payload)>,
    open: BTreeSet<u64>,
    /// What the group came on; counted to two.
    carriers: BTreeSet<Carrier>,
    is_over: bool,
    has_lost: bool,
}

impl Group {
    fn is_over(&self) -> bool {
        self.is_over || (!self.carriers.is_empty() && self.open.is_empty())
    }

    /// Whether a number that is missing stays missing: another stream could still bring it.
    fn is_complete(&self) -> bool {
        self.is_over || (self.carriers.len() == 1 && self.open.is_empty())
    }
}

/// The machine. See the module's description.
#[derive(Debug)]
pub(super) struct Order {
    limits: Limits,
    /// The group at hand and those after it.
    groups: BTreeMap<u64, Group>,
    current: Option<u64>,
    /// The object that follows in the group at hand, and the stream of the one before.
    next: u64,
    last_carrier: Option<Carrier>,
    skips_numbers: bool,
    /// Whether its numbers have followed each other so far.
    counts: bool,
    leaves_open: bool,
    waiting_since: Option<Instant>,
    objects: usize,
    bytes: usize,
    steps: VecDeque<Step>,
}

impl Order {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            groups: BTreeMap::new(),
            current: None,
            next: 0,
            last_carrier: None,
            skips_numbers: false,
            counts: false,
            leaves_open: false,
            waiting_since: None,
            objects: 0,
            bytes: 0,
            steps: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, now: Instant, arrival: Arrival) {
        if self.is_past(arrival.group, arrival.object) {
            self.take_late();
            return;
        }
        let known = self.groups.get(&arrival.group);
        if known.is_some_and(|group| group.held.contains_key(&arrival.object)) {
            // The same object twice is the first one.
            return;
        }
        let is_empty = arrival.payload.is_none();
        if is_empty && known.is_none() && self.groups.len() > self.limits.objects_max {
            // Groups that only say that they are over.
            return;
        }
        let carrier = arrival
            .subgroup
            .map_or(Carrier::Datagram, Carrier::Subgroup);
        let group = self.groups.entry(arrival.group).or_default();
        group.is_over |= arrival.ends_group;
        if group.carriers.len() < 2 {
            group.carriers.insert(carrier);
        }
        group.open.extend(arrival.subgroup);
        if let Some(payload) = arrival.payload {
            self.objects += 1;
            self.bytes = self.bytes.saturating_add(payload.len());
            group.held.insert(arrival.object, (carrier, payload));
        }
        self.advance(now);
    }

    /// The stream of a subgroup is over.
    pub(super) fn end(&mut self, now: Instant, group: u64, subgroup: u64, is_whole: bool) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.open.remove(&subgroup);
            group.has_lost |= !is_whole;
        }
        self.advance(now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.skip();
            self.waiting_since = None;
            self.advance(now);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since + self.limits.wait)
    }

    /// Nothing more comes: what waits has its turn.
    pub(super) fn finish(&mut self) {
        while self.objects > 0 && self.skip() {
            while self.step() {}
        }
        self.waiting_since = None;
    }

    pub(super) fn poll(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    fn is_past(&self, group: u64, object: u64) -> bool {
        self.current
            .is_some_and(|current| group < current || (group == current && object < self.next))
    }

    /// Something came after its place was passed by.
    fn take_late(&mut self) {
        if self.skips_numbers || self.leaves_open {
            self.skips_numbers = false;
            self.leaves_open = false;
            self.steps.push_back(Step::Gap);
        }
    }

    fn advance(&mut self, now: Instant) {
        let mut moved = false;
        loop {
            while self.step() {
                moved = true;
            }
            let over = self.objects > self.limits.objects_max || self.bytes > self.limits.bytes_max;
            if !over || !self.skip() {
                break;
            }
        }
        if self.objects == 0 {
            self.waiting_since = None;
        } else if moved || self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
    }

    /// Goes one step that needs no patience; `false` when there is none.
    fn step(&mut self) -> bool {
        let Some(current) = self.current else {
            return self.begin();
        };
        let Some(group) = self.groups.get(&current) else {
            return false;
        };
        if let Some((id, (carrier, _))) = group.held.first_key_value() {
            let goes_on = group.carriers.len() == 1 && self.last_carrier == Some(*carrier);
            if *id == self.next || goes_on {
                return self.give();
            }
            if !group.is_complete() {
                return false;
            }
            if group.has_lost {
                self.steps.push_back(Step::Gap);
            }
            return self.give();
        }
        let following = self.groups.range(current.saturating_add(1)..).next();
        let Some(following) = following.map(|(id, _)| *id) else {
            return false;
        };
        let is_next = following == current.saturating_add(1) || self.skips_numbers;
        if !is_next || !(group.is_over() || self.leaves_open) {
            return false;
        }
        self.counts |= following == current.saturating_add(1);
        self.leave(following)
    }

    /// Finds the beginning of the upload.
    fn begin(&mut self) -> bool {
        let begins = |group: &Group| {
            let first = group.held.first_key_value();
            first.is_some_and(|(_, (_, payload))| shape::begins_file(payload))
        };
        let Some(id) = self
            .groups
            .iter()
            .find(|(_, group)| begins(group))
            .map(|(id, _)| *id)
        else {
            return false;
        };
        self.enter(id);
        true
    }

    /// Goes on without what is missing; `false` when nothing is held.
    fn skip(&mut self) -> bool {
        let Some(current) = self.current else {
            let first = self.groups.keys().next().copied();
            first.inspect(|id| self.enter(*id));
            return first.is_some();
        };
        let Some(group) = self.groups.get(&current) else {
            return false;
        };
        if !group.held.is_empty() {
            self.steps.push_back(Step::Gap);
            return self.give();
        }
        let (is_over, following) = (
            group.is_over(),
            self.groups.range(current.saturating_add(1)..).next(),
        );
        let Some(following) = following.map(|(id, _)| *id) else {
            return false;
        };
        if is_over && !self.counts {
            // Nothing came between, so this publisher's numbers do not follow each other.
            self.skips_numbers = true;
        } else if is_over {
            if let Some(group) = self.groups.get_mut(&current) {
                // What came between is lost, and with it what follows.
                group.has_lost = true;
            }
        } else if let Some(group) = self.groups.get_mut(&current) {
            group.has_lost = true;
            self.leaves_open = true;
        }
        self.leave(following)
    }

    fn leave(&mut self, following: u64) -> bool {
        let left = self
            .current
            .and_then(|current| self.groups.remove(&current));
        if left.is_some_and(|group| group.has_lost) {
            self.steps.push_back(Step::Gap);
        }
        self.enter(following);
        true
    }

    fn enter(&mut self, group: u64) {
        let rest = self.groups.split_off(&group);
        for dropped in std::mem::replace(&mut self.groups, rest).into_values() {
            self.objects = self.objects.saturating_sub(dropped.held.len());
            let bytes: usize = dropped
                .held
                .values()
                .map(|(_, payload)| payload.len())
                .sum();
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        self.current = Some(group);
        self.next = 0;
        self.last_carrier = None;
    }

    /// Gives the first held object of the group at hand.
    fn give(&mut self) -> bool {
        let group = self
            .current
            .and_then(|current| self.groups.get_mut(&current));
        let Some((id, (carrier, payload))) = group.and_then(|group| group.held.pop_first()) else {
            return false;
        };
        self.objects = self.objects.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(payload.len());
        self.next = id.saturating_add(1);
        self.last_carrier = Some(carrier);
        self.steps.push_back(Step::Object(payload));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    const FILE: &str = "\0\0\0\x18ftyp";

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn arrival(group: u64, subgroup: u64, object: u64, text: &str) -> Arrival {
        Arrival {
            group,
            object,
            subgroup: Some(subgroup),
            ends_group: false,
            payload: Some(Bytes::copy_from_slice(text.as_bytes()).into()),
        }
    }

    /// What came out: payloads, and `!` for a gap.
    fn out(order: &mut Order) -> String {
        let mut out = String::new();
        while let Some(step) = order.poll() {
            match step {
                Step::Gap => out.push('!'),
                Step::Object(payload) => {
                    let bytes = payload.to_bytes();
                    let is_file = &bytes[..] == FILE.as_bytes();
                    out.push_str(if is_file {
                        "F"
                    } else {
                        std::str::from_utf8(&bytes).unwrap()
                    });
                }
            }
        }
        out
    }

    /// Writes `F`, `b`, `c` ... as a publisher does that puts each where `place` says.
    fn written(count: u64, place: impl Fn(u64) -> (u64, u64, u64)) -> Vec<Arrival> {
        let text = |index: u64| match index {
            0 => FILE.to_owned(),
            _ => char::from(b'a' + u8::try_from(index % 26).unwrap()).to_string(),
        };
        let arrive = |index| {
            let (group, subgroup, object) = place(index);
            arrival(group, subgroup, object, &text(index))
        };
        (0..count).map(arrive).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_order_of_arrival_gives_the_order_of_the_upload(
            keys in prop::collection::vec(any::<u32>(), 20),
            count in 1u64..20,
            is_grouped in any::<bool>(),
        ) {
            let arrivals = written(count, |index| {
                if is_grouped {
                    (7 + index, 0, 0)
                } else {
                    (7, index, index)
                }
            });
            let mut expected = Order::new(Limits::default());
            for arrival in &arrivals {
                expected.push(at(0), arrival.clone());
            }
            let mut order = Order::new(Limits::default());
            let mut shuffled: Vec<_> = keys.iter().zip(&arrivals).collect();
            shuffled.sort_by_key(|(key, _)| **key);
            for (_, arrival) in shuffled {
                order.push(at(1), arrival.clone());
                order.end(at(1), arrival.group, arrival.subgroup.unwrap(), true);
                // Late ends change nothing, nor does what came already.
                order.push(at(1), arrival.clone());
            }
            let seen = out(&mut order);
            if is_grouped {
                // A group is left at its end: neighbours may only be late, not left out.
                prop_assert_eq!(seen.len() as u64, count);
            }
            prop_assert!(!seen.contains('!'));
            expected.finish();
            prop_assert_eq!(seen, out(&mut expected).replace('!', ""));
        }
    }

    #[test]
    fn missing_group_is_awaited_and_then_a_gap() {
        let mut order = Order::new(Limits::default());
        for arrival in written(5, |index| (index, 0, 0)) {
            if arrival.group != 3 {
                order.push(at(0), arrival.clone());
                order.end(at(0), arrival.group, 0, true);
            }
        }
        assert_eq!(out(&mut order), "Fbc");
        order.handle_timeout(at(999));
        assert_eq!(out(&mut order), "");
        assert_eq!(order.next_timeout(), Some(at(1000)));
        order.handle_timeout(at(1000));
        assert_eq!(out(&mut order), "!e");
        assert_eq!(order.next_timeout(), None);
    }

    #[test]
    fn publisher_that_skips_numbers_is_awaited_once() {
        let mut order = Order::new(Limits::default());
        let mut seen = Vec::new();
        for (index, arrival) in written(5, |index| (index * 10, 0, 0))
            .into_iter()
            .enumerate()
        {
            let now = at(index as u64 * 2000);
            order.push(now, arrival.clone());
            order.end(now, arrival.group, 0, true);
            let at_once = out(&mut order);
            order.handle_timeout(now + Duration::from_secs(1));
            seen.push(format!("{at_once}/{}", out(&mut order)));
        }
        assert_eq!(seen, ["F/", "/b", "c/", "d/", "e/"]);
    }

    #[test]
    fn publisher_that_leaves_streams_open_is_awaited_once() {
        let mut order = Order::new(Limits::default());
        let mut seen = Vec::new();
        for (index, arrival) in written(5, |index| (index, 0, 0)).into_iter().enumerate() {
            let now = at(index as u64 * 2000);
            order.push(now, arrival);
            let at_once = out(&mut order);
            order.handle_timeout(now + Duration::from_secs(1));
            seen.push(format!("{at_once}/{}", out(&mut order)));
        }
        assert_eq!(seen, ["F/", "/!b", "c/", "d/", "e/"]);
        // Its trust ends when one was left too early.
        order.push(at(9000), arrival(3, 0, 1, "late"));
        assert_eq!(out(&mut order), "!");
    }

    #[test]
    fn stream_that_is_reset_leaves_a_gap_before_the_next_group() {
        let mut order = Order::new(Limits::default());
        order.push(at(0), arrival(1, 0, 0, FILE));
        order.end(at(0), 1, 0, false);
        order.push(at(0), arrival(2, 0, 0, "b"));
        assert_eq!(out(&mut order), "F!b");
    }

    #[test]
    fn what_waits_is_bounded() {
        let limits = Limits {
            objects_max: 3,
            bytes_max: 10,
            ..Limits::default()
        };
        let mut order = Order::new(limits);
        order.push(at(0), arrival(0, 0, 0, FILE));
        for group in 2..6 {
            order.push(at(0), arrival(group, 0, 0, "x"));
            order.end(at(0), group, 0, true);
        }
        assert_eq!(
            out(&mut order),
            "F!xxxx",
            "three may wait, the fourth ends the patience"
        );
        order.push(at(0), arrival(9, 0, 0, "far too long"));
        assert_eq!(out(&mut order), "!far too long");
        // Groups that only say that they are over are bounded as well.
        for group in 0..1000 {
            order.push(
                at(0),
                Arrival {
                    payload: None,
                    ends_group: true,
                    ..arrival(20 + 2 * group, 0, 0, "")
                },
            );
        }
        assert!(order.groups.len() <= limits.objects_max + 1);
    }

    #[test]
    fn upload_without_a_beginning_is_given_after_the_wait() {
        let mut order = Order::new(Limits::default());
        order.push(at(0), arrival(4, 0, 0, "moof"));
        assert_eq!(out(&mut order), "");
        order.handle_timeout(at(1000));
        assert_eq!(out(&mut order), "moof");
        let mut order = Order::new(Limits::default());
        order.push(at(0), arrival(4, 0, 3, "c"));
        order.finish();
        assert_eq!(out(&mut order), "!c");
    }
}
