//! The laws can be broken: a machine with each fault is caught by the stage, and one without is not.

use bytes::Bytes;
use mainstem_core::payload::Payload;
use mainstem_core::time::Instant;
use mainstem_core::transport::{
    Action, App, Direction, Input, Origin, Output, SessionId, Side, StreamEvent, StreamId,
};
use mainstem_fuzz::input::{Cursor, cut};
use mainstem_fuzz::laws;
use mainstem_fuzz::scene::script::{self, Step};
use mainstem_fuzz::scene::stage::{Subject, compare};
use std::collections::VecDeque;
use std::panic::catch_unwind;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    SkipsAStream,
    WritesBeforeOpening,
    WritesAfterTheEnd,
    SpeaksAfterTheClose,
    ClosesWithoutACode,
    SaysEachPiece,
    NeverRests,
    KeepsADeadline,
    TimesOutEarly,
    LeavesSomething,
}

/// Echoes what comes, and breaks one law.
struct Machine {
    fault: Fault,
    outputs: VecDeque<Output>,
    deadline: Option<Instant>,
    opened: bool,
}

impl Machine {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            outputs: VecDeque::new(),
            deadline: None,
            opened: false,
        }
    }

    fn write(&mut self, session: SessionId, stream: StreamId, head: Bytes, fin: bool) {
        self.outputs.push_back(Output::Write {
            session,
            stream,
            head,
            body: Payload::default(),
            fin,
            notify: self.fault == Fault::NeverRests,
        });
    }

    fn open(&mut self, now: Instant, session: SessionId) {
        let index = u64::from(self.fault == Fault::SkipsAStream);
        let stream = StreamId::new(Origin::Local, Direction::Unidirectional, index);
        if self.fault != Fault::WritesBeforeOpening {
            let priority = 0;
            self.outputs.push_back(Output::Open {
                session,
                stream,
                priority,
            });
        }
        self.write(session, stream, Bytes::new(), false);
        self.deadline = Some(now + Duration::from_secs(1));
        self.opened = true;
    }

    fn data(&mut self, session: SessionId, stream: StreamId, data: Bytes) {
        match self.fault {
            Fault::WritesAfterTheEnd => {
                self.write(session, stream, data.clone(), true);
                self.write(session, stream, data, true);
            }
            Fault::SpeaksAfterTheClose | Fault::ClosesWithoutACode => {
                let code = if self.fault == Fault::ClosesWithoutACode {
                    0x7777
                } else {
                    3
                };
                let reason = "over".to_owned();
                self.outputs.push_back(Output::Close {
                    session,
                    code,
                    reason,
                });
                if self.fault == Fault::SpeaksAfterTheClose {
                    self.write(session, stream, data, false);
                }
            }
            Fault::SaysEachPiece => {
                self.write(session, stream, data, false);
                self.write(session, stream, Bytes::from_static(b"|"), false);
            }
            _ => self.write(session, stream, data, false),
        }
    }
}

impl App for Machine {
    type Event = ();

    fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Opened { session, .. } => self.open(now, session),
            Input::Stream {
                session,
                stream,
                event: StreamEvent::Data(data),
            } => self.data(session, stream, data),
            Input::Stream {
                session,
                stream,
                event: StreamEvent::Writable,
            } => self.write(session, stream, Bytes::new(), false),
            Input::Closed { .. } if self.fault != Fault::KeepsADeadline => self.deadline = None,
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.fault == Fault::TimesOutEarly && self.opened {
            self.deadline = Some(now + Duration::from_secs(9));
        } else if self.deadline.is_some_and(|at| at <= now) {
            let again = now + Duration::from_secs(9);
            self.deadline = Some(again).filter(|_| self.fault == Fault::KeepsADeadline);
        }
    }

    fn poll(&mut self) -> Option<Action<()>> {
        self.outputs.pop_front().map(Action::Transport)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.deadline
    }
}

impl Subject for Machine {
    const SIDE: Side = Side::Server;

    fn command(&mut self, _: Instant, _: SessionId, _: &mut Cursor<'_>) {}

    fn hear(&mut self, _: Instant, (): ()) {}

    fn check_empty(&mut self) {
        assert!(self.fault != Fault::LeavesSomething);
    }
}

fn script() -> Vec<u8> {
    let mut out = Vec::new();
    let open = Step::Open {
        protocol: "moqt-22",
        carrier: mainstem_core::transport::Carrier::Quic,
        path: "/".to_owned(),
    };
    let stream = StreamId::new(Origin::Peer, Direction::Bidirectional, 0);
    let data = Step::Data(stream, Bytes::from_static(b"twelve bytes"));
    for step in [open, Step::Wait(Duration::from_millis(100)), data] {
        script::write(0, &step, &mut out);
    }
    out
}

fn plays(fault: Fault) -> bool {
    let script = script();
    catch_unwind(|| compare(&Cursor::new(&script), 0, || Machine::new(fault))).is_ok()
}

#[test]
fn the_stage_catches_each_fault_and_lets_a_good_machine_pass() {
    let faults = [
        Fault::SkipsAStream,
        Fault::WritesBeforeOpening,
        Fault::WritesAfterTheEnd,
        Fault::SpeaksAfterTheClose,
        Fault::ClosesWithoutACode,
        Fault::SaysEachPiece,
        Fault::NeverRests,
        Fault::KeepsADeadline,
        Fault::TimesOutEarly,
        Fault::LeavesSomething,
    ];
    assert!(plays(Fault::None));
    for fault in faults {
        assert!(!plays(fault), "{fault:?} is not caught");
    }
}

#[test]
fn the_bound_on_memory_is_held() {
    let takes = |bytes| move || drop(std::hint::black_box(vec![1_u8; bytes]));
    // Other tests of this binary run beside it: they take far less.
    assert!(catch_unwind(|| laws::within(64 << 20, takes(1000))).is_ok());
    assert!(catch_unwind(|| laws::within(64 << 20, takes(128 << 20))).is_err());
}

#[test]
fn scripts_are_read_as_they_are_written() {
    let script = script();
    let mut input = Cursor::new(&script);
    let mut again = Vec::new();
    while !input.is_empty() {
        let (slot, step) = script::read(&mut input);
        script::write(slot, &step, &mut again);
    }
    assert_eq!(script, again);
}

#[test]
fn pieces_are_the_whole_and_none_is_lost() {
    let bytes = Bytes::from((0..=255_u8).collect::<Vec<_>>());
    for seed in 0..50 {
        assert_eq!(cut(&bytes, seed).concat(), bytes);
    }
    assert_eq!(cut(&Bytes::new(), 7).len(), 1);
}
