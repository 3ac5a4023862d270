//! The wire in both directions: what is written is read back, however it is cut, and what must end
//! a session does, with the code that the drafts name.

use crate::arbitrary::{self, any_message, bytes, draft, integer, only};
use bytes::{BufMut, Bytes, BytesMut};
use mainstem_core::moqt::control::ControlReader;
use mainstem_core::moqt::error::{EncodeError, SessionCode};
use mainstem_core::moqt::message::{Message, MessageKind, RequestKind as R, StreamRole};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::{Draft, ProtocolError, varint};
use proptest::prelude::*;
use std::num::ParseIntError;

/// The bytes of a message.
pub(crate) fn encoded(draft: Draft, message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(draft, &mut out).unwrap();
    out.freeze()
}

/// Reads one message from a stream of this role, whole.
pub(crate) fn read(
    draft: Draft,
    role: StreamRole,
    bytes: &[u8],
) -> Result<Option<Message>, ProtocolError> {
    let mut reader = ControlReader::new(role);
    reader.push(&Bytes::copy_from_slice(bytes));
    reader.poll(draft)
}

/// A message of this type with this body.
pub(crate) fn framed(code: u64, body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    varint::encode(code, &mut out);
    out.put_u16(u16::try_from(body.len()).unwrap());
    out.put_slice(body);
    out.freeze()
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let bytes: Result<Vec<u8>, ParseIntError> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16))
        .collect();
    bytes.unwrap()
}

/// Cuts a stream into pieces of the given lengths, over and over.
pub(crate) fn cut(bytes: &Bytes, lengths: &[usize]) -> Vec<Bytes> {
    let mut rest = bytes.clone();
    let mut lengths = lengths.iter().cycle();
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let length = lengths.next().map_or(1, |length| (*length).max(1));
        pieces.push(rest.split_to(length.min(rest.len())));
    }
    pieces
}

