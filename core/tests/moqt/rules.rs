//! Rules of the wire that stand in no other file, each against the bytes: order and number of
//! parameters and options, bounds of names, what is not known.

use crate::wire::{encoded, framed, hex, read};
use bytes::{Buf as _, Bytes, BytesMut};
use mainstem_core::moqt::error::{EncodeError, PublishDoneCode, SessionCode};
use mainstem_core::moqt::filter::GroupOrder;
use mainstem_core::moqt::message::{
    Message, PublishDone, PublishNamespace, Setup, StreamRole, Subscribe, SubscribeNamespace,
};
use mainstem_core::moqt::name::{FullTrackName, RequestId, TrackNamespace};
use mainstem_core::moqt::object::{Limits, StreamKind, SubgroupEvent, SubgroupReader, stream_kind};
use mainstem_core::moqt::parameter::{AuthorizationToken, Parameters};
use mainstem_core::moqt::property::PropertiesBuilder;
use mainstem_core::moqt::{Draft, varint};

fn token(value: &'static str) -> AuthorizationToken {
    AuthorizationToken::UseValue {
        token_type: 0,
        value: Bytes::from_static(value.as_bytes()),
    }
}

fn subscribe(parameters: Parameters) -> Message {
    let namespace = TrackNamespace::from_path("a").unwrap();
    Message::from(Subscribe {
        request_id: RequestId(0),
        track: FullTrackName::new(namespace, "b".into()).unwrap(),
        parameters,
    })
}

/// Identifiers that are reserved so that nobody relies on knowing all: 0x7f * N + 0x9d.
fn reserved() -> impl Iterator<Item = u64> {
    (0..40).map(|n| 0x7f * n + 0x9d)
}

/// Writes pairs with ascending types; even types hold 5, odd ones two bytes.
fn pairs(types: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut out = BytesMut::new();
    let mut previous = 0;
    for key in types {
        varint::encode(key - previous, &mut out);
        previous = key;
        out.extend_from_slice(if key % 2 == 0 { &[5] } else { &[2, 7, 7] });
    }
    out.to_vec()
}

#[test]
fn parameters_are_written_in_order_and_once() {
    covers!("MOQT19-10.2-1", "MOQT19-10.2-5");
    let parameters = Parameters {
        include_properties: Some(true),
        new_group_request: Some(4),
        group_order: Some(GroupOrder::Descending),
        subscriber_priority: Some(9),
        forward: Some(true),
        rendezvous_timeout_ms: Some(6),
        authorization_tokens: vec![token("t"), token("u")],
        object_delivery_timeout_ms: Some(5),
        ..Parameters::default()
    };
    // Type deltas cannot fall; one of 0 repeats a type, which a token alone may.
    let expected =
        "02 05  01 03 03 00 74  00 03 03 00 75  01 06  0c 01  10 09  02 02  10 04  03 01";
    let bytes = encoded(Draft::D22, &subscribe(parameters));
    let block = &bytes[9..];
    assert_eq!(block[0], 9, "their number");
    assert_eq!(block[1..], hex(expected));
}

#[test]
fn parameters_of_other_drafts_are_not_written() {
    covers!("MOQT19-10.2-3");
    let later = Parameters {
        include_properties: Some(false),
        ..Parameters::default()
    };
    for draft in Draft::CANONICAL {
        let mut out = BytesMut::new();
        let written = subscribe(later.clone()).encode(draft, &mut out);
        if draft == Draft::D18 {
            let refused = matches!(
                written,
                Err(EncodeError::OutOfScope {
                    parameter: 0x35,
                    ..
                })
            );
            assert!(refused && out.is_empty(), "{written:?}");
        } else {
            assert_eq!(written, Ok(()));
        }
    }
}

#[test]
fn setup_options_are_written_in_order_and_once() {
    covers!("MOQT19-10.3-2");
    let setup = Setup {
        path: Some("/p".to_owned()),
        authority: Some("h".to_owned()),
        authorization_tokens: vec![token("t"), token("u")],
        max_auth_token_cache_size: Some(1),
        max_filter_ranges: Some(2),
        max_request_updates: Some(3),
        implementation: Some("i".to_owned()),
        ..Setup::default()
    };
    let expected =
        "01 02 2f 70  02 03 03 00 74  00 03 03 00 75  01 01  01 01 68  01 02  01 01 69  01 03";
    let mut bytes = encoded(Draft::D22, &Message::from(setup));
    bytes.advance(2 + 2);
    assert_eq!(bytes[..], hex(expected));
}

