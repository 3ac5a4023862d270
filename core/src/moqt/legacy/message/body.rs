//! The fields of each message. Source: draft-ietf-moq-transport-16, Section 9.

use super::{Control, SHORT, Wanted};
use crate::moqt::draft::Draft;
use crate::moqt::error::{EncodeError, ProtocolError, PublishDoneCode, RequestCode};
use crate::moqt::filter::Filter;
use crate::moqt::legacy::integer::{Walk, encode as put, put_prefixed};
use crate::moqt::legacy::parameters::{self as scope, Scope, put_location};
use crate::moqt::legacy::{codes, pairs, setup};
use crate::moqt::message::{
    Fetch, FetchOk, FetchTarget, Message, Publish, PublishDone, PublishNamespace, RequestError,
    RequestOk, RequestUpdate, Subscribe, SubscribeNamespace, SubscribeOk, TrackStatus,
};
use crate::moqt::name::{
    FullTrackName, Location, MAX_NAMESPACE_FIELDS, NameError, RequestId, TrackAlias, TrackName,
    TrackNamespace,
};
use crate::moqt::property::Properties;
use bytes::{BufMut, Bytes, BytesMut};

const CLIENT_SETUP: u64 = 0x20;
const SERVER_SETUP: u64 = 0x21;
/// Longest New Session URI, in bytes.
const MAX_URI_LEN: usize = 8192;
/// Longest reason phrase, in bytes.
const MAX_REASON_LEN: usize = 1024;
/// The Stream Count that means "not known".
const UNKNOWN_STREAM_COUNT: u64 = (1 << 62) - 1;
/// The end of an open fetch: no group is larger.
const OPEN_END: Location = Location::new((1 << 62) - 1, 0);

type Decoded<T> = Result<T, ProtocolError>;
type Encoded = Result<(), EncodeError>;

/// Reads the body of a message of this type.
pub(super) fn decode(code: u64, walk: &mut Walk<'_>) -> Decoded<Control> {
    match code {
        CLIENT_SETUP => {
            let (setup, max_request_id) = setup::decode(walk)?;
            Ok(Control::ClientSetup {
                setup,
                max_request_id,
            })
        }
        SERVER_SETUP => {
            let (setup, max_request_id) = setup::decode(walk)?;
            Ok(Control::ServerSetup {
                setup,
                max_request_id,
            })
        }
        0x10 => Ok(Control::Goaway(text(walk, MAX_URI_LEN)?)),
        0x15 => Ok(Control::MaxRequestId(int(walk)?)),
        0x1A => Ok(Control::RequestsBlocked(int(walk)?)),
        0x03 | 0x06 | 0x0D | 0x16 | 0x1D => Ok(Control::Request(request(code, walk)?)),
        0x11 => subscribe_namespace(walk),
        0x02 => update(walk),
        0x04 | 0x05 | 0x07 | 0x0B | 0x18 => answer(code, walk),
        0x1E => Ok(Control::PublishOk {
            request: id(walk)?,
            answer: ok(walk, scope::PUBLISH_OK)?,
        }),
        0x0A => Ok(Control::Unsubscribe(id(walk)?)),
        0x17 => Ok(Control::FetchCancel(id(walk)?)),
        0x09 => Ok(Control::PublishNamespaceDone(id(walk)?)),
        0x0C => Ok(Control::PublishNamespaceCancel {
            request: id(walk)?,
            code: codes::request_from_16(RequestCode(int(walk)?)),
            reason: text(walk, MAX_REASON_LEN)?,
        }),
        0x08 => Ok(Control::Namespace(namespace(walk)?)),
        0x0E => Ok(Control::NamespaceDone(namespace(walk)?)),
        _ => Err(ProtocolError::violation("unknown message type")),
    }
}

fn request(code: u64, walk: &mut Walk<'_>) -> Decoded<Message> {
    let request_id = id(walk)?;
    Ok(match code {
        0x03 => Message::from(Subscribe {
            request_id,
            track: full_name(walk)?,
            parameters: scope::decode(walk, scope::SUBSCRIBE)?,
        }),
        0x0D => Message::from(TrackStatus {
            request_id,
            track: full_name(walk)?,
            parameters: scope::decode(walk, scope::TOKEN_ONLY)?,
        }),
        0x06 => Message::from(PublishNamespace {
            request_id,
            namespace: named(namespace(walk)?)?,
            parameters: scope::decode(walk, scope::TOKEN_ONLY)?,
        }),
        0x1D => Message::from(Publish {
            request_id,
            track: full_name(walk)?,
            track_alias: TrackAlias(int(walk)?),
            parameters: scope::decode(walk, scope::PUBLISH)?,
            properties: properties(walk)?,
        }),
        _ => {
            let (target, filter) = fetch_target(walk)?;
            let mut parameters = scope::decode(walk, scope::FETCH)?;
            parameters.filter = filter;
            Message::from(Fetch {
                request_id,
                target,
                parameters,
            })
        }
    })
}

