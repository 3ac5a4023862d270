//! Ranges of places, and a bounded set of them.
//!
//! Places of a track are ordered by group, then by object, so a range of them may cover parts of two
//! groups and all groups between. [`Spans`] keeps disjoint ranges and joins what touches. It has a
//! limit: when it is passed, the lowest range is forgotten, which for a cache means that it knows
//! less, never that it knows something false.
//!
//! Source: draft-ietf-moq-transport-19, sections 1.4.2 (location), 2.1 (what is known of objects).

use crate::map::BTreeMap;
use crate::moqt::name::Location;

/// Objects at this place or a larger one stand for "to the end of the group" on the wire: some peers
/// hold integers to 62 bits.
pub const LAST_OBJECT: u64 = (1 << 62) - 1;

/// The largest place of all.
pub const LAST: Location = Location::new(u64::MAX, u64::MAX);

/// A range of places, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First place.
    pub start: Location,
    /// Last place; not smaller than the first.
    pub end: Location,
}

impl Span {
    /// A range, unless it would end before it starts.
    pub fn new(start: Location, end: Location) -> Option<Self> {
        (start <= end).then_some(Self { start, end })
    }

    /// One whole group.
    pub const fn of_group(group: u64) -> Self {
        Self {
            start: Location::new(group, 0),
            end: Location::new(group, u64::MAX),
        }
    }

    /// Whether a place is inside.
    pub fn contains(&self, place: Location) -> bool {
        self.start <= place && place <= self.end
    }

    /// What both have in common.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }
}

/// The place after this one, if there is one.
pub fn after(place: Location) -> Option<Location> {
    match (place.object.checked_add(1), place.group.checked_add(1)) {
        (Some(object), _) => Some(Location::new(place.group, object)),
        (None, Some(group)) => Some(Location::new(group, 0)),
        (None, None) => None,
    }
}

/// The place before this one, if there is one.
pub fn before(place: Location) -> Option<Location> {
    match (place.object.checked_sub(1), place.group.checked_sub(1)) {
        (Some(object), _) => Some(Location::new(place.group, object)),
        (None, Some(group)) => Some(Location::new(group, u64::MAX)),
        (None, None) => None,
    }
}

/// A bounded set of places, kept as disjoint ranges that do not touch.
#[derive(Debug)]
pub struct Spans {
    /// Last place by first place.
    ends: BTreeMap<Location, Location>,
    max: usize,
}

impl Spans {
    /// An empty set of at most `max` ranges.
    pub const fn new(max: usize) -> Self {
        Self {
            ends: BTreeMap::new(),
            max,
        }
    }

    /// Adds a range.
    pub fn insert(&mut self, span: Span) {
        let Span { mut start, mut end } = span;
        // What begins before the new range and touches it is taken in, then what begins inside it.
        if let Some((&first, &last)) = self.ends.range(..=start).next_back()
            && after(last).is_none_or(|next| next >= start)
        {
            start = first;
            end = end.max(last);
        }
        loop {
            let bound = after(end).unwrap_or(LAST);
            let Some((&first, &last)) = self.ends.range(start..=bound).next() else {
                break;
            };
            self.ends.remove(&first);
            end = end.max(last);
        }
        self.ends.insert(start, end);
        while self.ends.len() > self.max {
            self.ends.pop_first();
        }
    }

    /// The range that holds a place.
    pub fn covering(&self, place: Location) -> Option<Span> {
        let (&start, &end) = self.ends.range(..=place).next_back()?;
        (place <= end).then_some(Span { start, end })
    }

    /// The first range that begins after a place.
    pub fn next_after(&self, place: Location) -> Option<Span> {
        let from = after(place)?;
        let (&start, &end) = self.ends.range(from..).next()?;
        Some(Span { start, end })
    }

    /// The last range that ends before a place.
    pub fn last_before(&self, place: Location) -> Option<Span> {
        let below = self.ends.range(..place).rev();
        let mut below = below.map(|(&start, &end)| Span { start, end });
        below.find(|span| span.end < place)
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(group: u64, object: u64) -> Location {
        Location::new(group, object)
    }

    fn span(start: (u64, u64), end: (u64, u64)) -> Span {
        Span::new(at(start.0, start.1), at(end.0, end.1)).unwrap()
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let mut spans = Spans::new(8);
        spans.insert(span((1, 5), (1, u64::MAX)));
        spans.insert(span((3, 0), (3, 2)));
        assert_eq!(spans.len(), 2);
        spans.insert(span((2, 0), (2, u64::MAX)));
        assert_eq!(spans.len(), 1);
        assert_eq!(spans.covering(at(2, 7)), Some(span((1, 5), (3, 2))));
        assert_eq!(spans.covering(at(1, 4)), None);
        assert_eq!(spans.covering(at(3, 3)), None);
        spans.insert(span((0, 0), (9, 9)));
        assert_eq!(spans.len(), 1);
        assert_eq!(spans.next_after(at(0, 0)), None);
        assert_eq!(spans.last_before(at(10, 0)), Some(span((0, 0), (9, 9))));
        spans.insert(Span {
            start: at(4, 0),
            end: LAST,
        });
        assert_eq!(
            spans.covering(LAST),
            Some(Span {
                start: at(0, 0),
                end: LAST
            })
        );
    }

    #[test]
    fn more_ranges_than_the_limit_make_it_forget_the_lowest() {
        let mut spans = Spans::new(2);
        for group in [5, 1, 3] {
            spans.insert(span((group, 1), (group, 2)));
        }
        assert_eq!(spans.len(), 2);
        assert_eq!(spans.covering(at(1, 1)), None);
        assert!(spans.covering(at(3, 1)).is_some());
        assert_eq!(spans.last_before(at(5, 1)), Some(span((3, 1), (3, 2))));
        assert_eq!(spans.next_after(at(3, 1)), Some(span((5, 1), (5, 2))));
    }

    #[test]
    fn places_follow_each_other_over_the_ends_of_groups() {
        assert_eq!(after(at(1, u64::MAX)), Some(at(2, 0)));
        assert_eq!(before(at(2, 0)), Some(at(1, u64::MAX)));
        assert_eq!((after(LAST), before(Location::ZERO)), (None, None));
    }
}
