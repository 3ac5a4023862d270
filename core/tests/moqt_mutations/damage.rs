//! What can happen to a session: bytes changed, lost, repeated, reordered, streams ended early.

use crate::captures::Capture;
use bytes::Bytes;
use mainstem_core::transport::{
    Carrier, Direction, Input, Origin, SessionId, StreamEvent, StreamId,
};

/// A small generator of its own, so that a seed means the same session for ever.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (sides.max(1) as u64)).unwrap()
    }

    fn byte(&mut self) -> u8 {
        const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xbf, 0xc0, 0xfe, 0xff];
        if self.roll(2) == 0 {
            EDGES[self.roll(EDGES.len())]
        } else {
            u8::try_from(self.roll(256)).unwrap()
        }
    }
}

/// The same input for this session.
pub(crate) fn for_session(input: Input, session: SessionId) -> Input {
    match input {
        Input::Opened { opened, .. } => Input::Opened { session, opened },
        Input::Stream { stream, event, .. } => Input::Stream {
            session,
            stream,
            event,
        },
        Input::Datagram { data, .. } => Input::Datagram { session, data },
        Input::Closed { closed, .. } => Input::Closed { session, closed },
    }
}

/// The inputs of a capture after one to four accidents. The session opens first in any case.
pub(crate) fn damaged(capture: &Capture, all: &[Capture], dice: &mut Dice) -> Vec<Input> {
    let mut inputs = capture.inputs.clone();
    for _ in 0..=dice.roll(4) {
        let at = 1 + dice.roll(inputs.len() - 1);
        match dice.roll(14) {
            0..=5 => damage_data(&mut inputs[at], dice),
            6 => {
                inputs.remove(at);
            }
            7 => {
                let input = inputs[at].clone();
                let to = 1 + dice.roll(inputs.len());
                inputs.insert(to, input);
            }
            8 => {
                let other = 1 + dice.roll(inputs.len() - 1);
                inputs.swap(at, other);
            }
            9 => inputs.truncate(at + 1),
            10 => end_stream(&mut inputs, at, dice),
            11 => move_stream(&mut inputs[at], dice),
            12 => {
                let other = &all[dice.roll(all.len())].inputs;
                let foreign = other[1 + dice.roll(other.len() - 1)].clone();
                inputs.insert(at, foreign);
            }
            _ => reopen(&mut inputs[0], dice),
        }
        if inputs.len() < 2 {
            break;
        }
    }
    inputs
}

fn damage_data(input: &mut Input, dice: &mut Dice) {
    let (Input::Datagram { data, .. }
    | Input::Stream {
        event: StreamEvent::Data(data),
        ..
    }) = input
    else {
        return;
    };
    let mut bytes = data.to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len());
        match dice.roll(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.byte()),
            2 if !bytes.is_empty() => {
                bytes.remove(at);
            }
            3 => {
                let part = bytes[at..].to_vec();
                bytes.extend_from_slice(&part);
            }
            _ if !bytes.is_empty() => bytes[at] = dice.byte(),
            _ => {}
        }
    }
    *data = Bytes::from(bytes);
}

/// Ends a stream early, one way or another.
fn end_stream(inputs: &mut Vec<Input>, at: usize, dice: &mut Dice) {
    let Input::Stream {
        session, stream, ..
    } = inputs[at]
    else {
        return;
    };
    let code = u64::try_from(dice.roll(20)).unwrap();
    let event = match dice.roll(4) {
        0 => StreamEvent::Finished,
        1 => StreamEvent::Reset(code),
        2 => StreamEvent::Stopped(code),
        _ => StreamEvent::Writable,
    };
    inputs.insert(
        at + 1,
        Input::Stream {
            session,
            stream,
            event,
        },
    );
}

fn move_stream(input: &mut Input, dice: &mut Dice) {
    if let Input::Stream { stream, .. } = input {
        let origin = [Origin::Local, Origin::Peer][dice.roll(2)];
        let direction = [Direction::Bidirectional, Direction::Unidirectional][dice.roll(2)];
        let index = u64::try_from(dice.roll(6)).unwrap();
        *stream = StreamId::new(origin, direction, index);
    }
}

/// Another draft or carrier than the bytes are of.
fn reopen(input: &mut Input, dice: &mut Dice) {
    if let Input::Opened { opened, .. } = input {
        const PROTOCOLS: [&str; 6] = ["moqt-18", "moqt-20", "moqt-21", "moqt-22", "moqt-16", ""];
        match dice.roll(3) {
            0 => opened.carrier = Carrier::WebTransport,
            _ => PROTOCOLS[dice.roll(PROTOCOLS.len())].clone_into(&mut opened.protocol),
        }
    }
}
