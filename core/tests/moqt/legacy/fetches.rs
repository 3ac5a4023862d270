//! Fetch streams at draft 16: ids as they are outside, deltas inside.

use super::{Peer, own_uni, track, uni};
use crate::arbitrary::cases;
use bytes::Bytes;
use mainstem_core::moqt::error::StreamCode;
use mainstem_core::moqt::filter::{Filter, GroupOrder};
use mainstem_core::moqt::legacy::Control;
use mainstem_core::moqt::message::{Fetch, FetchOk, FetchTarget, Message};
use mainstem_core::moqt::name::{Location, RequestId};
use mainstem_core::moqt::object::{GapKind, Object};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::{Properties, PropertiesBuilder};
use mainstem_core::moqt::session::{Event, StreamEnd};
use mainstem_core::transport::StreamEvent;
use moqtap_codec::draft16::data_stream as t;
use moqtap_codec::varint::VarInt;
use proptest::collection::vec;
use proptest::prelude::*;

/// An object or the end of a gap.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    Object(Object),
    Gap(GapKind, Location),
}

/// Items in ascending order: what each adds to the one before.
fn items() -> impl Strategy<Value = Vec<Item>> {
    let step = (0_u64..3, 1_u64..200, 0_u64..4, any::<bool>(), 0_usize..20);
    vec((step, 0_u64..5, any::<bool>()), 1..12).prop_map(|steps| {
        let mut place = Location::new(1 << 20, 0);
        let mut items = Vec::new();
        for ((groups, objects, subgroup, is_plain, length), kind, extended) in steps {
            place = match groups {
                0 => Location::new(place.group, place.object + objects),
                groups => Location::new(place.group + groups, objects),
            };
            if kind == 0 {
                let kind = if is_plain {
                    GapKind::NonExistent
                } else {
                    GapKind::Unknown
                };
                items.push(Item::Gap(kind, place));
                continue;
            }
            items.push(Item::Object(Object {
                group: place.group,
                object: place.object,
                subgroup: (kind > 1).then_some(subgroup),
                priority: Some(if is_plain { 128 } else { 7 }),
                properties: if extended {
                    PropertiesBuilder::new().integer(0x40, 1 << 33).build()
                } else {
                    Properties::EMPTY
                },
                payload: Bytes::from(vec![3; length]).into(),
                ..Object::default()
            }));
        }
        items
    })
}

fn fetch(order: GroupOrder) -> Fetch {
    Fetch {
        request_id: RequestId(0),
        target: FetchTarget::Track(track("a")),
        parameters: Parameters {
            group_order: Some(order),
            filter: Some(Filter::None),
            ..Parameters::default()
        },
    }
}

#[test]
fn a_fetch_may_end_within_a_group() {
    let filter = Filter::AbsoluteRange {
        start: Location::new(0, 3),
        end_group: 2,
        end_object: Some(1),
    };
    let mut peer = Peer::client();
    let mut wanted = fetch(GroupOrder::Ascending);
    wanted.parameters.filter = Some(filter);
    peer.command(|s| s.fetch(wanted)).unwrap();
    let said = peer.heard();
    let [Control::Request(Message::Fetch(asked))] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(asked.parameters.filter, Some(filter));
}

fn fetch_ok() -> FetchOk {
    FetchOk {
        end_of_track: false,
        end_group: 1 << 40,
        end_object: Some(7),
        parameters: Parameters::default(),
        properties: Properties::EMPTY,
    }
}

/// What a server of draft 16 sends to answer a fetch.
fn served(items: &[Item], order: GroupOrder) -> Vec<u8> {
    let mut peer = Peer::server();
    peer.say(&Control::Request(Message::from(fetch(order))));
    let request = peer.asked()[0].0;
    peer.forget();
    peer.command(|s| s.accept_fetch(request, fetch_ok()))
        .unwrap();
    assert!(matches!(
        peer.heard()[..],
        [Control::Answer {
            request: RequestId(0),
            answer: Message::FetchOk(_)
        }]
    ));
    let stream = peer.command(|s| s.open_fetch(request, 0)).unwrap();
    for item in items {
        peer.command(|s| match item {
            Item::Object(object) => s.send_fetch_object(stream, object, false, false),
            Item::Gap(kind, end) => s.send_fetch_gap(stream, *kind, *end, false, false),
        })
        .unwrap();
    }
    peer.command(|s| s.finish_stream(stream)).unwrap();
    assert!(peer.was_finished(own_uni(0)));
    assert_eq!(peer.session.requests_len(), 0);
    peer.written(own_uni(0))
}

/// A client that asked for it.
fn asking(order: GroupOrder) -> Peer {
    let mut peer = Peer::client();
    peer.command(|s| s.fetch(fetch(order))).unwrap();
    peer.say(&Control::Answer {
        request: RequestId(0),
        answer: Message::from(fetch_ok()),
    });
    peer.forget();
    peer
}

