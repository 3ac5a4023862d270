//! Integers, names, URIs, properties, filters and the names of test tracks.
//!
//! Input: kind, then what that kind reads. Laws: what is read is written and reads the same; a
//! filter means the same by its other name, and widened for an older draft it lets the same objects
//! pass; no secret of a URI is shown.

use crate::input::Cursor;
use crate::laws::check_fault;
use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::filter::sets::FilterSets;
use mainstem_core::moqt::filter::{Filter, RangeFilter, RangeSubject};
use mainstem_core::moqt::message::{Message, Subscribe};
use mainstem_core::moqt::moqtest::{self, TestTrack};
use mainstem_core::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::{Properties, PropertiesBuilder, PropertyValue};
use mainstem_core::moqt::uri::MoqtUri;
use mainstem_core::moqt::{Draft, Location, RequestId, varint};

/// Reads the input; see the module's description.
pub fn run(data: &[u8]) {
    let mut input = Cursor::new(data);
    match input.below(8) {
        0 => check_varint(input.rest()),
        1 => check_names(&String::from_utf8_lossy(input.rest())),
        2 => check_uri(&String::from_utf8_lossy(input.rest())),
        3 => check_properties(&mut input),
        4 => check_range_filters(&mut input),
        5 => check_filter(&mut input),
        6 => check_test_track(&String::from_utf8_lossy(input.rest())),
        _ => check_namespaces(&mut input),
    }
}

fn check_varint(bytes: &[u8]) {
    let Some((value, used)) = varint::decode(bytes) else {
        assert!(bytes.len() < varint::MAX_LEN);
        return;
    };
    let mut out = BytesMut::new();
    varint::encode(value, &mut out);
    assert_eq!(varint::decode(&out), Some((value, out.len())));
    assert!(out.len() <= used && out.len() == varint::len(value));
}

fn check_names(text: &str) {
    if let Ok(namespace) = text.parse::<TrackNamespace>() {
        assert_eq!(namespace.to_string(), text);
    }
    if let Ok(name) = text.parse::<TrackName>() {
        assert_eq!(name.to_string(), text);
    }
    if let Ok(track) = text.parse::<FullTrackName>() {
        assert_eq!(track.to_string(), text);
    }
    let _ = TrackNamespace::from_path(text);
}

fn check_namespaces(input: &mut Cursor<'_>) {
    let mut namespace = || {
        let count = input.below(5);
        let fields: Vec<Bytes> = (0..count)
            .map(|_| {
                let len = input.below(6);
                Bytes::copy_from_slice(input.bytes(len))
            })
            .collect();
        TrackNamespace::new(fields)
    };
    let (Ok(one), Ok(other)) = (namespace(), namespace()) else {
        return;
    };
    assert_eq!(one.to_string().parse().as_ref(), Ok(&one));
    let joined = one.joined(&other).expect("short enough");
    assert!(joined.has_prefix(&one));
    assert_eq!(joined.suffix_after(&one), Some(other.clone()));
    assert_eq!(one.has_prefix(&other), one.suffix_after(&other).is_some());
    assert_eq!(joined.byte_len(), one.byte_len() + other.byte_len());
}

fn check_uri(text: &str) {
    let Ok(uri) = text.parse::<MoqtUri>() else {
        return;
    };
    let fragment = uri
        .fragment()
        .map(|(kind, value)| format!("#{kind}:{value}"));
    let whole = format!(
        "moqt://{}{}{}",
        uri.authority(),
        uri.path_and_query(),
        fragment.unwrap_or_default()
    );
    assert_eq!(whole.parse().as_ref(), Ok(&uri), "{whole}");
    assert!(!uri.host().is_empty() && !uri.host().contains('@'));
    // What may be secret is not shown: user information, query, fragment.
    let host = uri.authority().rsplit('@').next().unwrap_or_default();
    assert_eq!(format!("{uri:?}"), format!("moqt://{host}{}", uri.path()));
    let _ = (uri.port(), uri.target(), uri.to_https());
}

