//! Plays a script to a machine as a host would, and holds what the machine does against the laws.
//!
//! The host's side is kept: bytes come in order and end once, nothing comes of a stream that was
//! stopped, a close is answered, a notified write is answered when the transport takes it.
//!
//! | law | of |
//! |---|---|
//! | streams open in order, without a gap; no write before the opening or after the end | every machine |
//! | a session that closed says nothing more, and closes with a code that has a name, and words | every machine |
//! | outputs come to an end after each input | every machine |
//! | an early or repeated `handle_timeout` changes nothing; after it no deadline has come | every machine |
//! | when every session is over and time has passed, there is no deadline and no output | every machine |
//! | the same bytes cut elsewhere give the same bytes, ends and closes on every stream | [`compare`] |

use super::script::{self, SLOTS, Step};
use crate::input::{Cursor, cut};
use bytes::Bytes;
use mainstem_core::moqt::error::SessionCode;
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Action, App, Carrier, Closed, Direction, Input, Opened, Origin, Output, SessionId, Side,
    StreamEvent, StreamId, Target,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Steps of one script.
const STEPS_MAX: usize = 400;
/// Outputs after one input, far more than any machine needs for an input of this size.
const OUTPUTS_MAX: usize = 50_000;
/// Deadlines that may come one after the other at one moment.
const TIMEOUTS_MAX: usize = 64;
/// How long a machine may keep a deadline when all of its sessions are over.
const QUIET_WITHIN: Duration = Duration::from_mins(10);

/// A machine and its owner.
pub trait Subject: App {
    /// Which end of its sessions the machine is.
    const SIDE: Side;

    /// The owner says something; the fields are read from the script.
    fn command(&mut self, now: Instant, session: SessionId, input: &mut Cursor<'_>);

    /// The owner hears something.
    fn hear(&mut self, now: Instant, event: Self::Event);

    /// What must not be passed, at every step.
    fn check_bounds(&self) {}

    /// Every session is over and time has passed: what must be empty now.
    fn check_empty(&mut self);
}

/// What a machine did, by session and stream: bytes, ends, closes. `None` is the session itself.
pub type Transcript = BTreeMap<(SessionId, Option<StreamId>), Vec<u8>>;

#[derive(Debug, Default)]
struct Session {
    /// Streams that the machine opened, per direction.
    opened: [u64; 2],
    /// Streams whose sending side the machine ended.
    ended: BTreeSet<StreamId>,
    /// Streams of which nothing more comes in: the peer ended them, or the machine stopped them.
    silent: BTreeSet<StreamId>,
    /// Streams of the peer that began.
    begun: BTreeSet<StreamId>,
    /// Notified writes that were not answered.
    notified: BTreeSet<StreamId>,
    is_stalled: bool,
    /// Closed by the machine, with the answer still to come.
    closing: Option<(u64, String)>,
}

/// The machine on its stage.
#[derive(Debug)]
pub struct Stage<A> {
    app: A,
    now: Instant,
    cuts: Option<u16>,
    next_session: u64,
    slots: [Option<SessionId>; SLOTS],
    sessions: BTreeMap<SessionId, Session>,
    over: BTreeSet<SessionId>,
    outcome: Outcome,
    steps: usize,
    is_traced: bool,
}

/// What a script made of a machine.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was said, by step.
    said: Vec<Transcript>,
    /// The first step in which the machine closed a session or gave a stream up.
    broken: Option<usize>,
}

/// Plays a script twice, its bytes as they stand and cut elsewhere, and compares what was said in each
/// step, until the machine ends something for a fault.
///
/// What comes after a fault is no longer the same: a request may have been answered, and its stream be
/// over, before the bytes that would have been the fault; objects may have been forwarded before it.
pub fn compare<A: Subject>(input: &Cursor<'_>, cuts: u16, machine: impl Fn() -> A) {
    let whole = Stage::new(machine(), None).play(&mut input.clone());
    let parts = Stage::new(machine(), Some(cuts)).play(&mut input.clone());
    let broken = [whole.broken, parts.broken].into_iter().flatten().min();
    let steps = whole.said.iter().zip(&parts.said).enumerate();
    for (step, (whole, parts)) in steps.take(broken.unwrap_or(usize::MAX)) {
        for (key, said) in whole {
            let other = parts.get(key).map(|said| String::from_utf8_lossy(said));
            let said = String::from_utf8_lossy(said);
            assert_eq!(
                Some(said),
                other,
                "step {step}, {key:?}, when bytes are cut"
            );
        }
        assert_eq!(
            whole.len(),
            parts.len(),
            "step {step}, more is said when bytes are cut"
        );
    }
}

