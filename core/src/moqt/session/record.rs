//! [`Record`]: one entry of a session's event log.
//!
//! The names of events and of their fields follow draft-pardue-moq-qlog-moq-events, so that tools for
//! qlog can show them; what differs between its versions and the drafts of MoQT is told by the
//! protocol's own words. `created` is what this end wrote, `parsed` what it read.
//!
//! No record holds a payload or a secret: tokens are told by their kind, addresses end at their query.
//! Text of the peer's is shown as JSON shows it.
//!
//! Source: draft-pardue-moq-qlog-moq-events; RFC 7464 (JSON text sequences) for the file's form, which
//! is the owner's.

use crate::moqt::message::{FetchTarget, Message};
use crate::moqt::name::{FullTrackName, Location};
use crate::moqt::object::{GapKind, Object, ObjectStatus, SubgroupHeader, SubgroupId};
use crate::moqt::parameter::AuthorizationToken;
use crate::time::Instant;
use crate::transport::{Direction, Origin, StreamId};
use serde_json::{Map, Value, json};

/// What happened, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When: the time of the input that led to it.
    pub at: Instant,
    /// What.
    pub body: Body,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// The session began.
    Opened {
        /// The draft's protocol name.
        protocol: &'static str,
        /// How it is carried.
        carrier: &'static str,
    },
    /// The log was switched on in the middle of the session: it does not tell of what was before.
    LogBegan {
        /// The draft's protocol name.
        protocol: &'static str,
        /// How it is carried.
        carrier: &'static str,
        /// Requests that were open.
        requests: usize,
        /// Streams that were open: the peer's, and data streams of ours.
        streams: (usize, usize),
    },
    /// The log was switched off in the middle of the session.
    LogEnded,
    /// A control message.
    Message {
        /// Who sent it.
        from: Origin,
        /// The stream that carries it.
        stream: StreamId,
        /// The specification's name.
        kind: &'static str,
        /// Its fields, without secrets.
        fields: Map<String, Value>,
    },
    /// A subgroup stream of ours.
    Subgroup {
        /// The stream.
        stream: StreamId,
        /// Its header.
        header: SubgroupHeader,
    },
    /// The header of a fetch stream.
    FetchStream {
        /// Who sent it.
        from: Origin,
        /// The stream.
        stream: StreamId,
        /// The FETCH, or the subscription that is being filled.
        request: u64,
    },
    /// A gap on a fetch stream: nothing since the item before it, up to `end`.
    FetchGap {
        /// Who sent it.
        from: Origin,
        /// The stream.
        stream: StreamId,
        /// What is the matter with those places.
        kind: GapKind,
        /// The last of them.
        end: Location,
    },
    /// An object, without its payload.
    Object {
        /// Whether a fetch stream brought it.
        is_fetched: bool,
        /// Who sent it.
        from: Origin,
        /// The stream; `None` for a datagram.
        stream: Option<StreamId>,
        /// Group, subgroup and object.
        place: (u64, Option<u64>, u64),
        /// Publisher priority, where the object says.
        priority: Option<u8>,
        /// The status, for those without a payload.
        status: Option<&'static str>,
        /// Bytes of properties.
        properties_len: usize,
        /// Bytes of payload.
        payload_len: usize,
    },
    /// A stream was opened by this end, or the first bytes of one of the peer's came.
    StreamOpened {
        /// The stream.
        stream: StreamId,
    },
    /// A stream was reset or stopped.
    StreamCut {
        /// Who did it.
        by: Origin,
        /// The stream.
        stream: StreamId,
        /// `reset` or `stop`.
        how: &'static str,
        /// The code.
        code: u64,
        /// Its name.
        name: Option<&'static str>,
    },
    /// The session is over.
    Closed {
        /// Who ended it; `None` for the transport.
        by: Option<Origin>,
        /// The code.
        code: Option<u64>,
        /// Its name.
        name: Option<&'static str>,
        /// In words.
        reason: String,
    },
    /// Records that were not kept.
    Lost {
        /// How many.
        records: u64,
    },
}

impl Record {
    /// The record as a qlog event: `time` in milliseconds, `name`, `data`.
    pub fn to_json(&self) -> Value {
        let (name, data) = self.body.to_json();
        json!({
            "time": millis(self.at),
            "name": format!("moqt:{name}"),
            "data": data,
        })
    }
}

impl Body {
    fn to_json(&self) -> (String, Value) {
        match self {
            Self::Message {
                from,
                stream,
                kind,
                fields,
            } => {
                let mut message = fields.clone();
                message.insert("type".to_owned(), json!(kind.to_lowercase()));
                let data = json!({ "stream_id": stream_name(*stream), "message": message });
                (made("control_message", *from), data)
            }
            Self::Opened { .. }
            | Self::LogBegan { .. }
            | Self::LogEnded
            | Self::Closed { .. }
            | Self::Lost { .. } => self.session_to_json(),
            Self::Subgroup { .. }
            | Self::FetchStream { .. }
            | Self::FetchGap { .. }
            | Self::Object { .. }
            | Self::StreamOpened { .. }
            | Self::StreamCut { .. } => self.stream_to_json(),
        }
    }