fn check_properties(input: &mut Cursor<'_>) {
    let (group, object) = (u64::from(input.short()), u64::from(input.short()));
    let block = Bytes::copy_from_slice(input.rest());
    if let Err(fault) = Properties::from_track(block.clone()) {
        check_fault(&fault);
    }
    let properties = match Properties::from_object(block.clone(), group, object) {
        Ok(properties) => properties,
        Err(reason) => return assert!(!reason.is_empty()),
    };
    assert_eq!(properties.raw(), &block);
    assert!(
        properties
            .prior_group_id_gap()
            .is_none_or(|gap| gap <= group)
    );
    assert!(
        properties
            .prior_object_id_gap()
            .is_none_or(|gap| gap <= object)
    );
    let _ = (
        properties.unsupported_mandatory(),
        properties.default_publisher_priority(),
        properties.default_publisher_group_order(),
        properties.dynamic_groups(),
        properties.max_cache_duration_ms(),
        format!("{properties:?}"),
    );
    let mut builder = PropertiesBuilder::new();
    let mut pairs = Vec::new();
    for pair in &properties {
        let pair = pair.expect("the block is well formed");
        builder = match pair.value {
            PropertyValue::Integer(value) => builder.integer(pair.key, value),
            PropertyValue::Bytes(bytes) => builder.bytes(pair.key, Bytes::copy_from_slice(bytes)),
        };
        pairs.push((pair.key, pair.value));
    }
    let built = builder.build();
    let again: Vec<_> = built
        .iter()
        .flatten()
        .map(|pair| (pair.key, pair.value))
        .collect();
    assert_eq!(again, pairs);
}

fn check_range_filters(input: &mut Cursor<'_>) {
    const SUBJECTS: [RangeSubject; 5] = [
        RangeSubject::Subgroup,
        RangeSubject::Object,
        RangeSubject::Priority,
        RangeSubject::ObjectProperty,
        RangeSubject::TrackProperty,
    ];
    let mut filters = Vec::new();
    while !input.is_empty() && filters.len() < 20 {
        let subject = input.one_of(&SUBJECTS);
        let len = input.below(24);
        let value = Bytes::copy_from_slice(input.bytes(len));
        let filter = RangeFilter { subject, value };
        if let Some(set) = filter.parse()
            && !filter.value.is_empty()
        {
            let again = RangeFilter::new(subject, &set).expect("what was read can be written");
            assert_eq!(again.parse(), Some(set));
        }
        filters.push(filter);
    }
    let all = FilterSets::parse(&filters, 16);
    let objects = FilterSets::parse_for_objects(&filters, 16);
    assert!(all.is_ok() || objects.is_err());
}

fn filter(input: &mut Cursor<'_>) -> Filter {
    let start = Location::new(u64::from(input.byte()), u64::from(input.byte()));
    match input.below(6) {
        0 => Filter::None,
        1 => Filter::NextGroup,
        2 => Filter::NextObject,
        3 => Filter::RelativeStart {
            groups: start.group,
        },
        4 => Filter::Absolute { start },
        _ => Filter::AbsoluteRange {
            start,
            end_group: start.group + u64::from(input.byte()),
            end_object: input.flag().then(|| u64::from(input.byte())),
        },
    }
}

fn check_filter(input: &mut Cursor<'_>) {
    let filter = filter(input);
    let largest = input
        .flag()
        .then(|| Location::new(u64::from(input.byte()), u64::from(input.byte())));
    let range = filter.resolve(largest);
    assert_eq!(filter.canonical().resolve(largest), range);
    if let Some(fetched) = filter.fetch_range(largest) {
        assert!(fetched.start <= fetched.end && Some(fetched.end) <= largest);
        assert!(range.contains(fetched.start) && range.contains(fetched.end));
    }
    for draft in Draft::CANONICAL {
        let widened = filter.widened_for(draft);
        let wider = widened.resolve(largest);
        let place = Location::new(u64::from(input.byte()), u64::from(input.byte()));
        assert!(
            !range.contains(place) || wider.contains(place),
            "{draft} {filter:?}"
        );
        let message = Message::from(Subscribe {
            request_id: RequestId(0),
            track: FullTrackName::new(TrackNamespace::default(), TrackName::from("t"))
                .expect("short"),
            parameters: Parameters {
                filter: Some(widened),
                ..Parameters::default()
            },
        });
        let mut out = BytesMut::new();
        message
            .encode(draft, &mut out)
            .expect("the draft has words for it");
    }
}

fn check_test_track(text: &str) {
    let limits = moqtest::Limits {
        object_bytes_max: 2000,
        ..moqtest::Limits::default()
    };
    let Ok(track) = TestTrack::from_text(text, &limits) else {
        return;
    };
    let fields = track.fields().map(Bytes::from);
    assert_eq!(TestTrack::parse(&fields, &limits).as_ref(), Ok(&track));
    let _ = (
        track.final_group(),
        track.final_object(),
        track.properties(),
    );
    let mut last = None;
    for step in moqtest::Plan::whole(track.clone()).take(300) {
        let place = (step.object.group, step.object.object);
        assert!(
            last.is_none_or(|last| last < place),
            "{text}: {last:?} then {place:?}"
        );
        assert!(track.has(place.0, place.1), "{text}: {place:?}");
        last = Some(place);
    }
}
