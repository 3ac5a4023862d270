//! Our values as those of moqtap-codec, written down field by field and without our codec.

use mainstem_core::moqt::Draft;
use mainstem_core::moqt::filter::{Filter, RangeFilter, RangeSubject};
use mainstem_core::moqt::message::{Setup, SetupOption};
use mainstem_core::moqt::name::{Location, TrackNamespace};
use mainstem_core::moqt::parameter::{AuthorizationToken, FillParameters, Parameters};
use mainstem_core::moqt::property::{Properties, PropertyValue};
use moqtap_codec::auth_token::{AuthorizationToken as TheirToken, TokenAliasType};
use moqtap_codec::kvp::{KeyValuePair, KvpValue};
use moqtap_codec::types::TrackNamespace as TheirNamespace;
use moqtap_codec::varint::{Moqt18, VarInt};

/// An integer.
pub(super) fn int(value: u64) -> VarInt {
    VarInt::from_u64_moqt(value)
}

/// A namespace.
pub(super) fn fields(namespace: &TrackNamespace) -> TheirNamespace {
    let fields = namespace.fields().iter();
    TheirNamespace(fields.map(|field| field.to_vec()).collect())
}

fn integers(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        int(*value).encode_moqt::<Moqt18>(&mut out);
    }
    out
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

fn token(token: &AuthorizationToken) -> Vec<u8> {
    let (alias_type, alias, token_type, value) = match token {
        AuthorizationToken::Delete { alias } => (TokenAliasType::Delete, Some(*alias), None, None),
        AuthorizationToken::UseAlias { alias } => {
            (TokenAliasType::UseAlias, Some(*alias), None, None)
        }
        AuthorizationToken::Register {
            alias,
            token_type,
            value,
        } => (
            TokenAliasType::Register,
            Some(*alias),
            Some(*token_type),
            Some(value),
        ),
        AuthorizationToken::UseValue { token_type, value } => (
            TokenAliasType::UseValue,
            None,
            Some(*token_type),
            Some(value),
        ),
    };
    let mut out = Vec::new();
    TheirToken {
        alias_type,
        alias,
        token_type,
        value: value.map(|value| value.to_vec()).unwrap_or_default(),
    }
    .encode_moqt::<Moqt18>(&mut out);
    out
}

/// The value of a location filter, without a length. Tables of 18 (Section 5.1.2), 20 and 22.
fn filter(draft: Draft, filter: Filter) -> Vec<u8> {
    let Location { group, object } = match filter {
        Filter::Absolute { start } | Filter::AbsoluteRange { start, .. } => start,
        _ => Location::ZERO,
    };
    let (delta, last) = match filter {
        Filter::AbsoluteRange {
            end_group,
            end_object,
            ..
        } => (end_group - group, end_object),
        _ => (0, None),
    };
    integers(&match (draft, filter) {
        (Draft::D16 | Draft::D18, Filter::NextGroup) => vec![1],
        (Draft::D16 | Draft::D18, Filter::NextObject) => vec![2],
        (Draft::D16 | Draft::D18, Filter::Absolute { .. }) => vec![3, group, object],
        (Draft::D16 | Draft::D18, _) => vec![4, group, object, delta],
        (Draft::D20 | Draft::D21, Filter::None) => vec![],
        (Draft::D20 | Draft::D21, Filter::NextObject) => vec![0, 0],
        (Draft::D20 | Draft::D21, Filter::RelativeStart { groups }) => vec![groups],
        (Draft::D20 | Draft::D21, Filter::Absolute { .. }) => vec![group, object],
        (Draft::D20 | Draft::D21, Filter::AbsoluteRange { .. }) => match last {
            None => vec![group, object, delta],
            Some(last) => vec![group, object, delta, last],
        },
        // Relative to the next group by none; no filter.
        (Draft::D20 | Draft::D21, Filter::NextGroup) | (Draft::D22, Filter::None) => vec![0],
        (Draft::D22, Filter::NextGroup) => vec![1, 0],
        (Draft::D22, Filter::RelativeStart { groups }) => vec![1, groups],
        (Draft::D22, Filter::Absolute { .. }) => vec![2, group, object],
        (Draft::D22, Filter::NextObject) => vec![5],
        (Draft::D22, Filter::AbsoluteRange { .. }) => match last {
            None => vec![3, group, object, delta],
            Some(last) => vec![4, group, object, delta, last],
        },
    })
}

fn ranges(filters: &[RangeFilter], out: &mut Vec<KeyValuePair>) {
    for filter in filters {
        let key = match filter.subject {
            RangeSubject::Subgroup => 0x25,
            RangeSubject::Object => 0x26,
            RangeSubject::Priority => 0x27,
            RangeSubject::ObjectProperty => 0x28,
            RangeSubject::TrackProperty => 0x29,
        };
        out.push(bytes(key, filter.value.to_vec()));
    }
}

