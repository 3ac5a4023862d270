//! A peer that opens and sends without end stays within limits, and is told the name of the limit.
//!
//! The relay is driven by hand: no client of ours would send what is sent here.

use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::control::ControlReader;
use mainstem_core::moqt::error::{RequestCode, SessionCode};
use mainstem_core::moqt::message::{
    Fetch, FetchTarget, Message, PublishNamespace, RequestUpdate, Setup, StreamRole, Subscribe,
};
use mainstem_core::moqt::name::{FullTrackName, RequestId, TrackAlias, TrackNamespace};
use mainstem_core::moqt::object::{Object, SubgroupHeader, SubgroupId, encode_datagram};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::relay::{Config, Policy, Relay};
use mainstem_core::moqt::session::Limits;
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Action, App, Carrier, Direction, Input, Opened, Origin, Output, SessionId, Side, StreamEvent,
    StreamId,
};

const DRAFT: Draft = Draft::D22;

struct Flood {
    relay: Relay,
    now: Instant,
    session: SessionId,
    outputs: Vec<Output>,
}

fn bidi(index: u64) -> StreamId {
    StreamId::new(Origin::Peer, Direction::Bidirectional, index)
}

fn uni(index: u64) -> StreamId {
    StreamId::new(Origin::Peer, Direction::Unidirectional, index)
}

fn namespace(last: u64) -> TrackNamespace {
    TrackNamespace::from_path(&format!("flood/{last}")).unwrap()
}

fn track(last: u64) -> FullTrackName {
    FullTrackName::new(namespace(last), "x".into()).unwrap()
}

fn announce(index: u64) -> Message {
    Message::from(PublishNamespace {
        request_id: RequestId(2 * index),
        namespace: namespace(index),
        parameters: Parameters::default(),
    })
}

/// The beginning of a subgroup stream whose object never ends.
fn unfinished(alias: u64, bytes: usize) -> Bytes {
    let mut out = BytesMut::new();
    SubgroupHeader {
        track_alias: TrackAlias(alias),
        group: 0,
        subgroup: SubgroupId::Zero,
        priority: None,
        has_properties: false,
        end_of_group: false,
        first_object: true,
    }
    .encode(&mut out);
    out.extend_from_slice(&vec![0; bytes]);
    out.freeze()
}

impl Flood {
    /// A relay with these bounds, and a peer that has sent its SETUP.
    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let mut flood = Self {
            relay: Relay::new(config, Policy::Open),
            now: Instant::from_nanos(1_000_000_000),
            session: SessionId(0),
            outputs: Vec::new(),
        };
        flood.open(1);
        flood
    }

    fn with_limits(limits: Limits) -> Self {
        Self::with(|config| config.sessions.limits = limits)
    }

    fn open(&mut self, session: u64) {
        self.session = SessionId(session);
        let opened = Opened {
            side: Side::Server,
            carrier: Carrier::Quic,
            protocol: DRAFT.protocol().to_owned(),
            target: None,
            remote: ([192, 0, 2, 1], 4443).into(),
        };
        let session = self.session;
        self.input(Input::Opened { session, opened });
        self.say(uni(0), &Message::from(Setup::default()));
    }

    fn input(&mut self, input: Input) {
        self.relay.handle(self.now, input);
        while let Some(action) = self.relay.poll() {
            if let Action::Transport(output) = action {
                self.outputs.push(output);
            }
        }
    }

    fn data(&mut self, stream: StreamId, data: Bytes) {
        let (session, event) = (self.session, StreamEvent::Data(data));
        self.input(Input::Stream {
            session,
            stream,
            event,
        });
    }

    fn say(&mut self, stream: StreamId, message: &Message) {
        let mut out = BytesMut::new();
        message.encode(DRAFT, &mut out).unwrap();
        self.data(stream, out.freeze());
    }

    /// What the session was closed with.
    fn closed(&self) -> Option<(SessionCode, &str)> {
        self.outputs.iter().find_map(|output| match output {
            Output::Close { code, reason, .. } => Some((SessionCode(*code), reason.as_str())),
            _ => None,
        })
    }

    /// With what a request was refused.
    fn refused(&self, of: StreamId) -> Option<(RequestCode, String)> {
        let mut reader = ControlReader::new(StreamRole::Request);
        for output in &self.outputs {
            if let Output::Write {
                session,
                stream,
                head,
                ..
            } = output
                && (*session, *stream) == (self.session, of)
            {
                reader.push(head);
            }
        }
        match reader.poll(DRAFT).unwrap()? {
            Message::RequestError(error) => Some((error.code, error.reason)),
            _ => None,
        }
    }

    #[track_caller]
    fn is_refused_by(&self, of: StreamId, limit: &str) {
        let (code, reason) = self.refused(of).unwrap();
        assert_eq!(code, RequestCode::EXCESSIVE_LOAD);
        assert!(reason.contains(limit), "{reason}");
        assert_eq!(self.closed(), None);
    }

    #[track_caller]
    fn is_closed_by(&self, code: SessionCode, limit: &str) {
        let (closed, reason) = self.closed().unwrap();
        assert_eq!(closed, code, "{reason}");
        assert!(reason.contains(limit), "{reason}");
    }
}

