//! [`Hostile`]: a peer that breaks the rules, one way at a time.
//!
//! | behaviour | what its machine does |
//! |---|---|
//! | garbage, unknown types, huge lengths, resets | a right SETUP, then such bytes on new streams |
//! | wrong order | bytes where SETUP belongs |
//! | duplicate ids | a right SETUP, then one request on many streams |
//! | never reads | subscribes as a viewer, then takes nothing from its socket |
//! | floods requests | subscribes as fast as its streams allow |
//!
//! It connects again when it is thrown out, after a pause, until it is told to leave. That relays and other
//! peers come to no harm is for the checkers to say; nothing is expected of what it is sent.

use super::agenda::Agenda;
use super::setting::{Backoff, BuildError, Context, WallClock};
use super::transport::Transport;
use super::{Meddling, Node, content};
use crate::check::Seen;
use crate::packet::{Outgoing, Packet};
use crate::plan::{Behaviour, HostilePlan};
use crate::random::{Purpose, Random};
use bytes::{BufMut, Bytes, BytesMut};
use mainstem_core::moqt::Draft;
use mainstem_core::moqt::name::FullTrackName;
use mainstem_core::moqt::parameter::Parameters;
use mainstem_core::moqt::session::{Event as SessionEvent, Sessions};
use mainstem_core::payload::Payload;
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Action, App, Closed, Direction, Input, Origin, Output, SessionId, StreamId,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// Misdeeds of one session; then it is left, so that streams do not run out for good.
const MISDEEDS_MAX: u64 = 200;
/// Longest run of garbage.
const GARBAGE_MAX: u64 = 400;

/// What the machine tells its owner.
pub(crate) enum Event {
    /// The session may be used.
    Ready,
    /// The session is over.
    Closed(SessionId, Closed),
}

/// The machine: a right session as far as its behaviour needs one, and bytes beside it.
pub(crate) struct Vandal {
    behaviour: Behaviour,
    sessions: Sessions,
    session: Option<SessionId>,
    track: Option<FullTrackName>,
    /// Streams that it opened itself.
    uni: u64,
    bidi: u64,
    misdeeds: u64,
    todo: VecDeque<Output>,
    events: VecDeque<Event>,
    is_legacy: bool,
}

impl Vandal {
    /// Whether SETUP is done as it should be.
    fn is_right_at_first(&self) -> bool {
        self.behaviour != Behaviour::WrongOrder
    }

    fn misbehave(&mut self, random: &mut Random) {
        let Some(session) = self.session else { return };
        self.misdeeds += 1;
        if self.misdeeds > MISDEEDS_MAX {
            self.todo.push_back(Output::Close {
                session,
                code: random.below(64),
                reason: "bored".to_owned(),
            });
            return;
        }
        match self.behaviour {
            Behaviour::Garbage | Behaviour::WrongOrder => {
                let bytes = garbage(random);
                self.write(
                    session,
                    random.chance(500_000),
                    bytes,
                    random.chance(300_000),
                );
            }
            Behaviour::UnknownTypes => {
                let mut bytes = BytesMut::new();
                bytes.put_u32(0xe000_0000 | u32::try_from(random.below(1 << 28)).unwrap_or(0));
                bytes.put_u16(4);
                bytes.put_u32(0);
                self.write(session, random.chance(500_000), bytes.freeze(), false);
            }
            Behaviour::HugeLengths => {
                let kinds = [0x03, 0x04, 0x05, 0x10, 0x14, 0x16, 0x1d];
                let mut bytes = BytesMut::new();
                bytes.put_u8(random.pick(&kinds).copied().unwrap_or(0x10));
                bytes.put_bytes(0xff, 9);
                self.write(session, random.chance(500_000), bytes.freeze(), false);
            }
            Behaviour::DuplicateIds => {
                // SUBSCRIBE, of request 0 and of a track without a name, as often as it likes.
                let bytes = Bytes::from_static(&[0x03, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00]);
                self.write(session, false, bytes, false);
            }
            Behaviour::ResetsStreams => {
                let is_uni = random.chance(500_000);
                let stream = self.write(session, is_uni, garbage(random), false);
                self.todo.push_back(Output::Reset {
                    session,
                    stream,
                    code: random.below(100),
                });
            }
            Behaviour::NeverReads | Behaviour::FloodsRequests => {
                if let (Some(track), Some(open)) =
                    (self.track.clone(), self.sessions.session_mut(session))
                {
                    // A full session refuses; that is what it is there for.
                    let _ = open.subscribe(track, Parameters::default());
                }
            }
        }
    }

    /// Writes on a new stream.
    fn write(&mut self, session: SessionId, is_uni: bool, head: Bytes, fin: bool) -> StreamId {
        let (direction, next) = if is_uni {
            (Direction::Unidirectional, &mut self.uni)
        } else {
            (Direction::Bidirectional, &mut self.bidi)
        };
        let stream = StreamId::new(Origin::Local, direction, *next);
        *next += 1;
        self.todo.push_back(Output::Open {
            session,
            stream,
            priority: 0,
        });
        self.todo.push_back(Output::Write {
            session,
            stream,
            head,
            body: Payload::default(),
            fin,
            notify: false,
        });
        stream
    }

    fn process(&mut self) {
        while let Some((_, event)) = self.sessions.poll_event() {
            if matches!(event, SessionEvent::Ready(_)) {
                self.events.push_back(Event::Ready);
            }
        }
    }
}

fn garbage(random: &mut Random) -> Bytes {
    let length = usize::try_from(random.between(1, GARBAGE_MAX)).unwrap_or(1);
    let mut bytes = BytesMut::zeroed(length);
    random.fill(&mut bytes);
    bytes.freeze()
}

