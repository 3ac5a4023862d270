//! A subscriber's fetch: judged, accepted, served, ended.

use super::super::{Relay, RequestKey, Timer, TrackId};
use super::{Cached, Fetch, FetchId, State};
use crate::canary::{self, Canary};
use crate::map::BTreeMap;
use crate::moqt::error::{RequestCode, StreamCode};
use crate::moqt::filter::sets::FilterSets;
use crate::moqt::message::{Fetch as FetchMessage, FetchTarget, RequestError};
use crate::moqt::name::{FullTrackName, Location};
use crate::moqt::object::GapKind;
use crate::moqt::parameter::Parameters;
use crate::moqt::track::cache::{Age, Piece};
use crate::moqt::track::fetched;
use crate::moqt::track::serving::{Serving, Step, Wanted};
use crate::moqt::track::span::Span;
use crate::time::Instant;
use crate::transport::SessionId;
use std::time::Duration;

impl Relay {
    /// A FETCH whose token, if it shows one, names a known key.
    pub(in crate::moqt::relay) fn serve_fetch(
        &mut self,
        now: Instant,
        key: RequestKey,
        fetch: FetchMessage,
    ) {
        let track = match &fetch.target {
            FetchTarget::Track(track) => track.clone(),
            _ if canary::is_on(Canary::PastUnanswered) => return,
            FetchTarget::RelativeJoin { .. } | FetchTarget::AbsoluteJoin { .. } => {
                self.join_by_fetch(now, key, fetch);
                return;
            }
        };
        let parameters = fetch.parameters;
        let Some(allowed) = self.allow_subscribe(now, key, &track.namespace, &parameters) else {
            return;
        };
        let Ok(name) = FullTrackName::new(allowed.namespace.clone(), track.name) else {
            self.refuse(
                key,
                RequestCode::DOES_NOT_EXIST,
                "the track's name is too long",
            );
            return;
        };
        if !self.has_room_for_fetch(key) {
            return;
        }
        self.remember_permission(now, key, allowed);
        let Some(track) = self.track_of(name) else {
            self.refuse(
                key,
                RequestCode::EXCESSIVE_LOAD,
                "too many tracks (tracks_max)",
            );
            return;
        };
        let id = self.insert_fetch(track, key, key, false, parameters);
        self.begin_fetch(now, id);
    }

    /// Refuses a FETCH of a session that has too many.
    pub(super) fn has_room_for_fetch(&mut self, key: RequestKey) -> bool {
        let limit = self.config.fetch.session_fetches_max;
        let is_full = self.fetches.is_full(key.0, limit);
        if is_full {
            let mut error = RequestError::new(
                RequestCode::EXCESSIVE_LOAD,
                "too many fetches (session_fetches_max)",
            );
            error.retry_after_ms = Some(1000);
            self.refuse_with(key, error);
        }
        !is_full
    }

    pub(super) fn insert_fetch(
        &mut self,
        track: TrackId,
        request: RequestKey,
        name: RequestKey,
        is_fill: bool,
        parameters: Parameters,
    ) -> FetchId {
        let fetches = &mut self.fetches;
        let id = FetchId(fetches.next_id);
        fetches.next_id += 1;
        let longest = self.config.fetch.upstream_timeout;
        let budget = parameters
            .fill_timeout_ms
            .map(|ms| Duration::from_millis(ms).min(longest));
        let fetch = Fetch {
            track,
            request,
            name,
            is_fill,
            state: State::Asking,
            is_out_of_time: budget == Some(Duration::ZERO),
            budget,
            parameters,
            waiting: None,
            armed: None,
            tried: BTreeMap::new(),
            upstream: None,
            stream: None,
            cached: Cached::Whole,
        };
        fetches.by_id.insert(id, fetch);
        fetches.by_request.insert((request, id));
        let of_track = fetches.tracks.entry(track).or_default();
        of_track.fetches.insert(id);
        of_track.until = None;
        id
    }

    /// Answers a fetch by what is known here, or asks how far the track is published.
    fn begin_fetch(&mut self, now: Instant, id: FetchId) {
        let Some(fetch) = self.fetches.by_id.get(&id) else {
            return;
        };
        let Some(entry) = self.entries.get(&fetch.track) else {
            return;
        };
        let largest = entry.track.largest();
        let filter = fetch.filter();
        // Who feeds the track has told how far it is published; what lies before the largest place
        // known is published in any case.
        let is_certain = entry.is_fed()
            || match (fetched::absolute_span_of(filter), largest) {
                (Some(span), Some(largest)) => span.end <= largest,
                _ => false,
            };
        if !is_certain {
            self.ask_head(now, id, None);
            return;
        }
        match fetched::span_of(filter, largest) {
            Some(span) => self.accept_fetch(now, id, span),
            None => self.refuse_fetch(now, id, &invalid_range(largest)),
        }
    }

