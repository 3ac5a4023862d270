//! Control messages of draft 16 against moqtap-codec.

use super::convert::fields;
use crate::arbitrary::{compared, message, only};
use bytes::BytesMut;
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::error::{PublishDoneCode, RequestCode};
use mainstem_core::moqt::filter::{Filter, GroupOrder};
use mainstem_core::moqt::legacy::{Control, LegacyReader, Wanted};
use mainstem_core::moqt::message::{
    Fetch, FetchTarget, Message, MessageKind, Setup, SetupOption, StreamRole,
};
use mainstem_core::moqt::name::{Location, RequestId};
use mainstem_core::moqt::parameter::{AuthorizationToken, Parameters};
use mainstem_core::moqt::property::{Properties, PropertyValue};
use moqtap_codec::auth_token::{AuthorizationToken as TheirToken, TokenAliasType};
use moqtap_codec::draft16::message::{self as t, ControlMessage as C};
use moqtap_codec::kvp::{KeyValuePair, KvpValue};
use moqtap_codec::varint::VarInt;
use proptest::prelude::*;

fn int(value: u64) -> VarInt {
    VarInt::from_u64(value).unwrap()
}

fn integer(key: u64, value: u64) -> KeyValuePair {
    KeyValuePair {
        key: int(key),
        value: KvpValue::Varint(int(value)),
    }
}

fn bytes(key: u64, value: Vec<u8>) -> KeyValuePair {
    KeyValuePair {
        key: int(key),
        value: KvpValue::Bytes(value),
    }
}

fn integers(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        int(*value).encode(&mut out);
    }
    out
}

fn token(token: &AuthorizationToken) -> Vec<u8> {
    use AuthorizationToken as A;
    let (alias_type, alias, token_type, value) = match token {
        A::Delete { alias } => (TokenAliasType::Delete, Some(*alias), None, None),
        A::UseAlias { alias } => (TokenAliasType::UseAlias, Some(*alias), None, None),
        A::UseValue { token_type, value } => {
            let kind = TokenAliasType::UseValue;
            (kind, None, Some(*token_type), Some(value))
        }
        A::Register {
            alias,
            token_type,
            value,
        } => {
            let kind = TokenAliasType::Register;
            (kind, Some(*alias), Some(*token_type), Some(value))
        }
    };
    let mut out = Vec::new();
    TheirToken {
        alias_type,
        alias,
        token_type,
        value: value.map(|value| value.to_vec()).unwrap_or_default(),
    }
    .encode(&mut out)
    .unwrap();
    out
}

/// The value of a filter. Table of Section 5.1.2.
fn filter(filter: Filter) -> Vec<u8> {
    match filter {
        Filter::NextGroup => integers(&[1]),
        Filter::NextObject => integers(&[2]),
        Filter::Absolute { start } => integers(&[3, start.group, start.object]),
        Filter::AbsoluteRange {
            start, end_group, ..
        } => integers(&[4, start.group, start.object, end_group]),
        Filter::None | Filter::RelativeStart { .. } => integers(&[3, 0, 0]),
    }
}

/// The parameters that a message of draft 16 has. Sections 9.2.2.1 to 9.2.2.9.
fn parameters(given: &Parameters, allowed: &[u64]) -> Vec<KeyValuePair> {
    let given = only(given.clone(), allowed);
    let mut pairs = Vec::new();
    let timeout = given.object_delivery_timeout_ms.filter(|ms| *ms != 0);
    pairs.extend(timeout.map(|ms| integer(0x02, ms)));
    pairs.extend(
        given
            .authorization_tokens
            .iter()
            .map(|t| bytes(0x03, token(t))),
    );
    pairs.extend(given.expires_ms.map(|ms| integer(0x08, ms)));
    let largest = given.largest.map(|l| integers(&[l.group, l.object]));
    pairs.extend(largest.map(|value| bytes(0x09, value)));
    pairs.extend(given.forward.map(|forward| integer(0x10, forward.into())));
    pairs.extend(given.subscriber_priority.map(|p| integer(0x20, p.into())));
    pairs.extend(given.filter.map(|value| bytes(0x21, filter(value))));
    let order = |order| if order == GroupOrder::Ascending { 1 } else { 2 };
    pairs.extend(given.group_order.map(|value| integer(0x22, order(value))));
    pairs.extend(given.new_group_request.map(|group| integer(0x32, group)));
    pairs
}

