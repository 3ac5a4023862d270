//! Strategies for everything that a draft can say, each value in the form in which it is read back.

use bytes::Bytes;
use mainstem_core::moqt::error::{PublishDoneCode, RequestCode};
use mainstem_core::moqt::filter::{Filter, GroupOrder, RangeFilter, RangeSubject};
use mainstem_core::moqt::message::{
    Fetch, FetchOk, FetchTarget, Goaway, Message, MessageKind, Namespace, NamespaceDone, Publish,
    PublishDone, PublishNamespace, PublishSkipped, PublishStateNotify, Redirect, RequestError,
    RequestOk, RequestUpdate, Setup, SetupOption, StreamRole, Subscribe, SubscribeNamespace,
    SubscribeOk, SubscribeTracks, TrackStatus,
};
use mainstem_core::moqt::name::{
    FullTrackName, Location, RequestId, TrackAlias, TrackName, TrackNamespace,
};
use mainstem_core::moqt::parameter::{AuthorizationToken, FillParameters, Parameters};
use mainstem_core::moqt::property::{Properties, PropertiesBuilder};
use mainstem_core::moqt::{Draft, draft::FetchForm};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// So many cases, or `PROPTEST_CASES`; a failure is printed and not written down.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    // The default reads the environment.
    let default = ProptestConfig::default();
    let is_asked = default.cases != 256;
    ProptestConfig {
        cases: if is_asked { default.cases } else { cases },
        failure_persistence: None,
        max_shrink_iters: 500,
        ..default
    }
}

/// So many cases against the code of others: the same ones each time, because where two codecs
/// differ is no news of today's change. `PROPTEST_CASES` or `PROPTEST_RNG_SEED` draws others.
pub(crate) fn compared(most: u32) -> ProptestConfig {
    let config = cases(most);
    if config.cases == most && config.rng_seed == RngSeed::Random {
        return ProptestConfig {
            rng_seed: RngSeed::Fixed(18),
            ..config
        };
    }
    config
}

/// Message parameters by draft, message and type: transcribed from the drafts, not from the codec.
pub(crate) const fn allowed(draft: Draft, kind: MessageKind) -> &'static [u64] {
    use MessageKind as M;
    match (matches!(draft, Draft::D18), kind) {
        (true, M::Subscribe) => &[0x02, 0x03, 0x04, 0x06, 0x10, 0x20, 0x21, 0x22, 0x32],
        (true, M::Publish) => &[0x03, 0x08, 0x09, 0x10],
        (true, M::RequestOk) => &[0x02, 0x06, 0x08, 0x09, 0x10, 0x20, 0x21, 0x22, 0x32],
        (true, M::RequestUpdate) => &[0x02, 0x03, 0x06, 0x10, 0x20, 0x21, 0x32, 0x34],
        (true, M::Fetch) => &[0x03, 0x0A, 0x20, 0x22],
        (true, M::SubscribeTracks) => &[0x03, 0x10],
        (_, M::SubscribeOk) | (false, M::RequestOk) => &[0x08, 0x09],
        (_, M::PublishNamespace | M::SubscribeNamespace) | (true, M::TrackStatus) => &[0x03],
        (false, M::Subscribe) => &[
            0x02, 0x03, 0x04, 0x06, 0x10, 0x20, 0x21, 0x22, 0x23, 0x25, 0x26, 0x27, 0x28, 0x32,
            0x35,
        ],
        (false, M::Publish) => &[0x02, 0x03, 0x06, 0x08, 0x09, 0x10, 0x20, 0x21, 0x22],
        (false, M::RequestUpdate) => &[
            0x02, 0x03, 0x06, 0x10, 0x20, 0x21, 0x23, 0x25, 0x26, 0x27, 0x28, 0x29, 0x32, 0x34,
        ],
        (false, M::Fetch) => &[0x03, 0x0A, 0x20, 0x21, 0x22, 0x25, 0x26, 0x27, 0x28, 0x35],
        (false, M::SubscribeTracks) => &[
            0x03, 0x10, 0x21, 0x22, 0x23, 0x25, 0x26, 0x27, 0x28, 0x29, 0x35,
        ],
        (false, M::TrackStatus) => &[0x03, 0x35],
        (false, M::PublishStateNotify) => &[0x09, 0x10, 0x21],
        _ => &[],
    }
}

/// One of the drafts.
pub(crate) fn draft() -> impl Strategy<Value = Draft> {
    prop::sample::select(Draft::CANONICAL.to_vec())
}

