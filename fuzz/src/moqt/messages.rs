//! Every message that a draft has words for, built from the input and not read from it.
//!
//! Input: draft, kind, role, then the fields, of a few bytes each. Laws: it is written; it reads back
//! the same however it is cut; cut short it waits; with a byte more in its body it is refused.

use crate::arbitrary::{allowed, only};
use crate::input::{Cursor, cut};
use crate::moqt::control;
use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::draft::{FetchForm, FilterForm};
use mainstem_core::moqt::error::{PublishDoneCode, RequestCode};
use mainstem_core::moqt::filter::{Filter, GroupOrder, RangeFilter, RangeSubject};
use mainstem_core::moqt::message::{
    Fetch, FetchOk, FetchTarget, Goaway, Message, MessageKind, Namespace, NamespaceDone, Publish,
    PublishDone, PublishNamespace, PublishSkipped, PublishStateNotify, Redirect, RequestError,
    RequestOk, RequestUpdate, Setup, SetupOption, StreamRole, Subscribe, SubscribeNamespace,
    SubscribeOk, SubscribeTracks, TrackStatus,
};
use mainstem_core::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use mainstem_core::moqt::parameter::{AuthorizationToken, FillParameters, Parameters};
use mainstem_core::moqt::property::{Properties, PropertiesBuilder};
use mainstem_core::moqt::{Draft, Location, RequestId, TrackAlias, varint};

/// Builds a message and holds it against the laws; see the module's description.
pub fn run(data: &[u8]) {
    let mut input = Cursor::new(data);
    let draft = input.one_of(&Draft::CANONICAL);
    let kind = input.one_of(&MessageKind::ALL);
    let role = input.one_of(&[StreamRole::Request, StreamRole::Control]);
    let seed = u16::from(input.byte());
    if !kind.exists_in(draft) || !kind.is_allowed_on(role) {
        return;
    }
    let message = message(draft, kind, role, &mut input);
    let mut out = BytesMut::new();
    message
        .encode(draft, &mut out)
        .unwrap_or_else(|error| panic!("{error}: {message:?}"));
    let bytes = out.freeze();
    let said = control::read(draft, role, &cut(&bytes, seed));
    assert_eq!(said, (vec![message], Ok(false)));
    let short = bytes.slice(..bytes.len() - 1);
    assert_eq!(control::read(draft, role, &[short]), (Vec::new(), Ok(true)));
    let said = control::read(draft, role, &[lengthened(&bytes)]);
    assert!(said.0.is_empty() && said.1.is_err(), "{said:?}");
}

/// The same message with a byte more in its body.
fn lengthened(bytes: &Bytes) -> Bytes {
    let (_, head) = varint::decode(bytes).expect("a message begins with its type");
    let mut longer = bytes.to_vec();
    longer.push(0);
    let body = (longer.len() - head - 2) as u16;
    longer[head..head + 2].copy_from_slice(&body.to_be_bytes());
    longer.into()
}

fn message(draft: Draft, kind: MessageKind, role: StreamRole, input: &mut Cursor<'_>) -> Message {
    use MessageKind as M;
    match kind {
        M::Setup => Message::from(setup(draft, input)),
        M::Goaway => {
            let has_id = draft == Draft::D18 && role == StreamRole::Control;
            Message::from(Goaway {
                new_session_uri: text(input),
                timeout_ms: integer(input),
                request_id: has_id.then(|| request_id(input)),
            })
        }
        M::RequestError => Message::from(request_error(input)),
        M::PublishDone => {
            let unknown = draft.profile().stream_count_unknown;
            Message::from(PublishDone {
                code: PublishDoneCode(integer(input)),
                stream_count: option(input, integer).filter(|count| *count != unknown),
                reason: text(input),
            })
        }
        M::Fetch => Message::from(fetch(draft, input)),
        M::FetchOk => {
            let is_typed = draft == Draft::D18;
            let object = option(input, |input| integer(input).min(u64::MAX - 1));
            Message::from(FetchOk {
                end_of_track: input.flag(),
                end_group: integer(input),
                end_object: object.or(if is_typed { None } else { Some(7) }),
                parameters: Parameters::default(),
                properties: properties(input),
            })
        }
        M::Namespace => Message::from(Namespace {
            suffix: namespace(input),
        }),
        M::NamespaceDone => Message::from(NamespaceDone {
            suffix: namespace(input),
        }),
        M::PublishSkipped => Message::from(PublishSkipped {
            suffix: namespace(input),
            name: name(input),
        }),
        _ => with_parameters(draft, kind, input),
    }
}