fn extensions(properties: &Properties) -> Vec<KeyValuePair> {
    let pairs = properties.iter().map(|pair| pair.unwrap());
    let pairs = pairs
        .filter(|pair| !matches!(pair.value, PropertyValue::Integer(value) if value >> 62 != 0));
    pairs
        .map(|pair| match pair.value {
            PropertyValue::Integer(value) => integer(pair.key, value),
            PropertyValue::Bytes(value) => bytes(pair.key, value.to_vec()),
        })
        .collect()
}

fn setup(setup: &Setup, max_request_id: u64) -> Vec<KeyValuePair> {
    let text = |text: &String| text.clone().into_bytes();
    let mut pairs = Vec::new();
    pairs.extend(setup.path.as_ref().map(|path| bytes(0x01, text(path))));
    pairs.push(integer(0x02, max_request_id));
    pairs.extend(
        setup
            .authorization_tokens
            .iter()
            .map(|t| bytes(0x03, token(t))),
    );
    pairs.extend(
        setup
            .max_auth_token_cache_size
            .map(|size| integer(0x04, size)),
    );
    pairs.extend(setup.authority.as_ref().map(|a| bytes(0x05, text(a))));
    pairs.extend(setup.implementation.as_ref().map(|i| bytes(0x07, text(i))));
    let fits = |value: u64| value >> 62 == 0;
    pairs.extend(setup.options.iter().filter_map(|option| match option {
        SetupOption::Integer { key, value } => {
            (*key > 7 && fits(*key) && fits(*value)).then(|| integer(*key, *value))
        }
        SetupOption::Bytes { key, value } => {
            (*key > 7 && fits(*key)).then(|| bytes(*key, value.to_vec()))
        }
    }));
    pairs
}

/// The codes of Section 14.5.2; those of later drafts by their nearest relative.
fn request_code(code: RequestCode) -> u64 {
    match code.0 {
        0x6 | 0x9 => 0x0,
        0x31 | 0x33 => 0x3,
        0x34 => 0x10,
        0x35 | 0x36 => 0x11,
        code => code,
    }
}

/// The codes of Section 14.5.3.
fn done_code(code: PublishDoneCode) -> u64 {
    match code {
        PublishDoneCode::EXPIRED => 0x5,
        PublishDoneCode::TOO_FAR_BEHIND => 0x6,
        PublishDoneCode::EXCESSIVE_LOAD => 0x0,
        PublishDoneCode(code) => code,
    }
}