/// Integers of every length that the wire has.
pub(crate) fn integer() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => 0_u64..200,
        2 => (0_u32..64).prop_map(|bits| 1 << bits),
        2 => (1_u32..=64).prop_map(|bits| u64::MAX >> (64 - bits)),
        1 => any::<u64>(),
    ]
}

pub(crate) fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=most).prop_map(Bytes::from)
}

fn text(most: usize) -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..=most).prop_map(|chars| chars.into_iter().collect())
}

pub(crate) fn namespace() -> impl Strategy<Value = TrackNamespace> {
    let field = prop_oneof![8 => vec(any::<u8>(), 1..12), 1 => vec(any::<u8>(), 60..130)];
    let fields = prop_oneof![4 => vec(field, 0..5), 1 => vec(vec(any::<u8>(), 1..3), 28..=32)];
    fields.prop_map(|fields| TrackNamespace::new(fields).unwrap())
}

pub(crate) fn track() -> impl Strategy<Value = FullTrackName> {
    (namespace(), bytes(70))
        .prop_map(|(namespace, name)| FullTrackName::new(namespace, TrackName(name)).unwrap())
}

fn location() -> impl Strategy<Value = Location> {
    (integer(), integer()).prop_map(|(group, object)| Location::new(group, object))
}

fn request_id() -> impl Strategy<Value = RequestId> {
    integer().prop_map(RequestId)
}

fn alias() -> impl Strategy<Value = TrackAlias> {
    integer().prop_map(TrackAlias)
}

pub(crate) fn token() -> impl Strategy<Value = AuthorizationToken> {
    prop_oneof![
        integer().prop_map(|alias| AuthorizationToken::Delete { alias }),
        integer().prop_map(|alias| AuthorizationToken::UseAlias { alias }),
        (integer(), bytes(80))
            .prop_map(|(token_type, value)| AuthorizationToken::UseValue { token_type, value }),
        (integer(), integer(), bytes(80)).prop_map(|(alias, token_type, value)| {
            AuthorizationToken::Register {
                alias,
                token_type,
                value,
            }
        }),
    ]
}

/// Filters in the form in which the draft gives them back.
pub(crate) fn filter(draft: Draft) -> BoxedStrategy<Filter> {
    let absolute = location()
        .prop_filter("has a name of its own", move |l| {
            matches!(draft, Draft::D18 | Draft::D22) || *l != Location::ZERO
        })
        .prop_map(|start| Filter::Absolute { start });
    let range = |end_object: BoxedStrategy<Option<u64>>| {
        (location(), integer(), end_object).prop_map(|(start, delta, end_object)| {
            Filter::AbsoluteRange {
                start,
                end_group: start.group.saturating_add(delta),
                end_object,
            }
        })
    };
    let points = prop_oneof![Just(Filter::NextGroup), Just(Filter::NextObject)];
    if draft == Draft::D18 {
        return prop_oneof![points, absolute, range(Just(None).boxed())].boxed();
    }
    let relative = integer().prop_map(|groups| Filter::RelativeStart {
        groups: groups.max(1),
    });
    let range = range(of(integer()).boxed());
    prop_oneof![Just(Filter::None), points, relative, absolute, range].boxed()
}

fn group_order() -> impl Strategy<Value = GroupOrder> {
    prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)]
}

fn range_filters(most: RangeSubject) -> impl Strategy<Value = Vec<RangeFilter>> {
    let subjects = [
        RangeSubject::Subgroup,
        RangeSubject::Object,
        RangeSubject::Priority,
        RangeSubject::ObjectProperty,
        RangeSubject::TrackProperty,
    ];
    let subjects: Vec<_> = subjects.into_iter().filter(|s| *s <= most).collect();
    let one = (prop::sample::select(subjects), bytes(20));
    vec(one, 0..4).prop_map(|filters| {
        let filters = filters.into_iter();
        let filters = filters.map(|(subject, value)| RangeFilter { subject, value });
        let mut filters: Vec<_> = filters.collect();
        filters.sort_by_key(|filter| filter.subject);
        filters
    })
}

fn fill(draft: Draft) -> impl Strategy<Value = FillParameters> {
    (
        of(integer()),
        of(any::<u8>()),
        of(filter(draft)),
        of(group_order()),
        range_filters(RangeSubject::ObjectProperty),
    )
        .prop_map(
            |(timeout, priority, filter, order, ranges)| FillParameters {
                fill_timeout_ms: timeout,
                subscriber_priority: priority,
                filter,
                group_order: order,
                range_filters: ranges,
            },
        )
}

