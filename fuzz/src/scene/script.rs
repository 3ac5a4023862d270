//! Steps as bytes: one byte for the kind of step and whose session, then its fields.
//!
//! | low bits | step | fields |
//! |---|---|---|
//! | 0 to 5 | bytes on a stream | stream (1), length (2), bytes |
//! | 6 | the peer finished a stream | stream (1) |
//! | 7 | the peer reset a stream | stream (1), code (1) |
//! | 8 | the peer stopped a stream | stream (1), code (1) |
//! | 9 | a datagram | length (2), bytes |
//! | 10 | time passes | hundredths of a second (2) |
//! | 11 | the session is lost | - |
//! | 12 | a session opens | protocol and carrier (1), length (1), path |
//! | 13 | the transport takes nothing more, or all again | flag (1) |
//! | 14, 15 | the machine's owner commands | what the machine's target reads |
//!
//! The high bits name one of [`SLOTS`] sessions. A stream is the low byte of its id: opener,
//! direction, index below 64.

use crate::input::Cursor;
use bytes::Bytes;
use mainstem_core::moqt::Draft;
use mainstem_core::transport::{Carrier, Direction, Origin, StreamId};
use std::time::Duration;

/// Sessions at a time.
pub const SLOTS: usize = 4;

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes arrive.
    Data(StreamId, Bytes),
    /// The peer finished a stream.
    Finished(StreamId),
    /// The peer reset a stream.
    Reset(StreamId, u64),
    /// The peer stopped a stream.
    Stopped(StreamId, u64),
    /// A datagram arrives.
    Datagram(Bytes),
    /// Time passes.
    Wait(Duration),
    /// The session is lost.
    Lost,
    /// A session opens.
    Open {
        /// The protocol's name.
        protocol: &'static str,
        /// How it is carried.
        carrier: Carrier,
        /// Path and query that it is addressed to.
        path: String,
    },
    /// The transport stops taking what the machine writes, or takes it again.
    Stall(bool),
    /// The owner commands; the fields are still in the input.
    Command,
}

/// Reads the next step and its slot.
pub fn read(input: &mut Cursor<'_>) -> (usize, Step) {
    let head = input.byte();
    let slot = usize::from(head >> 4) % SLOTS;
    let step = match head & 0x0f {
        0..=5 => Step::Data(stream(input), input.prefixed()),
        6 => Step::Finished(stream(input)),
        7 => Step::Reset(stream(input), u64::from(input.byte())),
        8 => Step::Stopped(stream(input), u64::from(input.byte())),
        9 => Step::Datagram(input.prefixed()),
        10 => Step::Wait(Duration::from_millis(10 * u64::from(input.short()))),
        11 => Step::Lost,
        12 => {
            let how = input.byte();
            let len = usize::from(input.byte());
            let protocol = Draft::ALL.get(usize::from(how & 7)).map(|d| d.protocol());
            Step::Open {
                protocol: protocol.unwrap_or("moqt-99"),
                carrier: [Carrier::Quic, Carrier::WebTransport][usize::from(how >> 7)],
                path: String::from_utf8_lossy(input.bytes(len)).into_owned(),
            }
        }
        13 => Step::Stall(input.flag()),
        _ => Step::Command,
    };
    (slot, step)
}

fn stream(input: &mut Cursor<'_>) -> StreamId {
    let byte = input.byte();
    let origin = [Origin::Local, Origin::Peer][usize::from(byte & 1)];
    let direction = [Direction::Bidirectional, Direction::Unidirectional];
    StreamId::new(
        origin,
        direction[usize::from(byte >> 1 & 1)],
        u64::from(byte >> 2),
    )
}

/// Writes a step, where the format has room for it; the inverse of [`read`].
pub fn write(slot: usize, step: &Step, out: &mut Vec<u8>) {
    let slot = u8::try_from(slot % SLOTS).unwrap_or_default() << 4;
    match step {
        Step::Data(stream, bytes) => {
            for part in bytes.chunks(usize::from(u16::MAX)) {
                out.extend([slot, stream_byte(*stream)]);
                put_prefixed(part, out);
            }
        }
        Step::Finished(stream) => out.extend([slot | 6, stream_byte(*stream)]),
        Step::Reset(stream, code) => out.extend([slot | 7, stream_byte(*stream), *code as u8]),
        Step::Stopped(stream, code) => out.extend([slot | 8, stream_byte(*stream), *code as u8]),
        Step::Datagram(bytes) => {
            out.push(slot | 9);
            put_prefixed(bytes, out);
        }
        Step::Wait(time) => {
            out.push(slot | 0x0a);
            out.extend(((time.as_millis() / 10) as u16).to_be_bytes());
        }
        Step::Lost => out.push(slot | 0x0b),
        Step::Open {
            protocol,
            carrier,
            path,
        } => {
            let index = Draft::ALL.iter().position(|d| d.protocol() == *protocol);
            let carrier = u8::from(*carrier == Carrier::WebTransport) << 7;
            let path = &path.as_bytes()[..path.len().min(255)];
            out.extend([
                slot | 0x0c,
                carrier | index.unwrap_or(7) as u8,
                path.len() as u8,
            ]);
            out.extend(path);
        }
        Step::Stall(is_on) => out.extend([slot | 0x0d, u8::from(*is_on)]),
        Step::Command => out.push(slot | 0x0e),
    }
}

fn stream_byte(stream: StreamId) -> u8 {
    let origin = u8::from(stream.origin() == Origin::Peer);
    let direction = u8::from(stream.direction() == Direction::Unidirectional);
    (stream.index() as u8) << 2 | direction << 1 | origin
}

fn put_prefixed(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend(bytes);
}
