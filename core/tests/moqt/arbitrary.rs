//! Strategies for everything that a draft can say, each value in the form in which it is read back.

// By path: another suite takes this file in by a path of its own.
#[path = "arbitrary/messages.rs"]
mod messages;

#[allow(
    unused_imports,
    reason = "two crates of tests share this file: one takes messages, the other whole streams of them"
)]
pub(crate) use messages::{any_message, message};

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
