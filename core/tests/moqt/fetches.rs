//! Fetch streams: read as written however they are cut, in either order, bounded, and closed upon
//! where the drafts say so.

use crate::arbitrary::{bytes, integer};
use crate::streams::properties;
use crate::wire::cut;
use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::error::{EncodeError, SessionCode};
use mainstem_core::moqt::filter::GroupOrder;
use mainstem_core::moqt::name::{Location, RequestId};
use mainstem_core::moqt::object::{
    DataFault, FetchEvent, FetchReader, FetchWriter, GapKind, Limits, Object, ObjectStatus,
};
use mainstem_core::moqt::property::Properties;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

/// A fetch stream: what it says, and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) draft: Draft,
    pub(crate) order: GroupOrder,
    pub(crate) events: Vec<FetchEvent>,
    pub(crate) bytes: Bytes,
}

/// What an item adds to the one before it: groups, an object id, and the rest.
#[derive(Clone, Debug)]
struct Step {
    groups: u64,
    object: u64,
    gap: Option<GapKind>,
    subgroup: Option<u64>,
    priority: u8,
    properties: Properties,
    payload: Bytes,
}

fn order() -> impl Strategy<Value = GroupOrder> {
    prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)]
}

fn gap() -> impl Strategy<Value = GapKind> {
    prop_oneof![
        Just(GapKind::NonExistent),
        Just(GapKind::Unknown),
        Just(GapKind::TimedOut)
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let groups = prop_oneof![3 => Just(0), 1 => 1_u64..4, 1 => 1_u64..1 << 40];
    let object = prop_oneof![3 => 1_u64..3, 1 => 0_u64..1 << 40];
    let subgroup = of(prop_oneof![3 => 0_u64..4, 1 => integer()]);
    let gap = prop_oneof![5 => Just(None), 1 => gap().prop_map(Some)];
    let rest = (0_u8..3, properties(), bytes(300));
    (groups, object, gap, subgroup, rest).prop_map(
        |(groups, object, gap, subgroup, (priority, properties, payload))| Step {
            groups,
            object,
            gap,
            subgroup,
            priority,
            properties,
            payload,
        },
    )
}

pub(crate) fn fetched() -> impl Strategy<Value = Fetched> {
    let start = (1_u64 << 50..1 << 60, integer());
    (
        crate::arbitrary::draft(),
        order(),
        start,
        integer(),
        vec(step(), 0..8),
    )
        .prop_map(|(draft, order, start, request, steps)| {
            write(draft, order, start, request, steps)
        })
}

fn write(
    draft: Draft,
    order: GroupOrder,
    start: (u64, u64),
    request: u64,
    steps: Vec<Step>,
) -> Fetched {
    let request = RequestId(request);
    let mut out = BytesMut::new();
    FetchWriter::encode_header(request, &mut out);
    let mut writer = FetchWriter::new(draft, order, 128);
    let mut events = vec![FetchEvent::Header(request)];
    let mut place = Location::new(start.0, start.1 >> 1);
    for step in steps {
        let same_group = step.groups == 0 && events.len() > 1;
        place = if same_group {
            Location::new(place.group, place.object.saturating_add(step.object.max(1)))
        } else {
            let group = match order {
                GroupOrder::Ascending => place.group + step.groups,
                GroupOrder::Descending => place.group - step.groups,
            };
            Location::new(group, step.object)
        };
        if let Some(kind) = step.gap {
            writer.encode_gap(kind, place, &mut out).unwrap();
            let is_unknown = kind == GapKind::TimedOut && !draft.profile().timed_out_ranges;
            let kind = if is_unknown { GapKind::Unknown } else { kind };
            events.push(FetchEvent::Gap { kind, end: place });
            continue;
        }
        let object = Object {
            group: place.group,
            object: place.object,
            subgroup: step.subgroup,
            priority: Some(step.priority),
            status: ObjectStatus::Normal,
            properties: step.properties,
            payload: step.payload.into(),
        };
        writer.encode_object(&object, &mut out).unwrap();
        out.extend_from_slice(&object.payload.to_bytes());
        events.push(FetchEvent::Object(object));
    }
    Fetched {
        draft,
        order,
        events,
        bytes: out.freeze(),
    }
}

/// What the reader says of a stream that arrives in these pieces.
pub(crate) fn read(
    draft: Draft,
    order: GroupOrder,
    limits: Limits,
    pieces: &[Bytes],
) -> (Vec<FetchEvent>, Result<(), DataFault>) {
    let mut reader = FetchReader::new(draft, limits);
    reader.set_order(order);
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece.clone());
        loop {
            match reader.poll() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(fault) => return (events, Err(fault)),
            }
        }
    }
    let end = reader.finish().map_err(DataFault::from);
    (events, end)
}

