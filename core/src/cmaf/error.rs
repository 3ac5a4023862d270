//! What can be wrong with media, and the bounds that keep a hostile file harmless.
//!
//! Every variant of [`Error`] is the fault of the bytes (or, in the writer, of the caller's
//! samples); none is a state that the reader recovers from, so a reader that failed once keeps
//! giving the same error.

use super::boxes::FourCc;

/// Bounds on what a [`Reader`](super::Reader) takes; passing one is a named [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest `mdat` that is kept, in bytes with its header.
    pub mdat_bytes_max: u64,
    /// Largest `moov`, in bytes.
    pub moov_bytes_max: u64,
    /// Largest `moof`, in bytes.
    pub moof_bytes_max: u64,
    /// Most bytes of `ftyp`, and of all small boxes (`styp`, `prft`, `emsg`) around one `moof`.
    pub side_bytes_max: u64,
    /// Most tracks in one `moov`.
    pub tracks_max: usize,
    /// Most samples in one `moof`, over all of its tracks.
    pub samples_max: usize,
    /// Most bytes that were pushed and do not yet make a whole box.
    pub pending_bytes_max: usize,
}

impl Default for Limits {
    /// 64 MiB boxes, 1 MiB headers, 16 tracks, 10,000 samples: far above any live stream.
    fn default() -> Self {
        Self {
            mdat_bytes_max: 64 << 20,
            moov_bytes_max: 1 << 20,
            moof_bytes_max: 1 << 20,
            side_bytes_max: 64 << 10,
            tracks_max: 16,
            samples_max: 10_000,
            pending_bytes_max: 66 << 20,
        }
    }
}

/// Why bytes are not media that we can carry, or samples not media that we can write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A box is larger than its kind may be.
    #[error("box {kind} is {size} bytes, at most {max} are taken")]
    BoxTooLarge {
        /// Kind of the box.
        kind: FourCc,
        /// Its size in bytes.
        size: u64,
        /// The bound from [`Limits`].
        max: u64,
    },
    /// The size field of a box is smaller than its own header.
    #[error("box {kind} claims a size of {size} bytes, less than its header")]
    BoxTooSmall {
        /// Kind of the box.
        kind: FourCc,
        /// The claimed size in bytes.
        size: u64,
    },
    /// A field or child box runs past the end of its box.
    #[error("box {kind} ends before its content does")]
    Truncated {
        /// Kind of the box that is too short.
        kind: FourCc,
    },
    /// A box that must be there is not.
    #[error("box {parent} has no {kind}")]
    MissingBox {
        /// Kind of the box that is missing.
        kind: FourCc,
        /// Where it was expected.
        parent: FourCc,
    },
    /// More bytes wait for the end of a box than the limit allows.
    #[error("more than {max} bytes wait for the end of a box")]
    PendingTooLarge {
        /// The bound from [`Limits`].
        max: usize,
    },
    /// A `moov` has too many tracks.
    #[error("moov has more than {max} tracks")]
    TooManyTracks {
        /// The bound from [`Limits`].
        max: usize,
    },
    /// A fragment has too many samples.
    #[error("fragment has more than {max} samples")]
    TooManySamples {
        /// The bound.
        max: usize,
    },
    /// Two tracks have the same track id, or one has id 0.
    #[error("track id {track_id} is zero or used twice")]
    BadTrackId {
        /// The id.
        track_id: u32,
    },
    /// A track's timescale is zero.
    #[error("track {track_id} has a timescale of zero")]
    ZeroTimescale {
        /// The track.
        track_id: u32,
    },
    /// An ordinary MP4 file, whose samples are indexed in `moov` rather than in fragments.
    #[error("expected fragmented mp4 (moof boxes), got a progressive file")]
    NotFragmented,
    /// A fragment came before `ftyp` and `moov`.
    #[error("expected an init segment (ftyp, moov) before the first fragment")]
    FragmentBeforeInit,
    /// An `mdat` came without a `moof`, or a `moof` without an `mdat`.
    #[error("expected moof and mdat in pairs, got a lone {kind}")]
    Unpaired {
        /// Kind of the box that is alone.
        kind: FourCc,
    },
    /// A fragment names a track that the init segment does not have.
    #[error("fragment is for track {track_id}, which the init segment does not have")]
    UnknownTrack {
        /// The track.
        track_id: u32,
    },
    /// A sample's bytes are not inside the `mdat` that follows its `moof`.
    #[error("a sample of track {track_id} lies outside its mdat")]
    SampleOutsideMdat {
        /// The track.
        track_id: u32,
    },
    /// A decode time does not fit 64 bits.
    #[error("decode time of track {track_id} overflows")]
    TimeOverflow {
        /// The track.
        track_id: u32,
    },
    /// A codec configuration record is malformed.
    #[error("{codec} configuration: {reason}")]
    BadConfig {
        /// Short name of the record: `avcC`, `hvcC`, `AudioSpecificConfig` ...
        codec: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The writer was given nothing to write.
    #[error("expected at least one {what}")]
    Empty {
        /// What is missing: `track`, `sample`.
        what: &'static str,
    },
    /// A written chunk would not fit the 32-bit sizes of its boxes.
    #[error("chunk of {bytes} bytes does not fit a 32-bit box size")]
    ChunkTooLarge {
        /// Size of the media in bytes.
        bytes: usize,
    },
    /// A second init segment that differs came where one file can hold only one.
    #[error("the init segment of input {input} changed; one file holds one")]
    InitChanged {
        /// Index of the input.
        input: usize,
    },
    /// An input or sample index that does not exist.
    #[error("there is no {what} {index}")]
    NoSuch {
        /// What was looked up: `input`, `sample`.
        what: &'static str,
        /// The index.
        index: usize,
    },
}
