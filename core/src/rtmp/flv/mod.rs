//! FLV tags: what RTMP audio and video messages carry.
//!
//! Sources: Adobe Flash Video File Format 10.1, annex E.4; Enhanced RTMP v1 and v2 (veovera, 2023
//! to 2026) for FourCC codecs, multitrack and ModEx. [`parse_video`] and [`parse_audio`] take the
//! body of one message (or of one tag of an aggregate) and append what it says to a list: usually
//! one packet, none for an empty message, several for multitrack.
//!
//! Units: composition offsets in milliseconds, signed. Payloads are slices of the message, not
//! copies. Nanosecond offsets of ModEx are read and dropped: the system's clock for media from
//! RTMP is the millisecond. A codec that the system has no use for is a packet of its own kind
//! ([`VideoBody::Unsupported`]), not an error: the owner gives the refusal. Frames and
//! configurations without a byte say nothing and are left out (ffmpeg ends FLAC with one). A tag
//! that ends too early is a [`FlvError`].

mod audio;
mod video;

pub use audio::parse_audio;
pub use video::parse_video;

use bytes::{Buf, Bytes};
use std::fmt;

/// Track number of a stream without multitrack.
pub const DEFAULT_TRACK: u8 = 0;

/// A FourCC as E-RTMP writes it, or a name in four letters for a legacy codec number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Video codecs that are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VideoCodec {
    /// H.264: config is an `AVCDecoderConfigurationRecord`, frames are length-prefixed NAL units.
    Avc,
    /// H.265: config is an `HEVCDecoderConfigurationRecord`, frames are length-prefixed NAL units.
    Hevc,
    /// AV1: config is an `AV1CodecConfigurationRecord`, frames are temporal units.
    Av1,
    /// VP9: config is a `VPCodecConfigurationRecord`.
    Vp9,
}

/// Audio codecs that are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AudioCodec {
    /// AAC: config is an `AudioSpecificConfig`, frames are raw (no ADTS).
    Aac,
    /// Opus: config is the identification header `OpusHead` of RFC 7845, section 5.1.
    Opus,
    /// FLAC: config is `fLaC` and the stream's metadata blocks, or (ffmpeg 9) the 34 bytes of
    /// STREAMINFO alone.
    Flac,
}

impl VideoCodec {
    /// The FourCC of E-RTMP.
    pub const fn four_cc(self) -> FourCc {
        FourCc(match self {
            Self::Avc => *b"avc1",
            Self::Hevc => *b"hvc1",
            Self::Av1 => *b"av01",
            Self::Vp9 => *b"vp09",
        })
    }

    /// All of them, in the order of preference that the connect answer gives.
    pub const ALL: [Self; 4] = [Self::Avc, Self::Hevc, Self::Av1, Self::Vp9];

    fn from_four_cc(four_cc: FourCc) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.four_cc() == four_cc)
    }

    /// Whether coded frames carry a composition time offset.
    const fn has_composition_time(self) -> bool {
        matches!(self, Self::Avc | Self::Hevc)
    }
}

impl AudioCodec {
    /// The FourCC of E-RTMP.
    pub const fn four_cc(self) -> FourCc {
        FourCc(match self {
            Self::Aac => *b"mp4a",
            Self::Opus => *b"Opus",
            Self::Flac => *b"fLaC",
        })
    }

    /// All of them, in the order of preference that the connect answer gives.
    pub const ALL: [Self; 3] = [Self::Aac, Self::Opus, Self::Flac];

    fn from_four_cc(four_cc: FourCc) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.four_cc() == four_cc)
    }
}

/// What one video tag says about one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoPacket {
    /// Track number; [`DEFAULT_TRACK`] without multitrack.
    pub track: u8,
    /// What is said.
    pub body: VideoBody,
}

/// The kinds of video packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoBody {
    /// The decoder configuration record.
    Config {
        /// Codec.
        codec: VideoCodec,
        /// The record, see [`VideoCodec`].
        config: Bytes,
    },
    /// One access unit.
    Frame {
        /// Codec.
        codec: VideoCodec,
        /// Presentation time minus decode time, in milliseconds.
        cts_ms: i32,
        /// Whether the tag calls it a key frame.
        key: bool,
        /// See [`VideoCodec`].
        data: Bytes,
    },
    /// End of the sequence.
    End,
    /// A codec that is not taken in.
    Unsupported(FourCc),
}

impl VideoBody {
    fn is_empty(&self) -> bool {
        match self {
            Self::Config { config: bytes, .. } | Self::Frame { data: bytes, .. } => {
                bytes.is_empty()
            }
            Self::End | Self::Unsupported(_) => false,
        }
    }
}

/// What one audio tag says about one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioPacket {
    /// Track number; [`DEFAULT_TRACK`] without multitrack.
    pub track: u8,
    /// What is said.
    pub body: AudioBody,
}

/// The kinds of audio packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudioBody {
    /// The decoder configuration.
    Config {
        /// Codec.
        codec: AudioCodec,
        /// See [`AudioCodec`].
        config: Bytes,
    },
    /// One coded frame.
    Frame {
        /// Codec.
        codec: AudioCodec,
        /// See [`AudioCodec`].
        data: Bytes,
    },
    /// End of the sequence.
    End,
    /// A codec that is not taken in.
    Unsupported(FourCc),
}

