//! Control messages.

use crate::arbitrary::{compared, message};
use crate::convert::{location, name, namespace, options, parameters, prefix, properties};
use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::control::ControlReader;
use mainstem_core::moqt::filter::Filter;
use mainstem_core::moqt::message::{
    Fetch, FetchTarget, Message, MessageKind, RequestUpdate, Setup, StreamRole,
};
use mainstem_core::moqt::name::Location;
use mainstem_core::moqt::parameter::AuthorizationToken;
use mainstem_core::moqt::{Draft, ProtocolError};
use moq_transport::coding::{Decode, DecodeError, Encode, ReasonPhrase};
use moq_transport::message::{self as t, Message as M, TrackExtensions};
use moq_transport::setup::{Setup as TheirSetup, decode_setup_tokens};
use proptest::prelude::*;

/// Unlimited ends and counts, in the largest integer of 62 bits (Sections 10.11 and 10.12).
const UNKNOWN: u64 = (1 << 62) - 1;

fn written(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(Draft::D18, &mut out).unwrap();
    out.freeze()
}

fn read(role: StreamRole, bytes: &[u8]) -> Result<Option<Message>, ProtocolError> {
    let mut reader = ControlReader::new(role);
    reader.push(&Bytes::copy_from_slice(bytes));
    reader.poll(Draft::D18)
}

/// Whether the other codec's type of this message carries a request id that the wire has not.
const fn has_their_id(kind: MessageKind) -> bool {
    use MessageKind as K;
    matches!(
        kind,
        K::RequestOk | K::RequestError | K::SubscribeOk | K::PublishDone | K::FetchOk
    )
}

/// A message with type and length of one and two bytes, with request id 0 put before its body.
fn with_their_id(kind: MessageKind, bytes: &[u8]) -> Vec<u8> {
    if !has_their_id(kind) || bytes.len() < 3 {
        return bytes.to_vec();
    }
    let length = u16::from_be_bytes([bytes[1], bytes[2]]) + 1;
    let [high, low] = length.to_be_bytes();
    [&[bytes[0], high, low, 0], &bytes[3..]].concat()
}

/// What they write, as their session sends it: without that request id.
fn their_bytes(kind: MessageKind, message: &M) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out).unwrap();
    if !has_their_id(kind) {
        return out;
    }
    let length = u16::from_be_bytes([out[1], out[2]]) - 1;
    let [high, low] = length.to_be_bytes();
    assert_eq!(out[3], 0);
    [&[out[0], high, low], &out[4..]].concat()
}

fn decoded(kind: MessageKind, bytes: &[u8]) -> Result<M, DecodeError> {
    let bytes = with_their_id(kind, bytes);
    let mut rest = &bytes[..];
    let message = M::decode(&mut rest)?;
    assert!(rest.is_empty());
    Ok(message)
}

fn fetch(fetch: &Fetch) -> t::Fetch {
    let mut ours = fetch.parameters.clone();
    let range = ours.filter.take();
    let joining = |joining: u64, start: u64| {
        Some(t::JoiningFetch {
            joining_request_id: joining,
            joining_start: start,
        })
    };
    let (fetch_type, standalone_fetch, joining_fetch) = match &fetch.target {
        FetchTarget::Track(track) => {
            let open = Location::new(UNKNOWN, 0);
            let (start, end) = match range {
                Some(Filter::Absolute { start }) => (start, open),
                Some(Filter::AbsoluteRange {
                    start,
                    end_group,
                    end_object,
                }) => {
                    let past = end_object.map_or(0, |object| object + 1);
                    (start, Location::new(end_group, past))
                }
                _ => (Location::ZERO, open),
            };
            let standalone = t::StandaloneFetch {
                track_namespace: namespace(&track.namespace),
                track_name: name(&track.name),
                start_location: location(start),
                end_location: location(end),
            };
            (t::FetchType::Standalone, Some(standalone), None)
        }
        FetchTarget::RelativeJoin {
            joining: id,
            groups,
        } => (t::FetchType::RelativeJoining, None, joining(id.0, *groups)),
        FetchTarget::AbsoluteJoin { joining: id, group } => {
            (t::FetchType::AbsoluteJoining, None, joining(id.0, *group))
        }
    };
    t::Fetch {
        id: fetch.request_id.0,
        fetch_type,
        standalone_fetch,
        joining_fetch,
        params: parameters(&ours),
    }
}

