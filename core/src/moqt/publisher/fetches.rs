//! How an original publisher answers FETCH, joining FETCH and fill: from what it retains.
//!
//! Nobody knows more about a track than its publisher, so nothing is waited for. What was published
//! and is no longer retained is told as unknown, as are places that a group still open may fill;
//! everything else that is not here does not exist.
//!
//! Limits: `fetches_max` of [`crate::moqt::track::Limits`], per session. Source:
//! draft-ietf-moq-transport-18, sections 10.12, 10.13; 20, section 5.1.3 (fill).

use super::Publisher;
use crate::moqt::error::{RequestCode, StreamCode};
use crate::moqt::filter::GroupOrder;
use crate::moqt::filter::sets::FilterSets;
use crate::moqt::message::{Fetch, FetchTarget, RequestError};
use crate::moqt::name::{FullTrackName, Location, RequestId};
use crate::moqt::object::GapKind;
use crate::moqt::parameter::Parameters;
use crate::moqt::track::cache::{Age, Cache};
use crate::moqt::track::fetched;
use crate::moqt::track::serving::{Serving, Step, Wanted};
use crate::moqt::track::span::{Span, before};
use crate::time::Instant;
use crate::transport::{Direction, Origin, SessionId, StreamId};

type Key = (SessionId, RequestId);

/// A fetch or fill that is being answered.
#[derive(Debug)]
pub(super) struct Answer {
    track: FullTrackName,
    /// The request that it ends with.
    request: Key,
    /// What its stream is named by.
    name: Key,
    is_fill: bool,
    serving: Serving,
}

impl Publisher {
    /// A relay asks for objects of the past.
    pub(super) fn take_fetch(&mut self, now: Instant, key: Key, fetch: &Fetch) {
        if let Err(error) = self.answer_fetch(now, key, fetch)
            && let Some(session) = self.sessions.session_mut(key.0)
        {
            // A request that ended meanwhile needs no answer.
            let _ = session.reject(key.1, error);
        }
    }

    fn answer_fetch(&mut self, now: Instant, key: Key, fetch: &Fetch) -> Result<(), RequestError> {
        let refusal = RequestError::new;
        let joined = |joining: &RequestId| {
            let reason = "there is no such subscription to join";
            let code = RequestCode::INVALID_JOINING_REQUEST_ID;
            let subscription = (key.0, *joining);
            let name = self.subscriptions.get(&subscription);
            let name = name.ok_or_else(|| refusal(code, reason))?;
            let track = self.tracks.get(name);
            let joined = track.and_then(|track| track.joined(subscription));
            let joined = joined.ok_or_else(|| refusal(code, reason))?;
            let is_forwarded = joined.forward.then_some(joined.location);
            Ok((name.clone(), is_forwarded.flatten()))
        };
        let (name, joining) = match &fetch.target {
            FetchTarget::Track(name) => (name.clone(), None),
            FetchTarget::RelativeJoin { joining, .. }
            | FetchTarget::AbsoluteJoin { joining, .. } => joined(joining)?,
        };
        let missing = || refusal(RequestCode::DOES_NOT_EXIST, "no such track");
        let track = self.tracks.get(&name).ok_or_else(missing)?;
        if self.is_full_of_fetches(key.0) {
            return Err(refusal(RequestCode::EXCESSIVE_LOAD, "too many fetches"));
        }
        let span = match &fetch.target {
            FetchTarget::Track(_) => fetched::span_of(fetch.parameters.filter, track.largest()),
            target => fetched::joining_span(target, joining),
        };
        let invalid = || {
            let reason = "nothing is published in that range";
            refusal(RequestCode::INVALID_RANGE, reason)
        };
        let span = span.ok_or_else(invalid)?;
        let filters = &fetch.parameters.range_filters;
        let sets = FilterSets::parse_for_objects(filters, self.limits.filter_ranges_max);
        let faulty = |_| refusal(RequestCode::INVALID_FILTER, "a faulty range filter");
        let filter = sets.map_err(faulty)?.for_track(track.properties());
        let Some(session) = self.sessions.session_mut(key.0) else {
            return Ok(());
        };
        let draft = session.draft();
        let (cache, properties) = (track.cache(), track.properties());
        let answer = fetched::answer(draft, cache, span, properties, &fetch.parameters);
        if session.accept_fetch(key.1, answer).is_ok() {
            let wanted = wanted(span, &fetch.parameters);
            let serving = Serving::new(wanted).filtered(filter);
            self.advance(
                now,
                Answer {
                    track: name,
                    request: key,
                    name: key,
                    is_fill: false,
                    serving,
                },
            );
        }
        Ok(())
    }

