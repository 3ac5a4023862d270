//! RFC 6381 codec strings, and what configuration records say.
//!
//! | codec | record | string |
//! |---|---|---|
//! | H.264 | `avcC` (ISO/IEC 14496-15, 5.3.3) | `avc1.PPCCLL`, `avc3.PPCCLL` |
//! | HEVC | `hvcC` (ISO/IEC 14496-15, 8.3.3, annex E) | `hvc1.1.6.L93.B0`, `hev1...` |
//! | AV1 | `av1C` (AV1 in ISOBMFF, 2.3 and 5) | `av01.0.04M.08` |
//! | VP9 | `vpcC` (VP Codec ISO Media File Format Binding) | `vp09.00.31.08` |
//! | AAC | `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1) | `mp4a.40.2`, `.5`, `.29` |
//! | Opus | `dOps` (Encapsulation of Opus in ISOBMFF, 4.3.2) | `opus` |
//! | FLAC | `dfLa` | `flac` |
//!
//! The strings of Opus and FLAC are lower case, as the catalog writes them; browsers take them so.

use super::bits::Bits;
use super::boxes::{Fields, FourCc};
use super::error::Error;
use super::record::{avcc_video, flac_audio, hvcc_video};
use super::track::{Audio, Codec, Video};
use std::fmt::Write as _;

/// The RFC 6381 string of a codec; the sample entry's code when the codec is not known or its
/// record is too short.
pub fn codec_string(codec: &Codec) -> String {
    let parsed = match codec {
        Codec::H264 { config, in_band } => avc_string(config, *in_band),
        Codec::Hevc { config, in_band } => hevc_string(config, *in_band),
        Codec::Av1 { config } => av1_string(config),
        Codec::Vp9 { config } => vp9_string(config),
        Codec::Aac { config } => AacConfig::parse(config)
            .ok()
            .map(|aac| format!("mp4a.40.{}", aac.object_type)),
        Codec::Opus { .. } => Some("opus".to_owned()),
        Codec::Flac { .. } => Some("flac".to_owned()),
        Codec::Other { entry, .. } => Some(entry.to_string()),
    };
    parsed.unwrap_or_else(|| entry_kind(codec).to_string())
}

/// The sample entry's code.
pub(crate) fn entry_kind(codec: &Codec) -> FourCc {
    match codec {
        Codec::H264 { in_band: false, .. } => FourCc::AVC1,
        Codec::H264 { in_band: true, .. } => FourCc::AVC3,
        Codec::Hevc { in_band: false, .. } => FourCc::HVC1,
        Codec::Hevc { in_band: true, .. } => FourCc::HEV1,
        Codec::Av1 { .. } => FourCc::AV01,
        Codec::Vp9 { .. } => FourCc::VP09,
        Codec::Aac { .. } => FourCc::MP4A,
        Codec::Opus { .. } => FourCc::OPUS,
        Codec::Flac { .. } => FourCc::FLAC,
        Codec::Other { entry, .. } => *entry,
    }
}

/// Shape of a track as far as the configuration record gives it.
pub(crate) fn shape(codec: &Codec) -> Result<(Option<Video>, Option<Audio>), Error> {
    Ok(match codec {
        Codec::H264 { config, .. } => (Some(avcc_video(config)), None),
        Codec::Hevc { config, .. } => (Some(hvcc_video(config)), None),
        Codec::Av1 { .. } | Codec::Vp9 { .. } => (Some(Video::default()), None),
        Codec::Aac { config } => {
            let aac = AacConfig::parse(config)?;
            let audio = Audio {
                sample_rate: aac.output_rate,
                channels: aac.channels,
            };
            (None, Some(audio))
        }
        Codec::Opus { config } => {
            // Opus always decodes at 48 kHz; the rate in the record is that of the original.
            let channels = u16::from(config.get(1).copied().unwrap_or(2));
            (
                None,
                Some(Audio {
                    sample_rate: 48_000,
                    channels,
                }),
            )
        }
        Codec::Flac { config } => (None, Some(flac_audio(config))),
        Codec::Other { .. } => (None, None),
    })
}

fn avc_string(config: &[u8], in_band: bool) -> Option<String> {
    let &[_version, profile, constraints, level, ..] = config else {
        return None;
    };
    let entry = if in_band { "avc3" } else { "avc1" };
    Some(format!("{entry}.{profile:02X}{constraints:02X}{level:02X}"))
}

fn hevc_string(config: &[u8], in_band: bool) -> Option<String> {
    let mut fields = Fields::new(FourCc::HVCC, config.get(1..)?);
    let profile = fields.u8().ok()?;
    let compatibility = fields.u32().ok()?;
    let constraints = fields.array::<6>().ok()?;
    let level = fields.u8().ok()?;
    let entry = if in_band { "hev1" } else { "hvc1" };
    let space = match profile >> 6 {
        0 => "",
        1 => "A",
        2 => "B",
        _ => "C",
    };
    let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
    let mut out = format!(
        "{entry}.{space}{}.{:X}.{tier}{level}",
        profile & 0x1f,
        compatibility.reverse_bits()
    );
    let used = constraints
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    for byte in constraints.iter().take(used) {
        write!(out, ".{byte:X}").ok()?;
    }
    Some(out)
}

fn av1_string(config: &[u8]) -> Option<String> {
    let &[_marker, profile_level, flags, ..] = config else {
        return None;
    };
    let tier = if flags & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match (flags & 0x40 != 0, flags & 0x20 != 0) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    let (profile, level) = (profile_level >> 5, profile_level & 0x1f);
    Some(format!("av01.{profile}.{level:02}{tier}.{depth:02}"))
}

