//! Test tracks whose every object is known from their namespace: the moq-test protocol.
//!
//! A namespace of sixteen fields, `moq-test-00` and fifteen numbers, says how many groups and
//! objects a track has, how large they are and how they travel. So the two ends of a relay need no
//! other agreement: one generates, the other checks that exactly this came.
//!
//! | part | what it does |
//! |---|---|
//! | [`TestTrack`] | the fields, read, written and checked |
//! | [`Plan`] | the objects in the order of sending, with their streams |
//! | [`Scoreboard`] | what has arrived against what should have |
//! | [`Origin`] | a machine that serves such tracks to relays |
//!
//! | # | field | blank means |
//! |---|---|---|
//! | 0 | `moq-test-00` | - |
//! | 1 | forwarding: 0 subgroup per group, 1 per object, 2 two per group, 3 datagrams | 0 |
//! | 2, 3 | first group, first object of each group | 0, 0 |
//! | 4, 5 | last group, last object of each group | 2^62 - 1, as many as field 6 allows |
//! | 6 | objects per group | 10 |
//! | 7, 8 | bytes of the first object, of the others | 1024, 100 |
//! | 9 | ms between objects | 1000 |
//! | 10, 11 | increments of group and object | 1, 1 |
//! | 12 | whether the last object of a group is an end-of-group marker | 0 |
//! | 13, 14 | integer and byte extension on each object; negative is none | none |
//! | 15 | publisher's delivery time-out in ms; 0 is none | none |
//!
//! A payload is the byte `t`, repeated. The values of extensions are arbitrary; their types are
//! twice the field's value, plus one for bytes.
//!
//! Limits: [`Limits`]; a track that passes one is refused before anything is sent.
//! Source: draft-afrind-moq-test; where it is silent, what the implementations at hand agree on.

mod fetching;
mod origin;
mod plan;
mod scoreboard;
mod track;

pub use origin::{Event, Origin};
pub use plan::{Plan, Step};
pub use scoreboard::{Report, Scoreboard};
pub use track::{Forwarding, TestTrack, TupleError};

/// First field of every test namespace.
pub const PROTOCOL: &str = "moq-test-00";
/// Fields of a test namespace.
pub const FIELDS: usize = 16;
/// Publisher priority of every object.
pub const PRIORITY: u8 = 128;
/// The byte that payloads are made of.
pub const FILL: u8 = b't';

/// Bounds of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one object.
    pub object_bytes_max: u64,
    /// Bytes of one object that travels in a datagram.
    pub datagram_bytes_max: u64,
    /// Objects that a [`Scoreboard`] keeps track of.
    pub objects_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            object_bytes_max: 16 << 20,
            datagram_bytes_max: 1100,
            objects_max: 1_000_000,
        }
    }
}
