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
//!
//! A lane outlives its session. In the next one it goes on behind the last chunk that went out:
//!
//! | state | chunks that come | left by |
//! |---|---|---|
//! | `Playing` | as above | [`Lane::cut`], then [`Lane::resume`] |
//! | `Resuming` | go out when nothing is missing before them, else are held | nothing is held any more; or `patience`: what is missing is asked for |
//! | `Filling` | are held; what was asked for goes out | [`Lane::end_fill`], or [`FILL_PATIENCE`]: what did not come is a gap |

use super::Chunk;
use crate::map::BTreeMap;
use crate::moqt::name::Location;
use crate::moqt::track::span::Span;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// How long what is missing may take to come after it was asked for.
const FILL_PATIENCE: Duration = Duration::from_secs(3);

/// What comes out of a lane.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Out {
    Chunk(Chunk),
    /// Chunks of the track are missing before the next one.
    Gap,
    /// Ask for these: the lane waits for them, and for [`Lane::end_fill`].
    Missing(Span),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Playing,
    Resuming {
        /// Whether the track may have begun anew, with smaller numbers.
        is_anew: bool,
    },
    /// These are asked for; whether any came.
    Filling(Span, bool),
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Lane {
    patience: Duration,
    /// Chunks that may be held; more end the wait.
    held_max: usize,
    state: State,
    current: Option<u64>,
    /// The newest object of the current group that went out.
    last: Option<u64>,
    current_ended: bool,
    held: BTreeMap<u64, BTreeMap<u64, Chunk>>,
    held_len: usize,
    /// Newer groups whose stream ended, and whether it ended well.
    ended: BTreeMap<u64, bool>,
    /// The current group's stream was cut: what comes next has a gap before it, unless it goes on.
    is_cut: bool,
    /// Groups below it are not waited for: what can be had of them is here.
    settled: u64,
    deadline: Option<Instant>,
    out: VecDeque<Out>,
}

impl Lane {
    pub(super) fn new(patience: Duration, held_max: usize) -> Self {
        Self {
            patience,
            held_max,
            state: State::Playing,
            current: None,
            last: None,
            current_ended: false,
            held: BTreeMap::new(),
            held_len: 0,
            ended: BTreeMap::new(),
            is_cut: false,
            settled: 0,
            deadline: None,
            out: VecDeque::new(),
        }
    }

    pub(super) fn chunk(&mut self, now: Instant, chunk: Chunk) {
        let Some(current) = self.current else {
            self.send(chunk);
            return;
        };
        let is_anew = self.state == (State::Resuming { is_anew: true });
        if is_anew && chunk.group.saturating_add(1) < current {
            self.begin_anew();
            self.send(chunk);
        } else if chunk.group < current
            || (chunk.group == current && self.last.is_some_and(|last| chunk.object <= last))
        {
            // Given up already and told as a gap, or known: two relays send it during a move, and
            // the next one repeats it after a loss.
        } else if chunk.group == current && self.goes_on(chunk.object) {
            self.send(chunk);
            self.send_held(current);
            self.advance(now);
        } else {
            self.hold(now, chunk);
        }
    }

    /// A chunk that was asked for by [`Out::Missing`]. They come in order.
    pub(super) fn fetched(&mut self, chunk: Chunk) {
        let State::Filling(span, _) = self.state else {
            return;
        };
        let place = Location::new(chunk.group, chunk.object);
        if span.contains(place) && self.next().is_none_or(|next| place >= next) {
            self.state = State::Filling(span, true);
            self.send(chunk);
        }
    }

    /// Nothing more comes of what was asked for. When that was not all, there is a gap. So there is
    /// when nothing came where whole groups are missing, or the end of one that was cut: a publisher
    /// that began anew knows nothing of what another one had.
    pub(super) fn end_fill(&mut self, now: Instant, is_whole: bool) {
        let State::Filling(span, has_come) = self.state else {
            return;
        };
        let is_much = self.is_cut || span.start.group < span.end.group;
        let is_whole = is_whole && (has_come || !is_much);
        self.state = State::Resuming { is_anew: false };
        self.deadline = None;
        self.is_cut = false;
        if !is_whole {
            self.tell_gap();
        }
        let to_the_end = span.end.object == u64::MAX;
        self.settled = span.end.group.saturating_add(u64::from(to_the_end));
        match self.current {
            Some(current) if current < self.settled => self.current_ended = true,
            Some(current) if self.held.contains_key(&current) => self.begin(current),
            Some(_) | None => {}
        }
        self.advance(now);
        // More may be missing between what is held.
        self.ask(now);
    }

