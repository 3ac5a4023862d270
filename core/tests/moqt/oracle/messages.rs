//! Control messages against moqtap-codec.

use super::convert::{fields, int, options, parameters, properties};
use crate::arbitrary::any_message;
use crate::wire::{encoded, framed, read};
use mainstem_core::moqt::error::SessionCode;
use mainstem_core::moqt::filter::Filter;
use mainstem_core::moqt::message::{
    Fetch, FetchOk, FetchTarget, Message, MessageKind, RequestError, StreamRole,
};
use mainstem_core::moqt::name::Location;
use mainstem_core::moqt::{Draft, ProtocolError};
use moqtap_codec::draft18::message as old;
use moqtap_codec::{draft18, draft20, draft22};
use proptest::prelude::*;

/// A message of any of their drafts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Theirs {
    D18(draft18::message::ControlMessage),
    D20(draft20::message::ControlMessage),
    D22(draft22::message::ControlMessage),
}

impl Theirs {
    fn decode(draft: Draft, mut bytes: &[u8]) -> Result<Self, String> {
        let all = &mut bytes;
        let message = match draft {
            Draft::D16 | Draft::D18 => draft18::message::ControlMessage::decode(all).map(Self::D18),
            Draft::D20 | Draft::D21 => draft20::message::ControlMessage::decode(all).map(Self::D20),
            Draft::D22 => draft22::message::ControlMessage::decode(all).map(Self::D22),
        };
        let message = message.map_err(|error| error.to_string())?;
        if bytes.is_empty() {
            Ok(message)
        } else {
            Err("bytes are left over".to_owned())
        }
    }

    fn encode(&self) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        match self {
            Self::D18(message) => message.encode(&mut out),
            Self::D20(message) => message.encode(&mut out),
            Self::D22(message) => message.encode(&mut out),
        }
        .map(|()| out)
        .map_err(|error| error.to_string())
    }
}

fn retry(error: &RequestError) -> u64 {
    error.retry_after_ms.map_or(0, |ms| ms + 1)
}

