//! One fetch of ours to a publisher: what it tells about each place, and who waits for it.
//!
//! A fetch stream tells about all places in its order: those that it names as objects exist, those
//! that it passes over do not, and gaps say which. So each item settles everything since the one
//! before it, and the end of the stream everything up to the end that FETCH_OK named.
//!
//! A stream that is reset, a session that is lost and a refusal end the fetch where it is; what it
//! told stays known.

use super::super::{Relay, RequestKey, TrackId};
use super::{FetchId, State};
use crate::map::BTreeSet;
use crate::moqt::error::{RequestCode, StreamCode};
use crate::moqt::filter::{Filter, GroupOrder};
use crate::moqt::message::{FetchOk, RequestError};
use crate::moqt::name::{Location, RequestId};
use crate::moqt::object::{GapKind, Object};
use crate::moqt::session::StreamEnd;
use crate::moqt::track::fetched;
use crate::moqt::track::span::{LAST, Span, after, before};
use crate::time::Instant;
use crate::transport::SessionId;

/// What an object that arrives counts beside its payload.
const OBJECT_BYTES: usize = 128;

/// A fetch of ours.
#[derive(Debug)]
pub(super) struct Asked {
    track: TrackId,
    filter: Filter,
    pub(super) order: GroupOrder,
    /// What was asked for; unknown until the answer when it was relative to the largest object.
    span: Option<Span>,
    /// What the subscribers who wait for the answer asked for, where that differs.
    pub(super) head_filter: Option<Filter>,
    /// The last place told about, in the fetch's order.
    last: Option<Location>,
    /// The last item said that places are unknown.
    is_after_unknown: bool,
    /// The end that FETCH_OK named.
    pub(super) answer: Option<Location>,
    /// Its stream is in, to the end.
    is_finished: bool,
    /// Fetches that it was sent for or that have waited for it.
    pub(super) interested: BTreeSet<FetchId>,
    /// Those that wait for the next item.
    pub(super) parked: BTreeSet<FetchId>,
    /// Those that wait for the answer.
    pub(super) heads: BTreeSet<FetchId>,
    /// Bytes that came since somebody caught up.
    pub(super) ahead_bytes: usize,
}

impl Asked {
    pub(super) fn new(
        track: TrackId,
        filter: Filter,
        order: GroupOrder,
        span: Option<Span>,
    ) -> Self {
        Self {
            track,
            filter,
            order,
            span,
            head_filter: None,
            last: None,
            is_after_unknown: false,
            answer: None,
            is_finished: false,
            interested: BTreeSet::new(),
            parked: BTreeSet::new(),
            heads: BTreeSet::new(),
            ahead_bytes: 0,
        }
    }

    /// Whether a place is still to come.
    pub(super) fn will_tell(&self, place: Location) -> bool {
        let Some(span) = self.span.filter(|span| span.contains(place)) else {
            return false;
        };
        let Some(last) = self.last else {
            return true;
        };
        match self.order {
            GroupOrder::Ascending => place > last,
            GroupOrder::Descending => {
                let of_last = Span::of_group(last.group).intersect(&span);
                place.group < last.group
                    || of_last.is_some_and(|of| of.contains(place) && place > last)
            }
        }
    }

    /// What has been told about, whole groups where groups descend.
    pub(super) fn told(&self) -> Option<Span> {
        let (span, last) = (self.span?, self.last?);
        match self.order {
            GroupOrder::Ascending => Span::new(span.start, last),
            GroupOrder::Descending => {
                Span::new(span.start.max(Location::new(last.group, 0)), span.end)
            }
        }
    }

    /// Whether nothing is left to be told but the end.
    fn has_told_all(&self) -> bool {
        let last_place = self.span.map(|span| match self.order {
            GroupOrder::Ascending => span.end,
            GroupOrder::Descending => span.end.min(Location::new(span.start.group, u64::MAX)),
        });
        self.answer.is_some() && self.last.is_some() && self.last == last_place
    }

