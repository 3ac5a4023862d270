//! [`Scoreboard`]: what has arrived of a test track, against what should have.
//!
//! It names each deviation in words and keeps the first of them. What it checks: exactly the
//! expected objects, each once, with payload, status, subgroup, priority and the types of its
//! properties; on each stream ascending; each stream begun also ended, by FIN. What it does not: the
//! values of properties, which are arbitrary, properties that a relay added, which it may, and the
//! order among streams, which is the network's.
//!
//! Limits: [`Limits::objects_max`] objects are remembered; what comes after that is a deviation.

use super::{FILL, Limits, PRIORITY, Plan, TestTrack};
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::filter::LocationRange;
use crate::moqt::name::Location;
use crate::moqt::object::{Object, ObjectStatus};
use crate::transport::StreamId;

/// Deviations that are kept in words.
const KEPT: usize = 16;

/// The outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Objects that arrived as they should, markers included.
    pub objects: u64,
    /// Streams that ended with a FIN.
    pub streams: u64,
    /// Objects that did not come.
    pub missing: u64,
    /// All deviations.
    pub problems_count: u64,
    /// The first of them, in words.
    pub problems: Vec<String>,
}

impl Report {
    /// Whether everything was as it should be.
    pub fn is_clean(&self) -> bool {
        self.problems_count == 0
    }
}

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Scoreboard {
    track: TestTrack,
    range: LocationRange,
    limits: Limits,
    seen: BTreeSet<Location>,
    /// The newest object of each open stream.
    streams: BTreeMap<StreamId, u64>,
    report: Report,
    may_lose: bool,
}

impl Scoreboard {
    /// Expects what is within `range`.
    pub fn new(track: TestTrack, range: LocationRange, limits: Limits) -> Self {
        Self {
            track,
            range,
            limits,
            seen: BTreeSet::new(),
            streams: BTreeMap::new(),
            report: Report::default(),
            may_lose: false,
        }
    }

    /// Forgives objects that do not come: datagrams on a real network.
    #[must_use]
    pub fn may_lose(mut self) -> Self {
        self.may_lose = true;
        self
    }

    /// How many different objects have come.
    pub fn seen(&self) -> usize {
        self.seen.len()
    }

    /// An object arrived, on this stream or in a datagram.
    pub fn add(&mut self, stream: Option<StreamId>, object: &Object) {
        let at = Location::new(object.group, object.object);
        if let Some(stream) = stream
            && let Some(before) = self.streams.insert(stream, object.object)
            && before >= object.object
        {
            self.problem(format!(
                "{} came after object {before} on its stream",
                name(at)
            ));
        }
        self.place(at, stream.is_some(), object);
    }

    /// An object arrived on the stream of a fetch, which all groups share.
    pub fn add_fetched(&mut self, object: &Object) {
        let at = Location::new(object.group, object.object);
        let is_datagram = self.track.subgroup_of(object.object).is_none();
        self.place(at, !is_datagram, object);
    }

    fn place(&mut self, at: Location, on_stream: bool, object: &Object) {
        // A publisher or relay may say where the track ends.
        let last = Location::new(self.track.final_group(), self.track.final_object());
        if object.status == ObjectStatus::EndOfTrack && at > last {
            return;
        }
        if !self.track.has(at.group, at.object) || !self.range.contains(at) {
            return self.problem(format!("{} was not expected", name(at)));
        }
        if self.seen.contains(&at) {
            return self.problem(format!("{} came twice", name(at)));
        }
        if self.seen.len() as u64 >= self.limits.objects_max {
            return self.problem(format!("{} is one more than can be checked", name(at)));
        }
        self.seen.insert(at);
        match self.deviation(on_stream, object) {
            Some(what) => self.problem(format!("{} {what}", name(at))),
            None => self.report.objects += 1,
        }
    }

    /// A stream of the track ended; `by_fin` when it was not reset.
    pub fn end_stream(&mut self, stream: StreamId, by_fin: bool) {
        self.streams.remove(&stream);
        if by_fin {
            self.report.streams += 1;
        } else {
            self.problem("a stream was reset".to_owned());
        }
    }

    /// Whether every object has come and every stream has ended.
    pub fn is_complete(&self) -> bool {
        self.streams.is_empty() && self.expected().all(|at| self.seen.contains(&at))
    }

    /// The outcome, when nothing more will come.
    pub fn finish(mut self) -> Report {
        let missing: Vec<Location> = self
            .expected()
            .filter(|at| !self.seen.contains(at))
            .collect();
        self.report.missing = missing.len() as u64;
        if !self.may_lose {
            for at in missing {
                self.problem(format!("{} did not come", name(at)));
            }
        }
        for (_, last) in std::mem::take(&mut self.streams) {
            self.problem(format!("a stream did not end after object {last}"));
        }
        self.report
    }

    fn expected(&self) -> impl Iterator<Item = Location> {
        let limit = usize::try_from(self.limits.objects_max).unwrap_or(usize::MAX);
        Plan::new(self.track.clone(), self.range)
            .take(limit)
            .map(|step| Location::new(step.object.group, step.object.object))
    }