#[test]
fn a_pair_is_a_delta_that_leads_to_its_type_and_never_past_64_bits() {
    covers!("MOQT19-1.4.3-1");
    let types = [0x40, 0x41, 0x3fff, u64::MAX - 1, u64::MAX];
    let builder = PropertiesBuilder::new()
        .bytes(u64::MAX, Bytes::from_static(b"z"))
        .integer(u64::MAX - 1, 1)
        .bytes(0x3fff, Bytes::new())
        .bytes(0x41, Bytes::from_static(b"y"))
        .integer(0x40, u64::MAX);
    let properties = builder.build();
    let mut rest = &properties.raw()[..];
    let mut key = 0_u64;
    let take = |rest: &mut &[u8]| {
        let (value, used) = varint::decode(rest).unwrap();
        *rest = &rest[used..];
        value
    };
    for expected in types {
        key = key.checked_add(take(&mut rest)).unwrap();
        assert_eq!(key, expected);
        let value = take(&mut rest);
        if key % 2 == 1 {
            rest = &rest[usize::try_from(value).unwrap()..];
        }
    }
    assert!(rest.is_empty());
}

#[test]
fn namespaces_and_prefixes_beyond_their_bounds_close() {
    covers!(
        "MOQT19-2.4.1-3",
        "MOQT19-2.4.1-4",
        "MOQT19-10.18-1",
        "MOQT19-10.19-1"
    );
    for draft in Draft::CANONICAL {
        for code in [0x06, 0x50, 0x51] {
            let ask = |fields: &[usize]| {
                let mut body = BytesMut::from(&[0][..]);
                varint::encode(fields.len() as u64, &mut body);
                for length in fields {
                    varint::encode(*length as u64, &mut body);
                    body.extend_from_slice(&vec![b'x'; *length]);
                }
                body.extend_from_slice(&[0]);
                read(draft, StreamRole::Request, &framed(code, &body)).map_err(|f| f.code)
            };
            let violation = Err(SessionCode::PROTOCOL_VIOLATION);
            assert!(ask(&[1; 32]).is_ok_and(|message| message.is_some()));
            assert_eq!(ask(&[1; 33]), violation, "{draft} 0x{code:x}");
            assert!(ask(&[4000, 96]).is_ok_and(|message| message.is_some()));
            assert_eq!(ask(&[4000, 97]), violation, "{draft} 0x{code:x}");
        }
    }
}

#[test]
fn what_is_built_from_names_keeps_their_bounds() {
    covers!("MOQT19-2.4.1-1");
    let prefix = TrackNamespace::from_path("a/b").unwrap();
    for message in [
        Message::from(PublishNamespace {
            request_id: RequestId(0),
            namespace: prefix.clone(),
            parameters: Parameters::default(),
        }),
        Message::from(SubscribeNamespace {
            request_id: RequestId(0),
            prefix,
            parameters: Parameters::default(),
        }),
    ] {
        let bytes = encoded(Draft::D22, &message);
        assert!(bytes.ends_with(&hex("02 01 61 01 62 00")), "{bytes:?}");
    }
    assert!(TrackNamespace::copied_from(&[b"a", b""]).is_err());
}

#[test]
fn reserved_setup_options_are_ignored_however_often_they_come() {
    covers!("MOQT19-10.3-1", "MOQT19-14-3");
    for draft in Draft::CANONICAL {
        let mut body = hex("01 02 2f 70");
        let mut options = pairs(reserved());
        // The first type is a delta to PATH.
        options.splice(..2, hex("80 9c"));
        body.extend_from_slice(&options);
        // The last one, which is even, again.
        body.extend_from_slice(&hex("00 06"));
        let message = read(draft, StreamRole::Control, &framed(0x2F00, &body)).unwrap();
        let Some(Message::Setup(read)) = message else {
            panic!("not a SETUP at {draft}");
        };
        let expected = Setup {
            path: Some("/p".to_owned()),
            // They stay there for extensions, which do not know them either.
            options: read.options.clone(),
            ..Setup::default()
        };
        assert_eq!(read, expected, "{draft}");
    }
}

#[test]
fn unknown_properties_are_skipped_to_the_known_ones_and_kept() {
    covers!("MOQT19-14-4", "MOQT19-15.8-1");
    for draft in Draft::CANONICAL {
        // Two unknown types below 0x30, dynamic groups, and every reserved type above.
        let mut block = hex("10 80 07  01 03 01 02 03  1f 01");
        let mut after = pairs(reserved());
        after.splice(..2, hex("6d"));
        block.extend_from_slice(&after);
        let mut body = hex("00 00");
        body.extend_from_slice(&block);
        let Ok(Some(Message::SubscribeOk(answer))) =
            read(draft, StreamRole::Request, &framed(0x04, &body))
        else {
            panic!("not a SUBSCRIBE_OK at {draft}");
        };
        assert!(answer.properties.dynamic_groups());
        assert_eq!(answer.properties.integer(0x10), Some(7));
        assert_eq!(answer.properties.raw()[..], block, "byte for byte");
        assert_eq!(encoded(draft, &Message::from(answer))[5..], block);
    }
}