    /// Whether what was asked for is still waited for.
    pub(super) fn is_filling(&self) -> bool {
        matches!(self.state, State::Filling(..))
    }

    /// The session is lost: nothing is waited for until there is another one.
    pub(super) fn cut(&mut self) {
        self.state = State::Playing;
        self.deadline = None;
    }

    /// The track is over, at least for now. Returns whether its end is missing.
    pub(super) fn end(&mut self) -> bool {
        self.cut();
        std::mem::take(&mut self.is_cut)
    }

    /// Another session is asked to go on from where this returns: the last chunk that went out, so
    /// that the end of its group is told as well. `None` when nothing did.
    pub(super) fn resume(&mut self) -> Option<Location> {
        let from = Location::new(self.current?, self.last.unwrap_or(0));
        self.current_ended &= !self.is_cut;
        self.state = State::Resuming { is_anew: false };
        Some(from)
    }

    /// The track seems to have begun anew, with smaller numbers.
    pub(super) fn allow_anew(&mut self) {
        self.state = State::Resuming { is_anew: true };
    }

    /// Whether the lane looks for where it left off, by the numbers that the track had.
    pub(super) fn is_resuming_by_number(&self) -> bool {
        self.state == (State::Resuming { is_anew: false })
    }

    /// Whether the lane looks for where it left off.
    fn is_resuming(&self) -> bool {
        matches!(self.state, State::Resuming { .. })
    }

    /// A group's stream ended. An abandoned one has lost chunks, which is told when the next ones
    /// come.
    pub(super) fn ended(&mut self, now: Instant, group: u64, is_complete: bool) {
        if self.current.is_none_or(|current| group > current) {
            self.ended.insert(group, is_complete);
        } else if self.current == Some(group) {
            self.current_ended = true;
            self.is_cut = !is_complete;
        }
        self.advance(now);
    }

    /// The place after what went out: where another relay has to go on. `None` before anything did.
    pub(super) fn resume_at(&self) -> Option<Location> {
        let next = self.last.map_or(0, |last| last.saturating_add(1));
        Some(Location::new(self.current?, next))
    }

