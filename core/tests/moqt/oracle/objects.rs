//! Subgroup streams and datagrams against moqtap-codec.

use super::convert::int;
use crate::arbitrary::integer;
use crate::objects::read;
use crate::streams::{Stream, datagram_object, stream};
use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::name::TrackAlias;
use mainstem_core::moqt::object::{
    DataFault, Limits, ObjectStatus, SubgroupEvent, SubgroupId, encode_datagram,
};
use moqtap_codec::{draft18, draft20, draft22};
use proptest::prelude::*;

/// What one of their modules makes of a stream of ours: the same objects, and the same bytes again.
macro_rules! check_stream {
    ($theirs:ident, $stream:expr) => {{
        use $theirs::data_stream as t;
        let stream: &Stream = $stream;
        let mut rest = &stream.bytes[..];
        let header = t::SubgroupHeader::decode(&mut rest).unwrap();
        prop_assert_eq!(header.track_alias.into_inner(), stream.header.track_alias.0);
        prop_assert_eq!(header.group_id.into_inner(), stream.header.group);
        prop_assert_eq!(header.publisher_priority, stream.header.priority);
        prop_assert_eq!(header.has_properties(), stream.header.has_properties);
        prop_assert_eq!(header.is_end_of_group(), stream.header.end_of_group);
        prop_assert_eq!(header.is_first_object(), stream.header.first_object);
        match stream.header.subgroup {
            SubgroupId::Zero => prop_assert_eq!(header.subgroup_id_mode(), 0),
            SubgroupId::FirstObject => prop_assert_eq!(header.subgroup_id_mode(), 1),
            SubgroupId::Explicit(id) => prop_assert_eq!(header.subgroup_id.into_inner(), id),
        }
        let mut again = Vec::new();
        header.encode_checked(&mut again).unwrap();
        let mut reader = t::SubgroupObjectReader::new(&header);
        let mut writer = t::SubgroupObjectReader::new(&header);
        for object in &stream.objects {
            let read = reader.read_object(&mut rest).unwrap();
            prop_assert_eq!(read.object_id.into_inner(), object.object);
            prop_assert_eq!(&read.extension_headers[..], &object.properties.raw()[..]);
            prop_assert_eq!(&read.payload[..], &object.payload.to_bytes()[..]);
            prop_assert_eq!(read.status().as_u64(), object.status.value());
            writer.write_object(&read, &mut again).unwrap();
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(&again[..], &stream.bytes[..]);
    }};
}

macro_rules! check_datagram {
    ($theirs:ident, $alias:expr, $object:expr, $bytes:expr) => {{
        use $theirs::data_stream as t;
        let (object, bytes): (&mainstem_core::moqt::object::Object, &[u8]) = ($object, $bytes);
        let mut rest = bytes;
        let (header, payload) = t::DatagramHeader::decode_object(&mut rest).unwrap();
        prop_assert_eq!(header.track_alias, int($alias));
        prop_assert_eq!(header.group_id, int(object.group));
        prop_assert_eq!(header.object_id, int(object.object));
        prop_assert_eq!(header.publisher_priority, object.priority);
        prop_assert_eq!(&header.properties[..], &object.properties.raw()[..]);
        prop_assert_eq!(header.status().as_u64(), object.status.value());
        prop_assert_eq!(&payload[..], &object.payload.to_bytes()[..]);
        let is_empty = object.payload.is_empty();
        prop_assert_eq!(header.has_status(), is_empty);
        prop_assert!(is_empty || object.status == ObjectStatus::Normal);
        let mut again = Vec::new();
        header.encode_checked(&mut again).unwrap();
        again.extend_from_slice(&payload);
        prop_assert_eq!(&again[..], bytes);
    }};
}

/// Id, properties, payload, status code.
type Plain = (u64, Vec<u8>, Vec<u8>, u64);

/// Ids, properties, payloads and status codes of a stream as the other codec reads them, and whether
/// it read all of it.
fn their_objects(bytes: &[u8]) -> (Vec<Plain>, bool) {
    use draft22::data_stream as t;
    let mut rest = bytes;
    let mut objects = Vec::new();
    let Ok(header) = t::SubgroupHeader::decode(&mut rest) else {
        return (objects, false);
    };
    let mut reader = t::SubgroupObjectReader::new(&header);
    while !rest.is_empty() {
        let Ok(read) = reader.read_object(&mut rest) else {
            return (objects, false);
        };
        let status = read.status().as_u64();
        let id = read.object_id.into_inner();
        objects.push((id, read.extension_headers, read.payload, status));
    }
    (objects, true)
}

proptest! {
    #![proptest_config(crate::arbitrary::compared(600))]

    #[test]
    fn subgroup_streams_mean_the_same_to_both(draft in crate::arbitrary::draft(), stream in stream()) {
        match draft {
            Draft::D16 | Draft::D18 => check_stream!(draft18, &stream),
            Draft::D20 | Draft::D21 => check_stream!(draft20, &stream),
            Draft::D22 => check_stream!(draft22, &stream),
        }
    }

    #[test]
    fn datagrams_mean_the_same_to_both(
        draft in crate::arbitrary::draft(),
        alias in integer(),
        object in datagram_object(),
    ) {
        let mut out = BytesMut::new();
        encode_datagram(TrackAlias(alias), &object, &mut out);
        match draft {
            Draft::D16 | Draft::D18 => check_datagram!(draft18, alias, &object, &out),
            Draft::D20 | Draft::D21 => check_datagram!(draft20, alias, &object, &out),
            Draft::D22 => check_datagram!(draft22, alias, &object, &out),
        }
    }

    #[test]
    fn damaged_streams_mean_the_same_to_both(
        stream in stream(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = stream.bytes.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let (theirs, complete) = their_objects(&bytes);
        let (events, end) = read(Limits::default(), &[Bytes::from(bytes.clone())]);
        let ours: Vec<Plain> = events
            .into_iter()
            .filter_map(|event| match event {
                SubgroupEvent::Header(_) => None,
                SubgroupEvent::Object(object) => Some((
                    object.object,
                    object.properties.raw().to_vec(),
                    object.payload.to_bytes().to_vec(),
                    object.status.value(),
                )),
            })
            .collect();
        let common = ours.len().min(theirs.len());
        prop_assert_eq!(&ours[..common], &theirs[..common], "{:02x?}", bytes);
        // The other codec leaves the rules of properties to its caller, and holds ids to 62 bits.
        let stricter = matches!(&end, Err(DataFault::Track(_)))
            || matches!(&end, Err(DataFault::Session(fault)) if fault.reason.contains("properties"));
        let looser = ours.iter().any(|(id, ..)| *id >= 1 << 62);
        prop_assert!(
            end.is_ok() == complete || (stricter && complete) || (looser && !complete),
            "{:02x?} {:?}",
            bytes,
            end
        );
    }
}