/// The messages that all of their drafts have with the same fields; `None` for the others.
macro_rules! common {
    ($theirs:ident, $draft:expr, $message:expr) => {{
        use t::ControlMessage as C;
        use $theirs::message as t;
        let draft = $draft;
        match $message {
            Message::Setup(m) => Some(C::Setup(t::Setup {
                options: options(m),
            })),
            Message::RequestOk(m) => Some(C::RequestOk(t::RequestOk {
                parameters: parameters(draft, &m.parameters),
                track_properties: properties(&m.properties),
            })),
            Message::RequestError(m) => Some(C::RequestError(t::RequestError {
                error_code: int(m.code.0),
                retry_interval: int(retry(m)),
                reason_phrase: m.reason.clone().into_bytes(),
                redirect: m.redirect.as_ref().map(|redirect| t::Redirect {
                    connect_uri: redirect.connect_uri.clone().into_bytes(),
                    track_namespace: fields(&redirect.namespace),
                    track_name: redirect.name.0.to_vec(),
                }),
            })),
            Message::RequestUpdate(m) => Some(C::RequestUpdate(t::RequestUpdate {
                request_id: int(m.request_id.0),
                parameters: parameters(draft, &m.parameters),
            })),
            Message::Subscribe(m) => Some(C::Subscribe(t::Subscribe {
                request_id: int(m.request_id.0),
                track_namespace: fields(&m.track.namespace),
                track_name: m.track.name.0.to_vec(),
                parameters: parameters(draft, &m.parameters),
            })),
            Message::SubscribeOk(m) => Some(C::SubscribeOk(t::SubscribeOk {
                track_alias: int(m.track_alias.0),
                parameters: parameters(draft, &m.parameters),
                track_properties: properties(&m.properties),
            })),
            Message::Publish(m) => Some(C::Publish(t::Publish {
                request_id: int(m.request_id.0),
                track_namespace: fields(&m.track.namespace),
                track_name: m.track.name.0.to_vec(),
                track_alias: int(m.track_alias.0),
                parameters: parameters(draft, &m.parameters),
                track_properties: properties(&m.properties),
            })),
            Message::PublishDone(m) => Some(C::PublishDone(t::PublishDone {
                status_code: int(m.code.0),
                stream_count: int(m.stream_count.unwrap_or(if draft == Draft::D18 {
                    (1 << 62) - 1
                } else {
                    u64::MAX
                })),
                reason_phrase: m.reason.clone().into_bytes(),
            })),
            Message::PublishNamespace(m) => Some(C::PublishNamespace(t::PublishNamespace {
                request_id: int(m.request_id.0),
                track_namespace: fields(&m.namespace),
                parameters: parameters(draft, &m.parameters),
            })),
            Message::Namespace(m) => Some(C::Namespace(t::Namespace {
                namespace_suffix: fields(&m.suffix),
            })),
            Message::NamespaceDone(m) => Some(C::NamespaceDone(t::NamespaceDone {
                namespace_suffix: fields(&m.suffix),
            })),
            Message::SubscribeNamespace(m) => Some(C::SubscribeNamespace(t::SubscribeNamespace {
                request_id: int(m.request_id.0),
                namespace_prefix: fields(&m.prefix),
                parameters: parameters(draft, &m.parameters),
            })),
            Message::SubscribeTracks(m) => Some(C::SubscribeTracks(t::SubscribeTracks {
                request_id: int(m.request_id.0),
                namespace_prefix: fields(&m.prefix),
                parameters: parameters(draft, &m.parameters),
            })),
            Message::TrackStatus(m) => Some(C::TrackStatus(t::TrackStatus {
                request_id: int(m.request_id.0),
                track_namespace: fields(&m.track.namespace),
                track_name: m.track.name.0.to_vec(),
                parameters: parameters(draft, &m.parameters),
            })),
            Message::FetchOk(m) => Some(C::FetchOk(t::FetchOk {
                end_of_track: m.end_of_track.into(),
                end_group: int(m.end_group),
                end_object: int(end_object(draft, m)),
                parameters: Vec::new(),
                track_properties: properties(&m.properties),
            })),
            _ => None,
        }
    }};
}

/// The messages that 20 and 22 have in their own form.
macro_rules! newer {
    ($theirs:ident, $draft:expr, $message:expr) => {{
        use t::ControlMessage as C;
        use $theirs::message as t;
        common!($theirs, $draft, $message).or_else(|| match $message {
            Message::Goaway(m) => Some(C::GoAway(t::GoAway {
                new_session_uri: m.new_session_uri.clone().into_bytes(),
                timeout: int(m.timeout_ms),
            })),
            Message::PublishStateNotify(m) => Some(C::PublishStateNotify(t::PublishStateNotify {
                parameters: parameters($draft, &m.parameters),
            })),
            Message::PublishSkipped(m) => Some(C::PublishSkipped(t::PublishSkipped {
                namespace_suffix: fields(&m.suffix),
                track_name: m.name.0.to_vec(),
            })),
            Message::Fetch(m) => match &m.target {
                FetchTarget::Track(track) => Some(C::Fetch(t::Fetch {
                    request_id: int(m.request_id.0),
                    track_namespace: fields(&track.namespace),
                    track_name: track.name.0.to_vec(),
                    parameters: parameters($draft, &m.parameters),
                })),
                _ => None,
            },
            _ => None,
        })
    }};
}

fn end_object(draft: Draft, ok: &FetchOk) -> u64 {
    match (draft, ok.end_object) {
        (Draft::D18, None) => 0,
        (Draft::D18, Some(object)) => object + 1,
        (_, object) => object.unwrap(),
    }
}