    /// What happens to the session as a whole, and to its log.
    fn session_to_json(&self) -> (String, Value) {
        match self {
            Self::Opened { protocol, carrier } => {
                let data = json!({ "protocol": protocol, "carrier": carrier });
                ("session_opened".to_owned(), data)
            }
            Self::LogBegan {
                protocol,
                carrier,
                requests,
                streams: (incoming, outgoing),
            } => (
                "log_began_late".to_owned(),
                json!({
                    "protocol": protocol,
                    "carrier": carrier,
                    "open_requests": requests,
                    "open_streams_remote": incoming,
                    "open_streams_local": outgoing,
                }),
            ),
            Self::LogEnded => ("log_ended_early".to_owned(), json!({})),
            Self::Closed {
                by,
                code,
                name,
                reason,
            } => (
                "session_closed".to_owned(),
                json!({
                    "initiator": by.map(owner),
                    "error_code": code,
                    "error": name,
                    "reason": reason,
                }),
            ),
            Self::Lost { records } => ("records_lost".to_owned(), json!({ "records": records })),
            _ => (String::new(), Value::Null),
        }
    }

    /// What happens on data streams and to streams of any kind.
    fn stream_to_json(&self) -> (String, Value) {
        match self {
            Self::Subgroup { stream, header } => {
                let data = subgroup_to_json(*stream, header);
                ("subgroup_header_created".to_owned(), data)
            }
            Self::FetchStream {
                from,
                stream,
                request,
            } => {
                let data = json!({ "stream_id": stream_name(*stream), "request_id": request });
                (made("fetch_header", *from), data)
            }
            Self::FetchGap {
                from,
                stream,
                kind,
                end,
            } => {
                let data = json!({
                    "stream_id": stream_name(*stream),
                    "kind": match kind {
                        GapKind::NonExistent => "non_existent",
                        GapKind::Unknown => "unknown",
                        GapKind::TimedOut => "timed_out",
                    },
                    "end_group_id": end.group,
                    "end_object_id": end.object,
                });
                (made("fetch_gap", *from), data)
            }
            Self::Object { .. } => self.object_to_json(),
            Self::StreamOpened { stream } => {
                let data =
                    json!({ "stream_id": stream_name(*stream), "owner": owner(stream.origin()) });
                ("stream_opened".to_owned(), data)
            }
            Self::StreamCut {
                by,
                stream,
                how,
                code,
                name,
            } => (
                format!("stream_{how}"),
                json!({
                    "stream_id": stream_name(*stream),
                    "initiator": owner(*by),
                    "error_code": code,
                    "error": name,
                }),
            ),
            _ => (String::new(), Value::Null),
        }
    }

    fn object_to_json(&self) -> (String, Value) {
        let Self::Object {
            is_fetched,
            from,
            stream,
            place: (group, subgroup, object),
            priority,
            status,
            properties_len,
            payload_len,
        } = self
        else {
            return (String::new(), Value::Null);
        };
        let name = match stream {
            Some(_) if *is_fetched => "fetch_object",
            Some(_) => "subgroup_object",
            None => "object_datagram",
        };
        let data = json!({
            "stream_id": stream.map(stream_name),
            "group_id": group,
            "subgroup_id": subgroup,
            "object_id": object,
            "publisher_priority": priority,
            "object_status": status,
            "extension_headers_length": properties_len,
            "object_payload_length": payload_len,
        });
        (made(name, *from), data)
    }
}

fn subgroup_to_json(stream: StreamId, header: &SubgroupHeader) -> Value {
    json!({
        "stream_id": stream_name(stream),
        "group_id": header.group,
        "subgroup_id": match header.subgroup {
            SubgroupId::Zero => Some(0),
            SubgroupId::Explicit(id) => Some(id),
            SubgroupId::FirstObject => None,
        },
        "publisher_priority": header.priority,
        "contains_end_of_group": header.end_of_group,
        "extensions_present": header.has_properties,
    })
}

