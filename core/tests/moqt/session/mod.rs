//! One session against a peer that is written down message by message.

mod duties;
mod fetch;
mod fills;
mod lifetime;
mod requests;
mod rules;
mod streams;
mod timeouts;
mod tokens;
mod updates;

use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::control::ControlReader;
use mainstem_core::moqt::error::{RequestCode, SessionCode, StreamCode};
use mainstem_core::moqt::message::{
    Message, Publish, RequestError, Setup, StreamRole, Subscribe, SubscribeOk,
};
use mainstem_core::moqt::name::{FullTrackName, RequestId, TrackAlias, TrackNamespace};
use mainstem_core::moqt::object::{Object, SubgroupHeader, SubgroupId, encode_subgroup_object};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::session::{Event, Limits, Session};
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Action, Carrier, Direction, Opened, Origin, Output, SessionId, Side, StreamEvent, StreamId,
};
use std::time::Duration;

/// A session and what came out of it so far.
struct Peer {
    session: Session,
    draft: Draft,
    now: Instant,
    events: Vec<Event>,
    outputs: Vec<Output>,
}

/// The peer's `index`-th stream.
fn uni(index: u64) -> StreamId {
    StreamId::new(Origin::Peer, Direction::Unidirectional, index)
}

fn bidi(index: u64) -> StreamId {
    StreamId::new(Origin::Peer, Direction::Bidirectional, index)
}

/// The session's own `index`-th request stream.
fn own(index: u64) -> StreamId {
    StreamId::new(Origin::Local, Direction::Bidirectional, index)
}

fn namespace(path: &str) -> TrackNamespace {
    TrackNamespace::from_path(path).unwrap()
}

fn track(name: &'static str) -> FullTrackName {
    FullTrackName::new(namespace("a/b"), name.into()).unwrap()
}

fn subscribe(id: u64, name: &'static str) -> Message {
    Message::from(Subscribe {
        request_id: RequestId(id),
        track: track(name),
        parameters: Parameters::default(),
    })
}

fn publish(id: u64, name: &'static str, alias: u64) -> Message {
    Message::from(Publish {
        request_id: RequestId(id),
        track: track(name),
        track_alias: TrackAlias(alias),
        parameters: Parameters::default(),
        properties: Properties::default(),
    })
}

fn subscribe_ok(alias: u64) -> Message {
    Message::from(SubscribeOk {
        track_alias: TrackAlias(alias),
        parameters: Parameters::default(),
        properties: Properties::default(),
    })
}

fn refusal(code: RequestCode) -> Message {
    Message::from(RequestError::new(code, "no"))
}

/// A subgroup stream of one object.
fn subgroup(alias: u64, group: u64, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    SubgroupHeader {
        track_alias: TrackAlias(alias),
        group,
        subgroup: SubgroupId::Zero,
        priority: None,
        has_properties: false,
        end_of_group: false,
        first_object: true,
    }
    .encode(&mut out);
    let object = Object {
        group,
        payload: Bytes::copy_from_slice(payload).into(),
        ..Object::default()
    };
    encode_subgroup_object(&object, None, false, &mut out);
    out.extend_from_slice(payload);
    out.freeze()
}

impl Peer {
    /// A session that has just opened.
    fn opened(draft: Draft, side: Side, carrier: Carrier, limits: Limits) -> Self {
        let now = Instant::from_nanos(5_000_000_000);
        let opened = Opened {
            side,
            carrier,
            protocol: draft.protocol().to_owned(),
            target: None,
            remote: ([192, 0, 2, 1], 4443).into(),
        };
        let setup = Setup::default();
        let mut peer = Self {
            session: Session::new(now, SessionId(1), draft, &opened, setup, limits),
            draft,
            now,
            events: Vec::new(),
            outputs: Vec::new(),
        };
        peer.drain();
        peer
    }

    /// A session on this side whose peer has sent SETUP.
    fn ready_with(draft: Draft, side: Side, limits: Limits) -> Self {
        let mut peer = Self::opened(draft, side, Carrier::Quic, limits);
        peer.send(uni(0), &Message::from(Setup::default()));
        peer.events.clear();
        peer
    }

