//! Who is asked upstream, and how long is waited for it.
//!
//! Candidates are those who feed the track, then original publishers that announced its namespace, then
//! other relays as the mesh ranks them; never the session that asks, nor a relay that has the track
//! from here. Each is asked once about a place by one fetch.

use super::super::{Relay, RequestKey, Timer, TrackId};
use super::answer::age;
use super::upstream::Asked;
use super::{Fetch, FetchId, State};
use crate::map::BTreeSet;
use crate::moqt::error::RequestCode;
use crate::moqt::filter::{Filter, GroupOrder};
use crate::moqt::message::{Fetch as FetchMessage, FetchTarget, RequestError};
use crate::moqt::name::{FullTrackName, Location, RequestId};
use crate::moqt::object::GapKind;
use crate::moqt::parameter::Parameters;
use crate::moqt::track::fetched;
use crate::moqt::track::span::{LAST, Span};
use crate::time::Instant;
use crate::transport::SessionId;

impl Relay {
    /// Finds out about places that come next for a fetch and are unknown here. `None`: it is parked
    /// until more is known; otherwise how to tell of them, and of how many.
    pub(super) fn look_upstream(
        &mut self,
        now: Instant,
        id: FetchId,
        unknown: Span,
    ) -> Option<(GapKind, Span)> {
        let fetch = self.fetches.by_id.get(&id)?;
        if fetch.is_out_of_time {
            return Some((GapKind::TimedOut, unknown));
        }
        let (order, place) = (fetch.order(), fetch.at().unwrap_or(unknown.start));
        let track = fetch.track;
        if let Some(asked) = self.find_asked(track, order, place) {
            self.park(now, id, asked);
            return None;
        }
        self.note_told(id);
        let candidates = self.fetch_candidates(track, id);
        for (session, name) in &candidates {
            let may_ask = self
                .fetches
                .by_id
                .get(&id)
                .is_some_and(|fetch| fetch.may_ask(*session, place));
            if !may_ask {
                continue;
            }
            if let Some(busy) = self.busy_upstream(track) {
                self.park(now, id, busy);
                return None;
            }
            let hole = self.hole(now, id, place).unwrap_or(unknown);
            let filter = fetched::filter_of(hole);
            if let Some(key) = self.send_fetch(id, *session, name, filter, Some(hole)) {
                self.park(now, id, key);
                return None;
            }
        }
        let fetch = self.fetches.by_id.get(&id)?;
        Some((GapKind::Unknown, told_by_all(fetch, unknown)))
    }

    /// How far nothing is held here from a place on, that a fetch has come to. What is known of it
    /// is asked for as well: one fetch upstream is better than many.
    fn hole(&self, now: Instant, id: FetchId, place: Location) -> Option<Span> {
        let fetch = self.fetches.by_id.get(&id)?;
        let State::Serving(serving) = &fetch.state else {
            return None;
        };
        let track = &self.entries.get(&fetch.track)?.track;
        let age = age(now, track.properties().max_cache_duration_ms());
        let span = serving.wanted().span;
        match fetch.order() {
            GroupOrder::Ascending => {
                let rest = Span::new(place, span.end)?;
                Some(track.cache().hole(rest, age))
            }
            GroupOrder::Descending => {
                let first = span.start.max(Location::new(place.group, 0));
                let end = span.end.min(Location::new(place.group, u64::MAX));
                let start = if place == first { span.start } else { place };
                let rest = Span::new(start, end)?;
                Some(track.cache().hole_descending(rest, age))
            }
        }
    }

