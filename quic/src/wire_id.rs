//! QUIC stream ids as numbers, and their translation from and to quinn's.
//!
//! Bit 0 is the opener (1 = server), bit 1 the direction (1 = unidirectional), the rest the index.
//! Source: RFC 9000 section 2.1.

use mainstem_core::transport::{Direction, Side};
use quinn_proto::{Dir, StreamId};

/// A stream id as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WireId(pub(crate) u64);

impl WireId {
    pub(crate) fn direction(self) -> Direction {
        if self.0 & 2 == 0 {
            Direction::Bidirectional
        } else {
            Direction::Unidirectional
        }
    }

    pub(crate) fn opener(self) -> Side {
        if self.0 & 1 == 0 {
            Side::Client
        } else {
            Side::Server
        }
    }

    pub(crate) fn index(self) -> u64 {
        self.0 >> 2
    }

    pub(crate) fn to_quinn(self) -> StreamId {
        let opener = match self.opener() {
            Side::Client => quinn_proto::Side::Client,
            Side::Server => quinn_proto::Side::Server,
        };
        StreamId::new(opener, dir(self.direction()), self.index())
    }
}

impl From<StreamId> for WireId {
    fn from(id: StreamId) -> Self {
        Self(quinn_proto::VarInt::from(id).into_inner())
    }
}

/// quinn's word for a direction.
pub(crate) fn dir(direction: Direction) -> Dir {
    match direction {
        Direction::Bidirectional => Dir::Bi,
        Direction::Unidirectional => Dir::Uni,
    }
}