fn fetch_target(walk: &mut Walk<'_>) -> Decoded<(FetchTarget, Option<Filter>)> {
    match int(walk)? {
        1 => {
            let track = full_name(walk)?;
            let (start, end) = (location(walk)?, location(walk)?);
            let filter = if end == OPEN_END {
                Filter::Absolute { start }.canonical()
            } else {
                Filter::AbsoluteRange {
                    start,
                    end_group: end.group,
                    end_object: end.object.checked_sub(1),
                }
            };
            Ok((FetchTarget::Track(track), Some(filter)))
        }
        2 => {
            let (joining, groups) = (id(walk)?, int(walk)?);
            Ok((FetchTarget::RelativeJoin { joining, groups }, None))
        }
        3 => {
            let (joining, group) = (id(walk)?, int(walk)?);
            Ok((FetchTarget::AbsoluteJoin { joining, group }, None))
        }
        _ => Err(ProtocolError::violation("unknown fetch type")),
    }
}

fn subscribe_namespace(walk: &mut Walk<'_>) -> Decoded<Control> {
    let (request_id, prefix) = (id(walk)?, namespace(walk)?);
    let wanted = match int(walk)? {
        0 => Wanted::Tracks,
        1 => Wanted::Namespaces,
        2 => Wanted::Both,
        _ => return Err(ProtocolError::violation("unknown subscribe options")),
    };
    let parameters = scope::decode(walk, scope::SUBSCRIBE_NAMESPACE)?;
    Ok(Control::SubscribeNamespace {
        request: SubscribeNamespace {
            request_id,
            prefix,
            parameters,
        },
        wanted,
    })
}

fn update(walk: &mut Walk<'_>) -> Decoded<Control> {
    let (request_id, existing) = (id(walk)?, id(walk)?);
    let parameters = scope::decode(walk, scope::REQUEST_UPDATE)?;
    Ok(Control::Update {
        existing,
        update: RequestUpdate {
            request_id,
            parameters,
        },
    })
}

fn answer(code: u64, walk: &mut Walk<'_>) -> Decoded<Control> {
    let request = id(walk)?;
    let answer = match code {
        0x04 => Message::from(SubscribeOk {
            track_alias: TrackAlias(int(walk)?),
            parameters: scope::decode(walk, scope::SUBSCRIBE_OK)?,
            properties: properties(walk)?,
        }),
        0x05 => Message::from(RequestError {
            code: codes::request_from_16(RequestCode(int(walk)?)),
            retry_after_ms: int(walk)?.checked_sub(1),
            reason: text(walk, MAX_REASON_LEN)?,
            redirect: None,
        }),
        0x07 => Message::from(ok(walk, scope::REQUEST_OK)?),
        0x0B => Message::from(PublishDone {
            code: codes::done_from_16(PublishDoneCode(int(walk)?)),
            stream_count: Some(int(walk)?).filter(|count| *count != UNKNOWN_STREAM_COUNT),
            reason: text(walk, MAX_REASON_LEN)?,
        }),
        _ => {
            let end_of_track = match walk.u8().ok_or(SHORT)? {
                0 => false,
                1 => true,
                _ => return Err(ProtocolError::violation("End Of Track is neither 0 nor 1")),
            };
            let end = location(walk)?;
            Message::from(FetchOk {
                end_of_track,
                end_group: end.group,
                end_object: end.object.checked_sub(1),
                parameters: scope::decode(walk, scope::NONE)?,
                properties: properties(walk)?,
            })
        }
    };
    Ok(Control::Answer { request, answer })
}

fn ok(walk: &mut Walk<'_>, scope: Scope) -> Decoded<RequestOk> {
    Ok(RequestOk {
        parameters: scope::decode(walk, scope)?,
        properties: Properties::default(),
    })
}

fn int(walk: &mut Walk<'_>) -> Decoded<u64> {
    walk.int().ok_or(SHORT)
}

fn id(walk: &mut Walk<'_>) -> Decoded<RequestId> {
    int(walk).map(RequestId)
}

fn location(walk: &mut Walk<'_>) -> Decoded<Location> {
    Ok(Location::new(int(walk)?, int(walk)?))
}

