//! What a track is: id, codec with its configuration record, timescale, shape.
//!
//! [`Track`] is what the reader finds in a `moov` and what the writer makes a `moov` from, so an
//! ingest protocol builds one from a codec configuration with [`Track::new`] and a publisher of
//! fMP4 gets one from [`Reader`](super::Reader); the rest of the house sees no difference.

use super::boxes::FourCc;
use super::codec;
use super::error::Error;
use super::record;
use bytes::Bytes;
use std::num::NonZeroU32;

/// Video, audio, or something that we carry without looking at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Text, metadata, timecode ...
    Other,
}

/// A codec and its configuration record, as it stands in the sample entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codec {
    /// H.264. `config` is the `AVCDecoderConfigurationRecord` (body of `avcC`).
    H264 {
        /// `AVCDecoderConfigurationRecord`.
        config: Bytes,
        /// Parameter sets may also be in the samples (`avc3`).
        in_band: bool,
    },
    /// HEVC. `config` is the `HEVCDecoderConfigurationRecord` (body of `hvcC`).
    Hevc {
        /// `HEVCDecoderConfigurationRecord`.
        config: Bytes,
        /// Parameter sets may also be in the samples (`hev1`).
        in_band: bool,
    },
    /// AV1. `config` is the `AV1CodecConfigurationRecord` (body of `av1C`).
    Av1 {
        /// `AV1CodecConfigurationRecord`.
        config: Bytes,
    },
    /// VP9. `config` is the body of `vpcC` with its version and flags.
    Vp9 {
        /// `VPCodecConfigurationBox` body.
        config: Bytes,
    },
    /// AAC in any of its forms. `config` is the `AudioSpecificConfig`.
    Aac {
        /// `AudioSpecificConfig`.
        config: Bytes,
    },
    /// Opus. `config` is the body of `dOps` (big-endian, version 0).
    Opus {
        /// `OpusSpecificBox` body.
        config: Bytes,
    },
    /// FLAC. `config` is the body of `dfLa` with its version and flags.
    Flac {
        /// `FLACSpecificBox` body.
        config: Bytes,
    },
    /// A codec that we do not know: its sample entry's code. It can be carried, not written.
    Other {
        /// Code of the sample entry.
        entry: FourCc,
        /// Kind of its handler.
        kind: Kind,
    },
}

/// Shape of a video track; a field that is not known is zero or `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Video {
    /// Luma samples per line, after cropping.
    pub width: u16,
    /// Lines, after cropping.
    pub height: u16,
    /// Frames per second, if the parameter sets or sample durations say it.
    pub frame_rate: Option<f64>,
}

/// Shape of an audio track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audio {
    /// Samples per second of the decoded sound.
    pub sample_rate: u32,
    /// Channels of the decoded sound.
    pub channels: u16,
}

/// Values that a fragment inherits when it does not give its own (`trex`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Duration of a sample, in ticks of the track's timescale.
    pub duration: u32,
    /// Size of a sample in bytes.
    pub size: u32,
    /// Flags of a sample.
    pub flags: u32,
}

/// One track of an init segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Track id, not zero, unique within its init segment.
    pub id: u32,
    /// Codec and configuration record.
    pub codec: Codec,
    /// Ticks per second of every time of the track.
    pub timescale: NonZeroU32,
    /// ISO 639-2 language, three letters; `und` when unknown.
    pub language: String,
    /// Set for video.
    pub video: Option<Video>,
    /// Set for audio.
    pub audio: Option<Audio>,
    /// Defaults for fragments.
    pub defaults: Defaults,
    /// Media time at which presentation begins, in ticks (edit list); 0 without one. Encoder
    /// priming of audio and the reordering delay of video are usually cut off this way.
    pub presentation_start: i64,
}

impl Track {
    /// A track for `codec`, its shape read from the configuration record.
    ///
    /// The shape of AV1 and VP9 is not in their records: set [`Self::video`] afterwards.
    pub fn new(id: u32, timescale: NonZeroU32, codec: Codec) -> Result<Self, Error> {
        let (video, audio) = codec::shape(&codec)?;
        Ok(Self {
            id,
            codec,
            timescale,
            language: "und".to_owned(),
            video,
            audio,
            defaults: Defaults::default(),
            presentation_start: 0,
        })
    }

    /// Video, audio or other.
    pub fn kind(&self) -> Kind {
        self.codec.kind()
    }

    /// RFC 6381 codec string, for a catalog and `MediaSource`.
    pub fn codec_string(&self) -> String {
        codec::codec_string(&self.codec)
    }
}

impl Codec {
    /// H.264 from an `AVCDecoderConfigurationRecord`, as RTMP and `avcC` carry it.
    pub fn h264(config: Bytes) -> Result<Self, Error> {
        record::check_avcc(&config)?;
        Ok(Self::H264 {
            config,
            in_band: false,
        })
    }

    /// H.264 from parameter sets, each a NAL unit without start code or length.
    pub fn h264_from_parameter_sets(sps: &[&[u8]], pps: &[&[u8]]) -> Result<Self, Error> {
        Ok(Self::H264 {
            config: record::build_avcc(sps, pps)?,
            in_band: false,
        })
    }

    /// HEVC from an `HEVCDecoderConfigurationRecord`, as E-RTMP and `hvcC` carry it.
    pub fn hevc(config: Bytes) -> Result<Self, Error> {
        record::check_hvcc(&config)?;
        Ok(Self::Hevc {
            config,
            in_band: false,
        })
    }

    /// AV1 from an `AV1CodecConfigurationRecord`.
    pub fn av1(config: Bytes) -> Result<Self, Error> {
        record::check_av1c(&config)?;
        Ok(Self::Av1 { config })
    }

    /// AAC from an `AudioSpecificConfig`.
    pub fn aac(config: Bytes) -> Result<Self, Error> {
        codec::AacConfig::parse(&config)?;
        Ok(Self::Aac { config })
    }

    /// Opus from an `OpusHead` (RFC 7845 section 5.1), as WebCodecs, Ogg and E-RTMP carry it.
    pub fn opus_from_head(head: &[u8]) -> Result<Self, Error> {
        Ok(Self::Opus {
            config: record::dops_from_opus_head(head)?,
        })
    }

    /// Video, audio or other.
    pub fn kind(&self) -> Kind {
        match self {
            Self::H264 { .. } | Self::Hevc { .. } | Self::Av1 { .. } | Self::Vp9 { .. } => {
                Kind::Video
            }
            Self::Aac { .. } | Self::Opus { .. } | Self::Flac { .. } => Kind::Audio,
            Self::Other { kind, .. } => *kind,
        }
    }
}