fn with_parameters(draft: Draft, kind: MessageKind, input: &mut Cursor<'_>) -> Message {
    use MessageKind as M;
    let parameters = only(parameters(draft, input), allowed(draft, kind));
    let request_id = request_id(input);
    match kind {
        M::RequestOk => Message::from(RequestOk {
            parameters,
            properties: properties(input),
        }),
        M::RequestUpdate => Message::from(RequestUpdate {
            request_id,
            parameters,
        }),
        M::PublishStateNotify => Message::from(PublishStateNotify { parameters }),
        M::Subscribe => Message::from(Subscribe {
            request_id,
            track: track(input),
            parameters,
        }),
        M::TrackStatus => Message::from(TrackStatus {
            request_id,
            track: track(input),
            parameters,
        }),
        M::SubscribeOk => Message::from(SubscribeOk {
            track_alias: TrackAlias(integer(input)),
            parameters,
            properties: properties(input),
        }),
        M::PublishNamespace => Message::from(PublishNamespace {
            request_id,
            namespace: namespace(input),
            parameters,
        }),
        M::Publish => Message::from(Publish {
            request_id,
            track: track(input),
            track_alias: TrackAlias(integer(input)),
            parameters,
            properties: properties(input),
        }),
        M::SubscribeNamespace => Message::from(SubscribeNamespace {
            request_id,
            prefix: namespace(input),
            parameters,
        }),
        _ => Message::from(SubscribeTracks {
            request_id,
            prefix: namespace(input),
            parameters,
        }),
    }
}

fn setup(draft: Draft, input: &mut Cursor<'_>) -> Setup {
    let since_19 = draft != Draft::D18;
    let count = input.below(4);
    let mut options: Vec<SetupOption> = (0..count).map(|_| setup_option(input)).collect();
    options.sort_by_key(SetupOption::key);
    let path = |input: &mut Cursor<'_>| format!("/{}?{}", uri_text(input), uri_text(input));
    Setup {
        path: option(input, path),
        authority: option(input, |input| format!("h{}:443", uri_text(input))),
        authorization_tokens: (0..input.below(3)).map(|_| token(input)).collect(),
        max_auth_token_cache_size: option(input, integer),
        max_filter_ranges: option(input, integer).filter(|_| since_19),
        max_request_updates: option(input, integer).filter(|_| since_19),
        implementation: option(input, text),
        options,
    }
}

/// An option that no draft defines.
fn setup_option(input: &mut Cursor<'_>) -> SetupOption {
    let key = 9 + integer(input) % (1 << 40);
    if key.is_multiple_of(2) {
        let value = integer(input);
        SetupOption::Integer { key, value }
    } else {
        let value = bytes(input);
        SetupOption::Bytes { key, value }
    }
}

fn request_error(input: &mut Cursor<'_>) -> RequestError {
    let redirect = option(input, |input| {
        let track = track(input);
        Redirect {
            connect_uri: text(input),
            namespace: track.namespace,
            name: track.name,
        }
    });
    let code = match (&redirect, RequestCode(integer(input))) {
        (Some(_), _) => RequestCode::REDIRECT,
        (None, RequestCode::REDIRECT) => RequestCode::INTERNAL_ERROR,
        (None, code) => code,
    };
    RequestError {
        code,
        retry_after_ms: option(input, |input| integer(input).min(u64::MAX - 1)),
        reason: text(input),
        redirect,
    }
}