/// A message of ours in their types.
fn request(message: &Message) -> Option<M> {
    Some(match message {
        Message::Subscribe(m) => M::Subscribe(t::Subscribe {
            id: m.request_id.0,
            track_namespace: namespace(&m.track.namespace),
            track_name: name(&m.track.name),
            params: parameters(&m.parameters),
        }),
        Message::TrackStatus(m) => M::TrackStatus(t::TrackStatus {
            id: m.request_id.0,
            track_namespace: namespace(&m.track.namespace),
            track_name: name(&m.track.name),
            params: parameters(&m.parameters),
        }),
        Message::Publish(m) => M::Publish(t::Publish {
            id: m.request_id.0,
            track_namespace: namespace(&m.track.namespace),
            track_name: name(&m.track.name),
            track_alias: m.track_alias.0,
            params: parameters(&m.parameters),
            track_extensions: TrackExtensions(properties(&m.properties)),
        }),
        Message::PublishNamespace(m) => M::PublishNamespace(t::PublishNamespace {
            id: m.request_id.0,
            track_namespace: namespace(&m.namespace),
            params: parameters(&m.parameters),
        }),
        Message::SubscribeNamespace(m) => M::SubscribeNamespace(t::SubscribeNamespace {
            id: m.request_id.0,
            track_namespace_prefix: prefix(&m.prefix),
            params: parameters(&m.parameters),
        }),
        Message::SubscribeTracks(m) => M::SubscribeTracks(t::SubscribeTracks {
            id: m.request_id.0,
            track_namespace_prefix: prefix(&m.prefix),
            params: parameters(&m.parameters),
        }),
        Message::RequestUpdate(m) => M::RequestUpdate(t::RequestUpdate {
            id: m.request_id.0,
            existing_request_id: m.request_id.0,
            params: parameters(&m.parameters),
        }),
        Message::Fetch(m) => M::Fetch(fetch(m)),
        _ => return None,
    })
}

fn answer(message: &Message) -> Option<M> {
    Some(match message {
        Message::SubscribeOk(m) => M::SubscribeOk(t::SubscribeOk {
            id: 0,
            track_alias: m.track_alias.0,
            params: parameters(&m.parameters),
            track_extensions: TrackExtensions(properties(&m.properties)),
        }),
        Message::RequestOk(m) => M::RequestOk(t::RequestOk {
            id: 0,
            params: parameters(&m.parameters),
        }),
        Message::RequestError(m) => M::RequestError(t::RequestError {
            id: 0,
            error_code: m.code.0,
            retry_interval: m.retry_after_ms.map_or(0, |ms| ms + 1),
            reason: ReasonPhrase(m.reason.clone()),
        }),
        Message::PublishDone(m) => M::PublishDone(t::PublishDone {
            id: 0,
            status_code: m.code.0,
            stream_count: m.stream_count.unwrap_or(UNKNOWN),
            reason: ReasonPhrase(m.reason.clone()),
        }),
        Message::FetchOk(m) => M::FetchOk(t::FetchOk {
            id: 0,
            end_of_track: m.end_of_track,
            end_location: location(Location::new(
                m.end_group,
                m.end_object.map_or(0, |object| object + 1),
            )),
            params: parameters(&m.parameters),
            track_extensions: TrackExtensions(properties(&m.properties)),
        }),
        Message::Namespace(m) => M::Namespace(t::Namespace {
            track_namespace_suffix: prefix(&m.suffix),
        }),
        Message::NamespaceDone(m) => M::NamespaceDone(t::NamespaceDone {
            track_namespace_suffix: prefix(&m.suffix),
        }),
        Message::PublishSkipped(m) => M::PublishBlocked(t::PublishBlocked {
            track_namespace_suffix: prefix(&m.suffix),
            track_name: name(&m.name),
        }),
        _ => return None,
    })
}

fn theirs(message: &Message) -> M {
    request(message).or_else(|| answer(message)).unwrap()
}

/// Whether two of their messages are equal, field by field: their enum cannot tell.
fn same(one: &M, other: &M) -> bool {
    macro_rules! compare {
        ($($kind:ident)*) => {
            match (one, other) {
                $((M::$kind(one), M::$kind(other)) => one == other,)*
                _ => false,
            }
        };
    }
    compare!(
        Subscribe TrackStatus Publish PublishNamespace SubscribeNamespace SubscribeTracks
        RequestUpdate Fetch SubscribeOk RequestOk RequestError PublishDone FetchOk Namespace
        NamespaceDone PublishBlocked
    )
}

/// Whether the message is one that draft 18 has and the other codec cannot say.
fn is_beyond_theirs(message: &Message) -> bool {
    let is_empty = |fields: &[Bytes]| fields.is_empty();
    match message {
        Message::RequestOk(m) => !m.properties.is_empty(),
        Message::RequestError(m) => m.redirect.is_some(),
        Message::Subscribe(m) => is_empty(m.track.namespace.fields()),
        Message::TrackStatus(m) => is_empty(m.track.namespace.fields()),
        Message::Publish(m) => is_empty(m.track.namespace.fields()),
        Message::PublishNamespace(m) => is_empty(m.namespace.fields()),
        Message::Fetch(m) => {
            matches!(&m.target, FetchTarget::Track(track) if is_empty(track.namespace.fields()))
        }
        _ => false,
    }
}

/// Whether a reason was not UTF-8. Ours takes it with the wrong bytes replaced.
fn has_mended_reason(message: &Message) -> bool {
    match message {
        Message::RequestError(m) => m.reason.contains('\u{fffd}'),
        Message::PublishDone(m) => m.reason.contains('\u{fffd}'),
        _ => false,
    }
}