    /// Agrees to a fetch and serves it.
    pub(super) fn accept_fetch(&mut self, now: Instant, id: FetchId, span: Span) {
        let Some(fetch) = self.fetches.by_id.get_mut(&id) else {
            return;
        };
        let Some(entry) = self.entries.get(&fetch.track) else {
            return;
        };
        let wanted = Wanted {
            span,
            order: fetch.order(),
            priority: fetch.priority(),
        };
        let ranges_max = self.config.track.filter_ranges_max;
        let filters = FilterSets::parse_for_objects(&fetch.parameters.range_filters, ranges_max);
        let filter = filters.map(|sets| sets.for_track(entry.track.properties()));
        let Ok(filter) = filter else {
            let error = RequestError::new(RequestCode::INVALID_FILTER, "a faulty range filter");
            self.refuse_fetch(now, id, &error);
            return;
        };
        fetch.state = State::Serving(Serving::new(wanted).filtered(filter));
        fetch.waiting = None;
        if !fetch.is_fill {
            let Some(session) = self.sessions.session_mut(fetch.request.0) else {
                return;
            };
            let answer = fetched::answer(
                session.draft(),
                entry.track.cache(),
                span,
                entry.track.properties(),
                &fetch.parameters,
            );
            if session.accept_fetch(fetch.request.1, answer).is_err() {
                self.end_fetch(now, id);
                return;
            }
        }
        self.fetches.accepted += 1;
        self.advance_fetch(now, id);
    }

    /// Refuses a fetch that was not accepted yet.
    pub(super) fn refuse_fetch(&mut self, now: Instant, id: FetchId, error: &RequestError) {
        let Some(fetch) = self.fetches.by_id.get(&id) else {
            return;
        };
        let (request, name) = (fetch.request, fetch.name);
        if !fetch.is_fill {
            self.refuse_with(request, error.clone());
        } else if let Some(session) = self.sessions.session_mut(name.0)
            && let Ok(stream) = session.open_fetch(name.1, 0)
        {
            // A fill has no answer but its stream.
            session.reset_stream(stream, StreamCode::INTERNAL_ERROR);
        }
        self.end_fetch(now, id);
    }

    /// Sends what can be sent, and asks upstream for what is not known.
    pub(super) fn advance_fetch(&mut self, now: Instant, id: FetchId) {
        loop {
            let Some(fetch) = self.fetches.by_id.get_mut(&id) else {
                return;
            };
            let State::Serving(serving) = &mut fetch.state else {
                return;
            };
            let Some(entry) = self.entries.get(&fetch.track) else {
                return;
            };
            let properties = entry.track.properties();
            let before = (serving.objects_sent, serving.bytes_sent);
            let step = serving.serve(
                &mut self.sessions,
                fetch.name,
                entry.track.cache(),
                age(now, properties.max_cache_duration_ms()),
                properties.default_publisher_priority(),
                entry.track.burst_bytes(),
            );
            self.metrics.objects_sent += serving.objects_sent - before.0;
            self.metrics.bytes_sent += serving.bytes_sent - before.1;
            self.metrics.objects_past += serving.objects_sent - before.0;
            self.metrics.bytes_past += serving.bytes_sent - before.1;
            if matches!(step, Step::Unknown(_)) && fetch.cached == Cached::Whole {
                fetch.cached = match serving.objects_sent {
                    0 => Cached::Nothing,
                    _ => Cached::Part,
                };
            }
            if let (Some(stream), None) = (serving.stream(), fetch.stream) {
                fetch.stream = Some(stream);
                self.fetches.by_stream.insert((fetch.name.0, stream), id);
            }
            match step {
                Step::Blocked => {
                    self.unpark(now, id);
                    return;
                }
                Step::Done | Step::Gone => {
                    self.end_fetch(now, id);
                    return;
                }
                Step::Unknown(span) => {
                    let Some((kind, span)) = self.look_upstream(now, id, span) else {
                        return;
                    };
                    self.skip_unknown(id, kind, span);
                }
            }
        }
    }

