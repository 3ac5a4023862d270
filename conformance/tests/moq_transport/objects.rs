//! Subgroup streams, datagrams and the header of fetch streams.

use crate::arbitrary::{compared, integer};
use crate::convert::{properties, written};
use crate::streams::{Stream, datagram_object, stream};
use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::name::{RequestId, TrackAlias};
use mainstem_core::moqt::object::{
    DatagramEvent, FetchWriter, Limits, Object, ObjectStatus, SubgroupEvent, SubgroupId,
    SubgroupReader, decode_datagram, encode_datagram,
};
use moq_transport::coding::Decode;
use moq_transport::data::{
    DEFAULT_PUBLISHER_PRIORITY, Datagram, DatagramType, ExtensionHeaders, FetchHeader,
    ObjectStatus as TheirStatus, StreamHeader, StreamHeaderType, SubgroupHeader, SubgroupIdMode,
    SubgroupObject, SubgroupObjectExt,
};
use proptest::prelude::*;

fn status(status: ObjectStatus) -> TheirStatus {
    match status {
        ObjectStatus::Normal => TheirStatus::NormalObject,
        ObjectStatus::EndOfGroup => TheirStatus::EndOfGroup,
        ObjectStatus::EndOfTrack => TheirStatus::EndOfTrack,
    }
}

/// The header of a stream of ours in their types.
fn header(stream: &Stream) -> StreamHeader {
    let ours = &stream.header;
    let (mode, subgroup_id) = match ours.subgroup {
        SubgroupId::Zero => (SubgroupIdMode::Zero, None),
        SubgroupId::FirstObject => (SubgroupIdMode::FirstObject, None),
        SubgroupId::Explicit(id) => (SubgroupIdMode::Explicit, Some(id)),
    };
    let header_type = StreamHeaderType::subgroup(
        mode,
        ours.has_properties,
        ours.end_of_group,
        ours.priority.is_none(),
        ours.first_object,
    );
    StreamHeader {
        header_type,
        subgroup_header: Some(SubgroupHeader {
            header_type,
            track_alias: ours.track_alias.0,
            group_id: ours.group,
            subgroup_id,
            publisher_priority: ours.priority.unwrap_or(DEFAULT_PUBLISHER_PRIORITY),
        }),
        fetch_header: None,
    }
}

/// An object of a subgroup stream in their type for streams with properties.
fn in_subgroup(object: &Object, previous: Option<u64>) -> SubgroupObjectExt {
    let payload_length = object.payload.len();
    SubgroupObjectExt {
        object_id_delta: previous.map_or(object.object, |id| object.object - id - 1),
        extension_headers: ExtensionHeaders(properties(&object.properties)),
        payload_length,
        status: (payload_length == 0).then(|| status(object.status)),
    }
}

fn without_properties(object: &SubgroupObjectExt) -> SubgroupObject {
    SubgroupObject {
        object_id_delta: object.object_id_delta,
        payload_length: object.payload_length,
        status: object.status,
    }
}

/// An object of a datagram in their type.
fn in_datagram(alias: u64, object: &Object) -> Datagram {
    let payload = object.payload.to_bytes();
    let properties = ExtensionHeaders(properties(&object.properties));
    let flag = |bit: u64, set: bool| if set { bit } else { 0 };
    // Bits of Section 11.3.1.
    let code = flag(0x01, !properties.is_empty())
        | flag(0x04, object.object == 0)
        | flag(0x08, object.priority.is_none())
        | flag(0x20, payload.is_empty());
    Datagram {
        datagram_type: DatagramType::decode(&mut &written(&code)[..]).unwrap(),
        track_alias: alias,
        group_id: object.group,
        object_id: (object.object != 0).then_some(object.object),
        publisher_priority: object.priority,
        extension_headers: (!properties.is_empty()).then_some(properties),
        status: payload.is_empty().then(|| status(object.status)),
        payload: (!payload.is_empty()).then_some(payload),
    }
}

