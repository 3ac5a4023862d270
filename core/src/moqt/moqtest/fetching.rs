//! FETCHes that an [`Origin`] answers: a range of a test track, as fast as the transport takes it.
//!
//! | state | means | leaves by |
//! |---|---|---|
//! | sending | an object is with the transport | `Writable`: the next one |
//! | over | all is sent, or the fetch was stopped or cancelled | - |
//!
//! Groups go out in the order that was asked for, the objects of each ascending; what the track does not
//! have is left out, end-of-group markers too. One object per fetch is all that is held. Joining fetches
//! are refused: a test track has no present that one could join.
//!
//! Source: draft-afrind-moq-test; draft-ietf-moq-transport-19, Section 10.12 (FETCH).

use super::origin::Key;
use super::{Event, Origin, Plan, TestTrack};
use crate::moqt::error::{RequestCode, StreamCode};
use crate::moqt::filter::{GroupOrder, LocationRange};
use crate::moqt::message::{Fetch, FetchOk, FetchTarget, RequestError};
use crate::moqt::name::Location;
use crate::moqt::object::ObjectStatus;
use crate::moqt::session::{CommandError, Session};
use crate::moqt::track::fetched;
use crate::moqt::track::span::Span;
use crate::transport::StreamId;

/// A fetch being answered.
#[derive(Debug)]
pub(super) struct Fetching {
    track: TestTrack,
    span: Span,
    order: GroupOrder,
    /// The group that is being sent.
    group: u64,
    plan: Plan,
    pub(super) stream: StreamId,
    objects: u64,
}

impl Origin {
    pub(super) fn fetch(&mut self, key: Key, fetch: &Fetch) {
        let (session, request) = key;
        match self.begin_fetch(key, fetch) {
            Ok(fetching) => {
                self.fetches.insert(key, fetching);
                self.go_on_fetching(key);
            }
            Err(error) => self.command(session, |it| it.reject(request, error)),
        }
    }

    fn begin_fetch(&mut self, key: Key, fetch: &Fetch) -> Result<Fetching, RequestError> {
        let FetchTarget::Track(name) = &fetch.target else {
            let reason = "a test track cannot be joined";
            return Err(RequestError::new(RequestCode::NOT_SUPPORTED, reason));
        };
        let track = self.track_of(&name.namespace)?;
        let largest = Location::new(track.final_group(), track.final_object());
        let span = fetched::span_of(fetch.parameters.filter, Some(largest)).ok_or_else(|| {
            RequestError::new(RequestCode::INVALID_RANGE, "the track has nothing there")
        })?;
        let order = fetch
            .parameters
            .group_order
            .unwrap_or(GroupOrder::Ascending);
        let answer = FetchOk::new(span.end, span.end == largest, track.properties());
        let group = match order {
            GroupOrder::Ascending => track.group_at(span.start.group),
            GroupOrder::Descending => track.group_before(span.end.group),
        };
        let opened = self.sessions.session_mut(key.0).map(|open| {
            open.accept_fetch(key.1, answer)?;
            open.open_fetch(key.1, 0)
        });
        let Some(Ok(stream)) = opened else {
            let reason = "the session takes no stream";
            return Err(RequestError::new(RequestCode::INTERNAL_ERROR, reason));
        };
        Ok(Fetching {
            plan: plan_of(&track, span, group),
            track,
            span,
            order,
            group,
            stream,
            objects: 0,
        })
    }

    /// The transport took the last object of a fetch, if the request is one. Returns whether it is.
    pub(super) fn go_on_fetching(&mut self, key: Key) -> bool {
        let Some(fetching) = self.fetches.get_mut(&key) else {
            return false;
        };
        let session = key.0;
        let done = match self.sessions.session_mut(session) {
            Some(open) => fetching.send(open),
            None => Ok(true),
        };
        if let Ok(false) = done {
            return true;
        }
        let objects = fetching.objects;
        self.fetches.remove(&key);
        self.events.push_back(Event::Played { session, objects });
        true
    }
}

impl Fetching {
    /// Sends the next object. Returns whether there is none any more.
    fn send(&mut self, session: &mut Session) -> Result<bool, CommandError> {
        loop {
            let next = self
                .plan
                .find(|step| step.object.status == ObjectStatus::Normal);
            if let Some(step) = next {
                let sent = session.send_fetch_object(self.stream, &step.object, false, true);
                if let Err(CommandError::Encode(_)) = sent {
                    session.reset_stream(self.stream, StreamCode::INTERNAL_ERROR);
                }
                sent?;
                self.objects = self.objects.saturating_add(1);
                return Ok(false);
            }
            let Some(group) = self.group_after() else {
                session.finish_stream(self.stream)?;
                return Ok(true);
            };
            self.group = group;
            self.plan = plan_of(&self.track, self.span, group);
        }
    }

    fn group_after(&self) -> Option<u64> {
        let (track, span) = (&self.track, self.span);
        let group = match self.order {
            GroupOrder::Ascending => self.group.checked_add(track.group_step)?,
            GroupOrder::Descending => self.group.checked_sub(track.group_step)?,
        };
        let first = span.start.group.max(track.first_group);
        (first..=span.end.group).contains(&group).then_some(group)
    }
}

/// The objects of a group that lie within a range.
fn plan_of(track: &TestTrack, span: Span, group: u64) -> Plan {
    let start = span.start.max(Location::new(group, 0));
    let end = span.end.min(Location::new(group, u64::MAX));
    let end = Some(end);
    Plan::new(track.clone(), LocationRange { start, end })
}

impl TestTrack {
    /// The first group at a number or after it.
    fn group_at(&self, number: u64) -> u64 {
        let behind = number.saturating_sub(self.first_group);
        let steps = behind.div_ceil(self.group_step);
        (self.first_group).saturating_add(steps.saturating_mul(self.group_step))
    }

    /// The last group at a number or before it; the first one where there is none.
    fn group_before(&self, number: u64) -> u64 {
        let number = number.min(self.final_group());
        let behind = number.saturating_sub(self.first_group);
        number - behind % self.group_step
    }
}
