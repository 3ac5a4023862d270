//! What a FETCH, a joining FETCH or a fill means for a track, and how its answer reads.
//!
//! All ranges have inclusive ends here, in every draft. "To the end of the group" is object
//! 2^64 - 1 here and [`LAST_OBJECT`] on the wire where a draft has no other way to say it.
//!
//! Source: draft-ietf-moq-transport-18, sections 10.12.2 (joining fetches), 10.13 (FETCH_OK); 20,
//! sections 5.1.3 (fill), 10.14.

use super::cache::Cache;
use super::span::{LAST, LAST_OBJECT, Span};
use crate::moqt::draft::{Draft, FetchForm};
use crate::moqt::filter::{Filter, GroupOrder};
use crate::moqt::message::{FetchOk, FetchTarget};
use crate::moqt::name::Location;
use crate::moqt::parameter::Parameters;
use crate::moqt::property::Properties;

/// What a subscription says that a joining FETCH or a fill rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Whether it gets objects.
    pub forward: bool,
    /// The largest location when it began to.
    pub location: Option<Location>,
    /// Its location filter.
    pub filter: Option<Filter>,
    /// The order of groups that it asked for.
    pub order: Option<GroupOrder>,
    /// Its priority.
    pub priority: u8,
}

/// The range that a filter means for a fetch when `largest` is published; `None` is INVALID_RANGE:
/// nothing is published, the range is empty, or begins after what is published.
pub fn span_of(filter: Option<Filter>, largest: Option<Location>) -> Option<Span> {
    let largest = largest?;
    let range = filter.unwrap_or(Filter::None).resolve(Some(largest));
    Span::new(range.start, range.end.unwrap_or(LAST).min(largest))
}

/// The range that a filter names by itself, however much is published; `None` when it is relative to
/// that.
pub fn absolute_span_of(filter: Option<Filter>) -> Option<Span> {
    match filter.unwrap_or(Filter::None) {
        Filter::NextGroup | Filter::NextObject | Filter::RelativeStart { .. } => None,
        filter @ (Filter::None | Filter::Absolute { .. } | Filter::AbsoluteRange { .. }) => {
            let range = filter.resolve(None);
            Span::new(range.start, range.end.unwrap_or(LAST))
        }
    }
}

/// The range of a joining FETCH; `None` is INVALID_RANGE.
pub fn joining_span(target: &FetchTarget, joining: Option<Location>) -> Option<Span> {
    let end = joining?;
    let group = match target {
        FetchTarget::RelativeJoin { groups, .. } => end.group.saturating_sub(*groups),
        FetchTarget::AbsoluteJoin { group, .. } => *group,
        FetchTarget::Track(_) => return None,
    };
    Span::new(Location::new(group, 0), end)
}

/// The filter that asks for a range.
pub fn filter_of(span: Span) -> Filter {
    if span.end == LAST {
        return Filter::Absolute { start: span.start }.canonical();
    }
    Filter::AbsoluteRange {
        start: span.start,
        end_group: span.end.group,
        end_object: Some(span.end.object).filter(|object| *object < LAST_OBJECT),
    }
}

/// The answer to a fetch of a range.
pub fn answer(
    draft: Draft,
    cache: &Cache,
    span: Span,
    properties: &Properties,
    asked: &Parameters,
) -> FetchOk {
    let is_whole_group = span.end.object >= LAST_OBJECT;
    let end_object = match draft.profile().fetch_form {
        FetchForm::Typed if is_whole_group => None,
        FetchForm::Typed | FetchForm::Inline => Some(span.end.object.min(LAST_OBJECT)),
    };
    let properties = match asked.include_properties {
        Some(false) => Properties::EMPTY,
        Some(true) | None => properties.clone(),
    };
    FetchOk {
        end_of_track: cache.is_final(span.end),
        end_group: span.end.group,
        end_object,
        parameters: Parameters::default(),
        properties,
    }
}

/// The end of an answer.
pub fn end_of(answer: &FetchOk) -> Location {
    whole_group_end(Location::new(
        answer.end_group,
        answer.end_object.unwrap_or(u64::MAX),
    ))
}

/// A place off the wire, with the end of a group as it is said here.
pub fn whole_group_end(place: Location) -> Location {
    if place.object >= LAST_OBJECT {
        Location::new(place.group, u64::MAX)
    } else {
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moqt::name::RequestId;

    fn at(group: u64, object: u64) -> Location {
        Location::new(group, object)
    }

    #[test]
    fn range_is_cut_at_what_is_published_and_invalid_beyond() {
        let range = |start, end_group, end_object| {
            Some(Filter::AbsoluteRange {
                start,
                end_group,
                end_object,
            })
        };
        let largest = Some(at(5, 3));
        let is = |filter, expected: Option<(Location, Location)>| {
            let span = span_of(filter, largest).map(|span| (span.start, span.end));
            assert_eq!(span, expected, "{filter:?}");
        };
        is(None, Some((at(0, 0), at(5, 3))));
        is(range(at(2, 1), 4, None), Some((at(2, 1), at(4, u64::MAX))));
        is(range(at(2, 1), 5, None), Some((at(2, 1), at(5, 3))));
        is(range(at(5, 3), 5, Some(3)), Some((at(5, 3), at(5, 3))));
        is(range(at(5, 4), 5, None), None);
        is(
            Some(Filter::RelativeStart { groups: 1 }),
            Some((at(5, 0), at(5, 3))),
        );
        is(
            Some(Filter::RelativeStart { groups: 9 }),
            Some((at(0, 0), at(5, 3))),
        );
        is(Some(Filter::NextObject), None);
        is(Some(Filter::NextGroup), None);
        assert_eq!(span_of(None, None), None);
    }

    #[test]
    fn joining_range_ends_where_the_subscription_begins() {
        let joining = RequestId(0);
        let relative = |groups| FetchTarget::RelativeJoin { joining, groups };
        let absolute = |group| FetchTarget::AbsoluteJoin { joining, group };
        let end = at(5, 3);
        let start = |target| joining_span(&target, Some(end)).map(|span| (span.start, span.end));
        assert_eq!(start(relative(0)), Some((at(5, 0), end)));
        assert_eq!(start(relative(2)), Some((at(3, 0), end)));
        assert_eq!(start(relative(9)), Some((at(0, 0), end)));
        assert_eq!(start(absolute(4)), Some((at(4, 0), end)));
        assert_eq!(start(absolute(6)), None);
        assert_eq!(joining_span(&relative(0), None), None);
    }
}