    /// The places between the last one told about and this one, this one left out.
    fn up_to(&self, place: Location) -> Vec<Span> {
        let Some(span) = self.span else {
            return Vec::new();
        };
        let until = before(place);
        if self.order == GroupOrder::Ascending {
            let start = self.last.map_or(Some(span.start), after);
            let between = start
                .zip(until)
                .and_then(|(start, end)| Span::new(start, end));
            return between
                .and_then(|between| between.intersect(&span))
                .into_iter()
                .collect();
        }
        let mut between = Vec::new();
        let first_of_group = Location::new(place.group, 0);
        let mut first_in_group = first_of_group;
        match self.last {
            Some(last) if last.group == place.group => {
                first_in_group = after(last).unwrap_or(LAST);
            }
            last => {
                // The rest of the group before, and the groups that were passed over.
                let upper = last.map_or(span.end, |last| Location::new(last.group, u64::MAX));
                let begun = last.and_then(after);
                let lower = after(Location::new(place.group, u64::MAX));
                let rest = begun.and_then(|begun| Span::new(begun, upper));
                between.extend(rest);
                let below = match last {
                    Some(last) => before(Location::new(last.group, 0)),
                    None => Some(span.end),
                };
                between.extend(
                    lower
                        .zip(below)
                        .and_then(|(low, high)| Span::new(low, high)),
                );
            }
        }
        between.extend(until.and_then(|until| Span::new(first_in_group, until)));
        between
            .iter()
            .filter_map(|part| part.intersect(&span))
            .collect()
    }

    /// What the end of the stream leaves without objects.
    fn rest(&self) -> Vec<Span> {
        let Some(span) = self.span else {
            return Vec::new();
        };
        match (self.order, self.last) {
            (_, None) => vec![span],
            (GroupOrder::Ascending, Some(last)) => {
                let rest = after(last).and_then(|start| Span::new(start, span.end));
                rest.into_iter().collect()
            }
            // Who descends may mean by a gap at the end everything below it.
            (GroupOrder::Descending, Some(_)) if self.is_after_unknown => Vec::new(),
            (GroupOrder::Descending, Some(last)) => {
                let upper = Location::new(last.group, u64::MAX);
                let of_group = after(last).and_then(|start| Span::new(start, upper));
                let lower = before(Location::new(last.group, 0));
                let below = lower.and_then(|end| Span::new(span.start, end));
                let parts = of_group.into_iter().chain(below);
                parts.filter_map(|part| part.intersect(&span)).collect()
            }
        }
    }
}

impl Relay {
    /// A publisher agreed to a fetch of ours.
    pub(in crate::moqt::relay) fn take_fetch_ok(
        &mut self,
        now: Instant,
        key: RequestKey,
        answer: &FetchOk,
    ) {
        let end = fetched::end_of(answer);
        let Some(asked) = self.fetches.asked.get_mut(&key) else {
            return;
        };
        asked.answer = Some(end);
        let filter = asked.filter;
        asked.span = match asked.span {
            Some(span) => Span::new(span.start, span.end.min(end)),
            None => fetched::span_of(Some(filter), Some(end)),
        };
        let (track, heads) = (asked.track, std::mem::take(&mut asked.heads));
        let is_finished = asked.is_finished;
        if let Some(entry) = self.entries.get_mut(&track) {
            // A whole group says nothing about where it ends.
            if end.object != u64::MAX {
                entry.track.observe_largest(end);
            }
            if !entry.is_fed() {
                entry.track.set_properties(answer.properties.clone());
            }
            if let (true, Some(start)) = (answer.end_of_track, after(end)) {
                entry.track.learn_absent(Span { start, end: LAST });
            }
        }
        for id in heads {
            self.answer_head(now, id, end);
        }
        if is_finished {
            self.finish_asked(now, key, true);
        }
    }

    /// How far the track is published is known: the subscriber is told and served.
    pub(super) fn answer_head(&mut self, now: Instant, id: FetchId, end: Location) {
        let Some(fetch) = self.fetches.by_id.get(&id) else {
            return;
        };
        if !matches!(fetch.state, State::Asking) {
            return;
        }
        let span = match fetched::absolute_span_of(fetch.filter()) {
            Some(span) => Span::new(span.start, span.end.min(end)),
            None => fetched::span_of(fetch.filter(), Some(end)),
        };
        match span {
            Some(span) => {
                self.unpark(now, id);
                self.accept_fetch(now, id, span);
            }
            None => self.refuse_fetch(now, id, &super::answer::invalid_range(Some(end))),
        }
    }

