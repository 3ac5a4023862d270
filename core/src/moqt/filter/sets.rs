//! Range filters at work: sets of them, read once, asked per track and per object.
//!
//! Filters with one SetID must all pass; one set that passes is enough. A set may ask for
//! properties of the track and for fields of its objects, so a subscription to a known track is
//! left with the object's half of those sets that admit the track: [`FilterSets::for_track`].
//! Where one of them asks nothing of objects, there is no filter, and nothing to pay per object.
//!
//! Limits: `ranges_max`, the MAX_FILTER_RANGES that was offered, over all filters together. Errors:
//! [`FilterError`], which is answered with INVALID_FILTER. Source: draft-ietf-moq-transport-19,
//! Section 5.1.3 (range filters), 5.1.4 (combining filters).

use super::{RangeFilter, RangeSubject};
use crate::map::{BTreeMap, BTreeSet};
use crate::moqt::property::Properties;
use thiserror::Error;

/// Why filters cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FilterError {
    /// A value that is no filter, or one past its bounds.
    #[error("a range filter is not well formed")]
    Malformed,
    /// Type, set and property of a filter came twice.
    #[error("a range filter is repeated")]
    Repeated,
    /// More ranges than were offered.
    #[error("more than {max} filter ranges, the limit")]
    TooManyRanges {
        /// The limit.
        max: usize,
    },
    /// A filter of tracks where only objects can be filtered.
    #[error("a track property filter in a request for one track")]
    TrackFilter,
}

/// Ascending ranges, ends inclusive.
type Ranges = Vec<(u64, Option<u64>)>;

/// All range filters of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterSets {
    sets: Vec<Set>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Set {
    track: Vec<(u64, Ranges)>,
    object: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    subject: RangeSubject,
    property: u64,
    ranges: Ranges,
}

/// What a subscription asks of each object; see [`FilterSets::for_track`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFilter {
    sets: Vec<Vec<Rule>>,
}

/// The fields of an object that filters look at.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// Its subgroup; `None` for a datagram, which no subgroup filter lets pass.
    pub subgroup: Option<u64>,
    /// Its id.
    pub object: u64,
    /// Its publisher priority.
    pub priority: u8,
    /// Its properties.
    pub properties: &'a Properties,
}

impl FilterSets {
    /// Reads the filters of a request; those with an empty value count as absent.
    pub fn parse(filters: &[RangeFilter], ranges_max: usize) -> Result<Self, FilterError> {
        let mut sets: BTreeMap<u8, Set> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut count = 0_usize;
        for filter in filters {
            let set = filter.parse().ok_or(FilterError::Malformed)?;
            if filter.value.is_empty() {
                continue;
            }
            if !seen.insert((filter.subject, set.set, set.property)) {
                return Err(FilterError::Repeated);
            }
            count = count.saturating_add(set.ranges.len());
            if count > ranges_max {
                return Err(FilterError::TooManyRanges { max: ranges_max });
            }
            let of_set = sets.entry(set.set).or_default();
            let property = set.property.unwrap_or(0);
            match filter.subject {
                RangeSubject::TrackProperty => of_set.track.push((property, set.ranges)),
                subject => of_set.object.push(Rule {
                    subject,
                    property,
                    ranges: set.ranges,
                }),
            }
        }
        let sets = sets.into_values().collect();
        Ok(Self { sets })
    }

    /// The same, for a request that is about one track.
    pub fn parse_for_objects(
        filters: &[RangeFilter],
        ranges_max: usize,
    ) -> Result<Self, FilterError> {
        let sets = Self::parse(filters, ranges_max)?;
        if sets.sets.iter().any(|set| !set.track.is_empty()) {
            return Err(FilterError::TrackFilter);
        }
        Ok(sets)
    }

    /// Whether any set admits a track with these properties.
    pub fn admits(&self, track: &Properties) -> bool {
        self.sets.is_empty() || self.sets.iter().any(|set| set.admits(track))
    }

    /// What is left to ask of the objects of a track with these properties; `None` is nothing.
    pub fn for_track(&self, track: &Properties) -> Option<Box<ObjectFilter>> {
        if self.sets.is_empty() {
            return None;
        }
        let admitting = self.sets.iter().filter(|set| set.admits(track));
        let sets: Vec<Vec<Rule>> = admitting.map(|set| set.object.clone()).collect();
        if sets.iter().any(Vec::is_empty) {
            return None;
        }
        Some(Box::new(ObjectFilter { sets }))
    }
}

impl Set {
    fn admits(&self, track: &Properties) -> bool {
        let passes = |(property, ranges): &(u64, Ranges)| {
            let value = track.integer(*property);
            value.is_some_and(|value| contains(ranges, value))
        };
        self.track.iter().all(passes)
    }
}

impl ObjectFilter {
    /// Whether an object passes.
    pub fn passes(&self, fields: Fields<'_>) -> bool {
        let passes = |rule: &Rule| {
            let value = match rule.subject {
                RangeSubject::Subgroup => fields.subgroup,
                RangeSubject::Object => Some(fields.object),
                RangeSubject::Priority => Some(fields.priority.into()),
                RangeSubject::ObjectProperty => fields.properties.integer(rule.property),
                RangeSubject::TrackProperty => return true,
            };
            value.is_some_and(|value| contains(&rule.ranges, value))
        };
        self.sets.iter().any(|rules| rules.iter().all(passes))
    }
}

