//! Valid sessions, as the machine at one end of each was told of them.

use crate::fetcher::Fetcher;
use crate::legacy;
use crate::net::Net;
use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::error::{PublishDoneCode, StreamCode};
use mainstem_core::moqt::filter::Filter;
use mainstem_core::moqt::message::{
    Fetch, FetchTarget, Goaway, Message, Publish, PublishDone, RequestUpdate, Setup, Subscribe,
    SubscribeNamespace, SubscribeTracks, TrackStatus,
};
use mainstem_core::moqt::name::{
    FullTrackName, Location, RequestId, TrackAlias, TrackName, TrackNamespace,
};
use mainstem_core::moqt::object::{
    Object, SubgroupHeader, SubgroupId, encode_datagram, encode_subgroup_object,
};
use mainstem_core::moqt::parameter::{AuthorizationToken, Parameters};
use mainstem_core::moqt::property::{Properties, PropertiesBuilder};
use mainstem_core::moqt::publisher::Publisher;
use mainstem_core::moqt::relay::{self, Policy, Relay};
use mainstem_core::moqt::subscriber::Subscriber;
use mainstem_core::moqt::track::{self, cache::SubgroupInfo};
use mainstem_core::moqt::{Draft, session};
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Action, App, Carrier, Direction, Input, Opened, Origin, SessionId, Side, StreamEvent, StreamId,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// When a client's machine is told the first thing.
pub(crate) const START: Instant = Instant::from_nanos(1_000_000_000);
/// The session of a client's machine.
pub(crate) const CLIENT: SessionId = SessionId(1);

/// Which machine a capture is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Relay,
    Subscriber,
    Publisher,
    /// Asks for fetches and fills.
    Fetcher,
    /// Serves them.
    Fetched,
}

/// A session.
pub(crate) struct Capture {
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) inputs: Vec<Input>,
}

pub(crate) fn config() -> session::Config {
    session::Config {
        sessions_max: 10_000,
        ..session::Config::default()
    }
}

pub(crate) fn name(namespace: &'static str, track: &'static str) -> FullTrackName {
    let namespace = TrackNamespace::from_path(namespace).unwrap();
    FullTrackName::new(namespace, TrackName::from(track)).unwrap()
}

/// Writes down what a machine is told, by session.
struct Recorder<A> {
    app: A,
    inputs: Rc<RefCell<BTreeMap<SessionId, Vec<Input>>>>,
}

type Inputs = Rc<RefCell<BTreeMap<SessionId, Vec<Input>>>>;

impl<A> Recorder<A> {
    fn new(app: A) -> (Self, Inputs) {
        let inputs = Inputs::default();
        let of = Rc::clone(&inputs);
        (Self { app, inputs: of }, inputs)
    }
}

impl<A: App> App for Recorder<A> {
    type Event = A::Event;

    fn handle(&mut self, now: Instant, input: Input) {
        let (Input::Opened { session, .. }
        | Input::Stream { session, .. }
        | Input::Datagram { session, .. }
        | Input::Closed { session, .. }) = &input;
        let mut inputs = self.inputs.borrow_mut();
        inputs.entry(*session).or_default().push(input.clone());
        self.app.handle(now, input);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.app.handle_timeout(now);
    }

    fn poll(&mut self) -> Option<Action<A::Event>> {
        self.app.poll()
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.app.next_timeout()
    }
}

impl Capture {
    /// Sessions of every kind at every draft.
    pub(crate) fn all() -> Vec<Self> {
        let drafts = Draft::ALL.into_iter();
        drafts
            .flat_map(|draft| {
                let mut captures = streamed(draft);
                if draft != Draft::D16 {
                    captures.extend(fetched(draft));
                }
                captures.push(match draft {
                    Draft::D16 => legacy::by_hand(),
                    draft => by_hand(draft),
                });
                captures
            })
            .collect()
    }
}