fn received(peer: &Peer) -> Vec<Item> {
    let items = peer.events.iter().filter_map(|event| match event {
        Event::FetchObject { object, .. } => Some(Item::Object(object.clone())),
        Event::FetchGap { kind, end, .. } => Some(Item::Gap(*kind, *end)),
        _ => None,
    });
    items.collect()
}

/// The items in the other order: groups turned round, objects within them not.
fn descending(items: &[Item]) -> Vec<Item> {
    let group = |item: &Item| match item {
        Item::Object(object) => object.group,
        Item::Gap(_, end) => end.group,
    };
    let mut items = items.to_vec();
    items.sort_by_key(|item| std::cmp::Reverse(group(item)));
    items
}

/// The end of a gap, which has no payload length. The text leaves that open: moqtap-codec reads one,
/// aiomoqt does not, and no draft since has one.
fn end_of_range(rest: &mut &[u8]) -> t::FetchObjectHeader {
    let mut integer = || VarInt::decode(rest).unwrap();
    let (flags, group, object) = (integer(), integer(), integer());
    t::FetchObjectHeader {
        serialization_flags: flags,
        group_id: Some(group),
        subgroup_id: None,
        object_id: Some(object),
        publisher_priority: None,
        extensions: None,
        payload_length: VarInt::from_usize(0),
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn fetch_streams_mean_the_same_at_both_ends_however_cut(
        items in items(),
        is_ascending in any::<bool>(),
        cut in 1_usize..50,
    ) {
        let (items, order) = if is_ascending {
            (items, GroupOrder::Ascending)
        } else {
            (descending(&items), GroupOrder::Descending)
        };
        let bytes = served(&items, order);
        let mut rest = &bytes[..];
        let header = t::FetchHeader::decode(&mut rest).unwrap();
        prop_assert_eq!(header.request_id.into_inner(), 0);
        let mut reader = t::FetchObjectReader::new();
        for item in &items {
            let head = match item {
                Item::Gap(..) => end_of_range(&mut rest),
                Item::Object(_) => t::FetchObjectHeader::decode(&mut rest).unwrap(),
            };
            let place = reader.resolve(&head).unwrap();
            let found = Location::new(place.group_id, place.object_id);
            match item {
                Item::Gap(_, end) => {
                    prop_assert!(place.end_of_range.is_some());
                    prop_assert_eq!(found, *end);
                }
                Item::Object(object) => {
                    prop_assert_eq!(found, Location::new(object.group, object.object));
                    prop_assert_eq!(place.subgroup_id, object.subgroup);
                    prop_assert_eq!(place.publisher_priority, object.priority);
                    let length = object.payload.len();
                    prop_assert_eq!(head.payload_length.into_inner(), length as u64);
                    rest = &rest[length..];
                }
            }
        }
        prop_assert!(rest.is_empty());
        let mut peer = asking(order);
        for piece in bytes.chunks(cut) {
            peer.data(uni(0), Bytes::copy_from_slice(piece));
        }
        peer.happens(uni(0), StreamEvent::Finished);
        prop_assert_eq!(peer.code(), None);
        prop_assert_eq!(received(&peer), items);
        let is_end = |event: &Event| matches!(event, Event::FetchEnded { end: StreamEnd::Finished, .. });
        prop_assert!(peer.events.iter().any(is_end));
        prop_assert_eq!(peer.session.requests_len(), 0);
    }
}

#[test]
fn a_fetch_is_given_up_by_either_end() {
    let mut peer = asking(GroupOrder::Ascending);
    peer.command(|s| s.cancel(RequestId(0), StreamCode::CANCELLED))
        .unwrap();
    assert_eq!(peer.heard(), [Control::FetchCancel(RequestId(0))]);
    // Its stream was on the way.
    peer.data(uni(0), Bytes::from_static(&[5, 0, 0x1c, 1, 1, 1, 1, 9]));
    assert_eq!((peer.code(), received(&peer).len()), (None, 0));

    let mut peer = Peer::server();
    peer.say(&Control::Request(Message::from(fetch(
        GroupOrder::Ascending,
    ))));
    let request = peer.asked()[0].0;
    peer.command(|s| s.accept_fetch(request, fetch_ok()))
        .unwrap();
    peer.say(&Control::FetchCancel(RequestId(0)));
    assert_eq!(peer.cancelled(), [request]);
}

#[test]
fn objects_against_the_group_order_cost_the_fetch_and_not_the_session() {
    // Group 5 and then group 4, in full.
    let bytes = [5, 0, 0x1c, 5, 0, 1, 0, 0x1c, 4, 0, 1, 0];
    let mut peer = asking(GroupOrder::Ascending);
    peer.data(uni(0), Bytes::copy_from_slice(&bytes));
    assert_eq!(peer.code(), None);
    assert_eq!(peer.heard(), [Control::FetchCancel(RequestId(0))]);
}