/// Every parameter of the draft, or none of them.
pub(crate) fn all_parameters(draft: Draft) -> impl Strategy<Value = Parameters> {
    let times = [(); 6].map(|()| of(integer()));
    (
        (vec(token(), 0..3), times, of(location()), of(any::<bool>())),
        (of(any::<u8>()), of(filter(draft)), of(group_order())),
        (of(fill(draft)), range_filters(RangeSubject::TrackProperty)),
        (of(namespace()), of(any::<bool>())),
    )
        .prop_map(|(first, second, third, fourth)| {
            let (tokens, times, largest, forward) = first;
            let [object, subgroup, rendezvous, expires, fill, new_group] = times;
            Parameters {
                authorization_tokens: tokens,
                object_delivery_timeout_ms: object,
                subgroup_delivery_timeout_ms: subgroup,
                rendezvous_timeout_ms: rendezvous,
                expires_ms: expires,
                largest,
                fill_timeout_ms: fill,
                forward,
                subscriber_priority: second.0,
                filter: second.1,
                group_order: second.2,
                fill: third.0.map(Box::new),
                range_filters: third.1,
                new_group_request: new_group,
                namespace_prefix: fourth.0,
                include_properties: fourth.1,
            }
        })
}

/// The parameters of these types, the others taken away.
pub(crate) fn only(parameters: Parameters, types: &[u64]) -> Parameters {
    fn keep<T>(value: Option<T>, types: &[u64], key: u64) -> Option<T> {
        value.filter(|_| types.contains(&key))
    }
    let subject = |subject| match subject {
        RangeSubject::Subgroup => 0x25,
        RangeSubject::Object => 0x26,
        RangeSubject::Priority => 0x27,
        RangeSubject::ObjectProperty => 0x28,
        RangeSubject::TrackProperty => 0x29,
    };
    let p = parameters;
    let mut tokens = p.authorization_tokens;
    tokens.retain(|_| types.contains(&0x03));
    let mut ranges = p.range_filters;
    ranges.retain(|filter| types.contains(&subject(filter.subject)));
    Parameters {
        authorization_tokens: tokens,
        object_delivery_timeout_ms: keep(p.object_delivery_timeout_ms, types, 0x02),
        subgroup_delivery_timeout_ms: keep(p.subgroup_delivery_timeout_ms, types, 0x06),
        rendezvous_timeout_ms: keep(p.rendezvous_timeout_ms, types, 0x04),
        expires_ms: keep(p.expires_ms, types, 0x08),
        largest: keep(p.largest, types, 0x09),
        fill_timeout_ms: keep(p.fill_timeout_ms, types, 0x0A),
        forward: keep(p.forward, types, 0x10),
        subscriber_priority: keep(p.subscriber_priority, types, 0x20),
        filter: keep(p.filter, types, 0x21),
        group_order: keep(p.group_order, types, 0x22),
        fill: keep(p.fill, types, 0x23),
        range_filters: ranges,
        new_group_request: keep(p.new_group_request, types, 0x32),
        namespace_prefix: keep(p.namespace_prefix, types, 0x34),
        include_properties: keep(p.include_properties, types, 0x35),
    }
}

pub(crate) fn parameters(draft: Draft, kind: MessageKind) -> BoxedStrategy<Parameters> {
    let types = allowed(draft, kind);
    all_parameters(draft)
        .prop_map(move |parameters| only(parameters, types))
        .boxed()
}

/// Properties that a track may have.
pub(crate) fn track_properties() -> impl Strategy<Value = Properties> {
    let pairs = vec((0x40_u64..0x4000, integer(), bytes(30)), 0..4);
    (pairs, of(group_order()), of(any::<bool>()), of(any::<u8>())).prop_map(
        |(pairs, order, dynamic, priority)| {
            let mut builder = PropertiesBuilder::new();
            for (key, value, bytes) in pairs {
                builder = builder.integer(key, value).bytes(key, bytes);
            }
            if let Some(order) = order {
                builder = builder.default_publisher_group_order(order);
            }
            if let Some(dynamic) = dynamic {
                builder = builder.dynamic_groups(dynamic);
            }
            if let Some(priority) = priority {
                builder = builder.default_publisher_priority(priority);
            }
            builder.build()
        },
    )
}

/// Characters that a URI may have.
fn uri_text() -> impl Strategy<Value = String> {
    (uri_part(b"aZ09-._~:@!$&'()*+,;="), any::<bool>()).prop_map(|(text, encoded)| {
        let more = if encoded { "%2F" } else { "" };
        format!("{text}{more}")
    })
}

fn uri_part(characters: &'static [u8]) -> impl Strategy<Value = String> {
    vec(prop::sample::select(characters), 1..40).prop_map(|text| String::from_utf8(text).unwrap())
}