    fn deviation(&self, on_stream: bool, object: &Object) -> Option<String> {
        let track = &self.track;
        let is_marker = track.is_marker(object.object);
        let status = if is_marker {
            ObjectStatus::EndOfGroup
        } else {
            ObjectStatus::Normal
        };
        if object.status != status {
            return Some(format!("has status {:?}, not {status:?}", object.status));
        }
        let subgroup = track.subgroup_of(object.object);
        if on_stream != subgroup.is_some() {
            let how = if on_stream { "stream" } else { "datagram" };
            return Some(format!("came on a {how}"));
        }
        if on_stream && object.subgroup != subgroup {
            return Some(format!(
                "is in subgroup {:?}, not {subgroup:?}",
                object.subgroup
            ));
        }
        // Without one of its own an object has the track's priority, which is the same.
        if object.priority.is_some_and(|priority| priority != PRIORITY) {
            return Some(format!(
                "has priority {:?}, not {PRIORITY}",
                object.priority
            ));
        }
        if is_marker {
            return None;
        }
        let bytes = track.bytes_of(object.object);
        if object.payload.len() as u64 != bytes {
            let found = object.payload.len();
            return Some(format!("has {found} bytes, not {bytes}"));
        }
        if !object
            .payload
            .pieces()
            .iter()
            .flatten()
            .all(|byte| *byte == FILL)
        {
            return Some("has other bytes than were sent".to_owned());
        }
        let mut lacking = track
            .extension_types()
            .filter(|key| !object.properties.iter().flatten().any(|p| p.key == *key));
        lacking
            .next()
            .map(|key| format!("lacks property 0x{key:x}"))
    }

    fn problem(&mut self, what: String) {
        self.report.problems_count += 1;
        if self.report.problems.len() < KEPT {
            self.report.problems.push(what);
        }
    }
}

fn name(at: Location) -> String {
    format!("object {}.{}", at.group, at.object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{Direction, Origin};

    const ALL: LocationRange = LocationRange {
        start: Location::ZERO,
        end: None,
    };

    fn board(text: &str) -> (Scoreboard, Vec<Object>) {
        let limits = Limits::default();
        let track = TestTrack::from_text(text, &limits).unwrap();
        let objects = Plan::whole(track.clone()).map(|step| step.object).collect();
        (Scoreboard::new(track, ALL, limits), objects)
    }

    fn stream(index: u64) -> StreamId {
        StreamId::new(Origin::Peer, Direction::Unidirectional, index)
    }

    const TEXT: &str = "moq-test-00/0/0/0/1/3/3/5/2/1/1/1/1/1/-1/0";

    #[test]
    fn what_the_plan_says_is_clean_for_every_forwarding() {
        for forwarding in 0..4 {
            let text = TEXT.replacen("/0/", &format!("/{forwarding}/"), 1);
            let (mut board, objects) = board(&text);
            for object in &objects {
                let index = object.group * 100 + object.subgroup.unwrap_or(0);
                board.add(object.subgroup.map(|_| stream(index)), object);
            }
            for index in [0, 1, 2, 3, 100, 101, 102, 103] {
                if board.streams.contains_key(&stream(index)) {
                    board.end_stream(stream(index), true);
                }
            }
            assert!(board.is_complete());
            let report = board.finish();
            assert!(report.is_clean(), "{forwarding}: {:?}", report.problems);
            assert_eq!((report.objects, report.missing), (8, 0));
        }
    }

    #[test]
    fn every_kind_of_deviation_is_named() {
        let first = |change: fn(&mut Object)| {
            let (mut board, objects) = board(TEXT);
            let mut object = objects[1].clone();
            change(&mut object);
            board.add(Some(stream(0)), &object);
            board.finish().problems.swap_remove(0)
        };
        assert_eq!(first(|o| o.group = 7), "object 7.1 was not expected");
        assert_eq!(
            first(|o| o.payload = bytes::Bytes::from_static(b"t").into()),
            "object 0.1 has 1 bytes, not 2"
        );
        assert_eq!(
            first(|o| o.payload = bytes::Bytes::from_static(b"ts").into()),
            "object 0.1 has other bytes than were sent"
        );
        assert_eq!(
            first(|o| o.properties = crate::moqt::property::Properties::EMPTY),
            "object 0.1 lacks property 0x2"
        );
        assert_eq!(
            first(|o| o.priority = Some(1)),
            "object 0.1 has priority Some(1), not 128"
        );
        assert_eq!(
            first(|o| o.subgroup = Some(4)),
            "object 0.1 is in subgroup Some(4), not Some(0)"
        );
        assert_eq!(
            first(|o| o.status = ObjectStatus::EndOfGroup),
            "object 0.1 has status EndOfGroup, not Normal"
        );
    }

    #[test]
    fn missing_doubled_and_disordered_objects_and_open_streams_are_named() {
        let (mut board, objects) = board(TEXT);
        board.add(Some(stream(0)), &objects[1]);
        board.add(Some(stream(0)), &objects[0]);
        board.add(Some(stream(1)), &objects[0]);
        board.end_stream(stream(1), false);
        assert!(!board.is_complete());
        let report = board.finish();
        let said = report.problems.join("; ");
        for part in [
            "object 0.0 came after object 1 on its stream",
            "object 0.0 came twice",
            "a stream was reset",
            "object 1.3 did not come",
            "a stream did not end after object 0",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(report.missing, 6);
    }
}
