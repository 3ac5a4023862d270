//! Our values as those of moq-transport, written down field by field and without our codec.

use mainstem_core::moqt::filter::{Filter, GroupOrder};
use mainstem_core::moqt::message::{Setup, SetupOption};
use mainstem_core::moqt::name::{Location, TrackName, TrackNamespace};
use mainstem_core::moqt::parameter::{AuthorizationToken, Parameters};
use mainstem_core::moqt::property::{Properties, PropertyValue};
use moq_transport::coding::{
    Encode, KeyValuePair, KeyValuePairs, Location as TheirLocation, TrackName as TheirName,
    TrackNamespace as TheirNamespace, TrackNamespacePrefix, TupleField, Value,
};
use moq_transport::message::{FilterType, GroupOrder as TheirOrder, SubscriptionFilter};

/// What a value is in their bytes.
pub(crate) fn written(value: &impl Encode) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out).unwrap();
    out
}

fn tuple(namespace: &TrackNamespace) -> Vec<TupleField> {
    let fields = namespace.fields().iter();
    fields
        .map(|field| TupleField {
            value: field.to_vec(),
        })
        .collect()
}

/// A track's namespace.
pub(crate) fn namespace(namespace: &TrackNamespace) -> TheirNamespace {
    let fields = tuple(namespace);
    TheirNamespace { fields }
}

/// A prefix or a suffix of namespaces.
pub(crate) fn prefix(namespace: &TrackNamespace) -> TrackNamespacePrefix {
    let fields = tuple(namespace);
    TrackNamespacePrefix { fields }
}

/// A track's name.
pub(crate) fn name(name: &TrackName) -> TheirName {
    TheirName::new(name.0.to_vec())
}

/// A place in a track.
pub(crate) fn location(location: Location) -> TheirLocation {
    TheirLocation::new(location.group, location.object)
}

fn token(token: &AuthorizationToken) -> Vec<u8> {
    use AuthorizationToken as A;
    let (integers, value) = match token {
        A::Delete { alias } => (vec![0, *alias], None),
        A::Register {
            alias,
            token_type,
            value,
        } => (vec![1, *alias, *token_type], Some(value)),
        A::UseAlias { alias } => (vec![2, *alias], None),
        A::UseValue { token_type, value } => (vec![3, *token_type], Some(value)),
    };
    let mut out: Vec<u8> = integers.iter().flat_map(written).collect();
    out.extend(value.iter().flat_map(|value| value.iter()));
    out
}

/// A filter of Section 5.1.2. The end of a range goes as the distance from its start.
fn filter(filter: Filter) -> SubscriptionFilter {
    let (filter_type, start, end) = match filter {
        Filter::NextGroup => (FilterType::NextGroupStart, None, None),
        Filter::NextObject => (FilterType::LargestObject, None, None),
        Filter::Absolute { start } => (FilterType::AbsoluteStart, Some(start), None),
        Filter::AbsoluteRange {
            start, end_group, ..
        } => {
            let delta = end_group - start.group;
            (FilterType::AbsoluteRange, Some(start), Some(delta))
        }
        Filter::None | Filter::RelativeStart { .. } => panic!("not in 18: {filter:?}"),
    };
    SubscriptionFilter {
        filter_type,
        start_location: start.map(location),
        end_group_id: end,
    }
}

/// A group order.
pub(crate) fn order(order: GroupOrder) -> TheirOrder {
    match order {
        GroupOrder::Ascending => TheirOrder::Ascending,
        GroupOrder::Descending => TheirOrder::Descending,
    }
}

/// Message parameters in ascending order.
pub(crate) fn parameters(given: &Parameters) -> KeyValuePairs {
    let mut out = KeyValuePairs::new();
    let mut put = |key, value: Option<u64>| {
        if let Some(value) = value {
            out.set_intvalue(key, value);
        }
    };
    put(0x06, given.subgroup_delivery_timeout_ms);
    put(0x0A, given.fill_timeout_ms);
    if let Some(ms) = given.object_delivery_timeout_ms {
        out.set_delivery_timeout(ms);
    }
    if let Some(ms) = given.rendezvous_timeout_ms {
        out.set_rendezvous_timeout(ms);
    }
    if let Some(ms) = given.expires_ms {
        out.set_expires(ms);
    }
    if let Some(largest) = given.largest {
        out.set_largest_object(location(largest)).unwrap();
    }
    if let Some(forward) = given.forward {
        out.set_forward(forward);
    }
    if let Some(priority) = given.subscriber_priority {
        out.set_subscriber_priority(priority);
    }
    if let Some(value) = given.filter {
        out.set_subscription_filter(&filter(value)).unwrap();
    }
    if let Some(value) = given.group_order {
        out.set_group_order(order(value));
    }
    if let Some(group) = given.new_group_request {
        out.set_new_group_request(group);
    }
    let tokens = given.authorization_tokens.iter();
    out.0
        .extend(tokens.map(|value| KeyValuePair::new_bytes(0x03, token(value))));
    // Stable: repeated types keep their order.
    out.0.sort_by_key(|pair| pair.key);
    out
}

/// Properties in their order.
pub(crate) fn properties(properties: &Properties) -> Vec<KeyValuePair> {
    let pairs = properties.iter().map(|pair| {
        let pair = pair.unwrap();
        let value = match pair.value {
            PropertyValue::Integer(value) => Value::IntValue(value),
            PropertyValue::Bytes(value) => Value::BytesValue(value.to_vec()),
        };
        KeyValuePair::new(pair.key, value)
    });
    pairs.collect()
}

/// Setup Options in ascending order.
pub(crate) fn options(setup: &Setup) -> KeyValuePairs {
    let mut out = Vec::new();
    let text = |text: &String| text.clone().into_bytes();
    let strings = [
        (0x01, &setup.path),
        (0x05, &setup.authority),
        (0x07, &setup.implementation),
    ];
    for (key, value) in strings {
        out.extend(
            value
                .iter()
                .map(|value| KeyValuePair::new_bytes(key, text(value))),
        );
    }
    let tokens = setup.authorization_tokens.iter();
    out.extend(tokens.map(|value| KeyValuePair::new_bytes(0x03, token(value))));
    let size = setup.max_auth_token_cache_size;
    out.extend(size.map(|size| KeyValuePair::new_int(0x04, size)));
    out.extend(setup.options.iter().map(|option| match option {
        SetupOption::Integer { key, value } => KeyValuePair::new_int(*key, *value),
        SetupOption::Bytes { key, value } => KeyValuePair::new_bytes(*key, value.to_vec()),
    }));
    out.sort_by_key(|pair| pair.key);
    KeyValuePairs(out)
}
