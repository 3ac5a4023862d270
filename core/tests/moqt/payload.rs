//! Payloads pass the relay without being copied: what goes out are the very bytes that came in.

use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::message::{Message, Setup, Subscribe, SubscribeOk};
use mainstem_core::moqt::name::{FullTrackName, RequestId, TrackAlias, TrackName, TrackNamespace};
use mainstem_core::moqt::object::{Object, SubgroupHeader, SubgroupId, encode_subgroup_object};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::relay::{Config, Policy, Relay};
use mainstem_core::moqt::{Draft, message::PublishNamespace};
use mainstem_core::payload::Payload;
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Action, App, Carrier, Direction, Input, Opened, Origin, Output, SessionId, Side, StreamEvent,
    StreamId,
};
use std::ops::Range;

const NOW: Instant = Instant::from_nanos(1);

/// A relay that is spoken to in raw stream bytes.
struct Wire {
    relay: Relay,
    outputs: Vec<Output>,
}

impl Wire {
    fn open(&mut self, session: SessionId) {
        let opened = Opened {
            side: Side::Server,
            carrier: Carrier::Quic,
            protocol: Draft::D22.protocol().to_owned(),
            target: None,
            remote: "192.0.2.1:1".parse().expect("an address"),
        };
        self.relay.handle(NOW, Input::Opened { session, opened });
        self.say(session, uni(0), &Message::Setup(Setup::default()));
    }

    fn say(&mut self, session: SessionId, stream: StreamId, message: &Message) {
        let mut bytes = BytesMut::new();
        message
            .encode(Draft::D22, &mut bytes)
            .expect("a message that fits");
        self.data(session, stream, bytes.freeze());
    }

    fn data(&mut self, session: SessionId, stream: StreamId, data: Bytes) {
        let event = StreamEvent::Data(data);
        self.relay.handle(
            NOW,
            Input::Stream {
                session,
                stream,
                event,
            },
        );
        while let Some(action) = self.relay.poll() {
            if let Action::Transport(output) = action {
                self.outputs.push(output);
            }
        }
    }
}

fn uni(index: u64) -> StreamId {
    StreamId::new(Origin::Peer, Direction::Unidirectional, index)
}

fn bidi(origin: Origin, index: u64) -> StreamId {
    StreamId::new(origin, Direction::Bidirectional, index)
}

fn range(bytes: &[u8]) -> Range<*const u8> {
    bytes.as_ptr_range()
}

#[test]
fn relay_sends_the_very_bytes_that_arrived() {
    covers!("MOQT19-9.7-2", "MOQT19-9.7-3");
    let relay = Relay::new(Config::default(), Policy::Open);
    let mut wire = Wire {
        relay,
        outputs: Vec::new(),
    };
    let (publisher, viewers) = (SessionId(1), [SessionId(2), SessionId(3)]);
    let namespace = TrackNamespace::from_path("a").expect("a namespace");
    let name = TrackName(Bytes::from_static(b"video"));
    let track = FullTrackName::new(namespace.clone(), name).expect("a track name");
    let parameters = Parameters::default;

    wire.open(publisher);
    let announce = PublishNamespace {
        request_id: RequestId(0),
        namespace,
        parameters: parameters(),
    };
    wire.say(publisher, bidi(Origin::Peer, 0), &announce.into());
    for viewer in viewers {
        wire.open(viewer);
        let subscribe = Subscribe {
            request_id: RequestId(0),
            track: track.clone(),
            parameters: parameters(),
        };
        wire.say(viewer, bidi(Origin::Peer, 0), &subscribe.into());
    }
    let answer = SubscribeOk {
        track_alias: TrackAlias(5),
        parameters: parameters(),
        properties: Properties::default(),
    };
    wire.say(publisher, bidi(Origin::Local, 0), &answer.into());

    let payload = Bytes::from(vec![42; 5000]);
    let header = SubgroupHeader {
        track_alias: TrackAlias(5),
        group: 1,
        subgroup: SubgroupId::Zero,
        priority: None,
        has_properties: false,
        end_of_group: false,
        first_object: true,
    };
    let object = Object {
        group: 1,
        payload: payload.clone().into(),
        ..Object::default()
    };
    let mut head = BytesMut::new();
    header.encode(&mut head);
    encode_subgroup_object(&object, None, false, &mut head);
    wire.data(publisher, uni(1), head.freeze());
    wire.outputs.clear();
    // Cut as packets would cut it.
    for at in (0..payload.len()).step_by(1200) {
        let end = (at + 1200).min(payload.len());
        wire.data(publisher, uni(1), payload.slice(at..end));
    }

    let sent: Vec<&Payload> = wire
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Write { body, .. } if !body.is_empty() => Some(body),
            _ => None,
        })
        .collect();
    assert_eq!(sent.len(), viewers.len(), "one object to each viewer");
    let whole = range(&payload);
    for body in sent {
        assert_eq!(body.len(), payload.len());
        for piece in body.pieces() {
            let piece = range(piece);
            assert!(
                whole.start <= piece.start && piece.end <= whole.end,
                "a payload was copied"
            );
        }
    }
}