fn fetch(draft: Draft, input: &mut Cursor<'_>) -> Fetch {
    let mut parameters = only(parameters(draft, input), allowed(draft, MessageKind::Fetch));
    let request_id = request_id(input);
    let mut target = FetchTarget::Track(track(input));
    if draft.profile().fetch_form == FetchForm::Typed {
        let joining = RequestId(integer(input));
        match input.byte() % 3 {
            0 => {
                let groups = integer(input);
                target = FetchTarget::RelativeJoin { joining, groups };
            }
            1 => {
                let group = integer(input);
                target = FetchTarget::AbsoluteJoin { joining, group };
            }
            // Draft 18 names the range in the message, its end one past the last object.
            _ => parameters.filter = Some(standalone(input)),
        }
    }
    Fetch {
        request_id,
        target,
        parameters,
    }
}

fn standalone(input: &mut Cursor<'_>) -> Filter {
    let start = Location::new(integer(input) >> 8, integer(input) >> 8);
    match input.byte() % 3 {
        0 => Filter::None,
        1 => Filter::Absolute { start }.canonical(),
        _ => Filter::AbsoluteRange {
            start,
            end_group: start.group + u64::from(input.byte()),
            end_object: option(input, |input| start.object + u64::from(input.byte())),
        },
    }
}

/// Every parameter of the draft, or some of them.
fn parameters(draft: Draft, input: &mut Cursor<'_>) -> Parameters {
    Parameters {
        authorization_tokens: (0..input.below(3)).map(|_| token(input)).collect(),
        object_delivery_timeout_ms: option(input, integer),
        subgroup_delivery_timeout_ms: option(input, integer),
        rendezvous_timeout_ms: option(input, integer),
        expires_ms: option(input, integer),
        largest: option(input, location),
        fill_timeout_ms: option(input, integer),
        forward: option(input, Cursor::flag),
        subscriber_priority: option(input, Cursor::byte),
        filter: option(input, |input| filter(draft, input)),
        group_order: option(input, order),
        fill: option(input, |input| {
            Box::new(FillParameters {
                fill_timeout_ms: option(input, integer),
                subscriber_priority: option(input, Cursor::byte),
                filter: option(input, |input| filter(draft, input)),
                group_order: option(input, order),
                range_filters: range_filters(input, RangeSubject::ObjectProperty),
            })
        }),
        range_filters: range_filters(input, RangeSubject::TrackProperty),
        new_group_request: option(input, integer),
        namespace_prefix: option(input, namespace),
        include_properties: option(input, Cursor::flag),
    }
}

/// A filter in the form in which the draft gives it back.
fn filter(draft: Draft, input: &mut Cursor<'_>) -> Filter {
    let start = location(input);
    let is_typed = draft.profile().filter_form == FilterForm::Typed;
    let filter = match input.byte() % 6 {
        0 => Filter::NextGroup,
        1 => Filter::NextObject,
        2 => Filter::RelativeStart {
            groups: start.group.max(1),
        },
        3 => Filter::Absolute { start },
        4 => Filter::None,
        _ => Filter::AbsoluteRange {
            start,
            end_group: start.group.saturating_add(integer(input)),
            end_object: option(input, integer),
        },
    };
    match filter {
        // Draft 18 has no word for no filter but everything from the first place.
        filter if is_typed => match filter.widened_for(draft) {
            Filter::None => Filter::Absolute {
                start: Location::ZERO,
            },
            filter => filter,
        },
        // All zeros are a word of their own in drafts 20 and 21.
        Filter::Absolute {
            start: Location::ZERO,
        } if draft != Draft::D22 => Filter::None,
        filter => filter,
    }
}

