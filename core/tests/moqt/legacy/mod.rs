//! Sessions of draft 16 against a peer that is written down message by message.

mod data;
mod faults;
mod fetches;
mod requests;

use bytes::{Bytes, BytesMut};
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::error::{SessionCode, StreamCode};
use mainstem_core::moqt::legacy::{Control, LegacyReader};
use mainstem_core::moqt::message::{Message, Publish, Setup, Subscribe, SubscribeOk};
use mainstem_core::moqt::name::{FullTrackName, RequestId, TrackAlias, TrackNamespace};
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::property::Properties;
use mainstem_core::moqt::session::{Event, Limits, Session};
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Action, Carrier, Direction, Opened, Origin, Output, SessionId, Side, StreamEvent, StreamId,
};

/// A session of draft 16 and what came out of it so far.
struct Peer {
    session: Session,
    control: StreamId,
    now: Instant,
    events: Vec<Event>,
    outputs: Vec<Output>,
}

/// The peer's `index`-th data stream.
fn uni(index: u64) -> StreamId {
    StreamId::new(Origin::Peer, Direction::Unidirectional, index)
}

/// The peer's `index`-th bidirectional stream.
fn bidi(index: u64) -> StreamId {
    StreamId::new(Origin::Peer, Direction::Bidirectional, index)
}

/// The session's own `index`-th bidirectional stream.
fn own(index: u64) -> StreamId {
    StreamId::new(Origin::Local, Direction::Bidirectional, index)
}

/// The session's own `index`-th data stream.
fn own_uni(index: u64) -> StreamId {
    StreamId::new(Origin::Local, Direction::Unidirectional, index)
}

fn namespace(path: &str) -> TrackNamespace {
    TrackNamespace::from_path(path).unwrap()
}

fn track(name: &'static str) -> FullTrackName {
    FullTrackName::new(namespace("a/b"), name.into()).unwrap()
}

fn subscribe(id: u64, name: &'static str) -> Control {
    Control::Request(Message::from(Subscribe {
        request_id: RequestId(id),
        track: track(name),
        parameters: Parameters::default(),
    }))
}

fn publish(id: u64, name: &'static str, alias: u64) -> Control {
    Control::Request(Message::from(Publish {
        request_id: RequestId(id),
        track: track(name),
        track_alias: TrackAlias(alias),
        parameters: Parameters::default(),
        properties: Properties::default(),
    }))
}

fn subscribe_ok(id: u64, alias: u64) -> Control {
    Control::Answer {
        request: RequestId(id),
        answer: Message::from(SubscribeOk {
            track_alias: TrackAlias(alias),
            parameters: Parameters::default(),
            properties: Properties::default(),
        }),
    }
}

fn bytes_of(message: &Control) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out).unwrap();
    out.freeze()
}

impl Peer {
    /// A session that has just opened.
    fn opened(side: Side, limits: Limits) -> Self {
        let now = Instant::from_nanos(5_000_000_000);
        let opened = Opened {
            side,
            carrier: Carrier::Quic,
            protocol: "moqt-16".to_owned(),
            target: None,
            remote: ([192, 0, 2, 1], 4443).into(),
        };
        let setup = Setup::default();
        let mut peer = Self {
            session: Session::new(now, SessionId(1), Draft::D16, &opened, setup, limits),
            control: match side {
                Side::Client => own(0),
                Side::Server => bidi(0),
            },
            now,
            events: Vec::new(),
            outputs: Vec::new(),
        };
        peer.drain();
        peer
    }

    /// A session whose peer has said its setup, with credit for so many ids.
    fn ready(side: Side, max_request_id: u64, limits: Limits) -> Self {
        let mut peer = Self::opened(side, limits);
        let setup = Setup::default();
        peer.say(&match side {
            Side::Client => Control::ServerSetup {
                setup,
                max_request_id,
            },
            Side::Server => Control::ClientSetup {
                setup,
                max_request_id,
            },
        });
        assert!(peer.session.is_ready());
        peer.forget();
        peer
    }

    fn server() -> Self {
        Self::ready(Side::Server, 1000, Limits::default())
    }

    fn client() -> Self {
        Self::ready(Side::Client, 1000, Limits::default())
    }

    /// Forgets what came out.
    fn forget(&mut self) {
        self.events.clear();
        self.outputs.clear();
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

    /// The peer says this on the control stream.
    fn say(&mut self, message: &Control) {
        self.say_on(self.control, message);
    }

    fn say_on(&mut self, stream: StreamId, message: &Control) {
        self.data(stream, bytes_of(message));
    }

    /// Runs a command of the session's owner.
    fn command<T>(&mut self, command: impl FnOnce(&mut Session) -> T) -> T {
        let result = command(&mut self.session);
        self.drain();
        result
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

    /// Everything that was written to a stream.
    fn written(&self, to: StreamId) -> Vec<u8> {
        let mut bytes = Vec::new();
        for output in &self.outputs {
            if let Output::Write {
                stream, head, body, ..
            } = output
                && *stream == to
            {
                bytes.extend_from_slice(head);
                bytes.extend_from_slice(&body.to_bytes());
            }
        }
        bytes
    }

    /// The messages that the session said on a stream.
    fn heard_on(&self, stream: StreamId) -> Vec<Control> {
        let mut reader = LegacyReader::default();
        reader.push(&self.written(stream));
        let mut messages = Vec::new();
        while let Some(message) = reader.poll().unwrap() {
            messages.push(message);
        }
        assert!(!reader.is_mid_message());
        messages
    }

    /// The messages that the session said on the control stream.
    fn heard(&self) -> Vec<Control> {
        self.heard_on(self.control)
    }

    fn was_finished(&self, of: StreamId) -> bool {
        let is_end = |output: &Output| matches!(output, Output::Write { stream, fin: true, .. } if *stream == of);
        self.outputs.iter().any(is_end)
    }

    fn was_reset(&self, of: StreamId) -> Option<StreamCode> {
        self.outputs.iter().find_map(|output| match output {
            Output::Reset { stream, code, .. } if *stream == of => Some(StreamCode(*code)),
            _ => None,
        })
    }

    /// The requests of the peer that the owner was shown.
    fn asked(&self) -> Vec<(RequestId, Message)> {
        let asked = self.events.iter().filter_map(|event| match event {
            Event::Request { request, message } => Some((*request, message.clone())),
            _ => None,
        });
        asked.collect()
    }

    fn cancelled(&self) -> Vec<RequestId> {
        let cancelled = self.events.iter().filter_map(|event| match event {
            Event::Cancelled { request, .. } => Some(*request),
            _ => None,
        });
        cancelled.collect()
    }
}