fn vp9_string(config: &[u8]) -> Option<String> {
    let &[_, _, _, _, profile, level, depth, ..] = config else {
        return None;
    };
    Some(format!("vp09.{profile:02}.{level:02}.{:02}", depth >> 4))
}

/// What an `AudioSpecificConfig` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AacConfig {
    /// Audio object type as the codec string names it: 2 AAC-LC, 5 HE-AAC, 29 HE-AAC v2, 42 xHE.
    pub object_type: u8,
    /// Samples per second of the core coder.
    pub core_rate: u32,
    /// Samples per second of the decoded sound; twice the core rate with explicit SBR.
    pub output_rate: u32,
    /// Channels of the decoded sound; 0 when the record leaves it to the stream.
    pub channels: u16,
}

impl AacConfig {
    /// Parses an `AudioSpecificConfig`.
    pub fn parse(config: &[u8]) -> Result<Self, Error> {
        let bad = |reason| Error::BadConfig {
            codec: "AudioSpecificConfig",
            reason,
        };
        let mut bits = Bits::plain(config);
        let object_type = object_type(&mut bits).ok_or(bad("too short"))?;
        if object_type == 0 {
            return Err(bad("object type is zero"));
        }
        let core_rate = sampling_rate(&mut bits).ok_or(bad("unknown sampling frequency"))?;
        let channel_config = bits.bits(4).ok_or(bad("too short"))?;
        let explicit_sbr = object_type == 5 || object_type == 29;
        let output_rate = if explicit_sbr {
            sampling_rate(&mut bits).ok_or(bad("unknown extension sampling frequency"))?
        } else {
            core_rate
        };
        let channels = match (object_type, channel_config) {
            (29, 1) => 2, // parametric stereo
            (_, count @ 0..=6) => u16::try_from(count).unwrap_or(0),
            (_, 11) => 7,
            (_, 7 | 12 | 14) => 8,
            _ => return Err(bad("unknown channel configuration")),
        };
        Ok(Self {
            object_type,
            core_rate,
            output_rate,
            channels,
        })
    }
}

fn object_type(bits: &mut Bits<'_>) -> Option<u8> {
    let short = bits.bits(5)?;
    let value = if short == 31 {
        32 + bits.bits(6)?
    } else {
        short
    };
    u8::try_from(value).ok()
}

fn sampling_rate(bits: &mut Bits<'_>) -> Option<u32> {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    match bits.bits(4)? {
        15 => bits.bits(24).filter(|rate| *rate > 0),
        index => RATES.get(usize::try_from(index).ok()?).copied(),
    }
}

/// Bytes of the length field before each NAL unit: 1, 2 or 4.
pub fn nal_length_size(codec: &Codec) -> usize {
    let field = match codec {
        Codec::H264 { config, .. } => config.get(4),
        Codec::Hevc { config, .. } => config.get(21),
        _ => None,
    };
    field.map_or(4, |byte| usize::from(byte & 3) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn codec_strings_follow_rfc_6381() {
        let h264 = Codec::H264 {
            config: Bytes::from_static(&[1, 0x42, 0xe0, 0x1f]),
            in_band: false,
        };
        assert_eq!(codec_string(&h264), "avc1.42E01F");
        let mut hvcc = vec![1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93];
        let hevc = |config: &[u8]| Codec::Hevc {
            config: Bytes::copy_from_slice(config),
            in_band: false,
        };
        assert_eq!(codec_string(&hevc(&hvcc)), "hvc1.1.6.L93.90");
        hvcc[1] = 0x62;
        hvcc[6..12].copy_from_slice(&[0xb0, 0, 0x10, 0, 0, 0]);
        assert_eq!(codec_string(&hevc(&hvcc)), "hvc1.A2.6.H93.B0.0.10");
        let av1 = Codec::Av1 {
            config: Bytes::from_static(&[0x81, 0x04, 0x0c, 0]),
        };
        assert_eq!(codec_string(&av1), "av01.0.04M.08");
        let vp9 = Codec::Vp9 {
            config: Bytes::from_static(&[1, 0, 0, 0, 0, 31, 0x82, 1, 1, 1, 0, 0]),
        };
        assert_eq!(codec_string(&vp9), "vp09.00.31.08");
    }

    #[test]
    fn aac_object_types_and_rates() {
        let parse = |bytes: &[u8]| AacConfig::parse(bytes).unwrap();
        // AAC-LC 48 kHz stereo; HE-AAC 24/48 kHz stereo; HE-AAC v2 22.05/44.1 kHz.
        let lc = parse(&[0x11, 0x90]);
        assert_eq!(
            (lc.object_type, lc.output_rate, lc.channels),
            (2, 48_000, 2)
        );
        let he = parse(&[0x2b, 0x11, 0x88, 0x00]);
        assert_eq!(
            (he.object_type, he.core_rate, he.output_rate),
            (5, 24_000, 48_000)
        );
        let v2 = parse(&[0xeb, 0x8a, 0x08, 0x00]);
        assert_eq!(
            (v2.object_type, v2.output_rate, v2.channels),
            (29, 44_100, 2)
        );
        assert!(AacConfig::parse(&[]).is_err());
        assert!(AacConfig::parse(&[0x16, 0xf0]).is_err());
    }
}