impl App for Vandal {
    type Event = Event;

    fn handle(&mut self, now: Instant, input: Input) {
        match &input {
            Input::Opened { session, .. } => {
                self.session = Some(*session);
                self.misdeeds = 0;
                let setup = u64::from(self.is_right_at_first());
                self.uni = if self.is_legacy { 0 } else { setup };
                self.bidi = if self.is_legacy { setup } else { 0 };
                if !self.is_right_at_first() {
                    self.events.push_back(Event::Ready);
                    return;
                }
            }
            Input::Closed { session, closed } => {
                self.session = None;
                self.events
                    .push_back(Event::Closed(*session, closed.clone()));
            }
            Input::Stream { .. } | Input::Datagram { .. } => {}
        }
        if self.is_right_at_first() {
            self.sessions.handle(now, input);
            self.process();
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.sessions.handle_timeout(now);
        self.process();
    }

    fn poll(&mut self) -> Option<Action<Event>> {
        let output = self.sessions.poll_output();
        if let Some(output) = output.or_else(|| self.todo.pop_front()) {
            return Some(Action::Transport(output));
        }
        self.events.pop_front().map(Action::Event)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.sessions.next_timeout()
    }
}

enum Duty {
    Connect,
    Misbehave,
}

/// See the module's description.
pub struct Hostile {
    context: Context,
    plan: HostilePlan,
    transport: Transport<Vandal>,
    agenda: Agenda<Duty>,
    is_ready: bool,
    /// It takes nothing from its socket any more.
    is_deaf: bool,
    backoff: Backoff,
    random: Random,
    seen: VecDeque<Seen>,
    has_left: bool,
}

impl Hostile {
    /// Begins a life.
    pub(crate) fn new(
        context: Context,
        plan: &HostilePlan,
        now: Instant,
    ) -> Result<Self, BuildError> {
        let track = context.setting.plan.tracks.first();
        let machine = Vandal {
            behaviour: plan.behaviour,
            sessions: Sessions::new(Context::sessions()),
            session: None,
            track: track.map(content::full_name).transpose()?,
            uni: 0,
            bidi: 0,
            misdeeds: 0,
            todo: VecDeque::new(),
            events: VecDeque::new(),
            is_legacy: plan.draft == Draft::D16.number(),
        };
        let transport = Transport::dialling(&context, machine, context.unix_at_zero(now))?;
        let streams = context.setting.streams;
        let mut hostile = Self {
            plan: plan.clone(),
            transport,
            agenda: Agenda::new(),
            is_ready: false,
            is_deaf: false,
            backoff: Backoff::new(),
            random: streams.stream(Purpose::Hostile(context.id.0)),
            seen: VecDeque::new(),
            has_left: false,
            context,
        };
        let start = Instant::ZERO + Duration::from_millis(plan.start_ms);
        hostile.agenda.put(now.max(start), Duty::Connect);
        Ok(hostile)
    }

    fn perform(&mut self, now: Instant, duty: Duty) {
        match duty {
            Duty::Connect => self.connect(now),
            Duty::Misbehave if self.is_ready => {
                self.transport.app_mut().misbehave(&mut self.random);
                self.is_deaf = self.plan.behaviour == Behaviour::NeverReads;
                let pause = Duration::from_millis(self.plan.interval_ms.max(1));
                self.agenda.put(now + pause, Duty::Misbehave);
            }
            Duty::Misbehave => {}
        }
    }

    fn connect(&mut self, now: Instant) {
        self.is_deaf = false;
        let plan = &self.plan;
        let request = self
            .context
            .request(plan.relay, plan.carrier, plan.draft, "/".to_owned());
        if self.transport.connect(now, request).is_err() {
            self.connect_later(now);
        }
    }

    fn connect_later(&mut self, now: Instant) {
        if !self.has_left {
            let pause = self.backoff.next(&mut self.random);
            self.agenda.put(now + pause, Duty::Connect);
        }
    }

    fn settle(&mut self, now: Instant) {
        self.transport.drive(now);
        while let Some(event) = self.transport.poll_event() {
            match event {
                Event::Ready => {
                    self.is_ready = true;
                    self.agenda.put(now, Duty::Misbehave);
                }
                Event::Closed(session, closed) => {
                    self.is_ready = false;
                    self.seen.push_back(Seen::Closed { session, closed });
                    self.connect_later(now);
                }
            }
        }
    }
}

impl Node for Hostile {
    fn handle_packet(&mut self, now: Instant, from: SocketAddr, packet: Packet) {
        if !self.is_deaf {
            self.transport.handle_packet(now, from, packet);
            self.settle(now);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.transport.next_timeout().is_some_and(|at| at <= now) {
            self.transport.handle_timeout(now);
        }
        self.settle(now);
        while let Some(duty) = self.agenda.due(now) {
            self.perform(now, duty);
        }
        self.settle(now);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let transport = self.transport.next_timeout();
        transport.into_iter().chain(self.agenda.next_at()).min()
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing> {
        self.transport.poll_transmit(now)
    }

    fn poll_seen(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }

    fn set_clock(&mut self, now: Instant, clock: WallClock) {
        self.context.clock = clock;
        self.transport.adjust_wall_clock(now, clock.unix(now));
    }

    fn meddle(&mut self, meddling: Meddling) {
        self.transport.meddle(meddling);
    }

    fn leave(&mut self, now: Instant) {
        self.has_left = true;
        self.is_deaf = false;
        self.is_ready = false;
        self.agenda.clear();
        self.transport.close_all(now, 0, "leaving");
        self.settle(now);
    }

    fn residue(&self) -> Option<&'static str> {
        let is_idle = self.transport.is_idle();
        (!is_idle).then_some("a connection")
    }
}