/// Messages of every kind but SETUP and GOAWAY, which have tests of their own, and without
/// TRACK_NAMESPACE_PREFIX, which the other codec takes for an integer.
fn any_message() -> impl Strategy<Value = Message> {
    let kinds: Vec<MessageKind> = MessageKind::ALL
        .into_iter()
        .filter(|kind| kind.exists_in(Draft::D18) && kind.is_allowed_on(StreamRole::Request))
        .filter(|kind| !matches!(kind, MessageKind::Setup | MessageKind::Goaway))
        .collect();
    prop::sample::select(kinds)
        .prop_flat_map(|kind| message(Draft::D18, kind, StreamRole::Request))
        .prop_map(|message| match message {
            Message::RequestUpdate(update) => {
                let mut parameters = update.parameters.clone();
                parameters.namespace_prefix = None;
                Message::from(RequestUpdate {
                    parameters,
                    request_id: update.request_id,
                })
            }
            other => other,
        })
}

fn setup() -> impl Strategy<Value = Setup> {
    message(Draft::D18, MessageKind::Setup, StreamRole::Control).prop_map(|message| match message {
        Message::Setup(setup) => setup,
        other => panic!("{other:?}"),
    })
}

proptest! {
    #![proptest_config(compared(2000))]

    #[test]
    fn both_codecs_write_the_same_bytes_and_read_each_other(message in any_message()) {
        let kind = message.kind();
        let ours = written(&message);
        if is_beyond_theirs(&message) {
            prop_assert!(decoded(kind, &ours).is_err(), "they have learned it: {:?}", message);
            return Ok(());
        }
        let expected = theirs(&message);
        let bytes = their_bytes(kind, &expected);
        prop_assert_eq!(&bytes[..], &ours[..], "{:?}", message);
        let read_by_them = decoded(kind, &ours).unwrap();
        prop_assert!(same(&read_by_them, &expected), "{:?} {:?}", read_by_them, expected);
        prop_assert_eq!(read(StreamRole::Request, &bytes), Ok(Some(message)));
    }

    #[test]
    fn what_we_take_of_damaged_bytes_they_take_and_understand_alike(
        message in any_message(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let kind = message.kind();
        let mut bytes = written(&message).to_vec();
        for (at, byte) in damage {
            if bytes.len() > 3 {
                let at = 3 + at.index(bytes.len() - 3);
                bytes[at] = byte;
            }
        }
        let Ok(Some(message)) = read(StreamRole::Request, &bytes) else {
            return Ok(());
        };
        let has_prefix = matches!(&message, Message::RequestUpdate(update)
            if update.parameters.namespace_prefix.is_some());
        if is_beyond_theirs(&message) || has_prefix || has_mended_reason(&message) {
            return Ok(());
        }
        let read_by_them = decoded(kind, &bytes);
        prop_assert!(read_by_them.is_ok(), "{:02x?} {:?} {:?}", bytes, message, read_by_them);
        // In the one form in which it is written, where it can be written again at all.
        let mut again = BytesMut::new();
        if message.encode(Draft::D18, &mut again).is_ok() {
            let read_by_them = decoded(kind, &again).unwrap();
            prop_assert!(same(&read_by_them, &theirs(&message)), "{:02x?}", bytes);
        }
    }

    #[test]
    fn setups_mean_the_same_to_both(setup in setup()) {
        let message = Message::Setup(setup.clone());
        let ours = written(&message);
        let params = options(&setup);
        let mut theirs = Vec::new();
        let there = TheirSetup { params: params.clone() };
        there.encode(&mut theirs).unwrap();
        prop_assert_eq!(&theirs[..], &ours[..]);
        let mut rest = &ours[..];
        prop_assert_eq!(TheirSetup::decode(&mut rest).unwrap().params, params.clone());
        prop_assert!(rest.is_empty());
        prop_assert_eq!(read(StreamRole::Control, &theirs), Ok(Some(message)));
        // Their judgement of the tokens: none by alias, and four at most.
        let expected: Option<Vec<(u64, &[u8])>> = setup
            .authorization_tokens
            .iter()
            .map(|token| match token {
                AuthorizationToken::UseValue { token_type, value }
                | AuthorizationToken::Register { token_type, value, .. } => {
                    Some((*token_type, &value[..]))
                }
                _ => None,
            })
            .collect();
        let tokens = decode_setup_tokens(&params).ok();
        let tokens = tokens.map(|tokens| {
            let tokens = tokens.into_iter();
            tokens.map(|token| (token.token_type, token.value)).collect()
        });
        prop_assert_eq!(tokens, expected);
    }

    #[test]
    fn goaways_name_the_same_uri_to_both(
        message in message(Draft::D18, MessageKind::Goaway, StreamRole::Control),
    ) {
        let bytes = written(&message);
        prop_assert!(decoded(MessageKind::Goaway, &bytes).is_err(), "they have learned the timeout");
        let Message::Goaway(ours) = message else { panic!("{message:?}") };
        let theirs = t::GoAway::decode(&mut &bytes[3..]).unwrap();
        prop_assert_eq!(theirs.uri.0, ours.new_session_uri);
    }
}