    fn server(draft: Draft) -> Self {
        Self::ready_with(draft, Side::Server, Limits::default())
    }

    fn client(draft: Draft) -> Self {
        Self::ready_with(draft, Side::Client, Limits::default())
    }

    fn drain(&mut self) {
        while let Some(action) = self.session.poll() {
            match action {
                Action::Transport(output) => self.outputs.push(output),
                Action::Event(event) => self.events.push(event),
            }
        }
    }

    fn happens(&mut self, stream: StreamId, event: StreamEvent) {
        self.session.handle_stream(self.now, stream, event);
        self.drain();
    }

    fn data(&mut self, stream: StreamId, bytes: Bytes) {
        self.happens(stream, StreamEvent::Data(bytes));
    }

    fn send(&mut self, stream: StreamId, message: &Message) {
        let mut out = BytesMut::new();
        message.encode(self.draft, &mut out).unwrap();
        self.data(stream, out.freeze());
    }

    fn finish(&mut self, stream: StreamId) {
        self.happens(stream, StreamEvent::Finished);
    }

    fn reset(&mut self, stream: StreamId) {
        self.happens(stream, StreamEvent::Reset(StreamCode::CANCELLED.0));
    }

    fn stop(&mut self, stream: StreamId) {
        self.happens(stream, StreamEvent::Stopped(StreamCode::CANCELLED.0));
    }

    /// Runs a command of the session's owner.
    fn command<T>(&mut self, command: impl FnOnce(&mut Session) -> T) -> T {
        let result = command(&mut self.session);
        self.drain();
        result
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now + by;
        self.session.handle_timeout(self.now);
        self.drain();
    }

    /// What the session was closed with.
    fn code(&self) -> Option<SessionCode> {
        self.outputs.iter().find_map(|output| match output {
            Output::Close { code, reason, .. } => {
                assert!(!reason.is_empty());
                Some(SessionCode(*code))
            }
            _ => None,
        })
    }

    /// The messages that the session wrote to a stream.
    fn written(&self, stream: StreamId, role: StreamRole) -> Vec<Message> {
        let mut reader = ControlReader::new(role);
        for output in &self.outputs {
            if let Output::Write {
                stream: to, head, ..
            } = output
                && *to == stream
            {
                reader.push(head);
            }
        }
        let mut messages = Vec::new();
        while let Some(message) = reader.poll(self.draft).unwrap() {
            messages.push(message);
        }
        messages
    }

    /// With what a request of the peer was refused.
    fn refused(&self, stream: StreamId) -> Option<RequestCode> {
        let messages = self.written(stream, StreamRole::Request);
        messages.into_iter().find_map(|message| match message {
            Message::RequestError(error) => Some(error.code),
            _ => None,
        })
    }

    fn was_reset(&self, of: StreamId) -> bool {
        let is_reset =
            |output: &Output| matches!(output, Output::Reset { stream, .. } if *stream == of);
        self.outputs.iter().any(is_reset)
    }

    fn was_stopped(&self, of: StreamId) -> Option<StreamCode> {
        self.outputs.iter().find_map(|output| match output {
            Output::Stop { stream, code, .. } if *stream == of => Some(StreamCode(*code)),
            _ => None,
        })
    }

    fn was_finished(&self, of: StreamId) -> bool {
        let is_end = |output: &Output| matches!(output, Output::Write { stream, fin: true, .. } if *stream == of);
        self.outputs.iter().any(is_end)
    }

    fn cancelled(&self) -> Vec<RequestId> {
        let cancelled = self.events.iter().filter_map(|event| match event {
            Event::Cancelled { request, .. } => Some(*request),
            _ => None,
        });
        cancelled.collect()
    }

    /// Requests and payloads of the objects that came out.
    fn objects(&self) -> Vec<(RequestId, Bytes)> {
        let objects = self.events.iter().filter_map(|event| match event {
            Event::Object {
                request, object, ..
            } => Some((*request, object.payload.to_bytes())),
            _ => None,
        });
        objects.collect()
    }
}
