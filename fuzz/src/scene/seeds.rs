//! Scripts of sessions that went well: what core's tests of mutated sessions record of real ones.

use super::relay::{ORG, UNIX_START, signing_key};
use super::script::{self, Step};
use crate::captures::{Capture, Target};
use bytes::{Bytes, BytesMut};
use mainstem_core::jwt::{Claims, mint};
use mainstem_core::moqt::message::{Message, PublishNamespace, Setup, Subscribe, SubscribeOk};
use mainstem_core::moqt::name::{FullTrackName, TrackName, TrackNamespace};
use mainstem_core::moqt::object::{Object, SubgroupHeader, SubgroupId, encode_subgroup_object};
use mainstem_core::moqt::parameter::{AuthorizationToken, Parameters};
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::{Draft, RequestId, TrackAlias};
use mainstem_core::transport::{Carrier, Direction, Input, Origin, StreamEvent, StreamId};
use std::time::Duration;

/// Scripts for machines of this kind, after `header`.
pub(crate) fn of(target: Target, header: &[u8]) -> Vec<Vec<u8>> {
    let captures = Capture::all();
    let wanted = captures.iter().filter(|capture| capture.target == target);
    wanted.map(|capture| scripted(capture, header)).collect()
}

fn scripted(capture: &Capture, header: &[u8]) -> Vec<u8> {
    let mut out = header.to_vec();
    for input in &capture.inputs {
        if let Some(step) = step_of(input) {
            script::write(0, &step, &mut out);
        }
    }
    script::write(0, &Step::Wait(Duration::from_secs(1)), &mut out);
    out
}

fn step_of(input: &Input) -> Option<Step> {
    Some(match input {
        Input::Opened { opened, .. } => Step::Open {
            protocol: Draft::from_protocol(&opened.protocol)?.protocol(),
            carrier: Carrier::Quic,
            path: "/".to_owned(),
        },
        Input::Stream { stream, event, .. } => match event {
            StreamEvent::Data(data) => Step::Data(*stream, data.clone()),
            StreamEvent::Finished => Step::Finished(*stream),
            StreamEvent::Reset(code) => Step::Reset(*stream, *code),
            StreamEvent::Stopped(code) => Step::Stopped(*stream, *code),
            // The stage answers writes itself.
            StreamEvent::Writable => return None,
        },
        Input::Datagram { data, .. } => Step::Datagram(data.clone()),
        Input::Closed { .. } => Step::Lost,
    })
}

/// Two scripts of a relay at once, in two slots, step by step by turns.
pub(crate) fn together(one: &Capture, other: &Capture, header: &[u8]) -> Vec<u8> {
    let mut out = header.to_vec();
    let steps = |capture: &Capture| capture.inputs.iter().filter_map(step_of).collect();
    let (one, other): (Vec<_>, Vec<_>) = (steps(one), steps(other));
    for index in 0..one.len().max(other.len()) {
        for (slot, steps) in [(0, &one), (1, &other)] {
            if let Some(step) = steps.get(index) {
                script::write(slot, step, &mut out);
            }
        }
    }
    out
}

/// A script written message by message.
struct Writer {
    draft: Draft,
    out: Vec<u8>,
}

impl Writer {
    fn new(draft: Draft, header: &[u8]) -> Self {
        let out = header.to_vec();
        Self { draft, out }
    }

    fn step(&mut self, slot: usize, step: &Step) {
        script::write(slot, step, &mut self.out);
    }

    fn open(&mut self, slot: usize, path: &str) {
        let step = Step::Open {
            protocol: self.draft.protocol(),
            carrier: Carrier::WebTransport,
            path: path.to_owned(),
        };
        self.step(slot, &step);
        let control = StreamId::new(Origin::Peer, Direction::Unidirectional, 0);
        self.say(slot, control, Setup::default());
    }

    fn say(&mut self, slot: usize, stream: StreamId, message: impl Into<Message>) {
        let mut bytes = BytesMut::new();
        if message.into().encode(self.draft, &mut bytes).is_ok() {
            self.step(slot, &Step::Data(stream, bytes.freeze()));
        }
    }