    /// Opens the fill that a SUBSCRIBE or REQUEST_UPDATE named `name` asks for.
    pub(super) fn fill(&mut self, now: Instant, key: Key, name: RequestId, asked: &Parameters) {
        let (Some(fill), Some(track)) = (&asked.fill, self.subscriptions.get(&key)) else {
            return;
        };
        let Some((track, entry)) = self
            .tracks
            .get_mut(track)
            .map(|entry| (track.clone(), entry))
        else {
            return;
        };
        let Some(joined) = entry.joined(key).filter(|joined| joined.forward) else {
            return;
        };
        let filter = fill.filter.or(joined.filter);
        let Some(span) = fetched::span_of(filter, entry.largest()) else {
            return;
        };
        let wanted = Wanted {
            span,
            order: fill
                .group_order
                .or(joined.order)
                .unwrap_or(GroupOrder::Ascending),
            priority: fill.subscriber_priority.unwrap_or(joined.priority),
        };
        let mut serving = Serving::new(wanted);
        let name = (key.0, name);
        let ranges_max = self.limits.filter_ranges_max;
        let filter = FilterSets::parse_for_objects(&fill.range_filters, ranges_max)
            .map(|sets| sets.for_track(entry.properties()));
        let Ok(filter) = filter else {
            serving.reset(&mut self.sessions, name, StreamCode::INTERNAL_ERROR);
            return;
        };
        let mut serving = serving.filtered(filter);
        if self.is_full_of_fetches(key.0) {
            serving.reset(&mut self.sessions, name, StreamCode::EXCESSIVE_LOAD);
            return;
        }
        if let Some(entry) = self.tracks.get_mut(&track) {
            entry.count_fill(now, &mut self.sessions, key, true);
        }
        self.advance(
            now,
            Answer {
                track,
                request: key,
                name,
                is_fill: true,
                serving,
            },
        );
    }

    /// The transport took a write. Returns whether it was on a fetch stream.
    pub(super) fn fetch_writable(&mut self, now: Instant, at: (SessionId, StreamId)) -> bool {
        let Some(mut answer) = self.answers.remove(&at) else {
            return false;
        };
        answer.serving.written();
        self.advance(now, answer);
        true
    }

    /// The relay wants no more of a stream. Returns whether it was a fetch stream.
    pub(super) fn fetch_stopped(&mut self, now: Instant, at: (SessionId, StreamId)) -> bool {
        let Some(answer) = self.answers.remove(&at) else {
            return false;
        };
        self.settle_fill(now, &answer);
        true
    }

    /// A request, or its whole session, is over.
    pub(super) fn fetches_over(&mut self, session: SessionId, request: Option<RequestId>) {
        let is_over = |answer: &Answer| {
            answer.request.0 == session && request.is_none_or(|id| answer.request.1 == id)
        };
        self.answers.retain(|_, answer| !is_over(answer));
    }

    fn is_full_of_fetches(&self, session: SessionId) -> bool {
        let first = (
            session,
            StreamId::new(Origin::Local, Direction::Bidirectional, 0),
        );
        let of_session = self.answers.range(first..);
        let of_session = of_session.take_while(|((of, _), _)| *of == session);
        of_session.take(self.limits.fetches_max).count() >= self.limits.fetches_max
    }

    fn advance(&mut self, now: Instant, mut answer: Answer) {
        loop {
            let Some(track) = self.tracks.get(&answer.track) else {
                return;
            };
            let step = answer.serving.serve(
                &mut self.sessions,
                answer.name,
                track.cache(),
                Age::default(),
                track.properties().default_publisher_priority(),
                track.burst_bytes(),
            );
            match step {
                Step::Blocked => break,
                Step::Done | Step::Gone => {
                    self.settle_fill(now, &answer);
                    return;
                }
                Step::Unknown(span) => {
                    let order = answer.serving.wanted().order;
                    let (kind, span) = judge(track.cache(), span, order);
                    answer
                        .serving
                        .skip(&mut self.sessions, answer.name, kind, span);
                }
            }
        }
        if let Some(stream) = answer.serving.stream() {
            self.answers.insert((answer.name.0, stream), answer);
        }
    }

    fn settle_fill(&mut self, now: Instant, answer: &Answer) {
        if answer.is_fill
            && let Some(track) = self.tracks.get_mut(&answer.track)
        {
            track.count_fill(now, &mut self.sessions, answer.request, false);
            let ended = track.take_ended();
            self.forget(ended);
        }
    }
}

fn wanted(span: Span, parameters: &Parameters) -> Wanted {
    Wanted {
        span,
        order: parameters.group_order.unwrap_or(GroupOrder::Ascending),
        priority: parameters.subscriber_priority.unwrap_or(128),
    }
}

/// Why places that are not retained are not served, and how many of them, in the fetch's order.
fn judge(cache: &Cache, span: Span, order: GroupOrder) -> (GapKind, Span) {
    let floor = Location::new(cache.floor(), 0);
    let evicted = before(floor).and_then(|end| Span::new(span.start, span.end.min(end)));
    let kept = Span::new(span.start.max(floor), span.end);
    let first = match order {
        GroupOrder::Ascending => evicted.or(kept),
        GroupOrder::Descending => kept.or(evicted),
    };
    if first == evicted {
        return (GapKind::Unknown, first.unwrap_or(span));
    }
    let first = first.unwrap_or(span);
    let group = Span::of_group(first.start.group);
    match group.intersect(&first) {
        // Only a piece within one group can lie in a group of which anything is retained.
        Some(open) if cache.is_open(group.start.group) => (GapKind::Unknown, open),
        _ => (GapKind::NonExistent, first),
    }
}