fn authority() -> impl Strategy<Value = String> {
    let port = of(any::<u16>());
    (uri_part(b"aZ09-._~!$&'()*+,;="), port).prop_map(|(host, port)| match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

fn setup(draft: Draft) -> impl Strategy<Value = Setup> {
    let since_19 = draft != Draft::D18;
    (
        of((uri_text(), of(uri_text()))),
        of(authority()),
        vec(token(), 0..3),
        (of(integer()), of(integer()), of(integer())),
        of(text(20)),
        vec(setup_option(), 0..3),
    )
        .prop_map(
            move |(path, authority, tokens, limits, implementation, options)| {
                let mut options = options;
                options.sort_by_key(SetupOption::key);
                let path = path.map(|(path, query)| match query {
                    Some(query) => format!("/{path}?{query}"),
                    None => format!("/{path}"),
                });
                Setup {
                    path,
                    authority,
                    authorization_tokens: tokens,
                    max_auth_token_cache_size: limits.0,
                    max_filter_ranges: limits.1.filter(|_| since_19),
                    max_request_updates: limits.2.filter(|_| since_19),
                    implementation,
                    options,
                }
            },
        )
}

/// An option that no draft defines.
fn setup_option() -> impl Strategy<Value = SetupOption> {
    (9_u64..1 << 40, integer(), bytes(20)).prop_map(|(key, integer, value)| {
        if key.is_multiple_of(2) {
            SetupOption::Integer {
                key,
                value: integer,
            }
        } else {
            SetupOption::Bytes { key, value }
        }
    })
}

fn goaway(draft: Draft, role: StreamRole) -> impl Strategy<Value = Goaway> {
    let has_id = draft == Draft::D18 && role == StreamRole::Control;
    (text(40), integer(), request_id()).prop_map(move |(uri, timeout_ms, id)| Goaway {
        new_session_uri: uri,
        timeout_ms,
        request_id: has_id.then_some(id),
    })
}

fn request_error() -> impl Strategy<Value = RequestError> {
    let redirect = (text(30), track()).prop_map(|(connect_uri, track)| Redirect {
        connect_uri,
        namespace: track.namespace,
        name: track.name,
    });
    (integer(), of(0..u64::MAX), text(60), of(redirect)).prop_map(
        |(code, retry_after_ms, reason, redirect)| {
            let code = match (code, &redirect) {
                (_, Some(_)) => RequestCode::REDIRECT,
                (0x34, None) => RequestCode::INTERNAL_ERROR,
                (code, None) => RequestCode(code),
            };
            RequestError {
                code,
                retry_after_ms,
                reason,
                redirect,
            }
        },
    )
}

fn fetch(draft: Draft) -> BoxedStrategy<Fetch> {
    let inline = (request_id(), track(), parameters(draft, MessageKind::Fetch)).prop_map(
        |(request_id, track, parameters)| Fetch {
            request_id,
            target: FetchTarget::Track(track),
            parameters,
        },
    );
    if draft.profile().fetch_form == FetchForm::Inline {
        return inline.boxed();
    }
    let range = (location(), 0..1000_u64, of(0..1000_u64));
    let range = range.prop_map(|(start, groups, objects)| {
        let start = Location::new(start.group >> 8, start.object >> 8);
        Filter::AbsoluteRange {
            start,
            end_group: start.group + groups,
            end_object: objects.map(|objects| start.object + objects),
        }
    });
    let open = location().prop_map(|start| {
        let start = Location::new(start.group >> 3, start.object);
        Filter::Absolute { start }.canonical()
    });
    let standalone =
        (inline, prop_oneof![range, open, Just(Filter::None)]).prop_map(|(mut fetch, filter)| {
            fetch.parameters.filter = Some(filter);
            fetch
        });
    let parameters = parameters(draft, MessageKind::Fetch);
    let joining = (
        request_id(),
        request_id(),
        integer(),
        any::<bool>(),
        parameters,
    )
        .prop_map(|(request_id, joining, group, relative, parameters)| Fetch {
            request_id,
            target: if relative {
                let groups = group;
                FetchTarget::RelativeJoin { joining, groups }
            } else {
                FetchTarget::AbsoluteJoin { joining, group }
            },
            parameters,
        });
    prop_oneof![standalone, joining].boxed()
}

fn fetch_ok(draft: Draft) -> impl Strategy<Value = FetchOk> {
    let typed = draft == Draft::D18;
    (
        any::<bool>(),
        integer(),
        of(0..u64::MAX),
        track_properties(),
    )
        .prop_map(
            move |(end_of_track, end_group, object, properties)| FetchOk {
                end_of_track,
                end_group,
                end_object: object.or(if typed { None } else { Some(7) }),
                parameters: Parameters::default(),
                properties,
            },
        )
}

fn publish_done(draft: Draft) -> impl Strategy<Value = PublishDone> {
    let unknown = draft.profile().stream_count_unknown;
    (integer(), of(integer()), text(60)).prop_map(move |(code, count, reason)| PublishDone {
        code: PublishDoneCode(code),
        stream_count: count.filter(|count| *count != unknown),
        reason,
    })
}

/// Boxes a strategy of one message type.
fn boxed<M>(strategy: impl Strategy<Value = M> + 'static) -> BoxedStrategy<Message>
where
    M: Into<Message> + std::fmt::Debug + 'static,
{
    strategy.prop_map(Into::into).boxed()
}

/// A message of this kind.
pub(crate) fn message(draft: Draft, kind: MessageKind, role: StreamRole) -> BoxedStrategy<Message> {
    use MessageKind as M;
    match kind {
        M::Setup => boxed(setup(draft)),
        M::Goaway => boxed(goaway(draft, role)),
        M::RequestError => boxed(request_error()),
        M::PublishDone => boxed(publish_done(draft)),
        M::Fetch => boxed(fetch(draft)),
        M::FetchOk => boxed(fetch_ok(draft)),
        M::Namespace => boxed(namespace().prop_map(|suffix| Namespace { suffix })),
        M::NamespaceDone => boxed(namespace().prop_map(|suffix| NamespaceDone { suffix })),
        M::PublishSkipped => boxed(track().prop_map(|track| PublishSkipped {
            suffix: track.namespace,
            name: track.name,
        })),
        M::RequestOk
        | M::RequestUpdate
        | M::PublishStateNotify
        | M::SubscribeOk
        | M::Publish
        | M::Subscribe
        | M::TrackStatus
        | M::PublishNamespace
        | M::SubscribeNamespace
        | M::SubscribeTracks => with_parameters(draft, kind),
    }
}

fn with_parameters(draft: Draft, kind: MessageKind) -> BoxedStrategy<Message> {
    let parts = (request_id(), track(), alias(), track_properties());
    (parts, parameters(draft, kind))
        .prop_map(
            move |((request_id, track, track_alias, properties), parameters)| {
                build(kind, request_id, track, track_alias, properties, parameters)
            },
        )
        .boxed()
}

fn build(
    kind: MessageKind,
    request_id: RequestId,
    track: FullTrackName,
    track_alias: TrackAlias,
    properties: Properties,
    parameters: Parameters,
) -> Message {
    use MessageKind as M;
    let FullTrackName { namespace, .. } = track.clone();
    match kind {
        M::RequestOk => Message::from(RequestOk {
            parameters,
            properties,
        }),
        M::RequestUpdate => Message::from(RequestUpdate {
            request_id,
            parameters,
        }),
        M::PublishStateNotify => Message::from(PublishStateNotify { parameters }),
        M::Subscribe => Message::from(Subscribe {
            request_id,
            track,
            parameters,
        }),
        M::TrackStatus => Message::from(TrackStatus {
            request_id,
            track,
            parameters,
        }),
        M::SubscribeOk => Message::from(SubscribeOk {
            track_alias,
            parameters,
            properties,
        }),
        M::PublishNamespace => Message::from(PublishNamespace {
            request_id,
            namespace,
            parameters,
        }),
        M::Publish => Message::from(Publish {
            request_id,
            track,
            track_alias,
            parameters,
            properties,
        }),
        M::SubscribeNamespace => {
            let prefix = namespace;
            Message::from(SubscribeNamespace {
                request_id,
                prefix,
                parameters,
            })
        }
        _ => {
            let prefix = namespace;
            Message::from(SubscribeTracks {
                request_id,
                prefix,
                parameters,
            })
        }
    }
}

/// A message of any kind, with the draft and the stream that it may be sent on.
pub(crate) fn any_message() -> impl Strategy<Value = (Draft, StreamRole, Message)> {
    let places = draft().prop_flat_map(|draft| {
        let places = MessageKind::ALL
            .into_iter()
            .filter(|kind| kind.exists_in(draft))
            .flat_map(|kind| {
                [StreamRole::Control, StreamRole::Request]
                    .into_iter()
                    .filter(move |role| kind.is_allowed_on(*role))
                    .map(move |role| (kind, role))
            });
        let places: Vec<_> = places.collect();
        (Just(draft), prop::sample::select(places))
    });
    places.prop_flat_map(|(draft, (kind, role))| {
        (Just(draft), Just(role), message(draft, kind, role))
    })
}
