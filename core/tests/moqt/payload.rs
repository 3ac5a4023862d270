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

const PUBLISHER: SessionId = SessionId(1);

/// A relay with a track that so many viewers watch, and the ids of their sessions.
fn watched(viewers: u64) -> (Wire, Vec<SessionId>) {
    let relay = Relay::new(Config::default(), Policy::Open);
    let mut wire = Wire {
        relay,
        outputs: Vec::new(),
    };
    let viewers: Vec<SessionId> = (2..2 + viewers).map(SessionId).collect();
    let namespace = TrackNamespace::from_path("a").expect("a namespace");
    let name = TrackName(Bytes::from_static(b"video"));
    let track = FullTrackName::new(namespace.clone(), name).expect("a track name");
    let parameters = Parameters::default;

    wire.open(PUBLISHER);
    let announce = PublishNamespace {
        request_id: RequestId(0),
        namespace,
        parameters: parameters(),
    };
    wire.say(PUBLISHER, bidi(Origin::Peer, 0), &announce.into());
    for viewer in &viewers {
        wire.open(*viewer);
        let subscribe = Subscribe {
            request_id: RequestId(0),
            track: track.clone(),
            parameters: parameters(),
        };
        wire.say(*viewer, bidi(Origin::Peer, 0), &subscribe.into());
    }
    let answer = SubscribeOk {
        track_alias: TrackAlias(5),
        parameters: parameters(),
        properties: Properties::default(),
    };
    wire.say(PUBLISHER, bidi(Origin::Local, 0), &answer.into());
    let header = SubgroupHeader {
        track_alias: TrackAlias(5),
        group: 1,
        subgroup: SubgroupId::Zero,
        priority: None,
        has_properties: false,
        end_of_group: false,
        first_object: true,
    };
    let mut head = BytesMut::new();
    header.encode(&mut head);
    wire.data(PUBLISHER, uni(1), head.freeze());
    (wire, viewers)
}

impl Wire {
    /// The publisher sends the first object, or the one after `previous`, cut as packets would cut
    /// it. Returns what goes out with a payload.
    fn publish(&mut self, previous: Option<u64>, payload: &Bytes) -> Vec<(Bytes, Payload)> {
        let object = Object {
            group: 1,
            object: previous.map_or(0, |previous| previous + 1),
            payload: payload.clone().into(),
            ..Object::default()
        };
        let mut head = BytesMut::new();
        encode_subgroup_object(&object, previous, false, &mut head);
        self.data(PUBLISHER, uni(1), head.freeze());
        self.outputs.clear();
        for at in (0..payload.len()).step_by(1200) {
            let end = (at + 1200).min(payload.len());
            self.data(PUBLISHER, uni(1), payload.slice(at..end));
        }
        let written = self.outputs.drain(..).filter_map(|output| match output {
            Output::Write { head, body, .. } if !body.is_empty() => Some((head, body)),
            _ => None,
        });
        written.collect()
    }

    /// The transport has taken what was sent on every viewer's first stream of data.
    fn take(&mut self, viewers: &[SessionId]) {
        for session in viewers {
            let stream = StreamId::new(Origin::Local, Direction::Unidirectional, 1);
            let event = StreamEvent::Writable;
            let session = *session;
            self.relay.handle(
                NOW,
                Input::Stream {
                    session,
                    stream,
                    event,
                },
            );
        }
    }
}

#[test]
fn relay_sends_the_very_bytes_that_arrived() {
    covers!("MOQT19-9.7-2", "MOQT19-9.7-3");
    let (mut wire, viewers) = watched(2);
    let payload = Bytes::from(vec![42; 5000]);
    let sent = wire.publish(None, &payload);
    assert_eq!(sent.len(), viewers.len(), "one object to each viewer");
    let whole = range(&payload);
    for (_, body) in sent {
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

#[test]
fn many_viewers_share_one_run_of_bytes_for_each_object() {
    covers!("MOQT19-9.7-2", "MOQT19-9.7-3");
    let (mut wire, viewers) = watched(8);
    let payload = Bytes::from(vec![42; 5000]);
    let first = wire.publish(None, &payload);
    wire.take(&viewers);
    let second = wire.publish(Some(0), &payload);
    for (sent, framed) in [(first, false), (second, true)] {
        assert_eq!(sent.len(), viewers.len(), "one object to each viewer");
        let shared = sent[0].1.pieces()[0].as_ptr();
        for (head, body) in sent {
            let [run] = body.pieces() else {
                panic!("expected one piece, got {}", body.pieces().len());
            };
            assert_eq!(run.as_ptr(), shared, "viewers share the run");
            // The stream's header goes before the first object's framing, on each stream its own.
            assert_eq!(head.is_empty(), framed);
            assert!(run.ends_with(&payload));
            // No id is left out, and the length takes two bytes.
            let framing = if framed { 3 } else { 0 };
            assert_eq!(run.len(), framing + payload.len());
        }
    }
}