    /// An object that we fetched.
    pub(in crate::moqt::relay) fn take_fetched(
        &mut self,
        now: Instant,
        key: RequestKey,
        object: Object,
    ) {
        let place = Location::new(object.group, object.object);
        let Some(asked) = self.fetches.asked.get_mut(&key) else {
            return;
        };
        let size = object.payload.len().saturating_add(OBJECT_BYTES);
        asked.ahead_bytes = asked.ahead_bytes.saturating_add(size);
        let is_new_group = asked.last.is_none_or(|last| last.group != place.group);
        let is_too_far = asked.ahead_bytes > self.config.fetch.ahead_bytes_max
            && (asked.order == GroupOrder::Ascending || is_new_group);
        let track = asked.track;
        if is_too_far {
            self.cut_asked(now, key);
            return;
        }
        let absent = asked.up_to(place);
        asked.last = Some(place);
        asked.is_after_unknown = false;
        self.learn_absent(track, absent);
        if !self.keep_fetched(now, track, object) {
            self.object_contradicts(now, key);
            return;
        }
        // Who waits for it has it before the budget may take it away again.
        self.advance_waiting(now, key);
        self.evict();
    }

    /// A gap in what we fetched.
    pub(in crate::moqt::relay) fn take_fetched_gap(
        &mut self,
        now: Instant,
        key: RequestKey,
        kind: GapKind,
        end: Location,
    ) {
        let end = fetched::whole_group_end(end);
        let Some(asked) = self.fetches.asked.get_mut(&key) else {
            return;
        };
        let mut absent = Vec::new();
        if kind == GapKind::NonExistent {
            absent = asked.up_to(end);
            absent.extend(Span::new(end, end));
        }
        asked.is_after_unknown = kind != GapKind::NonExistent;
        asked.last = Some(end);
        let track = asked.track;
        self.learn_absent(track, absent);
        self.advance_waiting(now, key);
    }

    /// The stream of a fetch of ours is over.
    pub(in crate::moqt::relay) fn take_fetch_end(
        &mut self,
        now: Instant,
        key: RequestKey,
        end: StreamEnd,
    ) {
        let Some(asked) = self.fetches.asked.get_mut(&key) else {
            return;
        };
        match end {
            StreamEnd::Reset(_) => {
                self.cancel(key, StreamCode::CANCELLED);
                self.fetch_upstream_lost(now, key);
            }
            StreamEnd::Finished => {
                asked.is_finished = true;
                if asked.answer.is_some() {
                    self.finish_asked(now, key, true);
                }
            }
        }
    }

    /// A publisher refused a fetch of ours. Returns whether it was one.
    pub(in crate::moqt::relay) fn fetch_upstream_refused(
        &mut self,
        now: Instant,
        key: RequestKey,
        error: &RequestError,
    ) -> bool {
        let Some(asked) = self.fetches.asked.get_mut(&key) else {
            return false;
        };
        if error.code == RequestCode::UNSUPPORTED_EXTENSION {
            self.give_up_unsupported(now, key);
            return true;
        }
        let heads = std::mem::take(&mut asked.heads);
        self.finish_asked(now, key, false);
        for id in heads {
            if let Some(fetch) = self.fetches.by_id.get_mut(&id) {
                fetch.tried.insert(key.0, None);
                let error = super::super::tracks::refusal_downstream(error);
                self.ask_head(now, id, Some(&error));
            }
        }
        true
    }

    /// The track of a fetch of ours has a mandatory property that is not understood: who reads from it
    /// gets nothing more, and what it brought ahead of its answer is not kept.
    fn give_up_unsupported(&mut self, now: Instant, key: RequestKey) {
        let Some(asked) = self.remove_asked(key) else {
            return;
        };
        let code = StreamCode::CANCELLED;
        for id in asked.interested.union(&asked.heads) {
            self.abort_fetch(now, *id, code);
        }
        let is_fed = |entry: &super::super::tracks::Entry| entry.is_fed();
        if !self.entries.get(&asked.track).is_some_and(is_fed) {
            self.abort_fetches_of(now, asked.track, code);
        }
    }

    /// Forgets a fetch of ours whose request is over. Returns its track.
    pub(in crate::moqt::relay) fn forget_asked(&mut self, key: RequestKey) -> Option<TrackId> {
        self.remove_asked(key).map(|asked| asked.track)
    }