    /// Whether nothing more comes of what stands before a group.
    pub(super) fn is_done_before(&self, group: u64) -> bool {
        self.next().is_some_and(|next| next.group >= group)
            && self.held.range(..group).next().is_none()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        match self.state {
            State::Playing => {
                self.give_up();
                self.advance(now);
            }
            State::Resuming { .. } => self.ask(now),
            State::Filling(..) => self.end_fill(now, false),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// The first place that is neither out nor known to be of no group.
    fn next(&self) -> Option<Location> {
        match self.resume_at() {
            Some(at) if self.current_ended => Some(Location::new(at.group.saturating_add(1), 0)),
            at => at,
        }
    }

    /// Whether a chunk of the current group may go out.
    fn goes_on(&self, object: u64) -> bool {
        match self.state {
            State::Playing => true,
            State::Resuming { .. } => Some(object) == self.last.map(|last| last.saturating_add(1)),
            State::Filling(..) => false,
        }
    }

    fn tell_gap(&mut self) {
        if self.out.back() != Some(&Out::Gap) {
            self.out.push_back(Out::Gap);
        }
    }

    fn send(&mut self, chunk: Chunk) {
        let is_same = self.current == Some(chunk.group);
        let next = self.last.map_or(0, |last| last.saturating_add(1));
        if std::mem::take(&mut self.is_cut) && !(is_same && chunk.object == next) {
            self.tell_gap();
        }
        self.current_ended &= is_same;
        self.current = Some(chunk.group);
        self.last = Some(chunk.object);
        self.out.push_back(Out::Chunk(chunk));
    }

    /// What is held of the current group and goes on behind what went out.
    fn send_held(&mut self, current: u64) {
        let Some(mut held) = self.held.remove(&current) else {
            return;
        };
        while let Some((object, chunk)) = held.pop_first() {
            if !self.goes_on(object) {
                held.insert(object, chunk);
                self.held.insert(current, held);
                return;
            }
            self.held_len = self.held_len.saturating_sub(1);
            self.send(chunk);
        }
    }

    fn hold(&mut self, now: Instant, chunk: Chunk) {
        let held = self.held.entry(chunk.group).or_default();
        if held.insert(chunk.object, chunk).is_none() {
            self.held_len += 1;
        }
        self.deadline.get_or_insert(now + self.patience);
        if self.held_len > self.held_max {
            match self.state {
                State::Filling(..) => self.end_fill(now, false),
                State::Playing | State::Resuming { .. } => self.give_up(),
            }
        }
        self.advance(now);
    }

    /// Asks for what is missing before the first held chunk.
    fn ask(&mut self, now: Instant) {
        let first = self.held.first_key_value();
        let first = first.and_then(|(group, held)| {
            let object = held.keys().next()?;
            Some(Location::new(*group, *object))
        });
        let (Some(next), Some(first)) = (self.next(), first) else {
            self.deadline = None;
            return;
        };
        let end = match first.object.checked_sub(1) {
            Some(object) => Location::new(first.group, object),
            None => Location::new(first.group.saturating_sub(1), u64::MAX),
        };
        if let Some(span) = Span::new(next, end) {
            self.state = State::Filling(span, false);
            self.deadline = Some(now + FILL_PATIENCE);
            self.out.push_back(Out::Missing(span));
        }
    }

    /// Nothing of what went out has to do with what comes.
    fn begin_anew(&mut self) {
        *self = Self {
            out: std::mem::take(&mut self.out),
            ..Self::new(self.patience, self.held_max)
        };
        self.tell_gap();
    }

    /// The wait is over: the oldest held group becomes current.
    fn give_up(&mut self) {
        self.deadline = None;
        if let Some(group) = self.held.keys().next().copied() {
            self.tell_gap();
            self.begin(group);
        }
    }

    /// Goes on to the groups whose turn has come.
    fn advance(&mut self, now: Instant) {
        if self.is_filling() {
            return;
        }
        while self.current_ended {
            let Some(current) = self.current else { return };
            let Some(group) = self.held.keys().next().copied() else {
                break;
            };
            let is_next = group == current.saturating_add(1);
            let is_known =
                self.ended.contains_key(&current.saturating_add(1)) || group <= self.settled;
            if group == current || !(is_next || is_known) || !self.is_whole_so_far(group) {
                break;
            }
            self.begin(group);
        }
        if self.held.is_empty() {
            self.deadline = None;
            let is_found = self.out.iter().any(|out| matches!(out, Out::Chunk(_)));
            if self.is_resuming() && is_found {
                self.state = State::Playing;
            }
        } else {
            self.deadline.get_or_insert(now + self.patience);
        }
    }

    /// While a lane looks for where it left off, a group begins with its first object.
    fn is_whole_so_far(&self, group: u64) -> bool {
        let first = self.held.get(&group).and_then(|held| held.keys().next());
        !self.is_resuming() || group <= self.settled || first == Some(&0)
    }

    fn begin(&mut self, group: u64) {
        let chunks = self.held.remove(&group).unwrap_or_default();
        self.held_len = self.held_len.saturating_sub(chunks.len());
        let is_same = self.current == Some(group);
        let mut passed = self.ended.range(..group);
        if (self.is_cut && !is_same) || passed.any(|(_, is_complete)| !is_complete) {
            self.tell_gap();
        }
        let before = self.last.filter(|_| is_same);
        self.last = chunks.keys().next_back().copied().or(before);
        self.out.extend(chunks.into_values().map(Out::Chunk));
        self.current = Some(group);
        let ended = self.ended.get(&group).copied();
        self.current_ended = ended.is_some() || (is_same && self.current_ended);
        self.is_cut = ended == Some(false) || (is_same && self.is_cut);
        self.ended = self.ended.split_off(&group.saturating_add(1));
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

    fn place(at: Location) -> String {
        match at.object {
            u64::MAX => format!("{}.*", at.group),
            object => format!("{}.{object}", at.group),
        }
    }

    /// What came out: `group.object`, `!` for a gap, `?` for what is asked for.
    fn drain(lane: &mut Lane) -> String {
        std::iter::from_fn(|| lane.poll())
            .map(|out| match out {
                Out::Chunk(chunk) => format!("{}.{} ", chunk.group, chunk.object),
                Out::Gap => "! ".to_owned(),
                Out::Missing(span) => format!("?{} to {} ", place(span.start), place(span.end)),
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

    /// Two groups went out, the second not to its end; then the session was lost.
    fn lost() -> Lane {
        let mut lane = lane();
        lane.chunk(NOW, chunk(1, 0));
        lane.ended(NOW, 1, true);
        lane.chunk(NOW, chunk(2, 0));
        lane.chunk(NOW, chunk(2, 1));
        drain(&mut lane);
        lane.cut();
        assert_eq!(lane.resume(), Some(Location::new(2, 1)));
        lane
    }

    #[test]
    fn resumed_lane_drops_what_it_knows_and_waits_for_what_is_between() {
        let mut lane = lost();
        lane.chunk(NOW, chunk(3, 0));
        lane.chunk(NOW, chunk(2, 1));
        lane.chunk(NOW, chunk(2, 2));
        assert_eq!(drain(&mut lane), "2.2 ");
        lane.ended(NOW, 2, true);
        assert_eq!(drain(&mut lane), "3.0 ");
        assert_eq!(lane.next_timeout(), None);
    }

    #[test]
    fn resumed_lane_asks_for_what_does_not_come_and_goes_on_behind_it() {
        let mut lane = lost();
        lane.chunk(NOW, chunk(5, 3));
        let deadline = lane.next_timeout().unwrap();
        lane.handle_timeout(deadline);
        assert_eq!(drain(&mut lane), "?2.2 to 5.2 ");
        lane.chunk(deadline, chunk(5, 4));
        for (group, object) in [(2, 2), (3, 0), (4, 0), (5, 2)] {
            lane.fetched(chunk(group, object));
        }
        lane.end_fill(deadline, true);
        assert_eq!(drain(&mut lane), "2.2 3.0 4.0 5.2 5.3 5.4 ");
        lane.fetched(chunk(6, 0));
        lane.chunk(deadline, chunk(5, 5));
        assert_eq!(drain(&mut lane), "5.5 ");
        assert_eq!(lane.next_timeout(), None);
    }

    #[test]
    fn what_nobody_has_is_one_gap() {
        for by_timeout in [false, true] {
            let mut lane = lost();
            lane.chunk(NOW, chunk(9, 0));
            let deadline = lane.next_timeout().unwrap();
            lane.handle_timeout(deadline);
            assert_eq!(drain(&mut lane), "?2.2 to 8.* ");
            if by_timeout {
                let deadline = lane.next_timeout().unwrap();
                lane.handle_timeout(deadline);
            } else {
                lane.end_fill(deadline, false);
            }
            assert_eq!(drain(&mut lane), "! 9.0 ");
        }
    }

    #[test]
    fn what_was_held_before_the_loss_is_not_lost() {
        let mut lane = lane();
        lane.chunk(NOW, chunk(1, 0));
        lane.chunk(NOW, chunk(2, 0));
        lane.cut();
        assert_eq!(lane.next_timeout(), None);
        assert_eq!(lane.resume(), Some(Location::new(1, 0)));
        lane.chunk(NOW, chunk(4, 0));
        let deadline = lane.next_timeout().unwrap();
        lane.handle_timeout(deadline);
        assert_eq!(drain(&mut lane), "1.0 ?1.1 to 1.* ");
        lane.fetched(chunk(1, 1));
        lane.end_fill(deadline, true);
        assert_eq!(drain(&mut lane), "1.1 2.0 ?2.1 to 3.* ");
        lane.end_fill(deadline, false);
        assert_eq!(drain(&mut lane), "! 4.0 ");
    }

    #[test]
    fn track_that_began_anew_is_a_gap_and_goes_on_with_small_numbers() {
        let mut lane = lane();
        lane.chunk(NOW, chunk(70, 0));
        lane.cut();
        lane.resume();
        lane.allow_anew();
        lane.chunk(NOW, chunk(0, 0));
        lane.chunk(NOW, chunk(0, 1));
        assert_eq!(drain(&mut lane), "70.0 ! 0.0 0.1 ");
    }
}