fn fetch(m: &Fetch) -> (t::FetchType, t::FetchPayload) {
    let joining = |request: RequestId, start| t::FetchPayload::Joining {
        joining_request_id: int(request.0),
        joining_start: int(start),
    };
    match &m.target {
        FetchTarget::RelativeJoin {
            joining: id,
            groups,
        } => (t::FetchType::RelativeJoining, joining(*id, *groups)),
        FetchTarget::AbsoluteJoin { joining: id, group } => {
            (t::FetchType::AbsoluteJoining, joining(*id, *group))
        }
        FetchTarget::Track(track) => {
            let open = Location::new((1 << 62) - 1, 0);
            let (start, end) = match m.parameters.filter {
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
            let range = t::FetchPayload::Standalone {
                track_namespace: fields(&track.namespace),
                track_name: track.name.0.to_vec(),
                start_group: int(start.group),
                start_object: int(start.object),
                end_group: int(end.group),
                end_object: int(end.object),
            };
            (t::FetchType::Standalone, range)
        }
    }
}

/// A message of ours in their words, written down without our codec.
fn theirs(message: &Control) -> C {
    let id = |id: &RequestId| int(id.0);
    match message {
        Control::ClientSetup {
            setup: options,
            max_request_id,
        } => C::ClientSetup(t::ClientSetup {
            parameters: setup(options, *max_request_id),
        }),
        Control::ServerSetup {
            setup: options,
            max_request_id,
        } => C::ServerSetup(t::ServerSetup {
            parameters: setup(options, *max_request_id),
        }),
        Control::Goaway(uri) => C::GoAway(t::GoAway {
            new_session_uri: uri.clone().into_bytes(),
        }),
        Control::MaxRequestId(max) => C::MaxRequestId(t::MaxRequestId {
            request_id: int(*max),
        }),
        Control::RequestsBlocked(max) => C::RequestsBlocked(t::RequestsBlocked {
            maximum_request_id: int(*max),
        }),
        Control::Request(request) => their_request(request),
        Control::SubscribeNamespace { request, wanted } => {
            C::SubscribeNamespace(t::SubscribeNamespace {
                request_id: id(&request.request_id),
                namespace_prefix: fields(&request.prefix),
                subscribe_options: int(match wanted {
                    Wanted::Tracks => 0,
                    Wanted::Namespaces => 1,
                    Wanted::Both => 2,
                }),
                parameters: parameters(&request.parameters, &[0x03, 0x10]),
            })
        }
        Control::Update { existing, update } => C::RequestUpdate(t::RequestUpdate {
            request_id: id(&update.request_id),
            existing_request_id: id(existing),
            parameters: parameters(&update.parameters, &[0x02, 0x03, 0x10, 0x20, 0x21, 0x32]),
        }),
        Control::Answer { request, answer } => their_answer(*request, answer),
        Control::PublishOk { request, answer } => {
            let allowed = &[0x02, 0x08, 0x10, 0x20, 0x21, 0x22, 0x32];
            C::PublishOk(t::PublishOk {
                request_id: id(request),
                parameters: parameters(&answer.parameters, allowed),
            })
        }
        Control::Unsubscribe(request) => C::Unsubscribe(t::Unsubscribe {
            request_id: id(request),
        }),
        Control::FetchCancel(request) => C::FetchCancel(t::FetchCancel {
            request_id: id(request),
        }),
        Control::PublishNamespaceDone(request) => {
            C::PublishNamespaceDone(t::PublishNamespaceDone {
                request_id: id(request),
            })
        }
        Control::PublishNamespaceCancel {
            request,
            code,
            reason,
        } => C::PublishNamespaceCancel(t::PublishNamespaceCancel {
            request_id: id(request),
            error_code: int(request_code(*code)),
            reason_phrase: reason.clone().into_bytes(),
        }),
        Control::Namespace(suffix) => C::Namespace(t::Namespace {
            namespace_suffix: fields(suffix),
        }),
        Control::NamespaceDone(suffix) => C::NamespaceDone(t::NamespaceDone {
            namespace_suffix: fields(suffix),
        }),
    }
}

fn their_request(message: &Message) -> C {
    match message {
        Message::Subscribe(m) => C::Subscribe(t::Subscribe {
            request_id: int(m.request_id.0),
            track_namespace: fields(&m.track.namespace),
            track_name: m.track.name.0.to_vec(),
            parameters: parameters(&m.parameters, &[0x02, 0x03, 0x10, 0x20, 0x21, 0x22, 0x32]),
        }),
        Message::TrackStatus(m) => C::TrackStatus(t::TrackStatus {
            request_id: int(m.request_id.0),
            track_namespace: fields(&m.track.namespace),
            track_name: m.track.name.0.to_vec(),
            parameters: parameters(&m.parameters, &[0x03]),
        }),
        Message::PublishNamespace(m) => C::PublishNamespace(t::PublishNamespace {
            request_id: int(m.request_id.0),
            track_namespace: fields(&m.namespace),
            parameters: parameters(&m.parameters, &[0x03]),
        }),
        Message::Publish(m) => C::Publish(t::Publish {
            request_id: int(m.request_id.0),
            track_namespace: fields(&m.track.namespace),
            track_name: m.track.name.0.to_vec(),
            track_alias: int(m.track_alias.0),
            parameters: parameters(&m.parameters, &[0x03, 0x08, 0x09, 0x10]),
            track_extensions: extensions(&m.properties),
        }),
        Message::Fetch(m) => {
            let (fetch_type, fetch_payload) = fetch(m);
            C::Fetch(t::Fetch {
                request_id: int(m.request_id.0),
                fetch_type,
                fetch_payload,
                parameters: parameters(&m.parameters, &[0x03, 0x20, 0x22]),
            })
        }
        other => panic!("{other:?} is no request"),
    }
}

fn their_answer(request: RequestId, message: &Message) -> C {
    let request_id = int(request.0);
    match message {
        Message::SubscribeOk(m) => C::SubscribeOk(t::SubscribeOk {
            request_id,
            track_alias: int(m.track_alias.0),
            parameters: parameters(&m.parameters, &[0x08, 0x09]),
            track_extensions: extensions(&m.properties),
        }),
        Message::RequestOk(m) => C::RequestOk(t::RequestOk {
            request_id,
            parameters: parameters(&m.parameters, &[0x08, 0x09]),
        }),
        Message::RequestError(m) => C::RequestError(t::RequestError {
            request_id,
            error_code: int(request_code(m.code)),
            retry_interval: int(m.retry_after_ms.map_or(0, |ms| ms + 1)),
            reason_phrase: m.reason.clone().into_bytes(),
        }),
        Message::PublishDone(m) => C::PublishDone(t::PublishDone {
            request_id,
            status_code: int(done_code(m.code)),
            stream_count: int(m.stream_count.unwrap_or((1 << 62) - 1)),
            reason_phrase: m.reason.clone().into_bytes(),
        }),
        Message::FetchOk(m) => C::FetchOk(t::FetchOk {
            request_id,
            end_of_track: m.end_of_track.into(),
            end_group: int(m.end_group),
            end_object: int(m.end_object.map_or(0, |object| object + 1)),
            parameters: Vec::new(),
            track_extensions: extensions(&m.properties),
        }),
        other => panic!("{other:?} is no answer"),
    }
}

/// The messages of draft 16 that carry a canonical message.
fn carried(id: u64, wanted: u8, message: Message) -> Vec<Control> {
    let request = RequestId(id >> 3);
    match message {
        Message::Setup(setup) => vec![
            Control::ClientSetup {
                setup: setup.clone(),
                max_request_id: request.0,
            },
            Control::ServerSetup {
                setup,
                max_request_id: request.0,
            },
        ],
        Message::Goaway(goaway) => vec![Control::Goaway(goaway.new_session_uri)],
        Message::Namespace(m) => vec![Control::Namespace(m.suffix)],
        Message::NamespaceDone(m) => vec![Control::NamespaceDone(m.suffix)],
        Message::SubscribeNamespace(request) => {
            let all = [Wanted::Tracks, Wanted::Namespaces, Wanted::Both];
            let wanted = all[usize::from(wanted) % 3];
            vec![Control::SubscribeNamespace { request, wanted }]
        }
        Message::RequestUpdate(update) => vec![Control::Update {
            existing: request,
            update,
        }],
        Message::RequestOk(answer) => vec![
            Control::PublishOk {
                request,
                answer: answer.clone(),
            },
            Control::Answer {
                request,
                answer: answer.into(),
            },
        ],
        Message::RequestError(error) => vec![
            Control::PublishNamespaceCancel {
                request,
                code: error.code,
                reason: error.reason.clone(),
            },
            Control::Answer {
                request,
                answer: error.into(),
            },
        ],
        Message::SubscribeOk(_) | Message::PublishDone(_) | Message::FetchOk(_) => {
            vec![Control::Answer {
                request,
                answer: message,
            }]
        }
        Message::SubscribeTracks(_) => vec![
            Control::Unsubscribe(request),
            Control::FetchCancel(request),
            Control::PublishNamespaceDone(request),
            Control::MaxRequestId(request.0),
            Control::RequestsBlocked(request.0),
        ],
        Message::PublishSkipped(_) | Message::PublishStateNotify(_) => Vec::new(),
        request => vec![Control::Request(request)],
    }
}

/// What the other codec refuses to read and the session judges.
fn is_refused_by_them(error: &str) -> bool {
    error.starts_with("range from group")
}

fn read(bytes: &[u8], cuts: usize) -> Vec<Control> {
    let mut reader = LegacyReader::default();
    let mut messages = Vec::new();
    for piece in bytes.chunks(cuts.max(1)) {
        reader.push(piece);
        while let Some(message) = reader.poll().unwrap() {
            messages.push(message);
        }
    }
    assert!(!reader.is_mid_message());
    messages
}

/// A message of any kind in the values of 18, which are those that 16 can have.
fn message_of_18() -> impl Strategy<Value = Message> {
    let kinds = MessageKind::ALL.into_iter();
    let kinds: Vec<_> = kinds.filter(|kind| kind.exists_in(Draft::D18)).collect();
    let kinds = prop::sample::select(kinds);
    kinds.prop_flat_map(|kind| message(Draft::D18, kind, StreamRole::Request))
}

proptest! {
    #![proptest_config(compared(600))]

    #[test]
    fn messages_of_16_mean_the_same_to_both(
        message in message_of_18(),
        id in any::<u64>(),
        wanted in any::<u8>(),
        cuts in 1_usize..40,
    ) {
        for control in carried(id, wanted, message) {
            let mut bytes = BytesMut::new();
            // Integers of more than 62 bits cannot be said.
            if control.encode(&mut bytes).is_err() {
                prop_assert!(bytes.is_empty());
                continue;
            }
            let mut rest = &bytes[..];
            match C::decode(&mut rest) {
                Ok(read) => {
                    prop_assert!(rest.is_empty());
                    prop_assert_eq!(&read, &theirs(&control));
                    let mut again = Vec::new();
                    read.encode(&mut again).unwrap();
                    prop_assert_eq!(&again[..], &bytes[..]);
                }
                Err(error) => {
                    let error = error.to_string();
                    prop_assert!(is_refused_by_them(&error), "{} of {:?}", error, control);
                }
            }
            let read = read(&bytes, cuts);
            prop_assert_eq!(read.len(), 1);
            let mut again = BytesMut::new();
            read[0].encode(&mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }
}