    /// A subgroup stream of one object, not ended.
    fn object(&mut self, slot: usize, index: u64, alias: u64, payload: &[u8]) {
        let mut bytes = BytesMut::new();
        SubgroupHeader {
            track_alias: TrackAlias(alias),
            group: 0,
            subgroup: SubgroupId::Zero,
            priority: None,
            has_properties: false,
            end_of_group: false,
            first_object: true,
        }
        .encode(&mut bytes);
        let object = Object {
            payload: Bytes::copy_from_slice(payload).into(),
            ..Object::default()
        };
        encode_subgroup_object(&object, None, false, &mut bytes);
        bytes.extend_from_slice(payload);
        let stream = StreamId::new(Origin::Peer, Direction::Unidirectional, index);
        self.step(slot, &Step::Data(stream, bytes.freeze()));
    }
}

const DRAFTS: [Draft; 2] = [Draft::D22, Draft::D18];

fn request(origin: Origin, index: u64) -> StreamId {
    StreamId::new(origin, Direction::Bidirectional, index)
}

fn accepted(alias: u64) -> SubscribeOk {
    SubscribeOk {
        track_alias: TrackAlias(alias),
        parameters: Parameters::default(),
        properties: Properties::default(),
    }
}

fn path(text: &str) -> TrackNamespace {
    TrackNamespace::from_path(text).unwrap_or_default()
}

/// A relay with tokens: a publisher with a stream key, which its owner finds good, and a viewer with a
/// token.
pub(crate) fn with_tokens() -> Vec<Vec<u8>> {
    let hour = Duration::from_hours(1);
    let claims = Claims::playback("i", ORG, &["lv_1"], UNIX_START, hour);
    let token = mint(&signing_key(), &claims, UNIX_START).unwrap_or_default();
    let seed = |draft| {
        let mut script = Writer::new(draft, &[1, 0, 1]);
        script.open(0, "/publish/lv_1?sk=secret");
        script.step(0, &Step::Command);
        // The owner's answer: yes, without an end.
        script.out.extend([0, 0, 0]);
        let namespace = PublishNamespace {
            request_id: RequestId(0),
            namespace: path("publish/lv_1"),
            parameters: Parameters::default(),
        };
        script.say(0, request(Origin::Peer, 0), namespace);
        script.open(1, "/");
        let value = Bytes::copy_from_slice(token.as_bytes());
        let token_type = 0;
        let track = FullTrackName::new(path("playback/lv_1"), TrackName::from("video"));
        let subscribe = track.map(|track| Subscribe {
            request_id: RequestId(0),
            track,
            parameters: Parameters {
                authorization_tokens: vec![AuthorizationToken::UseValue { token_type, value }],
                ..Parameters::default()
            },
        });
        if let Ok(subscribe) = subscribe {
            script.say(1, request(Origin::Peer, 0), subscribe);
        }
        script.say(0, request(Origin::Local, 0), accepted(1));
        script.object(0, 1, 1, b"payload");
        script.step(0, &Step::Wait(hour));
        script.out
    };
    DRAFTS.map(seed).to_vec()
}

/// What a relay says to a viewer: the catalog, and a chunk of each of its tracks.
pub(crate) fn watched() -> Vec<Vec<u8>> {
    let catalog = br#"{"version":"draft-01","tracks":[{"name":"v","packaging":"cmaf","isLive":true,"role":"video","codec":"avc1.42E01F"},{"name":"a","packaging":"cmaf","isLive":true,"role":"audio","codec":"opus"}]}"#;
    let seed = |draft| {
        let mut script = Writer::new(draft, &[0, 0, 1]);
        script.open(0, "/");
        script.say(0, request(Origin::Local, 0), accepted(1));
        script.object(0, 1, 1, catalog);
        for (stream, alias) in [(1, 2), (2, 3)] {
            script.say(0, request(Origin::Local, stream), accepted(alias));
            script.object(0, 1 + alias, alias, b"chunk");
        }
        script.step(0, &Step::Wait(Duration::from_secs(1)));
        script.out
    };
    DRAFTS.map(seed).to_vec()
}
