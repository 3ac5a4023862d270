//! What an ingest protocol tells a packager.

use crate::cmaf::{Codec, Kind, NtpTime, Video};
use crate::payload::Payload;
use crate::time::MediaTime;
use std::fmt;
use std::num::NonZeroU32;

/// A track of the encoder: its kind and its number among those of that kind, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// Video or audio.
    pub kind: Kind,
    /// Number; 0 when the protocol has one track of each kind.
    pub number: u8,
}

impl Source {
    /// The first, or only, video track.
    pub const VIDEO: Self = Self {
        kind: Kind::Video,
        number: 0,
    };
    /// The first, or only, audio track.
    pub const AUDIO: Self = Self {
        kind: Kind::Audio,
        number: 0,
    };
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Video => "video",
            Kind::Audio => "audio",
            Kind::Other => "data",
        };
        write!(f, "{kind} track {}", self.number)
    }
}

/// What the encoder says it will send. Encoders are often wrong about it: it decides for whom to
/// wait, and fills in what configuration records do not say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Announcement {
    /// Whether video comes.
    pub has_video: bool,
    /// Whether audio comes.
    pub has_audio: bool,
    /// Shape of the video; fields are 0 or `None` when not said.
    pub video: Video,
    /// Bits per second of the video.
    pub video_bitrate: Option<u64>,
    /// Bits per second of the audio.
    pub audio_bitrate: Option<u64>,
}

impl Default for Announcement {
    /// Both kinds, nothing known about them.
    fn default() -> Self {
        Self {
            has_video: true,
            has_audio: true,
            video: Video::default(),
            video_bitrate: None,
            audio_bitrate: None,
        }
    }
}

/// What the encoder did.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// It described its stream.
    Announced(Announcement),
    /// It gave a decoder configuration; repeating one changes nothing.
    Config {
        /// Its track.
        source: Source,
        /// Codec and configuration record.
        codec: Codec,
        /// Ticks per second of the track's timestamps.
        timescale: NonZeroU32,
    },
    /// It sent an access unit, in decode order.
    Frame(Frame),
    /// It ended a track; a configuration or a frame begins it anew.
    End(Source),
    /// It ended the stream: what is held comes out.
    Finished,
}

/// One access unit: a coded picture, or one frame of audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its track.
    pub source: Source,
    /// Decode time on the encoder's clock; wraps of short counters are unrolled already.
    pub decode_time: MediaTime,
    /// Presentation minus decode time, in ticks of `decode_time`; may be negative.
    pub composition_offset: i32,
    /// Duration in ticks of `decode_time`, when the protocol says it.
    pub duration: Option<u32>,
    /// Whether the encoder calls it a key frame. For codecs made of NAL units it is looked up.
    pub key: bool,
    /// The coded bytes as a sample holds them: NAL units with their lengths, AAC without ADTS.
    pub data: Payload,
    /// Wall clock when its last byte arrived.
    pub arrived: NtpTime,
}