/// The record of a control message.
pub(super) fn of_message(from: Origin, stream: StreamId, message: &Message) -> Body {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    };
    if let Some(id) = message.request_id() {
        put("request_id", json!(id.0));
    }
    if let Some(parameters) = message.parameters() {
        let tokens = &parameters.authorization_tokens;
        if !tokens.is_empty() {
            put("authorization_tokens", token_kinds(tokens));
        }
    }
    if let Some((track, alias)) = track_of(message) {
        put("track_namespace", json!(track.namespace.to_string()));
        put("track_name", json!(track.name.to_string()));
        put("track_alias", json!(alias));
    }
    if let Some(joined) = joined_by(message) {
        put("joining_request_id", json!(joined));
    }
    match message {
        Message::Setup(setup) => {
            put("path", json!(setup.path.as_deref().map(without_query)));
            put("authority", json!(setup.authority));
            put("implementation", json!(setup.implementation));
            let tokens = &setup.authorization_tokens;
            put("authorization_tokens", token_kinds(tokens));
        }
        Message::Goaway(goaway) => {
            put("timeout_ms", json!(goaway.timeout_ms));
            let uri = without_query(&goaway.new_session_uri);
            put("new_session_uri", json!(uri));
        }
        Message::SubscribeOk(ok) => put("track_alias", json!(ok.track_alias.0)),
        Message::PublishNamespace(of) => put("track_namespace", json!(of.namespace.to_string())),
        Message::SubscribeNamespace(of) => {
            put("track_namespace_prefix", json!(of.prefix.to_string()));
        }
        Message::SubscribeTracks(of) => {
            put("track_namespace_prefix", json!(of.prefix.to_string()));
        }
        Message::FetchOk(ok) => {
            put("end_group_id", json!(ok.end_group));
            put("end_object_id", json!(ok.end_object));
            put("end_of_track", json!(ok.end_of_track));
        }
        Message::RequestError(error) => {
            put("error_code", json!(error.code.0));
            put("error", json!(error.code.name()));
            put("reason", json!(error.reason));
            put("retry_after_ms", json!(error.retry_after_ms));
        }
        Message::PublishDone(done) => {
            put("status_code", json!(done.code.0));
            put("status", json!(done.code.name()));
            put("reason", json!(done.reason));
            put("stream_count", json!(done.stream_count));
        }
        _ => {}
    }
    Body::Message {
        from,
        stream,
        kind: message.kind().name(),
        fields,
    }
}

fn joined_by(message: &Message) -> Option<u64> {
    match message {
        Message::Fetch(of) => match &of.target {
            FetchTarget::Track(_) => None,
            FetchTarget::RelativeJoin { joining, .. }
            | FetchTarget::AbsoluteJoin { joining, .. } => Some(joining.0),
        },
        _ => None,
    }
}

fn track_of(message: &Message) -> Option<(&FullTrackName, Option<u64>)> {
    match message {
        Message::Subscribe(of) => Some((&of.track, None)),
        Message::Publish(of) => Some((&of.track, Some(of.track_alias.0))),
        Message::TrackStatus(of) => Some((&of.track, None)),
        Message::Fetch(of) => match &of.target {
            FetchTarget::Track(track) => Some((track, None)),
            FetchTarget::RelativeJoin { .. } | FetchTarget::AbsoluteJoin { .. } => None,
        },
        _ => None,
    }
}

/// The record of an object.
pub(super) fn of_object(from: Origin, stream: Option<StreamId>, object: &Object) -> Body {
    Body::Object {
        is_fetched: false,
        from,
        stream,
        place: (object.group, object.subgroup, object.object),
        priority: object.priority,
        status: match object.status {
            ObjectStatus::Normal => None,
            ObjectStatus::EndOfGroup => Some("end_of_group"),
            ObjectStatus::EndOfTrack => Some("end_of_track"),
        },
        properties_len: object.properties.raw().len(),
        payload_len: object.payload.len(),
    }
}

/// The record of an object on a fetch stream.
pub(super) fn of_fetched(from: Origin, stream: StreamId, object: &Object) -> Body {
    let mut body = of_object(from, Some(stream), object);
    if let Body::Object { is_fetched, .. } = &mut body {
        *is_fetched = true;
    }
    body
}

fn token_kinds(tokens: &[AuthorizationToken]) -> Value {
    let kinds = tokens.iter().map(|token| match token {
        AuthorizationToken::Delete { .. } => "delete",
        AuthorizationToken::Register { .. } => "register",
        AuthorizationToken::UseAlias { .. } => "use_alias",
        AuthorizationToken::UseValue { .. } => "use_value",
    });
    Value::from(kinds.collect::<Vec<_>>())
}

/// Queries hold stream keys and tokens.
fn without_query(uri: &str) -> &str {
    uri.split(['?', '#']).next().unwrap_or_default()
}

fn made(name: &str, from: Origin) -> String {
    let how = match from {
        Origin::Local => "created",
        Origin::Peer => "parsed",
    };
    format!("{name}_{how}")
}

fn owner(origin: Origin) -> &'static str {
    match origin {
        Origin::Local => "local",
        Origin::Peer => "remote",
    }
}

/// A name that is the same at both ends but for who opened it: `local-uni-3`.
fn stream_name(stream: StreamId) -> String {
    let direction = match stream.direction() {
        Direction::Bidirectional => "bidi",
        Direction::Unidirectional => "uni",
    };
    format!("{}-{direction}-{}", owner(stream.origin()), stream.index())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a log's time: microseconds are enough"
)]
fn millis(at: Instant) -> f64 {
    at.as_nanos() as f64 / 1e6
}