    fn skip_unknown(&mut self, id: FetchId, kind: GapKind, span: Span) {
        if let Some(fetch) = self.fetches.by_id.get_mut(&id)
            && let State::Serving(serving) = &mut fetch.state
        {
            serving.skip(&mut self.sessions, fetch.name, kind, span);
        }
    }

    /// The first places of a range that are unknown here, if any are.
    pub(super) fn first_unknown(&self, now: Instant, track: TrackId, span: Span) -> Option<Span> {
        let entry = self.entries.get(&track)?;
        let age = age(now, entry.track.properties().max_cache_duration_ms());
        let mut rest = span;
        loop {
            let last = match entry.track.cache().piece(rest, age) {
                Piece::Unknown(unknown) => return Some(unknown),
                Piece::Absent(absent) => absent.end,
                Piece::Object(object) => Location::new(object.group, object.object),
            };
            let start = crate::moqt::track::span::after(last)?;
            rest = Span::new(start, rest.end)?;
        }
    }

    /// The transport took the last notified write of a fetch stream.
    pub(in crate::moqt::relay) fn fetch_writable(&mut self, now: Instant, id: FetchId) {
        if let Some(fetch) = self.fetches.by_id.get_mut(&id)
            && let State::Serving(serving) = &mut fetch.state
        {
            serving.written();
        }
        self.advance_fetch(now, id);
    }

    /// The subscriber wants no more of a fetch stream.
    pub(in crate::moqt::relay) fn fetch_stopped(&mut self, now: Instant, id: FetchId) {
        self.end_fetch(now, id);
    }

    /// Every fetch and fill that ends with a request: it is over.
    pub(in crate::moqt::relay) fn fetches_over(&mut self, now: Instant, request: RequestKey) {
        self.forget_joining(request);
        for id in self.fetches.ids_of(request) {
            self.end_fetch(now, id);
        }
    }

    /// The token that a FETCH was asked with has expired. Returns whether it was a FETCH.
    pub(in crate::moqt::relay) fn expire_fetch(
        &mut self,
        now: Instant,
        request: RequestKey,
    ) -> bool {
        let ids = self.fetches.ids_of(request);
        let is_fetch = self.fetches.is_fetch(request);
        for id in ids {
            self.abort_fetch(now, id, StreamCode::EXPIRED_AUTH_TOKEN);
        }
        is_fetch
    }

    /// A track broke the rules, or needs what is not understood here: nobody is served what is left
    /// of it, and what was fetched of it is not kept.
    pub(in crate::moqt::relay) fn abort_fetches_of(
        &mut self,
        now: Instant,
        track: TrackId,
        code: StreamCode,
    ) {
        let of_track = self.fetches.tracks.get(&track);
        let ids: Vec<FetchId> = of_track
            .map(|of_track| of_track.fetches.iter().copied().collect())
            .unwrap_or_default();
        for id in ids {
            self.abort_fetch(now, id, code);
        }
        if let Some(of_track) = self.fetches.tracks.remove(&track) {
            for key in of_track.asked {
                self.fetches.asked.remove(&key);
                self.cancel(key, code);
            }
        }
        self.remove_if_unused(track);
    }

    pub(super) fn abort_fetch(&mut self, now: Instant, id: FetchId, code: StreamCode) {
        let Some(fetch) = self.fetches.by_id.get_mut(&id) else {
            return;
        };
        match &mut fetch.state {
            State::Serving(serving) if fetch.is_fill => {
                serving.reset(&mut self.sessions, fetch.name, code);
                self.end_fetch(now, id);
            }
            State::Serving(_) => {
                // The request's own stream says why: a data stream's reset may overtake its header.
                let request = fetch.request;
                self.cancel(request, code);
                self.end_fetch(now, id);
            }
            State::Asking => {
                let (code, reason) = match code {
                    StreamCode::MALFORMED_TRACK => {
                        (RequestCode::MALFORMED_TRACK, "the track is malformed")
                    }
                    StreamCode::EXPIRED_AUTH_TOKEN => {
                        (RequestCode::EXPIRED_AUTH_TOKEN, "token expired")
                    }
                    _ => (
                        RequestCode::UNSUPPORTED_EXTENSION,
                        "a mandatory track property is not understood here",
                    ),
                };
                let error = RequestError::new(code, reason);
                self.refuse_fetch(now, id, &error);
            }
        }
    }