fn whole_in(draft: Draft, order: GroupOrder, bytes: &[u8]) -> Result<(), DataFault> {
    let pieces = [Bytes::copy_from_slice(bytes)];
    read(draft, order, Limits::default(), &pieces).1
}

fn whole(bytes: &[u8]) -> Result<(), DataFault> {
    whole_in(Draft::D22, GroupOrder::Ascending, bytes)
}

fn violation(result: &Result<(), DataFault>) -> bool {
    matches!(result, Err(DataFault::Session(fault)) if fault.code == SessionCode::PROTOCOL_VIOLATION)
}

fn malformed(result: &Result<(), DataFault>) -> bool {
    matches!(result, Err(DataFault::Track(_)))
}

proptest! {
    #![proptest_config(crate::arbitrary::cases(300))]

    #[test]
    fn fetch_streams_are_read_as_written_however_they_are_cut(
        fetched in fetched(),
        lengths in vec(1_usize..90, 1..6),
    ) {
        let Fetched { draft, order, events, bytes } = fetched;
        for pieces in [vec![bytes.clone()], cut(&bytes, &[1]), cut(&bytes, &lengths)] {
            let (read, end) = read(draft, order, Limits::default(), &pieces);
            prop_assert_eq!(&read, &events);
            prop_assert_eq!(end, Ok(()));
        }
    }

    #[test]
    fn damaged_fetch_streams_say_the_same_however_they_are_cut(
        fetched in fetched(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        lengths in vec(1_usize..90, 1..6),
    ) {
        let mut damaged = fetched.bytes.to_vec();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let damaged = Bytes::from(damaged);
        let said = |pieces: &[Bytes]| read(fetched.draft, fetched.order, Limits::default(), pieces);
        let one = said(std::slice::from_ref(&damaged));
        prop_assert_eq!(&one, &said(&cut(&damaged, &lengths)));
        prop_assert_eq!(&one, &said(&cut(&damaged, &[1])));
    }
}

/// Header of request 4, then an object {5, 7} of subgroup 2 with priority 9 and payload `a`.
const FIRST: [u8; 9] = [0x05, 4, 0x1f, 5, 2, 7, 9, 1, b'a'];

/// `FIRST` and what follows it.
fn after(rest: &[u8]) -> Vec<u8> {
    [&FIRST[..], rest].concat()
}

fn places(order: GroupOrder, bytes: &[u8]) -> Vec<(u64, u64, Option<u64>, Option<u8>)> {
    let pieces = [Bytes::copy_from_slice(bytes)];
    let (events, end) = read(Draft::D18, order, Limits::default(), &pieces);
    assert_eq!(end, Ok(()), "{bytes:02x?}");
    let objects = events.into_iter().filter_map(|event| match event {
        FetchEvent::Object(o) => Some((o.group, o.object, o.subgroup, o.priority)),
        FetchEvent::Gap { end, .. } => Some((end.group, end.object, None, None)),
        FetchEvent::Header(_) => None,
    });
    objects.skip(1).collect()
}

#[test]
fn fields_that_are_absent_come_from_the_object_before() {
    use GroupOrder::{Ascending, Descending};
    covers!("MOQT19-11.4.4.1-7");
    let next = |order, rest: &[u8]| places(order, &after(rest))[0];
    let p = Some(9);
    assert_eq!(
        next(Ascending, &[0x00, 0]),
        (5, 8, Some(0), p),
        "all absent"
    );
    assert_eq!(
        next(Ascending, &[0x01, 0]),
        (5, 8, Some(2), p),
        "prior subgroup"
    );
    assert_eq!(
        next(Ascending, &[0x02, 0]),
        (5, 8, Some(3), p),
        "next subgroup"
    );
    assert_eq!(
        next(Ascending, &[0x03, 6, 0]),
        (5, 8, Some(6), p),
        "explicit subgroup"
    );
    assert_eq!(
        next(Ascending, &[0x04, 3, 0]),
        (5, 10, Some(0), p),
        "object delta"
    );
    assert_eq!(
        next(Ascending, &[0x08, 0, 0]),
        (6, 8, Some(0), p),
        "group delta alone"
    );
    assert_eq!(
        next(Ascending, &[0x0c, 1, 3, 0]),
        (7, 3, Some(0), p),
        "group and object"
    );
    assert_eq!(
        next(Descending, &[0x0c, 1, 3, 0]),
        (3, 3, Some(0), p),
        "descending"
    );
    assert_eq!(
        next(Ascending, &[0x10, 1, 0]),
        (5, 8, Some(0), Some(1)),
        "priority"
    );
    assert_eq!(
        next(Ascending, &[0x43, 0]),
        (5, 8, None, p),
        "a datagram ignores the mode"
    );
    assert_eq!(
        next(Ascending, &[0x20, 0, 0]),
        (5, 8, Some(0), p),
        "no properties after all"
    );
}

#[test]
fn gaps_are_absolute_and_count_as_the_place_before() {
    let gap_then = |rest: &[u8]| {
        // 0x10C as a two-byte integer.
        places(
            GroupOrder::Ascending,
            &after(&[&[0x81, 0x0c, 5, 20][..], rest].concat()),
        )
    };
    let gap = (5, 20, None, None);
    assert_eq!(gap_then(&[0x01, 0]), [gap, (5, 21, Some(2), Some(9))]);
    assert_eq!(gap_then(&[0x0a, 0, 0]), [gap, (6, 21, Some(3), Some(9))]);
    let only = [0x05, 4, 0x80, 0x8c, 5, 20];
    assert_eq!(whole(&only), Ok(()), "a gap may come first");
    let then = |rest: &[u8]| whole(&[&only[..], rest].concat());
    assert!(violation(&then(&[0x10, 1, 0, 0][..1])), "cut");
    assert!(violation(&then(&[0x00, 0])), "no priority before");
    assert!(violation(&then(&[0x11, 1, 0])), "no subgroup before");
    assert_eq!(then(&[0x10, 1, 0]), Ok(()));
}

#[test]
fn first_object_must_not_refer_to_one_before() {
    covers!("MOQT19-11.4.4.1-2");
    assert_eq!(whole(&FIRST), Ok(()));
    for (what, item) in [
        ("no group", &[0x14, 7, 9, 0][..]),
        ("no object", &[0x18, 5, 9, 0][..]),
        ("no priority", &[0x0c, 5, 7, 0][..]),
        ("prior subgroup", &[0x1d, 5, 7, 9, 0][..]),
        ("next subgroup", &[0x1e, 5, 7, 9, 0][..]),
    ] {
        let end = whole(&[&[0x05, 4][..], item].concat());
        assert!(violation(&end), "{what}: {end:?}");
    }
}

#[test]
fn ids_outside_64_bits_close_the_session() {
    covers!("MOQT19-11.4.4.1-3", "MOQT19-11.4.4.1-4");
    let most = [0xff; 9];
    let last = [&[0x05, 4, 0x1c][..], &most, &most, &[9, 0]].concat();
    let next = |order, rest: &[u8]| whole_in(Draft::D18, order, &[&last[..], rest].concat());
    assert!(
        violation(&next(GroupOrder::Ascending, &[0x00, 0])),
        "object"
    );
    assert!(
        violation(&next(GroupOrder::Ascending, &[0x04, 1, 0])),
        "object delta"
    );
    assert!(
        violation(&next(GroupOrder::Ascending, &[0x0c, 0, 0, 0])),
        "group"
    );
    assert_eq!(next(GroupOrder::Descending, &[0x0c, 0, 0, 0]), Ok(()));
    let below = whole_in(Draft::D22, GroupOrder::Descending, &after(&[0x0c, 5, 0, 0]));
    assert!(violation(&below), "group below 0: {below:?}");
    let subgroup = [&[0x05, 4, 0x1f, 5][..], &most, &[7, 9, 0, 0x02, 0]].concat();
    assert!(violation(&whole(&subgroup)), "subgroup");
}

#[test]
fn unknown_flags_close_the_session() {
    for flags in [0x80_u64, 0x8b, 0x8d, 0x10b, 0x10d, 0x18c, 0x30c, u64::MAX] {
        let mut stream = BytesMut::from(&FIRST[..]);
        mainstem_core::moqt::varint::encode(flags, &mut stream);
        stream.extend_from_slice(&[6, 1, 0]);
        let end = whole(&stream);
        assert!(violation(&end), "0x{flags:x}: {end:?}");
    }
    let timed_out = after(&[0x82, 0x0c, 6, 1]);
    assert!(violation(&whole_in(
        Draft::D18,
        GroupOrder::Ascending,
        &timed_out
    )));
    assert_eq!(
        whole_in(Draft::D20, GroupOrder::Ascending, &timed_out),
        Ok(())
    );
}

#[test]
fn disorder_makes_the_track_malformed() {
    assert!(
        malformed(&whole(&after(&[0x04, 0, 0]))),
        "the same object again"
    );
    for end in [[5, 7], [5, 3], [4, 9]] {
        let gap = after(&[0x80, 0x8c, end[0], end[1]]);
        assert!(malformed(&whole(&gap)), "gap to {end:?}");
    }
    let up = after(&[0x80, 0x8c, 6, 0]);
    assert!(malformed(&whole_in(
        Draft::D22,
        GroupOrder::Descending,
        &up
    )));
    let datagram = after(&[0x40, 0, 0x01, 0]);
    assert!(malformed(&whole(&datagram)), "subgroup of a datagram");
    let mandatory = after(&[0x20, 3, 0xc0, 0x40, 0, 0]);
    assert!(malformed(&whole(&mandatory)), "mandatory property");
}

#[test]
fn streams_end_between_items_only() {
    assert!(violation(&whole(&[])));
    assert!(violation(&whole(&[0x05])));
    assert!(violation(&whole(&[0x06, 0])));
    assert_eq!(whole(&[0x05, 4]), Ok(()), "a fetch of nothing");
    for length in 3..FIRST.len() {
        assert!(violation(&whole(&FIRST[..length])), "{length}");
    }
}

#[test]
fn fetched_objects_beyond_the_limits_are_refused_before_they_arrive() {
    let limits = Limits {
        payload_max: 100,
        properties_max: 10,
    };
    let end = |rest: &[u8]| {
        let pieces = [Bytes::from(after(rest))];
        read(Draft::D22, GroupOrder::Ascending, limits, &pieces).1
    };
    assert!(malformed(&end(&[0x00, 101])));
    assert!(!malformed(&end(&[0x00, 100])));
    assert!(malformed(&end(&[0x20, 11])));
    assert!(!malformed(&end(&[0x20, 10])));
}

#[test]
fn what_a_fetch_stream_cannot_say_is_not_written() {
    let object = |group, object| Object {
        group,
        object,
        subgroup: Some(0),
        ..Object::default()
    };
    let mut out = BytesMut::new();
    let mut writer = FetchWriter::new(Draft::D22, GroupOrder::Descending, 7);
    writer.encode_object(&object(5, 5), &mut out).unwrap();
    assert_eq!(&out[..], [0x1c, 5, 5, 7, 0], "the default priority");
    let before = out.clone();
    let refused = [
        writer.encode_object(&object(6, 0), &mut out),
        writer.encode_object(&object(5, 5), &mut out),
        writer.encode_object(&object(5, 4), &mut out),
        writer.encode_gap(GapKind::Unknown, Location::new(5, 5), &mut out),
        writer.encode_object(
            &Object {
                status: ObjectStatus::EndOfGroup,
                ..object(5, 6)
            },
            &mut out,
        ),
    ];
    for result in refused {
        assert!(matches!(result, Err(EncodeError::Invalid(_))), "{result:?}");
    }
    assert_eq!(out, before);
    writer.encode_object(&object(4, 6), &mut out).unwrap();
}