/// Plays a script, under limits whose passing may depend on how much comes at once: only the laws of
/// each output are held.
pub fn endure<A: Subject>(input: &Cursor<'_>, cuts: u16, machine: impl Fn() -> A) {
    Stage::new(machine(), (cuts > 0).then_some(cuts)).play(&mut input.clone());
}

impl<A: Subject> Stage<A> {
    /// A machine without sessions. With `cuts`, bytes arrive in pieces that follow from it.
    pub fn new(app: A, cuts: Option<u16>) -> Self {
        Self {
            app,
            now: Instant::from_nanos(1_000_000_000),
            cuts,
            next_session: 0,
            slots: [None; SLOTS],
            sessions: BTreeMap::new(),
            over: BTreeSet::new(),
            outcome: Outcome::default(),
            steps: 0,
            is_traced: std::env::var_os("FUZZ_TRACE").is_some(),
        }
    }

    /// Plays a script to its end, ends every session and waits until the machine is quiet.
    pub fn play(mut self, input: &mut Cursor<'_>) -> Outcome {
        while !input.is_empty() && self.steps < STEPS_MAX {
            self.outcome.said.push(Transcript::new());
            let (slot, step) = script::read(input);
            self.tell(|| format!("{} slot {slot}: {step:?}", self.steps));
            self.step(slot, step, input);
            self.app.check_bounds();
            self.steps += 1;
        }
        for slot in 0..SLOTS {
            self.step(slot, Step::Lost, input);
        }
        self.wait(QUIET_WITHIN);
        let left = self.app.next_timeout();
        assert!(
            left.is_none(),
            "no session is left, yet a deadline: {left:?}"
        );
        self.app.check_empty();
        self.outcome
    }

    /// For people who look into a finding: `FUZZ_TRACE=1` prints steps and outputs.
    fn tell(&self, what: impl Fn() -> String) {
        if self.is_traced {
            eprintln!("{:?} {}", self.now, what());
        }
    }

    fn step(&mut self, slot: usize, step: Step, input: &mut Cursor<'_>) {
        if let Step::Open {
            protocol,
            carrier,
            path,
        } = step
        {
            return self.open(slot, protocol, carrier, path);
        }
        if let Step::Wait(time) = step {
            return self.wait(time);
        }
        let Some(session) = self.slots[slot] else {
            return;
        };
        match step {
            Step::Command => {
                self.app.command(self.now, session, input);
                self.settle();
            }
            Step::Stall(is_on) => {
                let state = self.sessions.entry(session).or_default();
                state.is_stalled = is_on;
                self.settle();
            }
            Step::Lost => {
                let reason = "lost".to_owned();
                self.end(session, Closed::Transport { reason });
                self.settle();
            }
            Step::Datagram(data) => self.give(Input::Datagram { session, data }),
            Step::Data(stream, bytes) => {
                let pieces = match self.cuts {
                    Some(seed) => cut(&bytes, seed),
                    None => vec![bytes],
                };
                for piece in pieces {
                    self.stream(session, stream, StreamEvent::Data(piece));
                }
            }
            Step::Finished(stream) => self.stream(session, stream, StreamEvent::Finished),
            Step::Reset(stream, code) => self.stream(session, stream, StreamEvent::Reset(code)),
            Step::Stopped(stream, code) => self.stopped(session, stream, code),
            Step::Open { .. } | Step::Wait(_) => {}
        }
    }

    fn open(&mut self, slot: usize, protocol: &str, carrier: Carrier, path: String) {
        if self.slots[slot].is_some() {
            return;
        }
        self.next_session += 1;
        let session = SessionId(self.next_session);
        self.slots[slot] = Some(session);
        self.sessions.insert(session, Session::default());
        let is_told = A::SIDE == Side::Client || carrier == Carrier::WebTransport;
        let target = is_told.then(|| Target {
            authority: "relay.test".to_owned(),
            path,
        });
        let opened = Opened {
            side: A::SIDE,
            carrier,
            protocol: protocol.to_owned(),
            target,
            remote: ([192, 0, 2, 1], 4443).into(),
        };
        self.give(Input::Opened { session, opened });
    }