impl AudioBody {
    fn is_empty(&self) -> bool {
        match self {
            Self::Config { config: bytes, .. } | Self::Frame { data: bytes, .. } => {
                bytes.is_empty()
            }
            Self::End | Self::Unsupported(_) => false,
        }
    }
}

/// Why a tag cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    /// The tag ends inside a header.
    #[error("flv tag is cut short")]
    Truncated,
    /// Multitrack inside multitrack, or a multitrack type that is not defined.
    #[error("flv multitrack header is not one of those defined")]
    Multitrack,
    /// More tracks than [`Limits::tracks_max`](super::Limits::tracks_max).
    #[error("flv tag has too many tracks")]
    Tracks,
}

/// Packet type of the extended headers that announces modifiers (E-RTMP v2).
const MOD_EX: u8 = 7;

/// How tracks are laid out in a multitrack tag (E-RTMP v2, `AvMultitrackType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Multitrack {
    /// One track with its number.
    One,
    /// Several tracks of one codec.
    Many,
    /// Several tracks, each with its codec.
    ManyCodecs,
}

/// One track's share of an extended tag.
struct Share {
    track: u8,
    four_cc: FourCc,
    body: Bytes,
}

/// Skips the modifiers in front of the packet and returns the real packet type.
fn skip_modifiers(mut packet_type: u8, tag: &mut Bytes) -> Result<u8, FlvError> {
    while packet_type == MOD_EX {
        let mut size = usize::from(take_u8(tag)?).saturating_add(1);
        if size == 256 {
            size = usize::from(take_u16(tag)?).saturating_add(1);
        }
        take(tag, size)?;
        // High half: type of the modifier; only nanosecond offsets are defined.
        packet_type = take_u8(tag)? & 0x0f;
    }
    Ok(packet_type)
}

/// Reads the multitrack byte: layout and the packet type of all its tracks.
fn take_multitrack(tag: &mut Bytes, own_type: u8) -> Result<(Multitrack, u8), FlvError> {
    let byte = take_u8(tag)?;
    let packet_type = byte & 0x0f;
    let layout = match byte >> 4 {
        0 => Multitrack::One,
        1 => Multitrack::Many,
        2 => Multitrack::ManyCodecs,
        _ => return Err(FlvError::Multitrack),
    };
    if packet_type == own_type || packet_type == MOD_EX {
        return Err(FlvError::Multitrack);
    }
    Ok((layout, packet_type))
}

/// Cuts what follows the packet type into the tracks' shares.
fn take_shares(
    mut tag: Bytes,
    multitrack: Option<Multitrack>,
    tracks_max: usize,
) -> Result<Vec<Share>, FlvError> {
    let mut common = FourCc::default();
    if multitrack != Some(Multitrack::ManyCodecs) {
        common = take_four_cc(&mut tag)?;
    }
    let Some(layout) = multitrack else {
        return Ok(vec![Share {
            track: DEFAULT_TRACK,
            four_cc: common,
            body: tag,
        }]);
    };
    let mut shares = Vec::new();
    loop {
        let four_cc = match layout {
            Multitrack::ManyCodecs => take_four_cc(&mut tag)?,
            Multitrack::One | Multitrack::Many => common,
        };
        let track = take_u8(&mut tag)?;
        let body = if layout == Multitrack::One {
            std::mem::take(&mut tag)
        } else {
            let size = take_u24(&mut tag)?;
            take(&mut tag, size)?
        };
        if shares.len() >= tracks_max {
            return Err(FlvError::Tracks);
        }
        shares.push(Share {
            track,
            four_cc,
            body,
        });
        if tag.is_empty() {
            return Ok(shares);
        }
    }
}

impl Default for FourCc {
    fn default() -> Self {
        Self(*b"    ")
    }
}

fn take(tag: &mut Bytes, size: usize) -> Result<Bytes, FlvError> {
    if size > tag.len() {
        return Err(FlvError::Truncated);
    }
    Ok(tag.split_to(size))
}

fn take_u8(tag: &mut Bytes) -> Result<u8, FlvError> {
    tag.try_get_u8().map_err(|_| FlvError::Truncated)
}

fn take_u16(tag: &mut Bytes) -> Result<u16, FlvError> {
    tag.try_get_u16().map_err(|_| FlvError::Truncated)
}

fn take_u24(tag: &mut Bytes) -> Result<usize, FlvError> {
    let bytes = take_array::<3>(tag)?;
    Ok(bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

/// A signed 24-bit number, big-endian.
fn take_i24(tag: &mut Bytes) -> Result<i32, FlvError> {
    let [a, b, c] = take_array::<3>(tag)?;
    Ok(i32::from_be_bytes([a, b, c, 0]) >> 8)
}

fn take_four_cc(tag: &mut Bytes) -> Result<FourCc, FlvError> {
    take_array(tag).map(FourCc)
}

fn take_array<const N: usize>(tag: &mut Bytes) -> Result<[u8; N], FlvError> {
    let bytes = take(tag, N)?;
    bytes.first_chunk().copied().ok_or(FlvError::Truncated)
}

#[cfg(test)]
mod tests;
