//! Data streams and datagrams: subgroups, fetches, objects.
//!
//! Input: kind and draft, cut seed (2), then the bytes. Laws: cuts change nothing; a fault has a
//! code; what was read is written and reads the same; a tight limit refuses, and the reader keeps no
//! more than it was given. Source: draft-ietf-moq-transport-18, Section 11.

use crate::input::{Cursor, cut};
use crate::laws::check_data_fault;
use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::filter::GroupOrder;
use mainstem_core::moqt::object::{
    DataFault, DatagramEvent, FetchEvent, FetchReader, FetchWriter, Limits, Object, SubgroupEvent,
    SubgroupReader, decode_datagram, encode_datagram, encode_subgroup_object, stream_kind,
};

/// Small enough for a fuzzer to pass.
const TIGHT: Limits = Limits {
    payload_max: 200,
    properties_max: 40,
};

/// Reads the input; see the module's description.
pub fn run(data: &[u8]) {
    let mut input = Cursor::new(data);
    let kind = input.byte();
    let draft = input.one_of(&Draft::CANONICAL);
    let seed = input.short();
    let bytes = Bytes::copy_from_slice(input.rest());
    let limits = if kind & 0x10 == 0 {
        Limits::default()
    } else {
        TIGHT
    };
    match kind % 3 {
        0 => check_subgroup(&bytes, seed, limits),
        1 => {
            let order = [GroupOrder::Ascending, GroupOrder::Descending][usize::from(kind >> 7)];
            check_fetch(draft, order, &bytes, seed, limits);
        }
        _ => check_datagram(&bytes, limits),
    }
}

fn check_subgroup(bytes: &Bytes, seed: u16, limits: Limits) {
    let pieces = cut(bytes, seed);
    let _ = stream_kind(&pieces);
    let whole = read_subgroup(limits, std::slice::from_ref(bytes));
    assert_eq!(whole, read_subgroup(limits, &pieces));
    let (events, end) = whole;
    if let Err(fault) = &end {
        check_data_fault(fault);
    }
    let Some(SubgroupEvent::Header(header)) = events.first() else {
        return;
    };
    let mut out = BytesMut::new();
    header.encode(&mut out);
    let mut previous = None;
    for event in &events[1..] {
        let SubgroupEvent::Object(object) = event else {
            panic!("a second header: {event:?}");
        };
        check_object(object, limits);
        encode_subgroup_object(object, previous, header.has_properties, &mut out);
        out.extend_from_slice(&object.payload.to_bytes());
        previous = Some(object.object);
    }
    let again = read_subgroup(limits, &[out.freeze()]);
    assert_eq!(again, (events, Ok(())));
}

fn read_subgroup(limits: Limits, pieces: &[Bytes]) -> (Vec<SubgroupEvent>, Result<(), DataFault>) {
    let mut reader = SubgroupReader::new(limits);
    let (mut events, mut given) = (Vec::new(), 0);
    for piece in pieces {
        given += piece.len();
        reader.push(piece.clone());
        loop {
            match reader.poll() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(fault) => return (events, Err(fault)),
            }
        }
        assert!(reader.buffered() <= given);
    }
    (events, reader.finish().map_err(DataFault::from))
}

fn check_fetch(draft: Draft, order: GroupOrder, bytes: &Bytes, seed: u16, limits: Limits) {
    let read = |pieces: &[Bytes]| read_fetch(draft, order, limits, pieces);
    let whole = read(std::slice::from_ref(bytes));
    assert_eq!(whole, read(&cut(bytes, seed)));
    let (events, end) = whole;
    if let Err(fault) = &end {
        check_data_fault(fault);
    }
    let Some(FetchEvent::Header(request)) = events.first() else {
        return;
    };
    let mut out = BytesMut::new();
    FetchWriter::encode_header(*request, &mut out);
    let mut writer = FetchWriter::new(draft, order, 128);
    for event in &events[1..] {
        let written = match event {
            FetchEvent::Object(object) => {
                check_object(object, limits);
                let written = writer.encode_object(object, &mut out);
                out.extend_from_slice(&object.payload.to_bytes());
                written
            }
            FetchEvent::Gap { kind, end } => writer.encode_gap(*kind, *end, &mut out),
            FetchEvent::Header(_) => panic!("a second header"),
        };
        written.unwrap_or_else(|error| panic!("{error}: {event:?} in {events:?}"));
    }
    assert_eq!(read(&[out.freeze()]), (events, Ok(())));
}

fn read_fetch(
    draft: Draft,
    order: GroupOrder,
    limits: Limits,
    pieces: &[Bytes],
) -> (Vec<FetchEvent>, Result<(), DataFault>) {
    let mut reader = FetchReader::new(draft, limits);
    reader.set_order(order);
    let (mut events, mut given) = (Vec::new(), 0);
    for piece in pieces {
        given += piece.len();
        reader.push(piece.clone());
        loop {
            match reader.poll() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(fault) => return (events, Err(fault)),
            }
        }
        assert!(reader.buffered() <= given);
    }
    (events, reader.finish().map_err(DataFault::from))
}

fn check_datagram(bytes: &Bytes, limits: Limits) {
    match decode_datagram(bytes, &limits) {
        Err(fault) => check_data_fault(&fault),
        Ok(DatagramEvent::Padding) => {}
        Ok(DatagramEvent::Object {
            track_alias,
            object,
            ..
        }) => {
            let mut out = BytesMut::new();
            encode_datagram(track_alias, &object, &mut out);
            let event = DatagramEvent::Object {
                track_alias,
                end_of_group: false,
                object,
            };
            let again = decode_datagram(&out.freeze(), &limits);
            assert_eq!(again, Ok(event));
        }
    }
}

fn check_object(object: &Object, limits: Limits) {
    assert!(object.payload.len() <= limits.payload_max);
    assert!(object.properties.raw().len() <= limits.properties_max);
}