    /// A fetch of ours was cut, by the publisher or with its session.
    pub(in crate::moqt::relay) fn fetch_upstream_lost(&mut self, now: Instant, key: RequestKey) {
        let reason = "the publisher gave the fetch up";
        let error = RequestError::new(RequestCode::INTERNAL_ERROR, reason);
        self.fetch_upstream_refused(now, key, &error);
    }

    /// The fetches of ours that rest on a session.
    pub(in crate::moqt::relay) fn fetches_of_session(&self, session: SessionId) -> Vec<RequestKey> {
        let of_session = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        let asked = self.fetches.asked.range(of_session.clone());
        let mut keys: Vec<RequestKey> = asked.map(|(key, _)| *key).collect();
        let first = (*of_session.start(), FetchId(0));
        let last = (*of_session.end(), FetchId(u64::MAX));
        keys.extend(
            self.fetches
                .by_request
                .range(first..=last)
                .map(|(key, _)| *key),
        );
        // A joining fetch and what it joins are of one session.
        let (first, last) = (*of_session.start(), *of_session.end());
        let joining = self.fetches.joining.range((first, first)..=(last, last));
        keys.extend(joining.map(|((_, fetch), _)| *fetch));
        keys
    }

    /// A fetch of ours has told all that it will.
    fn finish_asked(&mut self, now: Instant, key: RequestKey, is_whole: bool) {
        let Some(asked) = self.remove_asked(key) else {
            return;
        };
        if is_whole {
            self.learn_absent(asked.track, asked.rest());
        }
        self.release_waiting(now, key, &asked, is_whole);
    }

    /// A fetch of ours brings more than anybody takes: it is given up where it is.
    fn cut_asked(&mut self, now: Instant, key: RequestKey) {
        let Some(asked) = self.remove_asked(key) else {
            return;
        };
        self.cancel(key, StreamCode::CANCELLED);
        for id in &asked.interested {
            if let Some(fetch) = self.fetches.by_id.get_mut(id)
                && let Some(told) = asked.told()
            {
                fetch.tried.insert(key.0, Some(told));
            }
        }
        self.wake(now, &asked);
    }

    fn remove_asked(&mut self, key: RequestKey) -> Option<Asked> {
        let asked = self.fetches.asked.remove(&key)?;
        if let Some(of_track) = self.fetches.tracks.get_mut(&asked.track) {
            of_track.asked.remove(&key);
        }
        Some(asked)
    }

    /// Those who have read from a fetch of ours go on without it.
    fn release_waiting(&mut self, now: Instant, key: RequestKey, asked: &Asked, is_whole: bool) {
        for id in &asked.interested {
            if let Some(fetch) = self.fetches.by_id.get_mut(id) {
                fetch.tried.insert(key.0, asked.span.filter(|_| is_whole));
            }
        }
        self.wake(now, asked);
    }

    fn wake(&mut self, now: Instant, asked: &Asked) {
        for id in &asked.parked {
            if !asked.heads.contains(id) {
                self.advance_fetch(now, *id);
            }
        }
    }

    /// Those who wait for the next item of a fetch of ours look at it.
    fn advance_waiting(&mut self, now: Instant, key: RequestKey) {
        let Some(asked) = self.fetches.asked.get_mut(&key) else {
            return;
        };
        let parked: Vec<FetchId> = asked.parked.difference(&asked.heads).copied().collect();
        for id in parked {
            self.advance_fetch(now, id);
        }
    }

    /// A fetch no longer reads from a fetch of ours. One that nobody reads from is given up.
    pub(super) fn leave_upstream(&mut self, id: FetchId) {
        let Some(fetch) = self.fetches.by_id.get_mut(&id) else {
            return;
        };
        let Some(key) = fetch.upstream.take() else {
            return;
        };
        let Some(asked) = self.fetches.asked.get_mut(&key) else {
            return;
        };
        if let Some(told) = asked.told() {
            fetch.tried.insert(key.0, Some(told));
        }
        asked.interested.remove(&id);
        asked.parked.remove(&id);
        asked.heads.remove(&id);
        // One that has told everything ends by itself.
        if asked.interested.is_empty() && !asked.has_told_all() {
            self.remove_asked(key);
            self.cancel(key, StreamCode::CANCELLED);
        }
    }

    fn learn_absent(&mut self, track: TrackId, absent: Vec<Span>) {
        if let Some(entry) = self.entries.get_mut(&track) {
            for span in absent {
                entry.track.learn_absent(span);
            }
        }
    }
}
