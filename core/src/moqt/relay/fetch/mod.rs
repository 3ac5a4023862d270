//! FETCH, joining FETCH and fill: answered from a track's cache, stitched with upstream where the
//! cache has holes.
//!
//! | a fetch is | means | leaves by |
//! |---|---|---|
//! | asking | how far the track is published is not known here; a publisher was sent FETCH | its answer, or the cache's |
//! | serving | objects go out as the transport takes them | the last of them, a cancel, an expiry |
//! | parked | the next places are unknown here and asked for upstream | objects, gaps, the end of that fetch, patience |
//!
//! The subscriber's fetches are in `answer`, joining fetches and fills in `join`, the relay's own
//! fetches upstream in `upstream`, and who asks whom in `ask`.
//!
//! What comes from upstream goes into the track's cache and from there to whoever waits, so that
//! equal fetches cost one upstream and a second fetch is a hit. A fetch upstream that runs ahead of
//! its readers by [`Limits::ahead_bytes_max`] is given up; the rest is asked for when they get there.
//! Nobody that fails to tell about a place is asked about it again by the same fetch: what stays
//! unknown is told as such, and the fetch goes on behind it.
//!
//! Limits: [`Limits`], and those of the cache. Source: draft-ietf-moq-transport-19 sections 5.2, 8.1,
//! 9.2.6 (fill timeout), 9.13, 9.14, 10.4.4; 18, section 10.12; 20, section 5.1.3 (fill).

mod answer;
mod ask;
mod join;
mod upstream;

use super::budget::Ages;
use super::{RequestKey, TrackId};
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::filter::{Filter, GroupOrder};
use crate::moqt::message::Fetch as FetchMessage;
use crate::moqt::name::Location;
use crate::moqt::parameter::Parameters;
use crate::moqt::track::serving::Serving;
use crate::moqt::track::span::Span;
use crate::time::Instant;
use crate::transport::{SessionId, StreamId};
use std::time::Duration;
use upstream::Asked;

/// Bounds of fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fetches and fills of one session at a time.
    pub session_fetches_max: usize,
    /// Fetches upstream of one track at a time; further holes wait for one of them to end.
    pub track_upstream_max: usize,
    /// Bytes that a fetch upstream may bring before somebody who waits for it has caught up.
    pub ahead_bytes_max: usize,
    /// How long upstream may tell nothing new, where the subscriber sets no FILL_TIMEOUT, and the
    /// longest FILL_TIMEOUT that is honoured.
    pub upstream_timeout: Duration,
    /// How long what was fetched of a track without subscribers is kept.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            session_fetches_max: 64,
            track_upstream_max: 16,
            ahead_bytes_max: 8 << 20,
            upstream_timeout: Duration::from_secs(10),
            linger: Duration::from_secs(30),
        }
    }
}

/// Names a fetch or fill of a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FetchId(u64);

/// All fetches of a relay.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    by_id: BTreeMap<FetchId, Fetch>,
    /// By the request that they end with: a FETCH itself, or the subscription that is filled.
    by_request: BTreeSet<(RequestKey, FetchId)>,
    by_stream: BTreeMap<(SessionId, StreamId), FetchId>,
    tracks: BTreeMap<TrackId, OfTrack>,
    /// Our own fetches upstream.
    asked: BTreeMap<RequestKey, Asked>,
    /// Joining fetches that wait for their subscription: by that, then by their own request.
    joining: BTreeMap<(RequestKey, RequestKey), FetchMessage>,
    /// Fetched groups by age, for eviction.
    pub(super) ages: Ages,
    next_id: u64,
    /// Fetches and fills accepted.
    accepted: u64,
    /// Fetches sent upstream.
    asked_upstream: u64,
}

/// The fetches of one track.
#[derive(Debug, Default)]
struct OfTrack {
    fetches: BTreeSet<FetchId>,
    /// Those that wait for something unknown.
    parked: BTreeSet<FetchId>,
    asked: BTreeSet<RequestKey>,
    /// Until when the track is kept for its history, when nothing else keeps it.
    until: Option<Instant>,
}

