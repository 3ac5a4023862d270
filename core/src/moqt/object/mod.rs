//! Objects on the wire: subgroup streams and datagrams, and how to tell streams apart.
//!
//! | bytes | read by | faults |
//! |---|---|---|
//! | the first integer of a unidirectional stream | [`stream_kind`] | unknown type: session |
//! | a subgroup stream | [`SubgroupReader`] | [`DataFault`] |
//! | a fetch stream | [`FetchReader`] | [`DataFault`] |
//! | a datagram | [`decode_datagram`] | [`DataFault`] |
//!
//! Payloads are kept in the pieces that they arrived in, and written by the caller after the few
//! bytes of framing: nothing here copies them, but [`Framed`] once, for many streams.
//!
//! Limits: [`Limits`]. Source: draft-ietf-moq-transport-18, Section 11; 20 to 22 differ on fetch
//! streams only.

mod datagram;
mod fetch;
mod framed;
mod pieces;
mod subgroup;

pub use datagram::{DatagramEvent, decode_datagram, encode_datagram};
pub use fetch::{FetchEvent, FetchReader, FetchWriter, GapKind};
pub use framed::Framed;
pub use subgroup::{
    SubgroupEvent, SubgroupHeader, SubgroupId, SubgroupReader, encode_subgroup_object,
};

use super::error::ProtocolError;
use super::property::Properties;
use super::varint;
use crate::payload::Payload;
use bytes::Bytes;

/// Type of a padding stream.
const PADDING_STREAM: u64 = 0x132B_3E28;
/// Type of a padding datagram.
const PADDING_DATAGRAM: u64 = 0x132B_3E29;
/// Type of a fetch stream.
const FETCH: u64 = 0x05;
/// Type of a control stream.
const SETUP: u64 = 0x2F00;

/// Bounds of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Payload bytes.
    pub payload_max: usize,
    /// Bytes of the properties.
    pub properties_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload_max: 32 << 20,
            properties_max: 64 << 10,
        }
    }
}

/// What an object stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectStatus {
    /// An object with a payload, which may be empty.
    #[default]
    Normal,
    /// No object with this or a larger ID exists in the group.
    EndOfGroup,
    /// No object at this or a larger location exists.
    EndOfTrack,
}

impl ObjectStatus {
    /// The wire value.
    pub const fn value(self) -> u64 {
        match self {
            Self::Normal => 0,
            Self::EndOfGroup => 3,
            Self::EndOfTrack => 4,
        }
    }

    fn from_value(value: u64) -> Result<Self, ProtocolError> {
        match value {
            0 => Ok(Self::Normal),
            3 => Ok(Self::EndOfGroup),
            4 => Ok(Self::EndOfTrack),
            _ => Err(ProtocolError::violation("unknown object status")),
        }
    }
}

/// One object of a track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Its group.
    pub group: u64,
    /// Its place in the group.
    pub object: u64,
    /// Its subgroup; `None` for an object that travels in a datagram.
    pub subgroup: Option<u64>,
    /// Publisher priority, where it differs from the track's.
    pub priority: Option<u8>,
    /// What it stands for.
    pub status: ObjectStatus,
    /// Properties for relays.
    pub properties: Properties,
    /// The application's bytes; empty unless the status is normal.
    pub payload: Payload,
}

/// A fault in a peer's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataFault {
    /// The session must be closed.
    #[error(transparent)]
    Session(#[from] ProtocolError),
    /// The track is malformed: its subscription must be given up.
    #[error("malformed track: {0}")]
    Track(&'static str),
}

/// What a unidirectional stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// SETUP and the control messages after it.
    Control,
    /// Objects of a subscription.
    Subgroup,
    /// Objects of a fetch.
    Fetch,
    /// Nothing: to be read and ignored.
    Padding,
}

/// Tells from the first bytes of a unidirectional stream what it is for; `None` when its type has
/// not fully arrived.
pub fn stream_kind(pieces: &[Bytes]) -> Result<Option<StreamKind>, ProtocolError> {
    let mut head = [0; varint::MAX_LEN];
    let mut filled = 0;
    for (to, from) in head.iter_mut().zip(pieces.iter().flatten()) {
        *to = *from;
        filled += 1;
    }
    let Some((code, _)) = head.get(..filled).and_then(varint::decode) else {
        return Ok(None);
    };
    match code {
        SETUP => Ok(Some(StreamKind::Control)),
        FETCH => Ok(Some(StreamKind::Fetch)),
        PADDING_STREAM => Ok(Some(StreamKind::Padding)),
        code if subgroup::is_header_type(code) => Ok(Some(StreamKind::Subgroup)),
        _ => Err(ProtocolError::violation("unknown stream type")),
    }
}
