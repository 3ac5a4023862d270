//! Rules about what this end sends that the wire alone does not hold: they depend on what the peer
//! allowed in SETUP, on the side, or on the request that is answered.
//!
//! Each is the owner's fault, and so a [`CommandError`]. Source: draft-ietf-moq-transport-19, Sections
//! 10.3.1.6 (MAX_FILTER_RANGES), 10.6.1 (redirects), 10.12.3 (ranges of fetches).

use super::{CommandError, Session};
use crate::moqt::error::EncodeError;
use crate::moqt::filter::Filter;
use crate::moqt::message::{Fetch, Message, RequestError, RequestKind};
use crate::moqt::parameter::Parameters;

impl Session {
    /// Whether the peer allows as many ranges as a request of ours has.
    pub(super) fn check_ranges(&self, message: &Message) -> Result<(), CommandError> {
        let ranges = message.parameters().map_or(0, ranges_of);
        if ranges > self.peer_filter_ranges {
            return refuse("more ranges in filters than the peer allows");
        }
        Ok(())
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