/// A fetch or fill of a subscriber.
#[derive(Debug)]
struct Fetch {
    track: TrackId,
    /// The request that it ends with.
    request: RequestKey,
    /// What its stream is named by: the same, or a REQUEST_UPDATE.
    name: RequestKey,
    is_fill: bool,
    state: State,
    parameters: Parameters,
    /// What is left of FILL_TIMEOUT; `None` without one.
    budget: Option<Duration>,
    /// Since when it waits for upstream, and at which place.
    waiting: Option<(Instant, Option<Location>)>,
    /// When its timer goes off.
    armed: Option<Instant>,
    /// It waits no more: what is unknown is told as such.
    is_out_of_time: bool,
    /// Who was asked, and what they have told about; `None` when they refused or failed.
    tried: BTreeMap<SessionId, Option<Span>>,
    /// The fetch upstream that it reads from.
    upstream: Option<RequestKey>,
    /// The stream that answers it, once open.
    stream: Option<StreamId>,
    /// What the cache had of it, as far as that is known.
    cached: Cached,
}

/// What the cache has of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cached {
    /// All so far.
    Whole,
    /// Some objects, and then a place that it does not know.
    Part,
    /// Not the first place.
    Nothing,
}

#[derive(Debug)]
enum State {
    Asking,
    Serving(Serving),
}

impl Fetch {
    fn filter(&self) -> Option<Filter> {
        self.parameters.filter
    }

    fn order(&self) -> GroupOrder {
        self.parameters.group_order.unwrap_or(GroupOrder::Ascending)
    }

    fn priority(&self) -> u8 {
        self.parameters.subscriber_priority.unwrap_or(128)
    }

    fn at(&self) -> Option<Location> {
        match &self.state {
            State::Asking => None,
            State::Serving(serving) => serving.at(),
        }
    }

    /// Whether a session may still know something about a place.
    fn may_ask(&self, session: SessionId, place: Location) -> bool {
        match self.tried.get(&session) {
            None => true,
            Some(told) => told.is_some_and(|told| !told.contains(place)),
        }
    }
}

impl Fetches {
    /// Whether a track has to be kept.
    pub(super) fn hold(&self, track: TrackId) -> bool {
        self.tracks.contains_key(&track)
    }

    /// Whether a data stream answers a fetch.
    pub(super) fn of_stream(&self, session: SessionId, stream: StreamId) -> Option<FetchId> {
        self.by_stream.get(&(session, stream)).copied()
    }

    /// Fetches and fills that are being answered.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Fetches and fills accepted so far.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Fetches sent upstream so far.
    pub(super) fn asked_upstream(&self) -> u64 {
        self.asked_upstream
    }

    fn ids_of(&self, request: RequestKey) -> Vec<FetchId> {
        let all = (request, FetchId(0))..=(request, FetchId(u64::MAX));
        self.by_request.range(all).map(|(_, id)| *id).collect()
    }

    fn is_fetch(&self, request: RequestKey) -> bool {
        self.ids_of(request)
            .iter()
            .any(|id| self.by_id.get(id).is_some_and(|fetch| !fetch.is_fill))
    }

    /// Whether a session has as many fetches as it may.
    fn is_full(&self, session: SessionId, limit: usize) -> bool {
        use crate::moqt::name::RequestId;
        let first = ((session, RequestId(0)), FetchId(0));
        let last = ((session, RequestId(u64::MAX)), FetchId(u64::MAX));
        let waiting = (
            ((session, RequestId(0)), (SessionId(0), RequestId(0))),
            (
                (session, RequestId(u64::MAX)),
                (SessionId(u64::MAX), RequestId(u64::MAX)),
            ),
        );
        let served = self.by_request.range(first..=last).take(limit).count();
        let joining = self
            .joining
            .range(waiting.0..=waiting.1)
            .take(limit)
            .count();
        served.saturating_add(joining) >= limit
    }
}