    /// Asks how far a track is published, together with what is wanted of it. `error` is why the
    /// last one who was asked refused.
    pub(super) fn ask_head(&mut self, now: Instant, id: FetchId, error: Option<&RequestError>) {
        let Some(fetch) = self.fetches.by_id.get(&id) else {
            return;
        };
        let (track, filter, order) = (fetch.track, fetch.filter(), fetch.order());
        if fetch.is_out_of_time {
            let error = error.cloned().unwrap_or_else(timed_out);
            self.answer_from_cache(now, id, &error);
            return;
        }
        if let Some(key) = self.find_head(track, order, filter) {
            match self.fetches.asked.get(&key).and_then(|asked| asked.answer) {
                Some(end) => self.answer_head(now, id, end),
                None => self.wait_for_head(now, id, key),
            }
            return;
        }
        let candidates = self.fetch_candidates(track, id);
        for (session, name) in &candidates {
            let Some(fetch) = self.fetches.by_id.get(&id) else {
                return;
            };
            if fetch.tried.contains_key(session) {
                continue;
            }
            let (wanted, span) = self.head_range(now, track, order, filter);
            if let Some(key) = self.send_fetch(id, *session, name, wanted, span) {
                if let Some(asked) = self.fetches.asked.get_mut(&key) {
                    asked.head_filter = Some(filter.unwrap_or(Filter::None));
                }
                self.wait_for_head(now, id, key);
                return;
            }
        }
        let unpublished = || {
            let reason = "nobody publishes the track";
            let mut error = RequestError::new(RequestCode::DOES_NOT_EXIST, reason);
            error.retry_after_ms = Some(1000);
            error
        };
        let error = error.cloned().unwrap_or_else(unpublished);
        self.answer_from_cache(now, id, &error);
    }

    /// Nobody tells how far the track is published: what is here has to do.
    fn answer_from_cache(&mut self, now: Instant, id: FetchId, error: &RequestError) {
        let Some(fetch) = self.fetches.by_id.get_mut(&id) else {
            return;
        };
        let largest = self
            .entries
            .get(&fetch.track)
            .and_then(|entry| entry.track.largest());
        match fetched::span_of(fetch.parameters.filter, largest) {
            Some(span) => self.accept_fetch(now, id, span),
            None => self.refuse_fetch(now, id, error),
        }
    }

    /// What to ask first: all that is wanted, without what is here at the beginning of it.
    fn head_range(
        &self,
        now: Instant,
        track: TrackId,
        order: GroupOrder,
        filter: Option<Filter>,
    ) -> (Filter, Option<Span>) {
        let Some(span) = fetched::absolute_span_of(filter) else {
            return (filter.unwrap_or(Filter::None), None);
        };
        let start = match order {
            GroupOrder::Ascending => self.first_unknown(now, track, span).map(|span| span.start),
            GroupOrder::Descending => None,
        };
        let span = Span {
            start: start.unwrap_or(span.start),
            end: span.end,
        };
        (fetched::filter_of(span), Some(span))
    }

    /// A fetch upstream that already asks the same.
    fn find_head(
        &self,
        track: TrackId,
        order: GroupOrder,
        filter: Option<Filter>,
    ) -> Option<RequestKey> {
        let filter = Some(filter.unwrap_or(Filter::None));
        let keys = &self.fetches.tracks.get(&track)?.asked;
        keys.iter().copied().find(|key| {
            self.fetches
                .asked
                .get(key)
                .is_some_and(|asked| asked.order == order && asked.head_filter == filter)
        })
    }

    /// A fetch upstream that will still tell about a place.
    fn find_asked(&self, track: TrackId, order: GroupOrder, place: Location) -> Option<RequestKey> {
        let keys = &self.fetches.tracks.get(&track)?.asked;
        keys.iter().copied().find(|key| {
            let asked = self.fetches.asked.get(key);
            asked.is_some_and(|asked| asked.order == order && asked.will_tell(place))
        })
    }

    /// When a track has as many fetches upstream as it may: one of them, whose end is waited for.
    fn busy_upstream(&self, track: TrackId) -> Option<RequestKey> {
        let keys = &self.fetches.tracks.get(&track)?.asked;
        let is_busy = keys.len() >= self.config.fetch.track_upstream_max.max(1);
        keys.first().copied().filter(|_| is_busy)
    }

