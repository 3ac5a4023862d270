//! A client of draft 16 that says everything that there is to say.

use crate::captures::{CLIENT, Capture, Target, name, opened};
use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::error::PublishDoneCode;
use mainstem_core::moqt::legacy::{Control, Wanted};
use mainstem_core::moqt::message::{
    Fetch, FetchTarget, Message, Publish, PublishDone, PublishNamespace, RequestUpdate, Setup,
    Subscribe, SubscribeNamespace, TrackStatus,
};
use mainstem_core::moqt::name::{RequestId, TrackAlias, TrackNamespace};
use mainstem_core::moqt::parameter::{AuthorizationToken, Parameters};
use mainstem_core::moqt::property::PropertiesBuilder;
use mainstem_core::transport::{Direction, Input, Origin, StreamEvent, StreamId};

/// A subgroup of alias 7 with two objects, the first with an extension: type, alias, group; delta,
/// length, extensions, length, payload.
const SUBGROUP: [u8; 15] = [0x31, 7, 1, 0, 2, 0x3E, 0, 2, 5, 5, 0, 0, 0x40, 1, 9];

/// The client's session, as a relay is told of it.
pub(crate) fn by_hand() -> Capture {
    let mut inputs = vec![opened(Draft::D16)];
    let mut on = |stream, bytes: Bytes, is_over: bool| {
        let data = StreamEvent::Data(bytes);
        let events = [Some(data), is_over.then_some(StreamEvent::Finished)];
        for event in events.into_iter().flatten() {
            let session = CLIENT;
            inputs.push(Input::Stream {
                session,
                stream,
                event,
            });
        }
    };
    let bidi = |index| StreamId::new(Origin::Peer, Direction::Bidirectional, index);
    let uni = |index| StreamId::new(Origin::Peer, Direction::Unidirectional, index);
    for message in beginning() {
        let stream = bidi(u64::from(matches!(
            message,
            Control::SubscribeNamespace { .. }
        )));
        on(stream, written(&message), false);
    }
    on(uni(0), Bytes::from_static(&SUBGROUP), true);
    on(uni(1), Bytes::from_static(&SUBGROUP[..9]), false);
    for message in ending() {
        on(bidi(0), written(&message), false);
    }
    on(bidi(1), Bytes::new(), true);
    inputs.push(Input::Datagram {
        session: CLIENT,
        data: Bytes::from_static(&[0x01, 7, 2, 3, 128, 2, 0x3E, 0, 1, 2, 3]),
    });
    Capture {
        name: "client by hand at moqt-16".to_owned(),
        target: Target::Relay,
        inputs,
    }
}

fn written(message: &Control) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out).unwrap();
    out.freeze()
}

fn with_token() -> Parameters {
    Parameters {
        authorization_tokens: vec![AuthorizationToken::UseValue {
            token_type: 0,
            value: Bytes::from_static(b"eyJ.e30.c2ln"),
        }],
        ..Parameters::default()
    }
}

/// What is said before the objects.
fn beginning() -> Vec<Control> {
    let (id, track, parameters) = (RequestId, name("mine", "video"), with_token());
    let request = |message: Message| Control::Request(message);
    vec![
        Control::ClientSetup {
            setup: Setup {
                path: Some("/live?x=1".to_owned()),
                authority: Some("relay.test".to_owned()),
                implementation: Some("by hand".to_owned()),
                ..Setup::default()
            },
            max_request_id: 3,
        },
        Control::SubscribeNamespace {
            request: SubscribeNamespace {
                request_id: id(0),
                prefix: TrackNamespace::from_path("other").unwrap(),
                parameters: parameters.clone(),
            },
            wanted: Wanted::Both,
        },
        request(Message::from(PublishNamespace {
            request_id: id(2),
            namespace: track.namespace.clone(),
            parameters: parameters.clone(),
        })),
        request(Message::from(Publish {
            request_id: id(4),
            track,
            track_alias: TrackAlias(7),
            parameters,
            properties: PropertiesBuilder::new().max_cache_duration_ms(9).build(),
        })),
    ]
}

/// What is said after them.
fn ending() -> Vec<Control> {
    let (id, track, parameters) = (RequestId, name("mine", "video"), with_token());
    let request = |message: Message| Control::Request(message);
    vec![
        request(Message::from(TrackStatus {
            request_id: id(6),
            track: track.clone(),
            parameters: parameters.clone(),
        })),
        request(Message::from(Subscribe {
            request_id: id(8),
            track: track.clone(),
            parameters: parameters.clone(),
        })),
        Control::Update {
            existing: id(8),
            update: RequestUpdate {
                request_id: id(10),
                parameters: parameters.clone(),
            },
        },
        request(Message::from(Fetch {
            request_id: id(12),
            target: FetchTarget::RelativeJoin {
                joining: id(8),
                groups: 1,
            },
            parameters: parameters.clone(),
        })),
        request(Message::from(Fetch {
            request_id: id(14),
            target: FetchTarget::Track(track),
            parameters,
        })),
        Control::FetchCancel(id(14)),
        Control::MaxRequestId(100),
        Control::RequestsBlocked(200),
        Control::Unsubscribe(id(8)),
        Control::Answer {
            request: id(4),
            answer: Message::from(PublishDone {
                code: PublishDoneCode::TRACK_ENDED,
                stream_count: Some(2),
                reason: "over".to_owned(),
            }),
        },
        Control::PublishNamespaceDone(id(2)),
        Control::Goaway(String::new()),
    ]
}