/// A publisher, a relay and a viewer that changes and ends its subscription: four ends.
fn streamed(draft: Draft) -> Vec<Capture> {
    let mut net = Net::new(u64::from(draft.number()));
    let protocol = draft.protocol();
    let (relay, told_relay) = Recorder::new(Relay::new(relay::Config::default(), Policy::Open));
    let (relay, _) = net.add(relay);
    let (publisher, told_publisher) =
        Recorder::new(Publisher::new(config(), track::Limits::default()));
    let (publisher, publishing) = net.add(publisher);
    let (subscriber, told_subscriber) = Recorder::new(Subscriber::new(config()));
    let (subscriber, watching) = net.add(subscriber);
    let track = name("other", "video");
    {
        let app = &mut publishing.borrow_mut().app.app;
        app.announce(net.now, track.namespace.clone());
        app.create_track(track.clone(), Properties::default());
    }
    let upstream = net.connect(publisher, relay, protocol, "/");
    let downstream = net.connect(subscriber, relay, protocol, "/");
    let key = {
        let app = &mut watching.borrow_mut().app.app;
        app.subscribe(downstream.0, track.clone(), Parameters::default())
            .unwrap()
    };
    net.settle();
    publish_three_groups(&net, &mut publishing.borrow_mut().app.app, &track);
    net.settle();
    let _ = watching.borrow_mut().app.app.unsubscribe(key);
    net.advance(Duration::from_millis(10));
    let again = {
        let app = &mut watching.borrow_mut().app.app;
        app.subscribe(downstream.0, track.clone(), Parameters::default())
    };
    assert!(again.is_ok());
    net.settle();
    publishing.borrow_mut().app.app.end_track(net.now, &track);
    net.advance(Duration::from_millis(100));
    let capture = |target, what, inputs: &Inputs, session| Capture {
        name: format!("{what} at {protocol}"),
        target,
        inputs: inputs.borrow().get(&session).cloned().unwrap_or_default(),
    };
    vec![
        capture(Target::Relay, "publisher", &told_relay, upstream.1),
        capture(Target::Relay, "viewer", &told_relay, downstream.1),
        capture(
            Target::Publisher,
            "relay's asking",
            &told_publisher,
            upstream.0,
        ),
        capture(
            Target::Subscriber,
            "relay's serving",
            &told_subscriber,
            downstream.0,
        ),
    ]
}

/// One end fetches and fills what the other has: both ends.
fn fetched(draft: Draft) -> Vec<Capture> {
    let mut net = Net::new(u64::from(draft.number()));
    let (server, told_server) = Recorder::new(Fetcher::new(false));
    let (server, _) = net.add(server);
    let (client, told_client) = Recorder::new(Fetcher::new(true));
    let (client, _) = net.add(client);
    let (asking, serving) = net.connect(client, server, draft.protocol(), "/");
    net.settle();
    let capture = |target, what: &str, inputs: &Inputs, session| Capture {
        name: format!("{what} at {draft}"),
        target,
        inputs: inputs.borrow().get(&session).cloned().unwrap_or_default(),
    };
    let fetched = capture(Target::Fetcher, "fetched", &told_client, asking);
    let begins_fetch = |input: &&Input| matches!(input, Input::Stream { event: StreamEvent::Data(data), .. } if data.first() == Some(&5));
    let streams = fetched.inputs.iter().filter(begins_fetch).count();
    assert!(streams >= 2, "{streams} fetch streams at {draft}");
    let fetching = capture(Target::Fetched, "fetching", &told_server, serving);
    vec![fetched, fetching]
}

/// Three groups of three objects; the last stays open.
fn publish_three_groups(net: &Net, app: &mut Publisher, track: &FullTrackName) {
    for place in 0..9 {
        let object = Object {
            group: place / 3,
            object: place % 3,
            subgroup: Some(0),
            payload: Bytes::from(vec![1; 40]).into(),
            ..Object::default()
        };
        let info = SubgroupInfo {
            priority: None,
            has_properties: false,
            end_of_group: true,
            first_object: true,
        };
        app.publish(net.now, track, info, object);
        if place % 3 == 2 && place < 8 {
            app.end_subgroup(net.now, track, place / 3, 0);
        }
    }
}

/// A client that uses whatever the machines of this crate do not ask for themselves.
struct Client {
    draft: Draft,
    inputs: Vec<Input>,
    requests: u64,
    streams: u64,
}

impl Client {
    fn stream(&mut self, stream: StreamId, event: StreamEvent) {
        let session = CLIENT;
        self.inputs.push(Input::Stream {
            session,
            stream,
            event,
        });
    }

    fn send(&mut self, stream: StreamId, message: &Message) {
        let mut out = BytesMut::new();
        message.encode(self.draft, &mut out).unwrap();
        self.stream(stream, StreamEvent::Data(out.freeze()));
    }

    fn next_id(&self) -> RequestId {
        RequestId(2 * self.requests)
    }

    fn request(&mut self, message: impl Into<Message>) -> StreamId {
        let stream = StreamId::new(Origin::Peer, Direction::Bidirectional, self.streams);
        self.requests += 1;
        self.streams += 1;
        self.send(stream, &message.into());
        stream
    }

    fn publish(&mut self, parameters: &Parameters) -> StreamId {
        let track_alias = TrackAlias(77);
        let stream = self.request(Publish {
            request_id: self.next_id(),
            track: name("other", "audio"),
            track_alias,
            parameters: Parameters {
                largest: Some(Location::new(3, 9)),
                forward: Some(true),
                ..parameters.clone()
            },
            properties: PropertiesBuilder::new().dynamic_groups(true).build(),
        });
        self.objects(track_alias);
        stream
    }

