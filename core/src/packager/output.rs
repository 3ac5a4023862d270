//! What a packager puts out.

use super::input::Source;
use crate::cmaf::{self, Init, Kind, Track};
use crate::payload::Payload;
use crate::time::MediaTime;

/// What a packager puts out.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// All tracks there are; replaces what was said before. Chunks that follow are of these.
    Tracks(Vec<PackagedTrack>),
    /// A chunk of one of the tracks.
    Chunk(Chunk),
    /// A track is left out.
    Fault(Fault),
}

/// A track with its init segment.
#[derive(Clone, Debug, PartialEq)]
pub struct PackagedTrack {
    /// `video/<height>p` or `audio`, with a number after it when several would have the same name.
    pub name: String,
    /// Which of the encoder's tracks it is.
    pub source: Source,
    /// Id (unique among the tracks), codec, timescale and shape.
    pub track: Track,
    /// `ftyp moov` of this track alone.
    pub init: Init,
    /// Bits per second, if the encoder said it.
    pub bitrate: Option<u64>,
}

/// A CMAF chunk of one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Track id, as in the init segments. The same bytes serve a track alone and a muxed stream.
    pub track_id: u32,
    /// Video or audio.
    pub kind: Kind,
    /// Whether decoding can begin with it: a key frame, or audio.
    pub is_independent: bool,
    /// Decode time of its first sample.
    pub decode_time: MediaTime,
    /// Presentation time of its first sample.
    pub presentation_time: MediaTime,
    /// Sum of its samples' durations, in ticks.
    pub duration: u64,
    /// Number of its samples.
    pub samples: usize,
    /// `[prft] moof mdat`. Media bytes are the frame's own, not a copy.
    pub payload: Payload,
}

/// A track that is left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_track}: {reason}")]
pub struct Fault {
    /// The encoder's track.
    pub source_track: Source,
    /// Why.
    pub reason: FaultReason,
}

/// Why a track is left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultReason {
    /// Its configuration is malformed, or a codec that CMAF has no place for.
    #[error(transparent)]
    Config(#[from] cmaf::Error),
    /// The encoder has more tracks than [`Limits::tracks_max`](super::Limits::tracks_max).
    #[error("more than {max} tracks")]
    TooManyTracks {
        /// The bound.
        max: usize,
    },
    /// A clock that no encoder has.
    #[error("{timescale} ticks per second are more than 10,000,000")]
    Timescale {
        /// Ticks per second.
        timescale: u32,
    },
    /// Neither video nor audio, or a codec of the other kind.
    #[error("expected a codec of the track's kind")]
    WrongKind,
}