#[test]
fn properties_that_may_stand_once_make_the_track_malformed_when_they_do_not() {
    covers!("MOQT19-12.7-5", "MOQT19-12.8-3", "MOQT19-12.9-3");
    for (what, properties) in [
        ("immutable properties twice", "0b 00 00 00"),
        ("prior group id gap twice", "3c 01 00 01"),
        ("prior object id gap twice", "3e 01 00 01"),
        (
            "prior object id gap inside and outside",
            "0b 02 3e 01 33 01",
        ),
    ] {
        let properties = hex(properties);
        let mut bytes = hex("31 09 09 09");
        bytes.push(u8::try_from(properties.len()).unwrap());
        bytes.extend_from_slice(&properties);
        bytes.extend_from_slice(&hex("01 07"));
        let mut reader = SubgroupReader::new(Limits::default());
        reader.push(Bytes::from(bytes));
        assert!(matches!(reader.poll(), Ok(Some(SubgroupEvent::Header(_)))));
        let fault = reader.poll().unwrap_err();
        assert!(
            fault.to_string().starts_with("malformed track"),
            "{what}: {fault}"
        );
    }
}

#[test]
fn the_first_object_of_a_subgroup_is_marked_by_a_bit_of_the_header() {
    for code in 0x10..0x80_u64 {
        let mut head = BytesMut::new();
        varint::encode(code, &mut head);
        let is_subgroup = stream_kind(&[head.freeze()]) == Ok(Some(StreamKind::Subgroup));
        if !is_subgroup {
            continue;
        }
        let mut bytes = vec![u8::try_from(code).unwrap(), 1, 2];
        bytes.extend_from_slice(&[3; 8]);
        let mut reader = SubgroupReader::new(Limits::default());
        reader.push(Bytes::from(bytes));
        let Ok(Some(SubgroupEvent::Header(header))) = reader.poll() else {
            panic!("no header at 0x{code:x}");
        };
        assert_eq!(header.first_object, code & 0x40 != 0, "0x{code:x}");
        assert_eq!(header.end_of_group, code & 0x08 != 0, "0x{code:x}");
        assert_eq!(header.priority.is_none(), code & 0x20 != 0, "0x{code:x}");
    }
}

#[test]
fn a_stream_count_that_is_not_known_is_the_drafts_largest() {
    covers!("MOQT19-10.11-6", "MOQT20-10.12-1");
    for draft in Draft::CANONICAL {
        let done = PublishDone {
            code: PublishDoneCode::TRACK_ENDED,
            stream_count: None,
            reason: String::new(),
        };
        let bytes = encoded(draft, &Message::from(done.clone()));
        let count = if draft == Draft::D18 {
            (1_u64 << 62) - 1
        } else {
            u64::MAX
        };
        let mut body = BytesMut::from(&[2][..]);
        varint::encode(count, &mut body);
        body.extend_from_slice(&[0]);
        assert_eq!(bytes, framed(0x0B, &body), "{draft}");
        let back = read(draft, StreamRole::Request, &bytes);
        assert_eq!(back, Ok(Some(Message::from(done))));
    }
}

#[test]
fn fill_parameters_count_their_types_from_zero() {
    covers!("MOQT20-10.2.15-3", "MOQT22-9.20.15-1");
    // FILL_PARAMETERS of a priority and a filter of type 2, then NEW_GROUP_REQUEST.
    let inside = "02  20 07  01 02 03 04";
    let body = format!("00 01 01 61 01 62 02  23 07 {inside}  0f 05");
    let Ok(Some(Message::Subscribe(subscribe))) =
        read(Draft::D22, StreamRole::Request, &framed(0x03, &hex(&body)))
    else {
        panic!("not a SUBSCRIBE");
    };
    let fill = subscribe.parameters.fill.as_ref().unwrap();
    assert_eq!(fill.subscriber_priority, Some(7));
    let start = mainstem_core::moqt::Location::new(3, 4);
    let filter = mainstem_core::moqt::filter::Filter::Absolute { start };
    assert_eq!(fill.filter, Some(filter));
    assert_eq!(subscribe.parameters.new_group_request, Some(5));
    assert_eq!(
        encoded(Draft::D22, &Message::from(subscribe))[3..],
        hex(&body)
    );
}

