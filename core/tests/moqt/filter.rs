//! Filters: the same words in every draft's bytes, what they resolve to, and ranges of values.

use crate::arbitrary;
use crate::wire::encoded;
use bytes::Bytes;
use mainstem_core::moqt::control::ControlReader;
use mainstem_core::moqt::filter::{
    Filter, LocationRange, RangeFilter, RangeSet, RangeSubject, RangeSubject as S,
};
use mainstem_core::moqt::message::{Message, StreamRole, Subscribe};
use mainstem_core::moqt::name::{FullTrackName, Location, RequestId, TrackNamespace};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::{Draft, EncodeError};
use proptest::prelude::*;

/// Type, length, request id, namespace `a`, name `b`, one parameter, its type.
const HEAD: usize = 1 + 2 + 1 + 3 + 2 + 1 + 1;

fn subscribe(filter: Filter) -> Message {
    let namespace = TrackNamespace::from_path("a").unwrap();
    Message::from(Subscribe {
        request_id: RequestId(0),
        track: FullTrackName::new(namespace, "b".into()).unwrap(),
        parameters: Parameters {
            filter: Some(filter),
            ..Parameters::default()
        },
    })
}

/// The parameter's value, its length included where there is one.
fn written(draft: Draft, filter: Filter) -> Vec<u8> {
    encoded(draft, &subscribe(filter))[HEAD..].to_vec()
}

fn read(draft: Draft, value: &[u8]) -> Option<Filter> {
    let head = encoded(Draft::D22, &subscribe(Filter::NextObject));
    let mut bytes = head[..HEAD].to_vec();
    bytes.extend_from_slice(value);
    bytes[2] = u8::try_from(bytes.len() - 3).unwrap();
    let mut reader = ControlReader::new(StreamRole::Request);
    reader.push(&Bytes::from(bytes));
    match reader.poll(draft).ok()?? {
        Message::Subscribe(subscribe) => subscribe.parameters.filter,
        _ => None,
    }
}

const fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

const fn absolute(group: u64, object: u64) -> Filter {
    Filter::Absolute {
        start: at(group, object),
    }
}

const fn range(start: Location, end_group: u64, end_object: Option<u64>) -> Filter {
    Filter::AbsoluteRange {
        start,
        end_group,
        end_object,
    }
}

#[test]
fn each_draft_writes_filters_in_its_own_bytes() {
    covers!("MOQT22-9.20.9-1");
    let old = Draft::D18;
    let counted = Draft::D21;
    let tagged = Draft::D22;
    let cases: [(Draft, Filter, &[u8]); 20] = [
        (old, Filter::NextGroup, &[1, 1]),
        (old, Filter::NextObject, &[1, 2]),
        (old, Filter::None, &[3, 3, 0, 0]),
        (old, absolute(7, 8), &[3, 3, 7, 8]),
        (old, range(at(7, 8), 9, None), &[4, 4, 7, 8, 2]),
        (counted, Filter::None, &[0]),
        (counted, Filter::NextGroup, &[1, 0]),
        (counted, Filter::RelativeStart { groups: 3 }, &[1, 3]),
        (counted, Filter::NextObject, &[2, 0, 0]),
        (counted, absolute(7, 8), &[2, 7, 8]),
        (counted, range(at(7, 8), 9, None), &[3, 7, 8, 2]),
        (counted, range(at(0, 0), 0, Some(4)), &[4, 0, 0, 0, 4]),
        (tagged, Filter::None, &[0]),
        (tagged, Filter::NextGroup, &[1, 0]),
        (tagged, Filter::RelativeStart { groups: 3 }, &[1, 3]),
        (tagged, Filter::NextObject, &[5]),
        (tagged, absolute(7, 8), &[2, 7, 8]),
        (tagged, absolute(0, 0), &[2, 0, 0]),
        (tagged, range(at(7, 8), 9, None), &[3, 7, 8, 2]),
        (tagged, range(at(0, 0), 0, Some(4)), &[4, 0, 0, 0, 4]),
    ];
    for (draft, filter, bytes) in cases {
        assert_eq!(written(draft, filter), bytes, "{draft} {filter:?}");
        let back = read(draft, bytes).unwrap();
        assert_eq!(back.canonical(), filter.canonical(), "{draft} {filter:?}");
    }
}

#[test]
fn the_same_bytes_mean_next_object_in_20_and_everything_in_22() {
    covers!("MOQT20-5.1.2-3", "MOQT22-9.20.9-4");
    let trap = [0x02, 0x00, 0x00];
    assert_eq!(read(Draft::D20, &trap), Some(Filter::NextObject));
    assert_eq!(read(Draft::D21, &trap), Some(Filter::NextObject));
    let in_22 = read(Draft::D22, &trap).unwrap();
    assert_eq!(in_22.canonical(), Filter::None);
    assert_eq!(read(Draft::D18, &trap), None);
}

#[test]
fn the_number_of_fields_counts_and_not_their_bytes() {
    // One field of two bytes, of value 5; then two fields of two bytes each.
    let five = Filter::RelativeStart { groups: 5 };
    assert_eq!(read(Draft::D20, &[2, 0x80, 5]), Some(five));
    let zeros = [4, 0x80, 0, 0x80, 0];
    assert_eq!(read(Draft::D20, &zeros), Some(Filter::NextObject));
}