proptest! {
    #![proptest_config(compared(600))]

    #[test]
    fn subgroup_streams_mean_the_same_to_both(stream in stream()) {
        let expected = header(&stream);
        let mut theirs = written(&expected);
        let mut rest = &stream.bytes[..];
        prop_assert_eq!(StreamHeader::decode(&mut rest).unwrap(), expected);
        let mut previous = None;
        for object in &stream.objects {
            let expected = in_subgroup(object, previous);
            let read = if stream.header.has_properties {
                theirs.extend(written(&expected));
                SubgroupObjectExt::decode(&mut rest).unwrap()
            } else {
                let plain = without_properties(&expected);
                theirs.extend(written(&plain));
                prop_assert_eq!(SubgroupObject::decode(&mut rest).unwrap(), plain);
                expected.clone()
            };
            prop_assert_eq!(&read, &expected);
            let (payload, after) = rest.split_at(read.payload_length);
            prop_assert_eq!(payload, &object.payload.to_bytes()[..]);
            theirs.extend_from_slice(payload);
            rest = after;
            previous = Some(object.object);
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(&theirs[..], &stream.bytes[..]);
        // What they wrote, we read.
        let mut reader = SubgroupReader::new(Limits::default());
        reader.push(Bytes::from(theirs));
        prop_assert_eq!(reader.poll().unwrap(), Some(SubgroupEvent::Header(stream.header)));
        for object in stream.objects {
            prop_assert_eq!(reader.poll().unwrap(), Some(SubgroupEvent::Object(object)));
        }
        prop_assert_eq!(reader.poll().unwrap(), None);
        prop_assert!(reader.finish().is_ok());
    }

    #[test]
    fn datagrams_mean_the_same_to_both(alias in integer(), object in datagram_object()) {
        let mut ours = BytesMut::new();
        encode_datagram(TrackAlias(alias), &object, &mut ours);
        let ours = ours.freeze();
        let expected = in_datagram(alias, &object);
        prop_assert_eq!(Datagram::decode(&mut ours.clone()).unwrap(), expected.clone());
        let theirs = Bytes::from(written(&expected));
        prop_assert_eq!(&theirs, &ours);
        let read = decode_datagram(&theirs, &Limits::default());
        let track_alias = TrackAlias(alias);
        prop_assert_eq!(
            read,
            Ok(DatagramEvent::Object { track_alias, end_of_group: false, object })
        );
    }

    #[test]
    fn damaged_datagrams_that_we_take_they_take(
        alias in integer(),
        object in datagram_object(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = BytesMut::new();
        encode_datagram(TrackAlias(alias), &object, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let bytes = bytes.freeze();
        let Ok(DatagramEvent::Object { track_alias, object, .. }) =
            decode_datagram(&bytes, &Limits::default())
        else {
            return Ok(());
        };
        match Datagram::decode(&mut bytes.clone()) {
            Ok(theirs) => {
                prop_assert_eq!(theirs.track_alias, track_alias.0);
                prop_assert_eq!(theirs.group_id, object.group);
                prop_assert_eq!(theirs.object_id.unwrap_or(0), object.object);
                prop_assert_eq!(theirs.publisher_priority, object.priority);
                let payload = theirs.payload.unwrap_or_default();
                prop_assert_eq!(payload, object.payload.to_bytes());
                let there = theirs.status.unwrap_or(TheirStatus::NormalObject);
                prop_assert_eq!(there, status(object.status));
            }
            Err(error) => prop_assert!(object.payload.is_empty(), "{:02x?} {}", bytes, error),
        }
    }

    #[test]
    fn fetch_headers_mean_the_same_to_both(request in integer()) {
        let mut ours = BytesMut::new();
        FetchWriter::encode_header(RequestId(request), &mut ours);
        let expected = StreamHeader {
            header_type: StreamHeaderType::Fetch,
            subgroup_header: None,
            fetch_header: Some(FetchHeader {
                header_type: StreamHeaderType::Fetch,
                request_id: request,
            }),
        };
        prop_assert_eq!(StreamHeader::decode(&mut &ours[..]).unwrap(), expected.clone());
        prop_assert_eq!(written(&expected), ours.to_vec());
    }
}