    /// Who may know about a track, in the order in which they are asked, and what they call it.
    fn fetch_candidates(&self, track: TrackId, id: FetchId) -> Vec<(SessionId, FullTrackName)> {
        let mut candidates: Vec<(SessionId, FullTrackName)> = Vec::new();
        let (Some(entry), Some(fetch)) = (self.entries.get(&track), self.fetches.by_id.get(&id))
        else {
            return candidates;
        };
        if entry.made_by.is_some() {
            return candidates;
        }
        let mut seen = BTreeSet::from([fetch.request.0]);
        for (session, request) in entry.established_upstreams() {
            let open = self.sessions.session(session);
            let request = open.and_then(|open| open.request(request));
            let name = request.and_then(|request| request.track().cloned());
            if let Some(name) = name
                && seen.insert(session)
            {
                candidates.push((session, name));
            }
        }
        let name = &entry.name;
        let spell = |publisher: &RequestKey| self.announced.get(publisher)?.spell(name);
        for publisher in self.publishers.covering(name.namespace.fields()) {
            if !self.mesh.is_route(&publisher)
                && let Some(spelled) = spell(&publisher)
                && seen.insert(publisher.0)
            {
                candidates.push((publisher.0, spelled));
            }
        }
        // A relay that has the track from here, or fetches it from here, would ask back.
        let fetchers = self.fetches.tracks.get(&track);
        let fetchers = fetchers.into_iter().flat_map(|of| &of.fetches);
        seen.extend(fetchers.filter_map(|id| Some(self.fetches.by_id.get(id)?.request.0)));
        for (session, route) in self.candidates(name) {
            let spelled = match route {
                Some(route) => spell(&route),
                None => Some(name.clone()),
            };
            if let Some(spelled) = spelled
                && !entry.is_taken_by(session)
                && seen.insert(session)
            {
                candidates.push((session, spelled));
            }
        }
        candidates
    }

    /// Sends a FETCH upstream. `None` when that session cannot: it counts as asked.
    fn send_fetch(
        &mut self,
        id: FetchId,
        session: SessionId,
        name: &FullTrackName,
        filter: Filter,
        span: Option<Span>,
    ) -> Option<RequestKey> {
        let fetch = self.fetches.by_id.get_mut(&id)?;
        let (order, track) = (fetch.order(), fetch.track);
        let message = FetchMessage {
            request_id: RequestId(0),
            target: FetchTarget::Track(name.clone()),
            parameters: Parameters {
                filter: Some(filter),
                group_order: (order == GroupOrder::Descending).then_some(order),
                subscriber_priority: fetch.parameters.subscriber_priority,
                ..Parameters::default()
            },
        };
        let open = self.sessions.session_mut(session)?;
        let Ok(request) = open.fetch(message) else {
            fetch.tried.insert(session, None);
            return None;
        };
        let key = (session, request);
        let asked = Asked::new(track, filter, order, span);
        self.fetches.asked.insert(key, asked);
        self.fetches
            .tracks
            .entry(track)
            .or_default()
            .asked
            .insert(key);
        self.fetches.asked_upstream += 1;
        Some(key)
    }

    fn wait_for_head(&mut self, now: Instant, id: FetchId, key: RequestKey) {
        self.park(now, id, key);
        if let Some(asked) = self.fetches.asked.get_mut(&key) {
            asked.heads.insert(id);
        }
    }

    /// A fetch waits for what a fetch upstream brings, or for its end.
    fn park(&mut self, now: Instant, id: FetchId, key: RequestKey) {
        if self
            .fetches
            .by_id
            .get(&id)
            .is_some_and(|fetch| fetch.upstream != Some(key))
        {
            self.leave_upstream(id);
        }
        let longest = self.config.fetch.upstream_timeout;
        let Some(fetch) = self.fetches.by_id.get_mut(&id) else {
            return;
        };
        fetch.upstream = Some(key);
        let at = fetch.at();
        if fetch.waiting.is_none_or(|(_, before)| before != at) {
            fetch.charge(now);
            fetch.waiting = Some((now, at));
        }
        let due = now + fetch.budget.unwrap_or(longest);
        if fetch.armed.is_none() {
            fetch.armed = Some(due);
            self.timers.insert((due, Timer::Fetch(id)));
        }
        if let Some(of_track) = self.fetches.tracks.get_mut(&fetch.track) {
            of_track.parked.insert(id);
        }
        if let Some(asked) = self.fetches.asked.get_mut(&key) {
            asked.interested.insert(id);
            asked.parked.insert(id);
            // Somebody has caught up.
            asked.ahead_bytes = 0;
        }
    }