    /// Something of a stream, if a host could say it.
    fn stream(&mut self, session: SessionId, stream: StreamId, event: StreamEvent) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        let can_come = match (stream.origin(), stream.direction()) {
            (Origin::Peer, _) => true,
            (Origin::Local, Direction::Bidirectional) => stream.index() < state.opened[0],
            (Origin::Local, Direction::Unidirectional) => false,
        };
        if !can_come || state.closing.is_some() || state.silent.contains(&stream) {
            return;
        }
        if matches!(event, StreamEvent::Finished | StreamEvent::Reset(_)) {
            state.silent.insert(stream);
        }
        state.begun.insert(stream);
        self.give(Input::Stream {
            session,
            stream,
            event,
        });
    }

    /// The peer wants no more of a stream that the machine may send on.
    fn stopped(&mut self, session: SessionId, stream: StreamId, code: u64) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        if !state.may_send(stream) || state.closing.is_some() {
            return;
        }
        state.notified.remove(&stream);
        self.give(Input::Stream {
            session,
            stream,
            event: StreamEvent::Stopped(code),
        });
    }

    fn give(&mut self, input: Input) {
        self.app.handle(self.now, input);
        self.settle();
    }

    /// The session is over: nothing may come of it from now on.
    fn end(&mut self, session: SessionId, closed: Closed) {
        if self.sessions.remove(&session).is_none() {
            return;
        }
        for slot in &mut self.slots {
            *slot = slot.filter(|of| *of != session);
        }
        self.over.insert(session);
        self.app.handle(self.now, Input::Closed { session, closed });
    }

    /// Takes outputs and answers them as a host does, until nothing moves.
    fn settle(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            self.drain();
            let closing = self.sessions.iter_mut().find_map(|(session, state)| {
                let (code, reason) = state.closing.take()?;
                Some((*session, code, reason))
            });
            if let Some((session, code, reason)) = closing {
                let by = Origin::Local;
                self.end(session, Closed::Application { by, code, reason });
                continue;
            }
            let writable = self.sessions.iter_mut().find_map(|(session, state)| {
                let stream = (!state.is_stalled).then(|| state.notified.pop_first());
                Some((*session, stream.flatten()?))
            });
            let Some((session, stream)) = writable else {
                return;
            };
            let event = StreamEvent::Writable;
            self.app.handle(
                self.now,
                Input::Stream {
                    session,
                    stream,
                    event,
                },
            );
        }
        panic!("the machine and its transport never come to rest");
    }

    fn drain(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            match self.app.poll() {
                Some(Action::Transport(output)) => self.take(output),
                Some(Action::Event(event)) => self.app.hear(self.now, event),
                None => return,
            }
        }
        panic!("outputs never end");
    }

    /// Lets time pass, deadline by deadline.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        self.timeout_changes_nothing();
        while let Some(at) = self.app.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.timeout();
        }
        self.now = end;
    }

    fn timeout(&mut self) {
        for _ in 0..TIMEOUTS_MAX {
            self.app.handle_timeout(self.now);
            self.settle();
            if self.app.next_timeout().is_none_or(|at| at > self.now) {
                self.timeout_changes_nothing();
                return;
            }
        }
        panic!("a deadline that has come stays");
    }

    /// Before its deadline, or a second time, `handle_timeout` has nothing to do.
    fn timeout_changes_nothing(&mut self) {
        let before = self.app.next_timeout();
        if before.is_some_and(|at| at <= self.now) {
            return;
        }
        self.app.handle_timeout(self.now);
        let said = match self.app.poll() {
            Some(Action::Transport(output)) => Some(format!("{output:?}")),
            Some(Action::Event(_)) => Some("an event".to_owned()),
            None => None,
        };
        assert_eq!(said, None, "said by an early time-out");
        assert_eq!(
            self.app.next_timeout(),
            before,
            "changed by an early time-out"
        );
    }

    /// Holds an output against the laws and writes it down.
    fn take(&mut self, output: Output) {
        let session = session_of(&output);
        self.tell(|| format!("    {output:?}"));
        assert!(!self.over.contains(&session), "after the end: {output:?}");
        let Some(state) = self.sessions.get_mut(&session) else {
            panic!("of no session: {output:?}");
        };
        assert!(state.closing.is_none(), "after its close: {output:?}");
        let stream = state.take(&output);
        let gives_up = matches!(output, Output::Reset { .. } | Output::Stop { .. });
        if gives_up || state.closing.is_some() {
            self.outcome.broken.get_or_insert(self.steps);
        }
        if let Some(said) = self.outcome.said.last_mut() {
            write_down(&output, said.entry((session, stream)).or_default());
        }
    }
}