fn range_filters(input: &mut Cursor<'_>, most: RangeSubject) -> Vec<RangeFilter> {
    let subjects = [
        RangeSubject::Subgroup,
        RangeSubject::Object,
        RangeSubject::Priority,
        RangeSubject::ObjectProperty,
        RangeSubject::TrackProperty,
    ];
    let mut filters: Vec<RangeFilter> = (0..input.below(4))
        .map(|_| RangeFilter {
            subject: input.one_of(&subjects).min(most),
            value: bytes(input),
        })
        .collect();
    filters.sort_by_key(|filter| filter.subject);
    filters
}

fn token(input: &mut Cursor<'_>) -> AuthorizationToken {
    let (alias, token_type) = (integer(input), integer(input));
    match input.byte() % 4 {
        0 => AuthorizationToken::Delete { alias },
        1 => AuthorizationToken::UseAlias { alias },
        2 => AuthorizationToken::UseValue {
            token_type,
            value: bytes(input),
        },
        _ => AuthorizationToken::Register {
            alias,
            token_type,
            value: bytes(input),
        },
    }
}

fn properties(input: &mut Cursor<'_>) -> Properties {
    let mut builder = PropertiesBuilder::new();
    for _ in 0..input.below(4) {
        let key = 0x40 + integer(input) % 0x3f00;
        builder = if key.is_multiple_of(2) {
            builder.integer(key, integer(input))
        } else {
            builder.bytes(key, bytes(input))
        };
    }
    if input.flag() {
        builder = builder.default_publisher_group_order(order(input));
    }
    if input.flag() {
        builder = builder.dynamic_groups(input.flag());
    }
    builder.build()
}

fn option<'a, T>(input: &mut Cursor<'a>, value: impl FnOnce(&mut Cursor<'a>) -> T) -> Option<T> {
    input.flag().then(|| value(input))
}

/// Integers of every length that the wire has.
fn integer(input: &mut Cursor<'_>) -> u64 {
    let head = input.byte();
    match head {
        0..=199 => u64::from(head),
        200..=231 => u64::from(input.short()) << (u32::from(head) - 200),
        232..=247 => u64::MAX >> (4 * (u32::from(head) - 232)),
        _ => input.word(),
    }
}

fn location(input: &mut Cursor<'_>) -> Location {
    Location::new(integer(input), integer(input))
}

fn request_id(input: &mut Cursor<'_>) -> RequestId {
    RequestId(integer(input))
}

fn order(input: &mut Cursor<'_>) -> GroupOrder {
    input.one_of(&[GroupOrder::Ascending, GroupOrder::Descending])
}

fn bytes(input: &mut Cursor<'_>) -> Bytes {
    let len = input.below(100);
    Bytes::copy_from_slice(input.bytes(len))
}

fn text(input: &mut Cursor<'_>) -> String {
    String::from_utf8_lossy(&bytes(input)).into_owned()
}

/// Characters that a URI may have.
fn uri_text(input: &mut Cursor<'_>) -> String {
    let characters = b"aZ09-._~!$&'()*+,;=";
    let of = |byte: &u8| char::from(characters[usize::from(*byte) % characters.len()]);
    bytes(input).iter().map(of).collect()
}

fn namespace(input: &mut Cursor<'_>) -> TrackNamespace {
    let count = input.below(33);
    let fields: Vec<Bytes> = (0..count).map(|_| field(input)).collect();
    TrackNamespace::new(fields).expect("32 fields of 7 bytes")
}

fn field(input: &mut Cursor<'_>) -> Bytes {
    let len = 1 + input.below(7);
    let field = Bytes::copy_from_slice(input.bytes(len));
    if field.is_empty() {
        Bytes::from_static(b"n")
    } else {
        field
    }
}

fn name(input: &mut Cursor<'_>) -> TrackName {
    TrackName(bytes(input))
}

fn track(input: &mut Cursor<'_>) -> FullTrackName {
    FullTrackName::new(namespace(input), name(input)).expect("short")
}