fn goaway_and_fetch_18(message: &Message) -> Option<old::ControlMessage> {
    Some(match message {
        Message::Goaway(m) => old::ControlMessage::GoAway(old::GoAway {
            new_session_uri: m.new_session_uri.clone().into_bytes(),
            timeout: int(m.timeout_ms),
            request_id: m.request_id.map(|id| int(id.0)),
        }),
        Message::PublishSkipped(m) => old::ControlMessage::PublishBlocked(old::PublishBlocked {
            namespace_suffix: fields(&m.suffix),
            track_name: m.name.0.to_vec(),
        }),
        Message::Fetch(m) => old::ControlMessage::Fetch(fetch_18(m)),
        _ => return None,
    })
}

fn fetch_18(fetch: &Fetch) -> old::Fetch {
    let mut ours = fetch.parameters.clone();
    let range = ours.filter.take().unwrap_or(Filter::None);
    let (fetch_type, fetch_payload) = match &fetch.target {
        FetchTarget::Track(track) => {
            let (start, end) = match range {
                Filter::Absolute { start } => (start, Location::new((1 << 62) - 1, 0)),
                Filter::AbsoluteRange {
                    start,
                    end_group,
                    end_object,
                } => {
                    let past = end_object.map_or(0, |object| object + 1);
                    (start, Location::new(end_group, past))
                }
                _ => (Location::ZERO, Location::new((1 << 62) - 1, 0)),
            };
            let standalone = old::FetchPayload::Standalone {
                track_namespace: fields(&track.namespace),
                track_name: track.name.0.to_vec(),
                start_group: int(start.group),
                start_object: int(start.object),
                end_group: int(end.group),
                end_object: int(end.object),
            };
            (old::FetchType::Standalone, standalone)
        }
        FetchTarget::RelativeJoin { joining, groups } => (
            old::FetchType::RelativeJoining,
            joining_18(joining.0, *groups),
        ),
        FetchTarget::AbsoluteJoin { joining, group } => (
            old::FetchType::AbsoluteJoining,
            joining_18(joining.0, *group),
        ),
    };
    old::Fetch {
        request_id: int(fetch.request_id.0),
        fetch_type,
        fetch_payload,
        parameters: parameters(Draft::D18, &ours),
    }
}

fn joining_18(request: u64, start: u64) -> old::FetchPayload {
    old::FetchPayload::Joining {
        joining_request_id: int(request),
        joining_start: int(start),
    }
}

/// Our message as theirs.
fn theirs(draft: Draft, message: &Message) -> Theirs {
    match draft {
        Draft::D16 | Draft::D18 => common!(draft18, draft, message)
            .or_else(|| goaway_and_fetch_18(message))
            .map(Theirs::D18),
        Draft::D20 | Draft::D21 => newer!(draft20, draft, message).map(Theirs::D20),
        Draft::D22 => newer!(draft22, draft, message).map(Theirs::D22),
    }
    .unwrap()
}

/// Rules that the other codec leaves to its caller: characters of a URI, End Of Track as one of two
/// values, GOAWAY with exactly the fields of its stream.
fn is_stricter(draft: Draft, kind: MessageKind, fault: &ProtocolError) -> bool {
    match kind {
        MessageKind::Setup => matches!(
            fault.code,
            SessionCode::MALFORMED_PATH | SessionCode::MALFORMED_AUTHORITY
        ),
        MessageKind::FetchOk => fault.reason.starts_with("End Of Track"),
        MessageKind::Goaway => draft == Draft::D18,
        _ => false,
    }
}

/// What the other codec refuses and the drafts do not:
///
/// - a backwards range in a FETCH of 18: here the request is answered;
/// - the parameters of SUBSCRIBE that it does not list for SUBSCRIBE_TRACKS. Any parameter of a
///   subscription is valid there (19, "Parameters on SUBSCRIBE_TRACKS"); aiomoqt takes them too.
fn is_looser(draft: Draft, kind: MessageKind, error: &str) -> bool {
    match kind {
        MessageKind::Fetch => draft == Draft::D18 && error.starts_with("range from group"),
        MessageKind::SubscribeTracks => {
            draft != Draft::D18
                && OF_SUBSCRIBE_ALONE
                    .iter()
                    .any(|key| *error == out_of_scope(*key))
        }
        _ => false,
    }
}