/// The block inside FILL_PARAMETERS: a count, then type deltas from 0 and values.
fn fill(draft: Draft, fill: &FillParameters) -> Vec<u8> {
    let mut pairs: Vec<(u64, Vec<u8>)> = Vec::new();
    let with_len = |value: Vec<u8>| {
        let mut out = integers(&[value.len() as u64]);
        out.extend(value);
        out
    };
    if let Some(ms) = fill.fill_timeout_ms {
        pairs.push((0x0A, integers(&[ms])));
    }
    if let Some(priority) = fill.subscriber_priority {
        pairs.push((0x20, vec![priority]));
    }
    if let Some(value) = fill.filter {
        let value = filter(draft, value);
        pairs.push((
            0x21,
            if draft == Draft::D22 {
                value
            } else {
                with_len(value)
            },
        ));
    }
    if let Some(order) = fill.group_order {
        pairs.push((0x22, vec![order.value()]));
    }
    let mut filters = Vec::new();
    ranges(&fill.range_filters, &mut filters);
    for pair in filters {
        if let KvpValue::Bytes(value) = pair.value {
            pairs.push((pair.key.into_inner(), with_len(value)));
        }
    }
    let mut out = integers(&[pairs.len() as u64]);
    let mut previous = 0;
    for (key, value) in pairs {
        out.extend(integers(&[key - previous]));
        out.extend(value);
        previous = key;
    }
    out
}

/// Message parameters in ascending order.
pub(super) fn parameters(draft: Draft, p: &Parameters) -> Vec<KeyValuePair> {
    let mut out = Vec::new();
    let mut put = |key, value: Option<u64>| out.extend(value.map(|value| integer(key, value)));
    put(0x02, p.object_delivery_timeout_ms);
    put(0x04, p.rendezvous_timeout_ms);
    put(0x06, p.subgroup_delivery_timeout_ms);
    put(0x08, p.expires_ms);
    put(0x0A, p.fill_timeout_ms);
    put(0x10, p.forward.map(u64::from));
    put(0x20, p.subscriber_priority.map(u64::from));
    put(0x22, p.group_order.map(|order| u64::from(order.value())));
    put(0x32, p.new_group_request);
    put(0x35, p.include_properties.map(u64::from));
    let tokens = p.authorization_tokens.iter();
    out.extend(tokens.map(|value| bytes(0x03, token(value))));
    if let Some(Location { group, object }) = p.largest {
        out.push(bytes(0x09, integers(&[group, object])));
    }
    if let Some(value) = p.filter {
        out.push(bytes(0x21, filter(draft, value)));
    }
    if let Some(value) = &p.fill {
        out.push(bytes(0x23, fill(draft, value)));
    }
    ranges(&p.range_filters, &mut out);
    if let Some(prefix) = &p.namespace_prefix {
        let mut value = Vec::new();
        fields(prefix).encode_moqt::<Moqt18>(&mut value);
        out.push(bytes(0x34, value));
    }
    // Stable: repeated types keep their order.
    out.sort_by_key(|pair| pair.key.into_inner());
    out
}

/// Properties in their order.
pub(super) fn properties(properties: &Properties) -> Vec<KeyValuePair> {
    let pairs = properties.iter().map(|pair| {
        let pair = pair.unwrap();
        match pair.value {
            PropertyValue::Integer(value) => integer(pair.key, value),
            PropertyValue::Bytes(value) => bytes(pair.key, value.to_vec()),
        }
    });
    pairs.collect()
}

/// Setup Options in ascending order.
pub(super) fn options(setup: &Setup) -> Vec<KeyValuePair> {
    let mut out = Vec::new();
    let mut put = |key, value: &Option<String>| {
        let value = value.as_ref();
        out.extend(value.map(|text| bytes(key, text.clone().into_bytes())));
    };
    put(0x01, &setup.path);
    put(0x05, &setup.authority);
    put(0x07, &setup.implementation);
    let tokens = setup.authorization_tokens.iter();
    out.extend(tokens.map(|value| bytes(0x03, token(value))));
    let mut put = |key, value: Option<u64>| out.extend(value.map(|value| integer(key, value)));
    put(0x04, setup.max_auth_token_cache_size);
    put(0x06, setup.max_filter_ranges);
    put(0x08, setup.max_request_updates);
    out.extend(setup.options.iter().map(|option| match option {
        SetupOption::Integer { key, value } => integer(*key, *value),
        SetupOption::Bytes { key, value } => bytes(*key, value.to_vec()),
    }));
    out.sort_by_key(|pair| pair.key.into_inner());
    out
}
