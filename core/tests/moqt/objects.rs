//! Objects on streams and in datagrams: read as written however they are cut, bounded, and closed
//! upon where the drafts say so.

use crate::arbitrary::{bytes, integer};
use crate::streams::{datagram_object, stream, stream_of};
use crate::wire::cut;
use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::error::SessionCode;
use mainstem_core::moqt::name::TrackAlias;
use mainstem_core::moqt::object::{
    DataFault, DatagramEvent, Limits, StreamKind, SubgroupEvent, SubgroupReader, decode_datagram,
    encode_datagram, stream_kind,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// What the reader says of a stream that arrives in these pieces.
pub(crate) fn read(
    limits: Limits,
    pieces: &[Bytes],
) -> (Vec<SubgroupEvent>, Result<(), DataFault>) {
    let mut reader = SubgroupReader::new(limits);
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

fn whole(bytes: &'static [u8]) -> Result<(), DataFault> {
    read(Limits::default(), &[Bytes::from_static(bytes)]).1
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
    fn subgroup_streams_are_read_as_written_however_they_are_cut(
        stream in stream(),
        lengths in vec(1_usize..90, 1..6),
    ) {
        let mut expected = vec![SubgroupEvent::Header(stream.header)];
        expected.extend(stream.objects.into_iter().map(SubgroupEvent::Object));
        for pieces in [vec![stream.bytes.clone()], cut(&stream.bytes, &[1]), cut(&stream.bytes, &lengths)] {
            let (events, end) = read(Limits::default(), &pieces);
            prop_assert_eq!(&events, &expected);
            prop_assert_eq!(end, Ok(()));
        }
    }

    #[test]
    fn damaged_streams_say_the_same_however_they_are_cut(
        stream in stream(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        lengths in vec(1_usize..90, 1..6),
    ) {
        let mut damaged = stream.bytes.to_vec();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let damaged = Bytes::from(damaged);
        let one = read(Limits::default(), std::slice::from_ref(&damaged));
        let many = read(Limits::default(), &cut(&damaged, &lengths));
        prop_assert_eq!(one, many);
    }

    #[test]
    fn a_stream_may_end_between_objects_only(
        stream in stream(),
        at in any::<prop::sample::Index>(),
    ) {
        let part = stream.bytes.slice(..at.index(stream.bytes.len()));
        let (events, end) = read(Limits::default(), &[part]);
        let read_whole = {
            let objects = events.len().saturating_sub(1);
            let steps = stream.objects.iter().take(objects);
            let steps = steps.scan(None, |previous: &mut Option<u64>, object| {
                let gap = previous.map_or(object.object, |p| object.object - p - 1);
                *previous = Some(object.object);
                let payload = object.payload.to_bytes();
                Some((gap, payload, object.status, object.properties.clone()))
            });
            stream_of(stream.header, steps.collect()).bytes.len()
        };
        let between = !events.is_empty() && read_whole == at.index(stream.bytes.len());
        prop_assert_eq!(end.is_ok(), between);
    }

    #[test]
    fn datagrams_are_read_as_written(object in datagram_object(), alias in integer()) {
        let mut out = BytesMut::new();
        encode_datagram(TrackAlias(alias), &object, &mut out);
        let read = decode_datagram(&out.freeze(), &Limits::default());
        let track_alias = TrackAlias(alias);
        let end_of_group = false;
        prop_assert_eq!(read, Ok(DatagramEvent::Object { track_alias, end_of_group, object }));
    }

    #[test]
    fn random_datagrams_never_panic(data in bytes(40)) {
        match decode_datagram(&data, &Limits::default()) {
            Err(DataFault::Session(fault)) => prop_assert!(fault.code.name().is_some()),
            Err(DataFault::Track(reason)) => prop_assert!(!reason.is_empty()),
            Ok(_) => {}
        }
    }
}

#[test]
fn what_must_not_be_on_a_subgroup_stream_closes_the_session() {
    covers!(
        "MOQT19-11.2.1.1-2",
        "MOQT19-11.2.1.2-1",
        "MOQT19-11.4-1",
        "MOQT19-11.4.2-2",
        "MOQT19-11.4.2-3"
    );
    let reserved_mode = whole(&[0x16, 0, 0]);
    assert!(violation(&reserved_mode), "{reserved_mode:?}");
    assert!(
        violation(&whole(&[0x80, 0x90, 0, 0])),
        "type of 128 or more"
    );
    let id_past = whole(&[
        0x30, 0, 0, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 7, 0, 1, 7,
    ]);
    assert!(violation(&id_past), "{id_past:?}");
    for status in [1, 2, 5] {
        let bytes = vec![0x30, 0, 0, 0, 0, status];
        let end = read(Limits::default(), &[bytes.into()]).1;
        assert!(violation(&end), "status {status}: {end:?}");
    }
    let on_status = whole(&[0x31, 0, 0, 0, 2, 0x40, 5, 0, 3]);
    assert!(
        violation(&on_status),
        "properties beside a status: {on_status:?}"
    );
    assert!(violation(&whole(&[0x30, 0])), "cut header");
    assert!(violation(&whole(&[0x30, 0, 0, 0, 5, 1])), "cut payload");
}

#[test]
fn a_type_may_be_written_longer_than_needed() {
    assert_eq!(whole(&[0x80, 0x30, 0, 0, 0, 1, 7]), Ok(()));
    let kind = stream_kind(&[Bytes::from_static(&[0x80]), Bytes::from_static(&[0x30])]);
    assert_eq!(kind, Ok(Some(StreamKind::Subgroup)));
}

#[test]
fn faults_of_properties_make_the_track_malformed() {
    covers!("MOQT19-2.5.1-1", "MOQT19-12.8-3");
    let cases: [(&str, &[u8]); 6] = [
        ("mandatory", &[0x31, 9, 9, 9, 3, 0xc0, 0x40, 0, 1, 7]),
        ("gap twice", &[0x31, 9, 9, 9, 4, 0x3c, 1, 0, 1, 1, 7]),
        ("gap before group 0", &[0x31, 9, 9, 9, 2, 0x3c, 10, 1, 7]),
        ("gap before object 0", &[0x31, 9, 9, 9, 2, 0x3e, 10, 1, 7]),
        (
            "immutables inside immutables",
            &[0x31, 9, 9, 9, 4, 0x0b, 2, 0x0b, 0, 1, 7],
        ),
        ("cut pair", &[0x31, 9, 9, 9, 1, 0x40, 1, 7]),
    ];
    for (what, bytes) in cases {
        let end = read(Limits::default(), &[Bytes::copy_from_slice(bytes)]).1;
        assert!(malformed(&end), "{what}: {end:?}");
    }
}

#[test]
fn objects_beyond_the_limits_are_refused_before_they_arrive() {
    let limits = Limits {
        payload_max: 100,
        properties_max: 10,
    };
    let stream = |length: u8| Bytes::from(vec![0x30, 0, 0, 0, length]);
    assert!(malformed(&read(limits, &[stream(101)]).1));
    assert!(!malformed(&read(limits, &[stream(100)]).1));
    let properties = |length: u8| Bytes::from(vec![0x31, 0, 0, 0, length]);
    assert!(malformed(&read(limits, &[properties(11)]).1));
    assert!(!malformed(&read(limits, &[properties(10)]).1));
    let huge = [0x30, 0, 0, 0, 0xff, 255, 255, 255, 255, 255, 255, 255, 255];
    let end = read(Limits::default(), &[Bytes::copy_from_slice(&huge)]).1;
    assert!(malformed(&end), "{end:?}");
}

#[test]
fn datagrams_that_must_close_do() {
    covers!(
        "MOQT19-11-1",
        "MOQT19-11.2.1.1-3",
        "MOQT19-11.3.1-1",
        "MOQT19-11.3.1-2",
        "MOQT19-11.3.1-3",
        "MOQT20-11.3.1-1"
    );
    let read = |bytes: &[u8]| {
        let data = Bytes::copy_from_slice(bytes);
        decode_datagram(&data, &Limits::default()).map(|_| ())
    };
    for code in [
        0x22, 0x23, 0x26, 0x27, 0x2a, 0x2b, 0x2e, 0x2f, 0x10, 0x30, 0x40, 0x7f,
    ] {
        let end = read(&[code, 0, 0, 0, 0, 0, 0]);
        assert!(violation(&end), "type 0x{code:x}: {end:?}");
    }
    assert!(violation(&read(&[])));
    assert!(violation(&read(&[0x0c, 0])), "cut");
    assert!(
        violation(&read(&[0x0d, 0, 0, 0])),
        "no properties after all"
    );
    assert!(
        violation(&read(&[0x2d, 0, 0, 2, 0x40, 5, 3])),
        "properties beside a status"
    );
    assert!(
        violation(&read(&[0x2c, 0, 0, 3, 7])),
        "payload beside a status"
    );
    assert!(violation(&read(&[0x2c, 0, 0, 1])), "unknown status");
    assert!(
        malformed(&read(&[0x0d, 0, 0, 3, 0xc0, 0x40, 0])),
        "mandatory property"
    );
    assert_eq!(read(&[0x0e, 1, 2, 7]), Ok(()), "end of group");
    assert_eq!(
        read(&[0xf0, 0x13, 0x2b, 0x3e, 0x29, 0, 0]),
        Ok(()),
        "padding"
    );
}

#[test]
fn streams_are_told_apart_by_their_first_integer() {
    covers!("MOQT19-3.4-1", "MOQT19-11.4.2-2", "MOQT20-11.4.2-1");
    let kind = |bytes: &[u8]| stream_kind(&[Bytes::copy_from_slice(bytes)]);
    assert_eq!(kind(&[]), Ok(None));
    assert_eq!(kind(&[0xaf]), Ok(None));
    assert_eq!(kind(&[0xaf, 0x00]), Ok(Some(StreamKind::Control)));
    assert_eq!(kind(&[0x05]), Ok(Some(StreamKind::Fetch)));
    let padding = [0xf0, 0x13, 0x2b, 0x3e, 0x28];
    assert_eq!(kind(&padding), Ok(Some(StreamKind::Padding)));
    for code in 0..=255_u64 {
        let is_subgroup = code < 0x80 && code & 0x10 != 0 && code & 0x06 != 0x06;
        let mut head = BytesMut::new();
        mainstem_core::moqt::varint::encode(code, &mut head);
        match kind(&head) {
            Ok(found) if code == 5 => assert_eq!(found, Some(StreamKind::Fetch)),
            Ok(found) => {
                assert!(is_subgroup, "0x{code:x}");
                assert_eq!(found, Some(StreamKind::Subgroup));
            }
            Err(fault) => {
                assert!(!is_subgroup, "0x{code:x}");
                assert_eq!(fault.code, SessionCode::PROTOCOL_VIOLATION);
            }
        }
    }
}
