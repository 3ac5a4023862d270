//! [`Out`]: one thing that is to be done or was seen, as JavaScript reads it.
//!
//! In memory it is a record of little-endian fields, then the payload's pieces:
//!
//! | offset | type | field |
//! |---|---|---|
//! | 0 | u32 | session |
//! | 4 | u32 | stream, or track |
//! | 8 | u32 | flags |
//! | 12 | u32 | number of pieces |
//! | 16 | f64 x 6 | numbers |
//! | 64 | (u32, u32) each | address and length of a piece |
//!
//! The kind is what `ms_poll` returns.

use bytes::Bytes;
use mainstem_core::payload::Payload;
use mainstem_core::transport::{Direction, Origin, Output, SessionId, StreamId};

/// What an [`Out`] is about. The values are the ABI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Nothing more to do.
    #[default]
    None = 0,
    /// Open `stream`.
    Open = 1,
    /// Send the pieces on `stream`; flags: [`FIN`], [`NOTIFY`].
    Write = 2,
    /// Number 0: the priority of `stream`, higher first.
    SetPriority = 3,
    /// Abandon the sending side of `stream`; number 0: the code.
    Reset = 4,
    /// Ask the peer to stop sending on `stream`; number 0: the code.
    Stop = 5,
    /// Send a datagram.
    Datagram = 6,
    /// End the session; number 0: the code; the piece: the reason.
    Close = 7,
    /// The piece is JSON with a `type`.
    Event = 16,
    /// A chunk of a track: see [`crate::viewer`].
    Chunk = 17,
}

/// The write ends the sending side.
pub const FIN: u32 = 1;
/// The write's end is to be told by a `Writable`.
pub const NOTIFY: u32 = 2;

/// One thing that is to be done or was seen. See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Out {
    /// What it is about.
    pub kind: Kind,
    /// The session.
    pub session: u32,
    /// The stream, or the track of a chunk.
    pub stream: u32,
    /// As the kind says.
    pub flags: u32,
    /// As the kind says.
    pub numbers: [f64; 6],
    /// The payload, where it lies.
    pub pieces: Vec<Bytes>,
}

impl Out {
    /// An event that is JSON.
    pub fn event(json: &serde_json::Value) -> Self {
        Self {
            kind: Kind::Event,
            pieces: vec![Bytes::from(json.to_string())],
            ..Self::default()
        }
    }

    /// Work for the transport; `None` for what a browser cannot be told.
    pub fn transport(output: Output) -> Option<Self> {
        Some(match output {
            Output::Open {
                session,
                stream,
                priority,
            } => Self::of_stream(Kind::Open, session, stream, priority.into()),
            Output::SetPriority {
                session,
                stream,
                priority,
            } => Self::of_stream(Kind::SetPriority, session, stream, priority.into()),
            Output::Reset {
                session,
                stream,
                code,
            } => Self::of_stream(Kind::Reset, session, stream, to_number(code)),
            Output::Stop {
                session,
                stream,
                code,
            } => Self::of_stream(Kind::Stop, session, stream, to_number(code)),
            Output::Write {
                session,
                stream,
                head,
                body,
                fin,
                notify,
            } => Self {
                flags: (u32::from(fin) * FIN) | (u32::from(notify) * NOTIFY),
                pieces: pieces_of(head, &body),
                ..Self::of_stream(Kind::Write, session, stream, 0.0)
            },
            Output::Datagram { session, data, .. } => Self {
                kind: Kind::Datagram,
                session: session_number(session),
                pieces: vec![data],
                ..Self::default()
            },
            Output::Close {
                session,
                code,
                reason,
            } => Self {
                kind: Kind::Close,
                session: session_number(session),
                numbers: [to_number(code), 0.0, 0.0, 0.0, 0.0, 0.0],
                pieces: vec![Bytes::from(reason)],
                ..Self::default()
            },
            // A browser gives its peer the stream credit that it thinks right.
            Output::Allow { .. } => return None,
        })
    }

    fn of_stream(kind: Kind, session: SessionId, stream: StreamId, number: f64) -> Self {
        Self {
            kind,
            session: session_number(session),
            stream: stream_number(stream),
            numbers: [number, 0.0, 0.0, 0.0, 0.0, 0.0],
            ..Self::default()
        }
    }

    /// Writes the record; the pieces' addresses are those of `self.pieces`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        let count = u32::try_from(self.pieces.len()).unwrap_or(u32::MAX);
        for field in [self.session, self.stream, self.flags, count] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for number in self.numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for piece in &self.pieces {
            // Addresses of this memory have 32 bits; on the host, where tests run, nobody reads them.
            let address = u32::try_from(piece.as_ptr().addr()).unwrap_or(0);
            let len = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&address.to_le_bytes());
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
}

/// Where a stream's bits stand: index, direction, opener.
pub(crate) fn stream_number(stream: StreamId) -> u32 {
    let origin = u32::from(stream.origin() == Origin::Peer);
    let direction = u32::from(stream.direction() == Direction::Unidirectional);
    let index = u32::try_from(stream.index()).unwrap_or(u32::MAX >> 2);
    (index << 2) | (direction << 1) | origin
}

/// The stream of a number that [`stream_number`] gave, or that JavaScript made alike.
pub(crate) fn stream_of(number: u32) -> StreamId {
    let origin = if number & 1 == 0 {
        Origin::Local
    } else {
        Origin::Peer
    };
    let direction = if number & 2 == 0 {
        Direction::Bidirectional
    } else {
        Direction::Unidirectional
    };
    StreamId::new(origin, direction, u64::from(number >> 2))
}

/// JavaScript counts its sessions itself, from 1.
fn session_number(session: SessionId) -> u32 {
    u32::try_from(session.0).unwrap_or(u32::MAX)
}

/// As JavaScript holds numbers; exact up to 2^53, and 285 years in microseconds.
#[expect(clippy::cast_precision_loss, reason = "as the comment says")]
pub(crate) fn to_number(value: u64) -> f64 {
    value as f64
}

/// The same the other way; what is negative or no number is 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from f64 saturates, which is what is wanted"
)]
pub(crate) fn from_number(value: f64) -> u64 {
    value as u64
}

fn pieces_of(head: Bytes, body: &Payload) -> Vec<Bytes> {
    let body = body.pieces().iter().cloned();
    let pieces = std::iter::once(head).chain(body);
    pieces.filter(|piece| !piece.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_numbers_are_read_as_they_were_written() {
        for origin in [Origin::Local, Origin::Peer] {
            for direction in [Direction::Bidirectional, Direction::Unidirectional] {
                let stream = StreamId::new(origin, direction, 77);
                assert_eq!(stream_of(stream_number(stream)), stream);
            }
        }
    }

    #[test]
    fn records_have_the_layout_that_the_table_gives() {
        let stream = StreamId::new(Origin::Local, Direction::Unidirectional, 3);
        let out = Out::transport(Output::Write {
            session: SessionId(9),
            stream,
            head: Bytes::from_static(b"ab"),
            body: Payload::from(Bytes::from_static(b"cde")),
            fin: true,
            notify: false,
        });
        let out = out.unwrap();
        let mut record = Vec::new();
        out.encode(&mut record);
        assert_eq!(out.kind, Kind::Write);
        assert_eq!(record.len(), 64 + 2 * 8);
        let word = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
        assert_eq!([word(0), word(4), word(8), word(12)], [9, 14, FIN, 2]);
        assert_eq!((word(68), word(76)), (2, 3));
    }
}