    /// Changes the priority of a FETCH, where its stream is not open yet.
    pub(in crate::moqt::relay) fn set_fetch_priority(
        &mut self,
        request: RequestKey,
        parameters: &Parameters,
    ) {
        let Some(priority) = parameters.subscriber_priority else {
            return;
        };
        for id in self.fetches.ids_of(request) {
            let Some(fetch) = self
                .fetches
                .by_id
                .get_mut(&id)
                .filter(|fetch| !fetch.is_fill)
            else {
                continue;
            };
            fetch.parameters.subscriber_priority = Some(priority);
            if let State::Serving(serving) = &mut fetch.state {
                serving.set_priority(priority);
            }
        }
    }

    /// What a FETCH is of.
    pub(in crate::moqt::relay) fn track_of_fetch(&self, request: RequestKey) -> Option<TrackId> {
        let id = *self.fetches.ids_of(request).first()?;
        Some(self.fetches.by_id.get(&id)?.track)
    }

    /// Which sessions fetch of a track.
    pub(in crate::moqt::relay) fn fetchers(&self, track: TrackId) -> Vec<SessionId> {
        let of_track = self.fetches.tracks.get(&track);
        let ids = of_track.into_iter().flat_map(|of| &of.fetches);
        ids.filter_map(|id| Some(self.fetches.by_id.get(id)?.request.0))
            .collect()
    }

    /// Forgets a fetch, and what was asked upstream for it alone.
    pub(super) fn end_fetch(&mut self, now: Instant, id: FetchId) {
        self.leave_upstream(id);
        let Some(fetch) = self.fetches.by_id.remove(&id) else {
            return;
        };
        self.fetches.by_request.remove(&(fetch.request, id));
        if matches!(fetch.state, State::Serving(_)) {
            match fetch.cached {
                Cached::Whole => self.metrics.fetches_hit += 1,
                Cached::Part => self.metrics.fetches_partial += 1,
                Cached::Nothing => self.metrics.fetches_missed += 1,
            }
        }
        if let Some(stream) = fetch.stream {
            self.fetches.by_stream.remove(&(fetch.name.0, stream));
            if let Some(session) = self.sessions.session_mut(fetch.name.0) {
                // Nothing happens to one that is sent.
                session.reset_stream(stream, StreamCode::CANCELLED);
            }
        }
        if fetch.is_fill {
            if let Some(entry) = self.entries.get_mut(&fetch.track) {
                entry
                    .track
                    .count_fill(now, &mut self.sessions, fetch.request, false);
            }
            self.forget_ended_viewer(fetch.request);
        } else {
            self.forget_expiry(fetch.request);
        }
        self.settle_track_of_fetch(now, id, fetch.track);
    }

    /// The last fetch of a track is over: what it brought is kept for a while.
    fn settle_track_of_fetch(&mut self, now: Instant, id: FetchId, track: TrackId) {
        let Some(of_track) = self.fetches.tracks.get_mut(&track) else {
            return;
        };
        of_track.fetches.remove(&id);
        of_track.parked.remove(&id);
        if !of_track.fetches.is_empty() {
            return;
        }
        let holds_anything = self
            .entries
            .get(&track)
            .is_some_and(|entry| entry.track.cache().bytes() > 0);
        if holds_anything {
            let until = now + self.config.fetch.linger;
            of_track.until = Some(until);
            self.timers.insert((until, Timer::FetchedTrack(track)));
        } else {
            self.fetches.tracks.remove(&track);
        }
        self.remove_if_unused(track);
    }

    /// What was fetched of a track has been kept long enough.
    pub(in crate::moqt::relay) fn fetched_track_due(&mut self, now: Instant, track: TrackId) {
        let Some(of_track) = self.fetches.tracks.get(&track) else {
            return;
        };
        if of_track.until.is_some_and(|until| until <= now) {
            self.fetches.tracks.remove(&track);
            self.remove_if_unused(track);
        }
    }
}

/// How old an object may be to be served.
pub(super) fn age(now: Instant, max_ms: Option<u64>) -> Age {
    let max = max_ms.map(Duration::from_millis);
    Age { now, max }
}

/// Why a range is refused.
pub(super) fn invalid_range(largest: Option<Location>) -> RequestError {
    let reason = match largest {
        None => "nothing is published yet",
        Some(_) => "the range is empty or begins after what is published",
    };
    RequestError::new(RequestCode::INVALID_RANGE, reason)
}