/// The filters of a request after an update: a subject that is named is replaced as a whole, and
/// removed by an empty value.
pub fn updated(before: &[RangeFilter], update: &[RangeFilter]) -> Vec<RangeFilter> {
    let is_named = |subject| update.iter().any(|filter| filter.subject == subject);
    let kept = before.iter().filter(|filter| !is_named(filter.subject));
    let new = update.iter().filter(|filter| !filter.value.is_empty());
    let mut filters: Vec<RangeFilter> = kept.chain(new).cloned().collect();
    filters.sort_by_key(|filter| filter.subject);
    filters
}

fn contains(ranges: &Ranges, value: u64) -> bool {
    let mut ranges = ranges.iter();
    ranges.any(|(start, end)| value >= *start && end.is_none_or(|end| value <= end))
}

#[cfg(test)]
mod tests {
    use super::super::RangeSet;
    use super::*;
    use crate::moqt::property::PropertiesBuilder;

    fn filter(
        subject: RangeSubject,
        set: u8,
        property: Option<u64>,
        ranges: &[(u64, Option<u64>)],
    ) -> RangeFilter {
        let ranges = ranges.to_vec();
        RangeFilter::new(
            subject,
            &RangeSet {
                set,
                property,
                ranges,
            },
        )
        .unwrap()
    }

    fn fields(properties: &Properties, subgroup: u64, object: u64) -> Fields<'_> {
        Fields {
            subgroup: Some(subgroup),
            object,
            priority: 7,
            properties,
        }
    }

    #[test]
    fn filters_of_a_set_must_all_pass_and_one_set_is_enough() {
        use RangeSubject::{Object, Subgroup};
        let sets = FilterSets::parse(
            &[
                filter(Subgroup, 1, None, &[(0, Some(0))]),
                filter(Subgroup, 2, None, &[(5, None)]),
                filter(Object, 1, None, &[(3, Some(5)), (10, Some(15))]),
            ],
            8,
        )
        .unwrap();
        let none = Properties::default();
        let objects = sets.for_track(&none).unwrap();
        let passes = |subgroup, object| objects.passes(fields(&none, subgroup, object));
        assert!(passes(0, 3) && passes(0, 15) && passes(5, 99));
        assert!(!passes(0, 6) && !passes(1, 3) && !passes(4, 99));
    }

    #[test]
    fn track_with_a_wanted_property_is_admitted_and_costs_nothing_per_object() {
        use RangeSubject::{ObjectProperty, Priority, TrackProperty};
        let sets = FilterSets::parse(
            &[
                filter(Priority, 2, None, &[(0, Some(3))]),
                filter(ObjectProperty, 3, Some(0x100), &[(1, Some(1))]),
                filter(TrackProperty, 1, Some(0x200), &[(720, Some(1080))]),
                filter(TrackProperty, 3, Some(0x200), &[(0, None)]),
            ],
            8,
        )
        .unwrap();
        let of = |height| PropertiesBuilder::new().integer(0x200, height).build();
        assert_eq!(sets.for_track(&of(1080)), None);
        let small = sets.for_track(&of(480)).unwrap();
        let keyed = PropertiesBuilder::new().integer(0x100, 1).build();
        assert!(small.passes(fields(&keyed, 0, 0)));
        assert!(!small.passes(fields(&Properties::default(), 0, 0)));
        assert!(sets.admits(&Properties::default()), "by its second set");
    }

    #[test]
    fn faulty_filters_are_named() {
        use RangeSubject::{Object, TrackProperty};
        let one = filter(Object, 0, None, &[(0, Some(1)), (4, Some(5))]);
        let twice = [one.clone(), one.clone()];
        assert_eq!(FilterSets::parse(&twice, 9), Err(FilterError::Repeated));
        let limit = FilterSets::parse(std::slice::from_ref(&one), 1);
        assert_eq!(limit, Err(FilterError::TooManyRanges { max: 1 }));
        let malformed = RangeFilter {
            subject: TrackProperty,
            value: vec![0, 3, 1].into(),
        };
        let of = std::slice::from_ref(&malformed);
        assert_eq!(FilterSets::parse(of, 9), Err(FilterError::Malformed));
        let of_track = [filter(TrackProperty, 0, Some(2), &[(0, None)])];
        let refused = FilterSets::parse_for_objects(&of_track, 9);
        assert_eq!(refused, Err(FilterError::TrackFilter));
    }

    #[test]
    fn update_replaces_a_subject_as_a_whole() {
        use RangeSubject::{Object, Subgroup};
        let before = [
            filter(Subgroup, 0, None, &[(0, Some(0))]),
            filter(Object, 0, None, &[(0, Some(0))]),
            filter(Object, 1, None, &[(9, None)]),
        ];
        let new = filter(Object, 4, None, &[(2, None)]);
        let removed = RangeFilter {
            subject: Subgroup,
            value: bytes::Bytes::new(),
        };
        let after = updated(&before, &[removed, new.clone()]);
        assert_eq!(after, [new]);
    }
}
