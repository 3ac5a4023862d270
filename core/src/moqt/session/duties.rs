//! Rules about what this end sends that the wire alone does not hold: they depend on what the peer
//! allowed in SETUP, on the side, or on the request that is answered.
//!
//! Each is the owner's fault, and so a [`CommandError`]. Source: draft-ietf-moq-transport-19, Sections
//! 10.2.18 (new groups), 10.3.1.6 (MAX_FILTER_RANGES), 10.9.2 (prefixes), 10.6.1 (redirects), 10.12.3 (ranges of fetches).

use super::{CommandError, Event, Session};
use crate::moqt::error::{EncodeError, StreamCode};
use crate::moqt::filter::Filter;
use crate::moqt::message::{Fetch, Message, RequestError, RequestKind};
use crate::moqt::name::{RequestId, TrackNamespace};
use crate::moqt::parameter::Parameters;
use crate::transport::Origin;

impl Session {
    /// Whether the peer allows as many ranges as a request of ours has.
    pub(super) fn check_ranges(&self, message: &Message) -> Result<(), CommandError> {
        let ranges = message.parameters().map_or(0, ranges_of);
        if ranges > self.peer_filter_ranges {
            return refuse("more ranges in filters than the peer allows");
        }
        Ok(())
    }

    /// What an update of ours may ask for.
    pub(super) fn check_update(
        &self,
        request: RequestId,
        update: &Parameters,
    ) -> Result<(), CommandError> {
        self.check_new_group(request, update)?;
        let kind = self.requests.get(&request).map(|entry| entry.kind);
        let Some(prefix) = &update.namespace_prefix else {
            return Ok(());
        };
        let overlaps = self.requests.iter().any(|(id, other)| {
            let other_prefix = other.prefix.as_ref().filter(|_| other.is_established());
            *id != request
                && Some(other.kind) == kind
                && other_prefix.is_some_and(|it| it.has_prefix(prefix) || prefix.has_prefix(it))
        });
        if overlaps {
            return refuse("a prefix that overlaps another one of the same kind");
        }
        Ok(())
    }

    /// Whether the track of an established subscription begins groups when asked.
    pub(super) fn check_new_group(
        &self,
        request: RequestId,
        parameters: &Parameters,
    ) -> Result<(), CommandError> {
        let entry = self.requests.get(&request);
        if parameters.new_group_request.is_some() && entry.is_some_and(|it| !it.dynamic_groups) {
            return refuse("a new group of a track without dynamic groups");
        }
        Ok(())
    }

    /// Up to draft 18 a track has one subscription: before a PUBLISH is agreed to, the SUBSCRIBE of
    /// ours that crossed it is given up. Its owner sees it cancelled.
    pub(super) fn end_crossing_subscribe(&mut self, request: RequestId) {
        let entry = self.requests.get(&request);
        let track = entry.filter(|it| it.kind == RequestKind::Publish);
        let Some(track) = track.and_then(|entry| entry.track.clone()) else {
            return;
        };
        if self.draft.profile().concurrent_subscriptions {
            return;
        }
        let crossing = self.requests.iter().find(|(_, other)| {
            let is_ours = other.kind == RequestKind::Subscribe && other.origin() == Origin::Local;
            is_ours && !other.is_established() && other.track.as_ref() == Some(&track)
        });
        if let Some(request) = crossing.map(|(request, _)| *request) {
            let code = StreamCode::CANCELLED;
            if self.cancel(request, code).is_ok() {
                let code = Some(code);
                self.event(Event::Cancelled { request, code });
            }
        }
    }

    /// Remembers the prefix that a request of ours is about.
    pub(super) fn note_prefix(&mut self, request: RequestId, prefix: Option<TrackNamespace>) {
        if let (Some(entry), Some(prefix)) = (self.requests.get_mut(&request), prefix) {
            entry.prefix = Some(prefix);
        }
    }
}

fn ranges_of(parameters: &Parameters) -> u64 {
    let filters = parameters.range_filters.iter();
    let ranges = filters.map(|filter| filter.parse().map_or(1, |set| set.ranges.len()));
    ranges.fold(0, |sum: u64, ranges| sum.saturating_add(ranges as u64))
}

/// A range that a fetch of ours asks for.
pub(super) fn check_fetch(fetch: &Fetch) -> Result<(), CommandError> {
    let Some(Filter::AbsoluteRange {
        start,
        end_group,
        end_object,
    }) = fetch.parameters.filter
    else {
        return Ok(());
    };
    let is_backwards = end_group < start.group
        || (end_group == start.group && end_object.is_some_and(|end| end < start.object));
    if is_backwards {
        return refuse("a fetch that ends before it begins");
    }
    Ok(())
}

/// The refusal of a request of this kind.
pub(super) fn check_refusal(kind: RequestKind, error: &RequestError) -> Result<(), CommandError> {
    let is_about_namespace = matches!(
        kind,
        RequestKind::PublishNamespace
            | RequestKind::SubscribeNamespace
            | RequestKind::SubscribeTracks
    );
    let names_track = |redirect: &crate::moqt::message::Redirect| !redirect.name.0.is_empty();
    if is_about_namespace && error.redirect.as_ref().is_some_and(names_track) {
        return refuse("a redirect of a namespace to a track");
    }
    Ok(())
}

fn refuse(reason: &'static str) -> Result<(), CommandError> {
    Err(EncodeError::Invalid(reason).into())
}
