//! [`Pair`]: a relay machine and the sessions of all its peers, joined in memory.
//!
//! No QUIC and no sockets. What the relay spends is measured around its own calls; what its peers
//! spend is not. Streams of one end are those of the other with the names of opener and peer swapped,
//! and a notified write is taken at once.

use mainstem_core::moqt::relay::{Config, Policy, Relay};
use mainstem_core::moqt::session::{self, Event, Sessions};
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Action, App, Carrier, Input, Opened, Origin, Output, SessionId, Side, StreamEvent, StreamId,
};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant as Stopwatch};

/// See the module's description.
pub(crate) struct Pair {
    pub(crate) relay: Relay,
    pub(crate) peers: Sessions,
    pub(crate) now: Instant,
    protocol: String,
    next_session: u64,
    /// Time that the relay took since [`Pair::take_spent`].
    spent: Duration,
    /// What peers were told since they were last asked.
    pub(crate) events: VecDeque<(SessionId, Event)>,
    /// Whether objects that peers are sent are read.
    pub(crate) reads: bool,
}

impl Pair {
    /// A relay for so many tracks, and nobody there.
    pub(crate) fn new(protocol: &str, tracks: usize) -> Self {
        let limits = session::Limits {
            requests_max: 4096,
            ..session::Limits::default()
        };
        let mut config = Config {
            tracks_max: tracks.saturating_mul(2).max(1024),
            ..Config::default()
        };
        config.sessions.limits = limits;
        let of_peers = session::Config {
            sessions_max: 100_000,
            limits,
            ..session::Config::default()
        };
        Self {
            relay: Relay::new(config, Policy::Open),
            peers: Sessions::new(of_peers),
            now: Instant::from_nanos(1_000_000_000),
            protocol: protocol.to_owned(),
            next_session: 0,
            spent: Duration::ZERO,
            events: VecDeque::new(),
            reads: true,
        }
    }

    /// Another peer; its session has one name at both ends.
    pub(crate) fn connect(&mut self) -> SessionId {
        self.next_session += 1;
        let session = SessionId(self.next_session);
        let opened = |side| Opened {
            side,
            carrier: Carrier::Quic,
            protocol: self.protocol.clone(),
            target: None,
            remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 4443)),
        };
        let (client, server) = (opened(Side::Client), opened(Side::Server));
        let opened = Input::Opened {
            session,
            opened: server,
        };
        self.tell_relay(opened);
        let opened = Input::Opened {
            session,
            opened: client,
        };
        self.peers.handle(self.now, opened);
        self.settle();
        session
    }

    /// Time that the relay took since the last call.
    pub(crate) fn take_spent(&mut self) -> Duration {
        std::mem::take(&mut self.spent)
    }

    /// Carries everything until both ends are silent.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            while let Some(output) = self.peers.poll_output() {
                is_quiet = false;
                let mut inputs = Vec::new();
                let writable = translate(output, &mut inputs);
                for input in inputs {
                    self.tell_relay(input);
                }
                if let Some(writable) = writable {
                    self.peers.handle(self.now, writable);
                }
            }
            while let Some(event) = self.peers.poll_event() {
                self.events.push_back(event);
            }
            let outputs = self.drain_relay();
            for output in outputs {
                is_quiet = false;
                let mut inputs = Vec::new();
                let writable = translate(output, &mut inputs);
                if self.reads {
                    for input in inputs {
                        self.peers.handle(self.now, input);
                    }
                }
                if let Some(writable) = writable {
                    self.tell_relay(writable);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    /// What the relay does for one input, with the question that a driver asks after it.
    #[inline(never)]
    pub(crate) fn tell_relay(&mut self, input: Input) {
        let begun = Stopwatch::now();
        self.relay.handle(self.now, input);
        let _ = std::hint::black_box(self.relay.next_timeout());
        self.spent += begun.elapsed();
    }

    #[inline(never)]
    fn drain_relay(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        let begun = Stopwatch::now();
        while let Some(action) = self.relay.poll() {
            if let Action::Transport(output) = action {
                outputs.push(output);
            }
        }
        self.spent += begun.elapsed();
        outputs
    }
}

/// What an output of one end is at the other, and what the writer hears of it.
fn translate(output: Output, inputs: &mut Vec<Input>) -> Option<Input> {
    let mut push = |session, stream: StreamId, event| {
        let stream = flip(stream);
        inputs.push(Input::Stream {
            session,
            stream,
            event,
        });
    };
    match output {
        Output::Write {
            session,
            stream,
            head,
            body,
            fin,
            notify,
        } => {
            if !head.is_empty() {
                push(session, stream, StreamEvent::Data(head));
            }
            for piece in body.pieces().iter().filter(|piece| !piece.is_empty()) {
                push(session, stream, StreamEvent::Data(piece.clone()));
            }
            if fin {
                push(session, stream, StreamEvent::Finished);
            }
            let event = StreamEvent::Writable;
            return notify.then_some(Input::Stream {
                session,
                stream,
                event,
            });
        }
        Output::Reset {
            session,
            stream,
            code,
        } => push(session, stream, StreamEvent::Reset(code)),
        Output::Stop {
            session,
            stream,
            code,
        } => push(session, stream, StreamEvent::Stopped(code)),
        Output::Datagram { session, data, .. } => inputs.push(Input::Datagram { session, data }),
        _ => {}
    }
    None
}

fn flip(stream: StreamId) -> StreamId {
    let origin = match stream.origin() {
        Origin::Local => Origin::Peer,
        Origin::Peer => Origin::Local,
    };
    StreamId::new(origin, stream.direction(), stream.index())
}
