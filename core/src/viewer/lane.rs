//! One track's chunks, put back into the order of their groups.
//!
//! Groups travel on streams of their own, so the first chunk of a group may overtake the last of the
//! group before. A lane holds the newer group back until the older one has ended, or for at most
//! `patience`: what comes later than that is lost.
//!
//! | the current group | a chunk of it | a chunk of the next one | the end of it |
//! |---|---|---|---|
//! | runs | goes out | is held | lets the next one go out |
//! | has ended | is stray | goes out, and becomes current | - |

use super::Chunk;
use crate::moqt::name::Location;
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What comes out of a lane.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Out {
    Chunk(Chunk),
    /// Chunks of the track are missing before the next one.
    Gap,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Lane {
    patience: Duration,
    /// Chunks that may be held; more end the wait.
    held_max: usize,
    current: Option<u64>,
    /// The newest object of the current group that went out.
    last: Option<u64>,
    current_ended: bool,
    held: BTreeMap<u64, VecDeque<Chunk>>,
    held_len: usize,
    ended: BTreeSet<u64>,
    deadline: Option<Instant>,
    out: VecDeque<Out>,
}

impl Lane {
    pub(super) fn new(patience: Duration, held_max: usize) -> Self {
        Self {
            patience,
            held_max,
            current: None,
            last: None,
            current_ended: false,
            held: BTreeMap::new(),
            held_len: 0,
            ended: BTreeSet::new(),
            deadline: None,
            out: VecDeque::new(),
        }
    }

    pub(super) fn chunk(&mut self, now: Instant, chunk: Chunk) {
        match self.current {
            None => {
                self.current = Some(chunk.group);
                self.last = Some(chunk.object);
                self.out.push_back(Out::Chunk(chunk));
            }
            // Known already: during a move both relays send it.
            Some(current)
                if chunk.group == current && self.last.is_some_and(|last| chunk.object <= last) => {
            }
            Some(current) if chunk.group == current => {
                self.last = Some(chunk.object);
                self.out.push_back(Out::Chunk(chunk));
            }
            // Given up already, and told as a gap.
            Some(current) if chunk.group < current => {}
            Some(_) => {
                let held = self.held.entry(chunk.group).or_default();
                if held.back().is_some_and(|last| chunk.object <= last.object) {
                    return;
                }
                self.held_len += 1;
                held.push_back(chunk);
                self.deadline.get_or_insert(now + self.patience);
                if self.held_len > self.held_max {
                    self.give_up();
                }
                self.advance(now);
            }
        }
    }

    /// A group's stream ended. An abandoned one has lost chunks.
    pub(super) fn ended(&mut self, now: Instant, group: u64, is_complete: bool) {
        if self.current.is_none_or(|current| group > current) {
            self.ended.insert(group);
            if !is_complete {
                self.out.push_back(Out::Gap);
            }
        } else if self.current == Some(group) {
            self.current_ended = true;
            if !is_complete {
                self.out.push_back(Out::Gap);
            }
        }
        self.advance(now);
    }

    /// The place after what went out: where another relay has to go on. `None` before anything did.
    pub(super) fn resume_at(&self) -> Option<Location> {
        let next = self.last.map_or(0, |last| last.saturating_add(1));
        Some(Location::new(self.current?, next))
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.give_up();
            self.advance(now);
        }
    }

    pub(super) fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// The wait is over: the oldest held group becomes current.
    fn give_up(&mut self) {
        self.deadline = None;
        if let Some(group) = self.held.keys().next().copied() {
            self.out.push_back(Out::Gap);
            self.begin(group);
        }
    }

    /// Goes on to the groups whose turn has come.
    fn advance(&mut self, now: Instant) {
        while self.current_ended {
            let Some(current) = self.current else { return };
            let Some(group) = self.held.keys().next().copied() else {
                break;
            };
            if group > current + 1 && !self.ended.contains(&(current + 1)) {
                break;
            }
            self.begin(group);
        }
        if self.held.is_empty() {
            self.deadline = None;
        } else {
            self.deadline.get_or_insert(now + self.patience);
        }
    }

    fn begin(&mut self, group: u64) {
        let chunks = self.held.remove(&group).unwrap_or_default();
        self.held_len -= chunks.len();
        self.last = chunks.back().map(|chunk| chunk.object);
        self.out.extend(chunks.into_iter().map(Out::Chunk));
        self.current = Some(group);
        self.current_ended = self.ended.contains(&group);
        self.ended = self.ended.split_off(&group);
        self.deadline = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    fn chunk(group: u64, object: u64) -> Chunk {
        Chunk {
            track: "video".to_owned(),
            group,
            object,
            payload: Payload::default(),
        }
    }

    /// What came out: `group.object`, and `!` for a gap.
    fn drain(lane: &mut Lane) -> String {
        std::iter::from_fn(|| lane.poll())
            .map(|out| match out {
                Out::Chunk(chunk) => format!("{}.{} ", chunk.group, chunk.object),
                Out::Gap => "! ".to_owned(),
            })
            .collect()
    }

    fn lane() -> Lane {
        Lane::new(Duration::from_millis(500), 100)
    }

    const NOW: Instant = Instant::from_nanos(1);

    #[test]
    fn newer_group_waits_for_the_end_of_the_older() {
        let mut lane = lane();
        lane.chunk(NOW, chunk(7, 0));
        lane.chunk(NOW, chunk(8, 0));
        lane.chunk(NOW, chunk(7, 1));
        assert_eq!(drain(&mut lane), "7.0 7.1 ");
        lane.ended(NOW, 7, true);
        lane.chunk(NOW, chunk(8, 1));
        assert_eq!(drain(&mut lane), "8.0 8.1 ");
        assert_eq!(lane.next_timeout(), None);
    }

    #[test]
    fn group_whose_end_came_first_passes_at_once() {
        let mut lane = lane();
        lane.chunk(NOW, chunk(1, 0));
        lane.chunk(NOW, chunk(2, 0));
        lane.ended(NOW, 2, true);
        lane.chunk(NOW, chunk(3, 0));
        lane.ended(NOW, 1, true);
        assert_eq!(drain(&mut lane), "1.0 2.0 3.0 ");
    }

    #[test]
    fn lost_tail_is_a_gap_after_the_patience() {
        let mut lane = lane();
        lane.chunk(NOW, chunk(1, 0));
        lane.chunk(NOW, chunk(2, 0));
        let deadline = lane.next_timeout().unwrap();
        lane.handle_timeout(deadline);
        assert_eq!(drain(&mut lane), "1.0 ! 2.0 ");
        lane.chunk(deadline, chunk(1, 1));
        assert_eq!(drain(&mut lane), "");
    }

    #[test]
    fn missing_group_is_waited_for() {
        let mut lane = lane();
        lane.chunk(NOW, chunk(1, 0));
        lane.ended(NOW, 1, true);
        lane.chunk(NOW, chunk(3, 0));
        assert_eq!(drain(&mut lane), "1.0 ");
        lane.chunk(NOW, chunk(2, 0));
        lane.ended(NOW, 2, true);
        assert_eq!(drain(&mut lane), "2.0 3.0 ");
    }

    #[test]
    fn abandoned_group_is_a_gap_and_holds_are_bounded() {
        let mut lane = Lane::new(Duration::from_secs(1), 2);
        lane.chunk(NOW, chunk(1, 0));
        lane.ended(NOW, 1, false);
        lane.chunk(NOW, chunk(2, 0));
        assert_eq!(drain(&mut lane), "1.0 ! 2.0 ");
        for object in 0..3 {
            lane.chunk(NOW, chunk(3, object));
        }
        assert_eq!(drain(&mut lane), "! 3.0 3.1 3.2 ");
    }
}