impl Session {
    /// Whether the machine may write on a stream as far as its direction goes.
    fn may_send(&self, stream: StreamId) -> bool {
        let bidirectional = stream.direction() == Direction::Bidirectional;
        match stream.origin() {
            Origin::Local => stream.index() < self.opened[usize::from(!bidirectional)],
            Origin::Peer => bidirectional && self.begun.contains(&stream),
        }
    }

    /// The laws of one output. Returns its stream.
    fn take(&mut self, output: &Output) -> Option<StreamId> {
        match output {
            Output::Open { stream, .. } => {
                let next =
                    &mut self.opened[usize::from(stream.direction() == Direction::Unidirectional)];
                assert!(
                    stream.origin() == Origin::Local && stream.index() == *next,
                    "{stream:?}"
                );
                *next += 1;
                None
            }
            Output::Write {
                stream,
                fin,
                notify,
                ..
            } => {
                assert!(self.may_send(*stream), "{output:?}");
                assert!(!self.ended.contains(stream), "after its end: {output:?}");
                if *fin {
                    self.ended.insert(*stream);
                }
                if *notify {
                    self.notified.insert(*stream);
                }
                Some(*stream)
            }
            Output::SetPriority { stream, .. } => {
                assert!(self.may_send(*stream), "{output:?}");
                None
            }
            Output::Reset { stream, .. } => {
                assert!(self.may_send(*stream), "{output:?}");
                self.ended.insert(*stream);
                self.notified.remove(stream);
                Some(*stream)
            }
            Output::Stop { stream, .. } => {
                let comes_in = match stream.origin() {
                    Origin::Peer => self.begun.contains(stream),
                    Origin::Local => {
                        self.may_send(*stream) && stream.direction() == Direction::Bidirectional
                    }
                };
                assert!(comes_in, "{output:?}");
                self.silent.insert(*stream);
                Some(*stream)
            }
            Output::Datagram { .. } | Output::Allow { .. } => None,
            Output::Close { code, reason, .. } => {
                let named = SessionCode(*code);
                assert!(named.name().is_some() && !reason.is_empty(), "{output:?}");
                self.closing = Some((*code, reason.clone()));
                None
            }
        }
    }
}

fn session_of(output: &Output) -> SessionId {
    let (Output::Open { session, .. }
    | Output::Write { session, .. }
    | Output::SetPriority { session, .. }
    | Output::Reset { session, .. }
    | Output::Stop { session, .. }
    | Output::Datagram { session, .. }
    | Output::Allow { session, .. }
    | Output::Close { session, .. }) = output;
    *session
}

/// What of an output must not depend on how bytes were cut: neither how writes are cut, nor when
/// priorities change.
fn write_down(output: &Output, said: &mut Vec<u8>) {
    match output {
        Output::Write {
            head, body, fin, ..
        } => {
            said.extend_from_slice(head);
            for piece in body.pieces() {
                said.extend_from_slice(piece);
            }
            if *fin {
                said.extend_from_slice(b"<fin>");
            }
        }
        Output::Reset { code, .. } => said.extend(format!("<reset {code}>").bytes()),
        Output::Stop { code, .. } => said.extend(format!("<stop {code}>").bytes()),
        Output::Datagram { data, .. } => {
            said.extend_from_slice(data);
            said.extend_from_slice(b"<datagram>");
        }
        Output::Close { .. }
        | Output::Open { .. }
        | Output::SetPriority { .. }
        | Output::Allow { .. } => {}
    }
}

/// Bytes for an object of a command: `len` times the same.
pub fn filled(len: usize) -> Bytes {
    Bytes::from(vec![b'f'; len])
}