#[test]
fn from_draft_20_on_a_fetch_names_its_track_and_has_no_type() {
    use mainstem_core::moqt::message::{Fetch, FetchTarget};
    covers!("MOQT20-10.13-1");
    let namespace = TrackNamespace::from_path("a").unwrap();
    let track = FullTrackName::new(namespace, "b".into()).unwrap();
    for draft in [Draft::D20, Draft::D21, Draft::D22] {
        let fetch = Message::from(Fetch {
            request_id: RequestId(2),
            target: FetchTarget::Track(track.clone()),
            parameters: Parameters::default(),
        });
        let body = hex("02  01 01 61  01 62  00");
        assert_eq!(encoded(draft, &fetch), framed(0x16, &body));
        let join = Message::from(Fetch {
            request_id: RequestId(2),
            target: FetchTarget::RelativeJoin {
                joining: RequestId(0),
                groups: 1,
            },
            parameters: Parameters::default(),
        });
        let mut out = BytesMut::new();
        let refused = join.encode(draft, &mut out);
        assert!(
            matches!(refused, Err(EncodeError::NotExpressible { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_client_over_quic_alone_says_where_it_wants_to_go() {
    use mainstem_core::moqt::control::ControlReader;
    use mainstem_core::moqt::session::{Config, Sessions};
    use mainstem_core::time::Instant;
    use mainstem_core::transport::{Carrier, Input, Opened, Output, SessionId, Side, Target};
    covers!(
        "MOQT19-3.2-1",
        "MOQT19-10.3.1.1-1",
        "MOQT19-10.3.1.1-5",
        "MOQT19-10.3.1.2-1",
        "MOQT19-10.3.1.2-5"
    );
    for draft in Draft::CANONICAL {
        for (side, carrier) in [
            (Side::Client, Carrier::Quic),
            (Side::Client, Carrier::WebTransport),
            (Side::Server, Carrier::Quic),
            (Side::Server, Carrier::WebTransport),
        ] {
            let mut sessions = Sessions::new(Config {
                sessions_max: 1,
                ..Config::default()
            });
            let target = Target {
                authority: "relay.test:4443".to_owned(),
                path: "/live?jwt=t".to_owned(),
            };
            let opened = Opened {
                side,
                carrier,
                protocol: draft.protocol().to_owned(),
                target: Some(target),
                remote: ([192, 0, 2, 1], 4443).into(),
            };
            let session = SessionId(1);
            sessions.handle(Instant::from_nanos(0), Input::Opened { session, opened });
            let mut reader = ControlReader::new(StreamRole::Control);
            while let Some(output) = sessions.poll_output() {
                if let Output::Write { head, .. } = output {
                    reader.push(&head);
                }
            }
            let Ok(Some(Message::Setup(setup))) = reader.poll(draft) else {
                panic!("no SETUP at {draft}");
            };
            let is_told = side == Side::Client && carrier == Carrier::Quic;
            let expected = |text: &str| is_told.then(|| text.to_owned());
            assert_eq!(setup.authority, expected("relay.test:4443"));
            assert_eq!(setup.path, expected("/live?jwt=t"));
        }
    }
}

#[test]
fn fetched_objects_state_their_place_first_and_datagrams_have_no_subgroup() {
    use mainstem_core::moqt::object::{FetchWriter, Object};
    covers!(
        "MOQT19-11.4.4.1-1",
        "MOQT19-11.4.4.1-5",
        "MOQT19-11.4.4.1-6"
    );
    for draft in Draft::CANONICAL {
        for order in [GroupOrder::Ascending, GroupOrder::Descending] {
            let mut writer = FetchWriter::new(draft, order, 128);
            let mut out = BytesMut::new();
            let mut object = Object {
                group: 5,
                object: 7,
                subgroup: None,
                priority: Some(9),
                ..Object::default()
            };
            writer.encode_object(&object, &mut out).unwrap();
            let (flags, used) = varint::decode(&out).unwrap();
            assert_eq!(flags & 0x0c, 0x0c, "group and object are there");
            assert_eq!(flags & 0x43, 0x40, "a datagram, without a subgroup");
            assert_eq!(out[used..used + 2], [5, 7], "in full");
            object.object = 8;
            out.clear();
            writer.encode_object(&object, &mut out).unwrap();
            let (flags, _) = varint::decode(&out).unwrap();
            assert_eq!(flags & 0x43, 0x40, "each for itself");
        }
    }
}