proptest! {
    #![proptest_config(crate::arbitrary::cases(400))]

    #[test]
    fn every_message_is_read_back_at_every_draft((draft, role, message) in any_message()) {
        let bytes = encoded(draft, &message);
        prop_assert_eq!(read(draft, role, &bytes), Ok(Some(message)));
    }

    #[test]
    fn a_stream_of_messages_may_be_cut_anywhere(
        draft in draft(),
        messages in proptest::collection::vec(any_message(), 1..5),
        lengths in proptest::collection::vec(1_usize..200, 1..6),
    ) {
        let mut stream = BytesMut::new();
        let mut expected = Vec::new();
        for (of, role, message) in messages {
            if of == draft && role == StreamRole::Request {
                stream.put_slice(&encoded(draft, &message));
                expected.push(message);
            }
        }
        let stream = stream.freeze();
        let mut reader = ControlReader::new(StreamRole::Request);
        let mut seen = Vec::new();
        for piece in cut(&stream, &lengths) {
            reader.push(&piece);
            while let Some(message) = reader.poll(draft).unwrap() {
                seen.push(message);
            }
        }
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(reader.buffered(), 0);
        prop_assert!(!reader.is_mid_message());
    }

    #[test]
    fn a_message_cut_short_waits_and_with_a_short_length_closes(
        (draft, role, message) in any_message(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = encoded(draft, &message);
        let part = &bytes[..cut.index(bytes.len())];
        prop_assert_eq!(read(draft, role, part), Ok(None));
        // The same bytes as a body that claims to be complete.
        let (_, head) = varint::decode(&bytes).unwrap();
        if part.len() > head + 2 {
            let body = &part[head + 2..];
            match read(draft, role, &framed(message.kind().code(), body)) {
                Err(fault) => prop_assert!(fault.code != SessionCode::NO_ERROR),
                // Properties and options end anywhere between two pairs.
                Ok(shorter) => prop_assert_eq!(shorter.unwrap().kind(), message.kind()),
            }
        }
    }

    #[test]
    fn a_trailing_byte_closes(
        (draft, role, message) in any_message(),
    ) {
        let bytes = encoded(draft, &message);
        let (_, head) = varint::decode(&bytes).unwrap();
        let mut body = bytes[head + 2..].to_vec();
        body.push(0);
        let read = read(draft, role, &framed(message.kind().code(), &body));
        prop_assert!(read.is_err(), "{:?}", read);
    }

    #[test]
    fn random_bodies_never_panic_and_every_fault_has_a_code(
        draft in draft(),
        kind in prop::sample::select(MessageKind::ALL.to_vec()),
        body in bytes(80),
        on_control in any::<bool>(),
    ) {
        let role = if on_control { StreamRole::Control } else { StreamRole::Request };
        match read(draft, role, &framed(kind.code(), &body)) {
            Err(fault) => prop_assert!(fault.code.name().is_some() && !fault.reason.is_empty()),
            // What was read can be written, and reads the same.
            Ok(Some(message)) => {
                let mut out = BytesMut::new();
                if message.encode(draft, &mut out).is_ok() {
                    prop_assert_eq!(super::wire::read(draft, role, &out), Ok(Some(message)));
                }
            }
            Ok(None) => prop_assert!(false, "the body is complete"),
        }
    }

    #[test]
    fn a_failed_encode_leaves_the_buffer_alone(
        draft in draft(),
        parameters in arbitrary::all_parameters(Draft::D22),
    ) {
        let mut out = BytesMut::from(&b"before"[..]);
        let message = Message::from(mainstem_core::moqt::message::FetchOk {
            end_of_track: true,
            end_group: 1,
            end_object: Some(1),
            parameters: parameters.clone(),
            properties: mainstem_core::moqt::property::Properties::default(),
        });
        let result = message.encode(draft, &mut out);
        if parameters == Parameters::default() {
            prop_assert!(result.is_ok());
        } else {
            let refused = matches!(result, Err(EncodeError::OutOfScope { .. }));
            prop_assert!(refused);
            prop_assert_eq!(&out[..], b"before");
        }
    }
}

/// One parameter of each type, as it stands in a block of its own.
fn single(draft: Draft, key: u64) -> Vec<u8> {
    let value = match key {
        0x02 | 0x04 | 0x06 | 0x08 | 0x0A | 0x32 => hex("05"),
        0x03 => hex("03 03 00 61"),
        0x09 => hex("05 06"),
        0x10 | 0x20 | 0x22 | 0x35 => hex("01"),
        0x21 if draft == Draft::D18 => hex("01 02"),
        0x21 if draft == Draft::D22 => hex("05"),
        0x21 => hex("02 00 00"),
        0x23 => hex("01 00"),
        0x34 => hex("01 01 61"),
        _ => hex("03 00 01 02"),
    };
    let mut block = hex("01");
    let mut head = BytesMut::new();
    varint::encode(key, &mut head);
    block.extend_from_slice(&head);
    block.extend_from_slice(&value);
    block
}

/// What stands before the parameters in a message of this kind.
fn before_parameters(draft: Draft, kind: MessageKind) -> Option<Vec<u8>> {
    use MessageKind as M;
    Some(match kind {
        M::Fetch if draft == Draft::D18 => hex("00 02 00 00"),
        M::Subscribe | M::TrackStatus | M::Fetch => hex("00 01 01 61 01 62"),
        M::Publish => hex("00 01 01 61 01 62 00"),
        M::SubscribeOk | M::RequestUpdate => hex("00"),
        M::PublishNamespace | M::SubscribeNamespace | M::SubscribeTracks => hex("00 01 01 61"),
        M::FetchOk => hex("00 00 00"),
        M::RequestOk | M::PublishStateNotify => Vec::new(),
        _ => return None,
    })
}

#[test]
fn parameters_are_read_where_the_draft_allows_them_and_close_elsewhere() {
    const SUBSCRIBE_TRACKS_WIDER: [u64; 6] = [0x02, 0x04, 0x06, 0x20, 0x23, 0x32];
    covers!("MOQT19-10.2.1-1");
    let known_20 = [0x23, 0x25, 0x26, 0x27, 0x28, 0x29, 0x35];
    for draft in Draft::CANONICAL {
        for kind in MessageKind::ALL.into_iter().filter(|k| k.exists_in(draft)) {
            let Some(before) = before_parameters(draft, kind) else {
                continue;
            };
            for key in 0..0x40 {
                let mut body = before.clone();
                body.extend_from_slice(&single(draft, key));
                let read = read(draft, StreamRole::Request, &framed(kind.code(), &body));
                let mut allowed = arbitrary::allowed(draft, kind).contains(&key);
                // The module says why the wider reading is taken here.
                allowed |= draft != Draft::D18
                    && kind == MessageKind::SubscribeTracks
                    && SUBSCRIBE_TRACKS_WIDER.contains(&key);
                let context = format!("{draft} {} 0x{key:x}", kind.name());
                match read {
                    Ok(message) => {
                        assert!(allowed, "{context} {message:?}");
                        let known = draft != Draft::D18 || !known_20.contains(&key);
                        assert!(known, "{context}");
                    }
                    Err(fault) => {
                        assert!(!allowed, "{context}: {fault}");
                        assert_eq!(fault.code, SessionCode::PROTOCOL_VIOLATION, "{context}");
                    }
                }
            }
        }
    }
}

#[test]
fn parameters_out_of_scope_are_not_written() {
    let everything = Parameters {
        expires_ms: Some(1),
        fill_timeout_ms: Some(1),
        rendezvous_timeout_ms: Some(1),
        ..Parameters::default()
    };
    for draft in Draft::CANONICAL {
        let message = |types: &[u64]| {
            Message::from(mainstem_core::moqt::message::RequestOk {
                parameters: only(everything.clone(), types),
                ..Default::default()
            })
        };
        let mut out = BytesMut::new();
        assert!(message(&[0x08]).encode(draft, &mut out).is_ok());
        let refused = message(&[0x04]).encode(draft, &mut out);
        assert!(
            matches!(refused, Err(EncodeError::OutOfScope { parameter: 4, .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn only_setup_and_goaway_are_for_the_control_stream() {
    for draft in Draft::CANONICAL {
        for kind in MessageKind::ALL {
            let bytes = framed(kind.code(), &hex("00 00 00 00"));
            let result = read(draft, StreamRole::Control, &bytes);
            if !matches!(kind, MessageKind::Setup | MessageKind::Goaway) {
                let fault = result.unwrap_err();
                assert_eq!(fault.code, SessionCode::PROTOCOL_VIOLATION);
            }
        }
    }
}

#[test]
fn integers_may_be_longer_than_needed_in_messages() {
    // NAMESPACE_DONE with a count of 1 in nine bytes and a length of 1 in two.
    let body = hex("ff0000000000000001 8001 61");
    let message = read(Draft::D22, StreamRole::Request, &framed(0x0E, &body)).unwrap();
    let short = read(
        Draft::D22,
        StreamRole::Request,
        &framed(0x0E, &hex("01 01 61")),
    );
    assert_eq!(message, short.unwrap());
}

#[test]
fn publish_ok_of_draft_18_is_a_request_ok_under_either_type() {
    let one = read(
        Draft::D18,
        StreamRole::Request,
        &framed(0x07, &hex("01 10 01")),
    );
    let other = read(
        Draft::D18,
        StreamRole::Request,
        &framed(0x1E, &hex("01 10 01")),
    );
    assert_eq!(one, other);
    assert!(one.is_ok());
}

#[test]
fn answers_carry_only_what_their_request_allows() {
    let forward = Parameters {
        forward: Some(true),
        ..Parameters::default()
    };
    let expires = Parameters {
        expires_ms: Some(5),
        ..Parameters::default()
    };
    let largest = Parameters {
        largest: Some(mainstem_core::moqt::Location::ZERO),
        ..Parameters::default()
    };
    let cases = [
        (Draft::D18, &forward, R::Publish, true),
        (Draft::D22, &forward, R::Publish, false),
        (Draft::D18, &forward, R::PublishNamespace, false),
        (Draft::D18, &expires, R::PublishNamespace, false),
        (Draft::D22, &expires, R::PublishNamespace, true),
        (Draft::D22, &expires, R::Update, true),
        (Draft::D22, &largest, R::TrackStatus, true),
        (Draft::D22, &largest, R::Publish, false),
        (Draft::D18, &largest, R::SubscribeNamespace, false),
    ];
    for (draft, parameters, request, allowed) in cases {
        let check = parameters.check_ok_of(draft, request);
        assert_eq!(check.is_ok(), allowed, "{draft} {request:?} {parameters:?}");
    }
    let update = |draft, request| forward.check_update_of(draft, request);
    assert!(update(Draft::D22, R::Subscribe).is_ok() && update(Draft::D18, R::Publish).is_ok());
    assert!(update(Draft::D18, R::SubscribeTracks).is_err());
    assert!(update(Draft::D22, R::SubscribeTracks).is_ok());
    let fault = update(Draft::D22, R::PublishNamespace).unwrap_err();
    assert_eq!(fault.code, SessionCode::PROTOCOL_VIOLATION);
}

#[test]
fn names_of_4096_bytes_are_the_longest() {
    covers!("MOQT19-2.4.1-5");
    let message = |name: usize| {
        let mut body = BytesMut::from(&hex("00 01 8fa0")[..]);
        body.put_bytes(b'n', 4000);
        varint::encode(name as u64, &mut body);
        body.put_bytes(b't', name);
        body.put_u8(0);
        read(Draft::D22, StreamRole::Request, &framed(0x0D, &body))
    };
    assert!(message(96).is_ok());
    let fault = message(97).unwrap_err();
    assert_eq!(fault.code, SessionCode::PROTOCOL_VIOLATION);
}

#[test]
fn a_message_of_more_than_65535_bytes_is_the_owners_error() {
    let setup = mainstem_core::moqt::message::Setup {
        path: Some(format!("/{}", "a".repeat(60_000))),
        authority: Some("a".repeat(60_000)),
        ..Default::default()
    };
    let mut out = BytesMut::new();
    let result = Message::from(setup).encode(Draft::D22, &mut out);
    assert!(
        matches!(result, Err(EncodeError::TooLong { .. })),
        "{result:?}"
    );
    assert!(out.is_empty());
}

#[test]
fn a_reason_is_cut_to_1024_bytes_at_a_character() {
    let long = mainstem_core::moqt::message::RequestError::new(
        mainstem_core::moqt::error::RequestCode::INTERNAL_ERROR,
        "é".repeat(600),
    );
    let bytes = encoded(Draft::D22, &Message::from(long));
    let Ok(Some(Message::RequestError(back))) = read(Draft::D22, StreamRole::Request, &bytes)
    else {
        panic!("not read back");
    };
    assert_eq!(back.reason, "é".repeat(512));
}

proptest! {
    #[test]
    fn vi64_agrees_with_its_definition(value in integer()) {
        let mut out = BytesMut::new();
        varint::encode(value, &mut out);
        prop_assert_eq!(out.len(), varint::len(value));
        prop_assert_eq!(varint::decode(&out), Some((value, out.len())));
        for short in 0..out.len() {
            prop_assert_eq!(varint::decode(&out[..short]), None);
        }
    }
}