/// Text for people and URIs. Bytes that are not UTF-8 are replaced.
fn text(walk: &mut Walk<'_>, max: usize) -> Decoded<String> {
    let len = int(walk)?;
    if len > max as u64 {
        return Err(ProtocolError::violation("text longer than allowed"));
    }
    let bytes = walk.bytes(len).ok_or(SHORT)?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

fn namespace(walk: &mut Walk<'_>) -> Decoded<TrackNamespace> {
    let count = int(walk)?;
    if count > MAX_NAMESPACE_FIELDS as u64 {
        return Err(NameError::TooManyFields.into());
    }
    let mut fields = Vec::with_capacity(MAX_NAMESPACE_FIELDS);
    for _ in 0..count {
        fields.push(walk.prefixed().ok_or(SHORT)?);
    }
    Ok(TrackNamespace::copied_from(&fields)?)
}

/// A namespace has at least one field, unless it is a prefix or what follows one.
fn named(namespace: TrackNamespace) -> Decoded<TrackNamespace> {
    if namespace.is_empty() {
        return Err(ProtocolError::violation("track namespace without fields"));
    }
    Ok(namespace)
}

fn full_name(walk: &mut Walk<'_>) -> Decoded<FullTrackName> {
    let namespace = named(namespace(walk)?)?;
    let name = Bytes::copy_from_slice(walk.prefixed().ok_or(SHORT)?);
    Ok(FullTrackName::new(namespace, TrackName(name))?)
}

/// Track Extensions fill the rest of a message.
fn properties(walk: &mut Walk<'_>) -> Decoded<Properties> {
    let mut block = BytesMut::new();
    pairs::track_from_16(walk.take_rest(), &mut block)?;
    Properties::from_track(block.freeze())
}

/// Writes the body of a message, and returns its type.
pub(super) fn encode(message: &Control, out: &mut BytesMut) -> Result<u64, EncodeError> {
    match message {
        Control::ClientSetup {
            setup,
            max_request_id,
        } => setup::encode(setup, *max_request_id, out).map(|()| CLIENT_SETUP),
        Control::ServerSetup {
            setup,
            max_request_id,
        } => setup::encode(setup, *max_request_id, out).map(|()| SERVER_SETUP),
        Control::Goaway(uri) => put_prefixed(uri.as_bytes(), out).map(|()| 0x10),
        Control::MaxRequestId(max) => put(*max, out).map(|()| 0x15),
        Control::RequestsBlocked(max) => put(*max, out).map(|()| 0x1A),
        Control::Request(request) => put_request(request, out),
        Control::SubscribeNamespace { request, wanted } => {
            put(request.request_id.0, out)?;
            put_namespace(&request.prefix, out)?;
            out.put_u8(match wanted {
                Wanted::Tracks => 0,
                Wanted::Namespaces => 1,
                Wanted::Both => 2,
            });
            scope::encode(&request.parameters, scope::SUBSCRIBE_NAMESPACE, out)?;
            Ok(0x11)
        }
        Control::Update { existing, update } => {
            put(update.request_id.0, out)?;
            put(existing.0, out)?;
            scope::encode(&update.parameters, scope::REQUEST_UPDATE, out)?;
            Ok(0x02)
        }
        Control::Answer { request, answer } => {
            put(request.0, out)?;
            put_answer(answer, out)
        }
        Control::PublishOk { request, answer } => {
            put(request.0, out)?;
            scope::encode(&answer.parameters, scope::PUBLISH_OK, out)?;
            Ok(0x1E)
        }
        Control::Unsubscribe(request) => put(request.0, out).map(|()| 0x0A),
        Control::FetchCancel(request) => put(request.0, out).map(|()| 0x17),
        Control::PublishNamespaceDone(request) => put(request.0, out).map(|()| 0x09),
        Control::PublishNamespaceCancel {
            request,
            code,
            reason,
        } => {
            put(request.0, out)?;
            put(codes::request_to_16(*code).0, out)?;
            put_reason(reason, out)?;
            Ok(0x0C)
        }
        Control::Namespace(suffix) => put_namespace(suffix, out).map(|()| 0x08),
        Control::NamespaceDone(suffix) => put_namespace(suffix, out).map(|()| 0x0E),
    }
}

fn put_request(message: &Message, out: &mut BytesMut) -> Result<u64, EncodeError> {
    match message {
        Message::Subscribe(m) => {
            put(m.request_id.0, out)?;
            put_full_name(&m.track, out)?;
            scope::encode(&m.parameters, scope::SUBSCRIBE, out)?;
            Ok(0x03)
        }
        Message::TrackStatus(m) => {
            put(m.request_id.0, out)?;
            put_full_name(&m.track, out)?;
            scope::encode(&m.parameters, scope::TOKEN_ONLY, out)?;
            Ok(0x0D)
        }
        Message::PublishNamespace(m) => {
            put(m.request_id.0, out)?;
            put_named(&m.namespace, out)?;
            scope::encode(&m.parameters, scope::TOKEN_ONLY, out)?;
            Ok(0x06)
        }
        Message::Publish(m) => {
            put(m.request_id.0, out)?;
            put_full_name(&m.track, out)?;
            put(m.track_alias.0, out)?;
            scope::encode(&m.parameters, scope::PUBLISH, out)?;
            pairs::track_to_16(m.properties.raw(), out);
            Ok(0x1D)
        }
        Message::Fetch(m) => {
            put(m.request_id.0, out)?;
            // The range stands in the target; as a filter it need not be expressible.
            let mut parameters = m.parameters.clone();
            put_fetch_target(&m.target, parameters.filter.take(), out)?;
            scope::encode(&parameters, scope::FETCH, out)?;
            Ok(0x16)
        }
        other => Err(cannot(other.kind().name())),
    }
}

fn put_fetch_target(target: &FetchTarget, filter: Option<Filter>, out: &mut BytesMut) -> Encoded {
    match target {
        FetchTarget::Track(track) => {
            let (start, end) = range(filter.unwrap_or(Filter::None))?;
            out.put_u8(1);
            put_full_name(track, out)?;
            put_location(start, out)?;
            put_location(end, out)
        }
        FetchTarget::RelativeJoin { joining, groups } => {
            out.put_u8(2);
            put(joining.0, out)?;
            put(*groups, out)
        }
        FetchTarget::AbsoluteJoin { joining, group } => {
            out.put_u8(3);
            put(joining.0, out)?;
            put(*group, out)
        }
    }
}

/// Start, and end one past the last object or with object 0 for a whole group.
fn range(filter: Filter) -> Result<(Location, Location), EncodeError> {
    match filter {
        Filter::None => Ok((Location::ZERO, OPEN_END)),
        Filter::Absolute { start } => Ok((start, OPEN_END)),
        Filter::AbsoluteRange {
            start,
            end_group,
            end_object,
        } => {
            let past = end_object.map_or(0, |object| object.saturating_add(1));
            Ok((start, Location::new(end_group, past)))
        }
        Filter::NextGroup | Filter::NextObject | Filter::RelativeStart { .. } => Err(cannot(
            "a fetch from a place relative to the largest object",
        )),
    }
}

fn put_answer(message: &Message, out: &mut BytesMut) -> Result<u64, EncodeError> {
    match message {
        Message::SubscribeOk(m) => {
            put(m.track_alias.0, out)?;
            scope::encode(&m.parameters, scope::SUBSCRIBE_OK, out)?;
            pairs::track_to_16(m.properties.raw(), out);
            Ok(0x04)
        }
        Message::RequestError(m) => {
            put(codes::request_to_16(m.code).0, out)?;
            put(m.retry_after_ms.map_or(0, |ms| ms.saturating_add(1)), out)?;
            put_reason(&m.reason, out)?;
            Ok(0x05)
        }
        Message::RequestOk(m) => {
            scope::encode(&m.parameters, scope::REQUEST_OK, out)?;
            Ok(0x07)
        }
        Message::PublishDone(m) => {
            put(codes::done_to_16(m.code).0, out)?;
            put(m.stream_count.unwrap_or(UNKNOWN_STREAM_COUNT), out)?;
            put_reason(&m.reason, out)?;
            Ok(0x0B)
        }
        Message::FetchOk(m) => {
            out.put_u8(m.end_of_track.into());
            let past = m.end_object.map_or(0, |object| object.saturating_add(1));
            put_location(Location::new(m.end_group, past), out)?;
            scope::encode(&m.parameters, scope::NONE, out)?;
            pairs::track_to_16(m.properties.raw(), out);
            Ok(0x18)
        }
        other => Err(cannot(other.kind().name())),
    }
}

fn cannot(what: &'static str) -> EncodeError {
    let draft = Draft::D16;
    EncodeError::NotExpressible { draft, what }
}

fn put_namespace(namespace: &TrackNamespace, out: &mut BytesMut) -> Encoded {
    put(namespace.fields().len() as u64, out)?;
    for field in namespace.fields() {
        put_prefixed(field, out)?;
    }
    Ok(())
}

fn put_named(namespace: &TrackNamespace, out: &mut BytesMut) -> Encoded {
    if namespace.is_empty() {
        return Err(cannot("a track namespace without fields"));
    }
    put_namespace(namespace, out)
}

fn put_full_name(track: &FullTrackName, out: &mut BytesMut) -> Encoded {
    put_named(&track.namespace, out)?;
    put_prefixed(&track.name.0, out)
}

/// Writes a reason, cut to the wire's limit at a character boundary.
fn put_reason(reason: &str, out: &mut BytesMut) -> Encoded {
    let cut = reason.floor_char_boundary(MAX_REASON_LEN);
    put_prefixed(reason.get(..cut).unwrap_or_default().as_bytes(), out)
}