#[test]
fn what_a_draft_cannot_say_is_refused_or_widened() {
    let cannot = [
        (Filter::RelativeStart { groups: 2 }, Filter::None),
        (range(at(1, 0), 2, Some(3)), range(at(1, 0), 2, None)),
    ];
    for (filter, wider) in cannot {
        let mut out = bytes::BytesMut::new();
        let refused = subscribe(filter).encode(Draft::D18, &mut out);
        assert!(
            matches!(refused, Err(EncodeError::NotExpressible { .. })),
            "{refused:?}"
        );
        assert_eq!(filter.widened_for(Draft::D18), wider);
        assert_eq!(filter.widened_for(Draft::D20), filter);
    }
    let mut out = bytes::BytesMut::new();
    let backwards = subscribe(range(at(2, 0), 1, None)).encode(Draft::D22, &mut out);
    assert!(matches!(backwards, Err(EncodeError::Invalid(_))));
}

#[test]
fn filters_resolve_against_the_largest_location() {
    let largest = Some(at(9, 4));
    let cases = [
        (Filter::None, largest, at(0, 0), None),
        (Filter::NextGroup, largest, at(10, 0), None),
        (Filter::NextGroup, None, at(0, 0), None),
        (Filter::NextObject, largest, at(9, 5), None),
        (Filter::NextObject, None, at(0, 0), None),
        (Filter::RelativeStart { groups: 1 }, largest, at(9, 0), None),
        (
            Filter::RelativeStart { groups: 99 },
            largest,
            at(0, 0),
            None,
        ),
        (absolute(3, 1), largest, at(3, 1), None),
        (
            range(at(3, 1), 4, Some(2)),
            largest,
            at(3, 1),
            Some(at(4, 2)),
        ),
        (
            range(at(3, 1), 4, None),
            None,
            at(3, 1),
            Some(at(4, u64::MAX)),
        ),
        (
            Filter::NextGroup,
            Some(at(u64::MAX, 0)),
            at(u64::MAX, 0),
            None,
        ),
    ];
    for (filter, largest, start, end) in cases {
        let resolved = filter.resolve(largest);
        assert_eq!(resolved, LocationRange { start, end }, "{filter:?}");
    }
    let resolved = range(at(3, 1), 4, Some(2)).resolve(None);
    assert!(resolved.contains(at(3, 1)) && resolved.contains(at(4, 2)));
    assert!(!resolved.contains(at(3, 0)) && !resolved.contains(at(4, 3)));
}

#[test]
fn faulty_ranges_are_invalid_and_not_a_close() {
    let parse = |subject, value: &[u8]| {
        let value = Bytes::copy_from_slice(value);
        RangeFilter { subject, value }.parse()
    };
    let set = |property, ranges: &[(u64, Option<u64>)]| {
        let ranges = ranges.to_vec();
        let set = 1;
        Some(RangeSet {
            set,
            property,
            ranges,
        })
    };
    assert_eq!(
        parse(S::Object, &[1, 2, 3, 4, 0]),
        set(None, &[(2, Some(5)), (9, Some(9))])
    );
    assert_eq!(parse(S::Object, &[1, 2]), set(None, &[(2, None)]));
    assert_eq!(
        parse(S::ObjectProperty, &[1, 0x3c, 2]),
        set(Some(0x3c), &[(2, None)])
    );
    assert!(parse(S::Subgroup, &[]).unwrap().ranges.is_empty());
    assert_eq!(parse(S::Priority, &[1, 0x80, 250, 6]), None, "beyond 255");
    assert_eq!(
        parse(S::ObjectProperty, &[1, 0x3d, 2]),
        None,
        "odd property"
    );
    assert_eq!(parse(S::TrackProperty, &[1]), None, "no property");
    assert_eq!(parse(S::Object, &[1, 0x80]), None, "cut integer");
    let past = [1, 1, 0xff, 255, 255, 255, 255, 255, 255, 255, 255];
    assert_eq!(parse(S::Object, &past), None, "past 2^64");
}

proptest! {
    #[test]
    fn filters_are_read_back(
        (draft, filter) in arbitrary::draft().prop_flat_map(|d| (Just(d), arbitrary::filter(d)))
    ) {
        prop_assert_eq!(read(draft, &written(draft, filter)), Some(filter));
    }

    #[test]
    fn range_sets_are_read_back(
        set in any::<u8>(),
        steps in proptest::collection::vec((0_u64..1000, 0_u64..1000), 0..5),
        open in any::<bool>(),
        property in proptest::option::of(0_u64..500),
    ) {
        let mut ranges = Vec::new();
        let mut from = 0;
        for (gap, length) in steps {
            ranges.push((from + gap, Some(from + gap + length)));
            from += gap + length;
        }
        if open && let Some(last) = ranges.last_mut() {
            last.1 = None;
        }
        let property = property.map(|property| property * 2);
        let subject = match property {
            Some(_) => RangeSubject::ObjectProperty,
            None => RangeSubject::Subgroup,
        };
        let set = RangeSet { set, property, ranges };
        prop_assert_eq!(RangeFilter::new(subject, &set).unwrap().parse(), Some(set));
    }
}