    fn ask_what_is_refused(&mut self, parameters: &Parameters) {
        self.request(SubscribeTracks {
            request_id: self.next_id(),
            prefix: TrackNamespace::from_path("other").unwrap(),
            parameters: parameters.clone(),
        });
        self.request(TrackStatus {
            request_id: self.next_id(),
            track: name("other", "audio"),
            parameters: parameters.clone(),
        });
        self.request(Fetch {
            request_id: self.next_id(),
            target: FetchTarget::Track(name("other", "audio")),
            parameters: Parameters {
                filter: Some(Filter::None),
                ..parameters.clone()
            },
        });
    }

    /// Subscribes, changes the subscription, gives it up.
    fn watch(&mut self, parameters: Parameters) {
        let watch = self.request(Subscribe {
            request_id: self.next_id(),
            track: name("other", "audio"),
            parameters: Parameters {
                filter: Some(Filter::AbsoluteRange {
                    start: Location::new(4, 0),
                    end_group: 9,
                    end_object: None,
                }),
                subscriber_priority: Some(3),
                ..parameters
            },
        });
        let update = RequestUpdate {
            request_id: self.next_id(),
            parameters: Parameters {
                forward: Some(false),
                ..Parameters::default()
            },
        };
        self.requests += 1;
        self.send(watch, &update.into());
        self.stream(watch, StreamEvent::Stopped(StreamCode::CANCELLED.0));
        self.stream(watch, StreamEvent::Reset(StreamCode::CANCELLED.0));
    }

    fn objects(&mut self, alias: TrackAlias) {
        let properties = PropertiesBuilder::new().integer(0x40, 5);
        let properties = properties.prior_object_id_gap(0).build();
        let mut object = Object {
            group: 4,
            object: 0,
            subgroup: Some(3),
            properties,
            payload: Bytes::from(vec![2; 60]).into(),
            ..Object::default()
        };
        let header = SubgroupHeader {
            track_alias: alias,
            group: 4,
            subgroup: SubgroupId::Explicit(3),
            priority: Some(9),
            has_properties: true,
            end_of_group: false,
            first_object: true,
        };
        let mut out = BytesMut::new();
        header.encode(&mut out);
        for id in 0..3 {
            let previous = object.object;
            object.object = 2 * id;
            let previous = (id > 0).then_some(previous);
            encode_subgroup_object(&object, previous, true, &mut out);
            out.extend_from_slice(&object.payload.to_bytes());
        }
        let stream = StreamId::new(Origin::Peer, Direction::Unidirectional, 1);
        let mut bytes = out.freeze();
        let first = bytes.split_to(70);
        self.stream(stream, StreamEvent::Data(first));
        self.stream(stream, StreamEvent::Data(bytes));
        self.stream(stream, StreamEvent::Finished);
        object.group = 5;
        let mut data = BytesMut::new();
        encode_datagram(alias, &object, &mut data);
        self.inputs.push(Input::Datagram {
            session: CLIENT,
            data: data.freeze(),
        });
    }
}

pub(crate) fn opened(draft: Draft) -> Input {
    let opened = Opened {
        side: Side::Server,
        carrier: Carrier::Quic,
        protocol: draft.protocol().to_owned(),
        target: None,
        remote: ([192, 0, 2, 1], 4443).into(),
    };
    let session = CLIENT;
    Input::Opened { session, opened }
}

fn by_hand(draft: Draft) -> Capture {
    let mut client = Client {
        draft,
        inputs: vec![opened(draft)],
        requests: 0,
        streams: 0,
    };
    let control = StreamId::new(Origin::Peer, Direction::Unidirectional, 0);
    let token = AuthorizationToken::UseValue {
        token_type: 0,
        value: Bytes::from_static(b"eyJ.e30.c2ln"),
    };
    let setup = Setup {
        path: Some("/live?x=1".to_owned()),
        authority: Some("relay.test".to_owned()),
        authorization_tokens: vec![token.clone()],
        max_auth_token_cache_size: Some(0),
        implementation: Some("by hand".to_owned()),
        ..Setup::default()
    };
    client.send(control, &setup.into());
    let with_token = Parameters {
        authorization_tokens: vec![token],
        ..Parameters::default()
    };
    let namespaces = client.request(SubscribeNamespace {
        request_id: client.next_id(),
        prefix: TrackNamespace::from_path("other").unwrap(),
        parameters: with_token.clone(),
    });
    let publish = client.publish(&with_token);
    client.ask_what_is_refused(&with_token);
    client.watch(with_token);
    let done = PublishDone {
        code: PublishDoneCode::TRACK_ENDED,
        stream_count: Some(1),
        reason: "over".to_owned(),
    };
    client.send(publish, &done.into());
    client.stream(publish, StreamEvent::Finished);
    client.stream(namespaces, StreamEvent::Finished);
    let goaway = Goaway {
        request_id: (draft == Draft::D18).then_some(RequestId(1)),
        ..Goaway::default()
    };
    client.send(control, &goaway.into());
    Capture {
        name: format!("client by hand at {draft}"),
        target: Target::Relay,
        inputs: client.inputs,
    }
}