    /// A fetch waits for the transport, not for upstream.
    pub(super) fn unpark(&mut self, now: Instant, id: FetchId) {
        let Some(fetch) = self.fetches.by_id.get_mut(&id) else {
            return;
        };
        if fetch.waiting.is_none() {
            return;
        }
        fetch.charge(now);
        if let Some(of_track) = self.fetches.tracks.get_mut(&fetch.track) {
            of_track.parked.remove(&id);
        }
        let upstream = fetch
            .upstream
            .and_then(|key| self.fetches.asked.get_mut(&key));
        if let Some(asked) = upstream {
            asked.parked.remove(&id);
        }
    }

    /// Those of a track that wait look again: something came by another way.
    pub(in crate::moqt::relay) fn advance_parked(&mut self, now: Instant, track: TrackId) {
        let parked = match self.fetches.tracks.get(&track) {
            Some(of_track) if !of_track.parked.is_empty() => of_track.parked.clone(),
            Some(_) | None => return,
        };
        for id in parked {
            self.advance_fetch(now, id);
        }
    }

    /// A fetch may have waited long enough.
    pub(in crate::moqt::relay) fn fetch_due(&mut self, now: Instant, id: FetchId) {
        let longest = self.config.fetch.upstream_timeout;
        let Some(fetch) = self.fetches.by_id.get_mut(&id) else {
            return;
        };
        fetch.armed = None;
        let Some((since, _)) = fetch.waiting else {
            return;
        };
        let due = since + fetch.budget.unwrap_or(longest);
        if due > now {
            fetch.armed = Some(due);
            self.timers.insert((due, Timer::Fetch(id)));
            return;
        }
        fetch.is_out_of_time = true;
        let is_asking = matches!(fetch.state, State::Asking);
        self.unpark(now, id);
        self.leave_upstream(id);
        if is_asking {
            self.ask_head(now, id, None);
        } else {
            self.advance_fetch(now, id);
        }
    }

    /// Remembers what the fetch upstream that a fetch reads from has told so far.
    fn note_told(&mut self, id: FetchId) {
        let Some(fetch) = self.fetches.by_id.get_mut(&id) else {
            return;
        };
        let asked = fetch
            .upstream
            .and_then(|key| Some((key.0, self.fetches.asked.get(&key)?)));
        if let Some((session, asked)) = asked
            && let Some(told) = asked.told()
        {
            fetch.tried.insert(session, Some(told));
        }
    }
}

impl Fetch {
    /// The time that passed while waiting is over.
    fn charge(&mut self, now: Instant) {
        if let (Some((since, _)), Some(budget)) = (self.waiting.take(), &mut self.budget) {
            *budget = budget.saturating_sub(now.saturating_since(since));
            self.is_out_of_time |= budget.is_zero();
        }
    }
}

fn timed_out() -> RequestError {
    let reason = "how far the track is published was not learned in time";
    RequestError::new(RequestCode::TIMEOUT, reason)
}

/// The part of a range, from its beginning in the fetch's order, about which everybody has told.
fn told_by_all(fetch: &Fetch, unknown: Span) -> Span {
    let told = fetch.tried.values().flatten();
    let told = told.filter(|told| told.intersect(&unknown).is_some());
    match fetch.order() {
        GroupOrder::Ascending => {
            let end = told.map(|told| told.end).min().unwrap_or(LAST);
            Span::new(unknown.start, unknown.end.min(end)).unwrap_or(unknown)
        }
        GroupOrder::Descending => {
            let start = told.map(|told| told.start).max().unwrap_or(Location::ZERO);
            let start = if start.object == 0 {
                start
            } else {
                unknown.start
            };
            Span::new(unknown.start.max(start), unknown.end).unwrap_or(unknown)
        }
    }
}