/// Parameters that moqtap-codec takes on SUBSCRIBE and not on SUBSCRIBE_TRACKS.
const OF_SUBSCRIBE_ALONE: [u64; 5] = [0x02, 0x04, 0x06, 0x20, 0x32];

fn out_of_scope(key: u64) -> String {
    format!("message parameter type {key} may not appear in message type 81")
}

proptest! {
    #![proptest_config(crate::arbitrary::compared(2000))]

    #[test]
    fn both_codecs_write_the_same_bytes_and_read_each_other((draft, role, message) in any_message()) {
        let theirs = theirs(draft, &message);
        let ours = encoded(draft, &message);
        prop_assert_eq!(theirs.encode(), Ok(ours.to_vec()), "{:?}", theirs);
        prop_assert_eq!(Theirs::decode(draft, &ours), Ok(theirs.clone()));
        prop_assert_eq!(read(draft, role, &theirs.encode().unwrap()), Ok(Some(message)));
    }

    #[test]
    fn damaged_messages_are_taken_or_refused_alike(
        (draft, role, message) in any_message(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(draft, &message).to_vec();
        let head = if message.kind() == MessageKind::Setup { 4 } else { 3 };
        if bytes.len() > head {
            for (at, byte) in damage {
                let at = head + at.index(bytes.len() - head);
                bytes[at] = byte;
            }
        }
        let ours = read(draft, role, &bytes);
        let theirs_read = Theirs::decode(draft, &bytes);
        match (ours, theirs_read) {
            (Ok(Some(message)), Ok(_)) => {
                // What both take, both understand alike, where it can be written again at all.
                let mut again = bytes::BytesMut::new();
                if message.encode(draft, &mut again).is_ok() {
                    prop_assert_eq!(Theirs::decode(draft, &again), Ok(theirs(draft, &message)));
                }
            }
            (Err(_), Err(_)) => {}
            (Err(fault), Ok(_)) if is_stricter(draft, message.kind(), &fault) => {}
            (Ok(_), Err(error)) if is_looser(draft, message.kind(), &error) => {}
            (ours, theirs) => prop_assert!(
                false,
                "{} {:02x?}\n  ours   {:?}\n  theirs {:?}",
                draft,
                bytes,
                ours,
                theirs
            ),
        }
    }
}

#[test]
fn subscribe_tracks_takes_every_parameter_of_subscribe_since_19() {
    for draft in [Draft::D20, Draft::D21, Draft::D22] {
        for key in OF_SUBSCRIBE_ALONE {
            // Request id 0, prefix of no fields, one parameter whose value is 1.
            let body = [0, 0, 1, u8::try_from(key).unwrap(), 1];
            let bytes = framed(0x51, &body);
            let ours = read(draft, StreamRole::Request, &bytes);
            assert!(
                matches!(ours, Ok(Some(Message::SubscribeTracks(_)))),
                "{draft} 0x{key:x}"
            );
            assert_eq!(Theirs::decode(draft, &bytes), Err(out_of_scope(key)));
        }
    }
}

#[test]
fn a_goaway_of_a_request_stream_has_no_request_id() {
    let message = Message::Goaway(mainstem_core::moqt::message::Goaway::default());
    let bytes = encoded(Draft::D18, &message);
    assert_eq!(
        Theirs::decode(Draft::D18, &bytes),
        Ok(theirs(Draft::D18, &message))
    );
    assert_eq!(
        read(Draft::D18, StreamRole::Request, &bytes),
        Ok(Some(message))
    );
}