#[test]
fn streams_without_end_close_the_session() {
    let max = Limits::default().incoming_streams_max as u64;
    let mut flood = Flood::with(|_| {});
    for index in 1..max {
        flood.data(uni(index), unfinished(7, 0).slice(..1));
    }
    assert_eq!(flood.closed(), None);
    flood.data(uni(max), unfinished(7, 0).slice(..1));
    flood.is_closed_by(SessionCode::PROTOCOL_VIOLATION, "incoming_streams_max");
}

#[test]
fn bytes_for_aliases_that_never_come_close_the_session() {
    let mut flood = Flood::with_limits(Limits {
        held_bytes_max: 10_000,
        ..Limits::default()
    });
    for index in 1..20 {
        flood.data(uni(index), unfinished(index, 900));
    }
    flood.is_closed_by(SessionCode::PROTOCOL_VIOLATION, "held_bytes_max");
}

#[test]
fn messages_that_never_end_close_the_session() {
    let mut flood = Flood::with_limits(Limits {
        unfinished_bytes_max: 10_000,
        ..Limits::default()
    });
    let mut whole = BytesMut::new();
    announce(0).encode(DRAFT, &mut whole).unwrap();
    for index in 0..2000 {
        flood.data(bidi(index), whole.clone().freeze().slice(..whole.len() - 1));
    }
    flood.is_closed_by(SessionCode::INTERNAL_ERROR, "unfinished_bytes_max");
}

#[test]
fn requests_without_end_are_refused() {
    let max = Limits::default().requests_max as u64;
    let mut flood = Flood::with(|_| {});
    for index in 0..max {
        flood.say(bidi(index), &announce(index));
    }
    assert_eq!(flood.relay.metrics().namespaces as u64, max);
    flood.say(bidi(max), &announce(max));
    flood.is_refused_by(bidi(max), "requests_max");
    assert_eq!(flood.relay.metrics().namespaces as u64, max);
}

#[test]
fn announcements_of_many_sessions_are_refused() {
    let mut flood = Flood::with(|config| config.namespaces_max = 10);
    for session in 1..4 {
        if session > 1 {
            flood.open(session);
        }
        for index in 0..5 {
            flood.say(bidi(index), &announce(index));
        }
    }
    flood.is_refused_by(bidi(0), "namespaces_max");
    assert_eq!(flood.relay.metrics().namespaces, 10);
}

#[test]
fn tracks_that_nobody_publishes_are_refused_and_not_kept() {
    let mut flood = Flood::with(|config| config.tracks_max = 10);
    for index in 0..100 {
        let subscribe = Subscribe {
            request_id: RequestId(2 * index),
            track: track(index),
            parameters: Parameters {
                rendezvous_timeout_ms: Some(60_000),
                ..Parameters::default()
            },
        };
        flood.say(bidi(index), &Message::from(subscribe));
    }
    flood.is_refused_by(bidi(99), "tracks_max");
    assert!(flood.relay.metrics().tracks <= 10);
}

#[test]
fn fetches_without_end_are_refused() {
    let mut flood = Flood::with(|config| config.fetch.session_fetches_max = 4);
    // Whoever fetches is a publisher too, and never answers what it is asked.
    flood.open(2);
    flood.say(bidi(0), &announce(0));
    flood.open(3);
    for index in 0..10 {
        let fetch = Fetch {
            request_id: RequestId(2 * index),
            target: FetchTarget::Track(track(0)),
            parameters: Parameters::default(),
        };
        flood.say(bidi(index), &Message::from(fetch));
    }
    flood.is_refused_by(bidi(9), "session_fetches_max");
    assert_eq!(flood.relay.metrics().fetches, 4);
}

#[test]
fn updates_without_end_leave_nothing_behind() {
    let mut flood = Flood::with(|_| {});
    flood.say(bidi(0), &announce(0));
    for index in 1..5000 {
        let update = RequestUpdate {
            request_id: RequestId(2 * index),
            parameters: Parameters::default(),
        };
        flood.say(bidi(0), &Message::from(update));
    }
    assert_eq!(flood.closed(), None, "each was answered before the next");
    assert_eq!(flood.relay.metrics().namespaces, 1);
}

#[test]
fn datagrams_without_end_leave_nothing_behind() {
    let mut flood = Flood::with(|_| {});
    let before = flood.relay.metrics();
    for index in 0..5000 {
        let object = Object {
            group: index,
            payload: Bytes::from_static(&[7; 1000]).into(),
            ..Object::default()
        };
        let mut data = BytesMut::new();
        encode_datagram(TrackAlias(index), &object, &mut data);
        data.extend_from_slice(&[7; 1000]);
        let (session, data) = (flood.session, data.freeze());
        flood.input(Input::Datagram { session, data });
    }
    assert_eq!(flood.closed(), None);
    assert_eq!(flood.relay.metrics(), before);
}

#[test]
fn sessions_without_end_are_closed() {
    let mut flood = Flood::with(|config| config.sessions.sessions_max = 3);
    for session in 2..10 {
        flood.open(session);
    }
    flood.is_closed_by(SessionCode::INTERNAL_ERROR, "sessions_max");
}
