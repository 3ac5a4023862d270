//! [`Meddled`]: a machine some of whose data streams end in the middle.
//!
//! | fault | the peer sees | the machine sees |
//! |---|---|---|
//! | reset, instead of a write | the stream abandoned after what was sent of it | STOP_SENDING, as if the peer had asked |
//! | stop, instead of data that arrived | STOP_SENDING | the stream abandoned, as if by the peer |
//!
//! Both ends see what the protocol lets happen at any byte, and neither knows that nobody asked for it. Control and
//! request streams are left alone: to lose one of them is to lose the session.

use crate::random::Random;
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Action, App, Direction, Input, Origin, Output, SessionId, StreamEvent, StreamId,
};
use std::collections::{BTreeSet, VecDeque};

/// Codes that a stream may be abandoned with: any that says nothing of the track.
const CODES: [u64; 3] = [0x0, 0x1, 0x2];

/// How often streams end in the middle, of a million writes and pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meddling {
    /// Writes that become a reset.
    pub resets_ppm: u32,
    /// Pieces of data that become a stop.
    pub stops_ppm: u32,
}

/// See the module's description.
pub(crate) struct Meddled<A: App> {
    pub(crate) app: A,
    pub(crate) meddling: Meddling,
    /// The time of what is being done.
    pub(crate) now: Instant,
    random: Random,
    /// Streams that were reset and that the machine may still speak of.
    reset: BTreeSet<(SessionId, StreamId)>,
    /// Streams that were stopped and of which the host may still have something.
    stopped: BTreeSet<(SessionId, StreamId)>,
    todo: VecDeque<Output>,
}

impl<A: App> Meddled<A> {
    pub(crate) fn new(app: A, random: Random) -> Self {
        Self {
            app,
            meddling: Meddling::default(),
            now: Instant::ZERO,
            random,
            reset: BTreeSet::new(),
            stopped: BTreeSet::new(),
            todo: VecDeque::new(),
        }
    }

    fn code(&mut self) -> u64 {
        self.random.pick(&CODES).copied().unwrap_or_default()
    }

    /// Wants no more of a stream of the peer.
    fn stop(&mut self, session: SessionId, stream: StreamId) {
        let code = self.code();
        self.stopped.insert((session, stream));
        self.todo.push_back(Output::Stop {
            session,
            stream,
            code,
        });
        let event = StreamEvent::Reset(code);
        let input = Input::Stream {
            session,
            stream,
            event,
        };
        self.app.handle(self.now, input);
    }

    /// What becomes of work for the transport.
    fn pass(&mut self, output: Output) -> Option<Output> {
        let (session, stream, is_last) = match &output {
            Output::Write {
                session,
                stream,
                fin,
                ..
            } => (*session, *stream, *fin),
            Output::Reset {
                session, stream, ..
            } => (*session, *stream, true),
            Output::SetPriority {
                session, stream, ..
            } => (*session, *stream, false),
            _ => return Some(output),
        };
        if self.reset.contains(&(session, stream)) {
            if is_last {
                self.reset.remove(&(session, stream));
            }
            return None;
        }
        let is_write = matches!(output, Output::Write { .. });
        let is_hit = is_write
            && self.meddling.resets_ppm > 0
            && is_of_data(stream, Origin::Local)
            && self.random.chance(self.meddling.resets_ppm);
        if !is_hit {
            return Some(output);
        }
        let code = self.code();
        if !is_last {
            self.reset.insert((session, stream));
        }
        let event = StreamEvent::Stopped(code);
        let input = Input::Stream {
            session,
            stream,
            event,
        };
        self.app.handle(self.now, input);
        Some(Output::Reset {
            session,
            stream,
            code,
        })
    }
}

/// Whether objects travel on a stream: it goes one way, and is not the first, which is for control.
fn is_of_data(stream: StreamId, origin: Origin) -> bool {
    stream.origin() == origin
        && stream.direction() == Direction::Unidirectional
        && stream.index() > 0
}

impl<A: App> App for Meddled<A> {
    type Event = A::Event;

    fn handle(&mut self, now: Instant, input: Input) {
        self.now = now;
        match &input {
            Input::Stream {
                session,
                stream,
                event,
            } if is_of_data(*stream, Origin::Peer) => {
                let (session, stream) = (*session, *stream);
                if self.stopped.contains(&(session, stream)) {
                    return;
                }
                let is_hit = self.meddling.stops_ppm > 0
                    && matches!(event, StreamEvent::Data(_))
                    && self.random.chance(self.meddling.stops_ppm);
                if is_hit {
                    self.stop(session, stream);
                    return;
                }
            }
            Input::Closed { session, .. } => {
                self.reset.retain(|(of, _)| of != session);
                self.stopped.retain(|(of, _)| of != session);
            }
            _ => {}
        }
        self.app.handle(now, input);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.app.handle_timeout(now);
    }

    fn poll(&mut self) -> Option<Action<A::Event>> {
        if let Some(output) = self.todo.pop_front() {
            return Some(Action::Transport(output));
        }
        loop {
            match self.app.poll()? {
                Action::Event(event) => return Some(Action::Event(event)),
                Action::Transport(output) => {
                    if let Some(output) = self.pass(output) {
                        return Some(Action::Transport(output));
                    }
                }
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.app.next_timeout()
    }
}
