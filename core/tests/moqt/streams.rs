//! Strategies for subgroup streams and the objects of datagrams.

use crate::arbitrary::{bytes, integer};
use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::name::TrackAlias;
use mainstem_core::moqt::object::{
    Object, ObjectStatus, SubgroupHeader, SubgroupId, encode_subgroup_object,
};
use mainstem_core::moqt::property::{Properties, PropertiesBuilder};
use mainstem_core::payload::Payload;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

/// A subgroup stream: its header, its objects, its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) header: SubgroupHeader,
    pub(crate) objects: Vec<Object>,
    pub(crate) bytes: Bytes,
}

pub(crate) fn properties() -> impl Strategy<Value = Properties> {
    vec((0x40_u64..0x4000, integer(), bytes(20)), 0..3).prop_map(|pairs| {
        let builder = PropertiesBuilder::new();
        let add = |builder: PropertiesBuilder, (key, value, bytes)| {
            builder.integer(key, value).bytes(key, bytes)
        };
        pairs.into_iter().fold(builder, add).build()
    })
}

fn header() -> impl Strategy<Value = SubgroupHeader> {
    let subgroup = prop_oneof![
        Just(SubgroupId::Zero),
        Just(SubgroupId::FirstObject),
        integer().prop_map(SubgroupId::Explicit),
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (integer(), integer(), subgroup, of(any::<u8>()), flags).prop_map(
        |(alias, group, subgroup, priority, flags)| SubgroupHeader {
            track_alias: TrackAlias(alias),
            group,
            subgroup,
            priority,
            has_properties: flags.0,
            end_of_group: flags.1,
            first_object: flags.2,
        },
    )
}

/// What an object adds to the one before it: a gap, a payload, a status, properties.
pub(crate) type Step = (u64, Bytes, ObjectStatus, Properties);

fn step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![
        4 => Just(ObjectStatus::Normal),
        1 => Just(ObjectStatus::EndOfGroup),
        1 => Just(ObjectStatus::EndOfTrack),
    ];
    (0_u64..1 << 40, bytes(400), status, properties())
}

pub(crate) fn stream_of(header: SubgroupHeader, steps: Vec<Step>) -> Stream {
    let mut out = BytesMut::new();
    header.encode(&mut out);
    let mut objects = Vec::new();
    let mut previous = None;
    for (gap, payload, status, properties) in steps {
        let id = previous.map_or(gap, |previous: u64| previous + 1 + gap);
        let first = objects.first().map_or(id, |first: &Object| first.object);
        let is_normal = status == ObjectStatus::Normal;
        let object = Object {
            group: header.group,
            object: id,
            subgroup: Some(header.subgroup.known().unwrap_or(first)),
            priority: header.priority,
            status,
            properties: if is_normal && header.has_properties {
                properties
            } else {
                Properties::default()
            },
            payload: if is_normal {
                payload.into()
            } else {
                Payload::default()
            },
        };
        encode_subgroup_object(&object, previous, header.has_properties, &mut out);
        out.extend_from_slice(&object.payload.to_bytes());
        previous = Some(id);
        objects.push(object);
    }
    Stream {
        header,
        objects,
        bytes: out.freeze(),
    }
}

pub(crate) fn stream() -> impl Strategy<Value = Stream> {
    (header(), vec(step(), 0..6)).prop_map(|(header, steps)| stream_of(header, steps))
}

pub(crate) fn datagram_object() -> impl Strategy<Value = Object> {
    (integer(), integer(), of(any::<u8>()), step()).prop_map(
        |(group, object, priority, (_, payload, status, properties))| {
            let is_normal = status == ObjectStatus::Normal;
            Object {
                group,
                object,
                subgroup: None,
                priority,
                status,
                properties: if is_normal {
                    properties
                } else {
                    Properties::default()
                },
                payload: if is_normal {
                    payload.into()
                } else {
                    Payload::default()
                },
            }
        },
    )
}
