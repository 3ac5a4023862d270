//! Configuration records: checked, read for their shape, built from parameter sets.
//!
//! | record | codec | source |
//! |---|---|---|
//! | `avcC` | H.264 | ISO/IEC 14496-15, 5.3.3.1 |
//! | `hvcC` | HEVC | ISO/IEC 14496-15, 8.3.3.1 |
//! | `av1C` | AV1 | AV1 Codec ISO Media File Format Binding, 2.3 |
//! | `dOps` | Opus | Encapsulation of Opus in ISOBMFF, 4.3.2; from `OpusHead`, RFC 7845, 5.1 |
//! | `dfLa` | FLAC | Encapsulation of FLAC in ISOBMFF, 3.3.2 |
//! | `esds` | AAC | ISO/IEC 14496-1, 7.2.6; 14496-14, 5.6 |

use super::bits::Bits;
use super::boxes::{BoxWriter, Fields, FourCc};
use super::error::Error;
use super::sps;
use super::track::{Audio, Video};
use bytes::{BufMut, Bytes, BytesMut};

/// Checks that an `avcC` body is long enough and of version 1.
pub(crate) fn check_avcc(config: &[u8]) -> Result<(), Error> {
    let bad = |reason| Error::BadConfig {
        codec: "avcC",
        reason,
    };
    match config {
        [1, _, _, _, _, sets, ..] if sets & 0x1f > 0 => Ok(()),
        [1, _, _, _, _, _, ..] => Err(bad("no sequence parameter set")),
        [1, ..] | [] => Err(bad("too short")),
        _ => Err(bad("unknown version")),
    }
}

/// The first sequence parameter set of an `avcC` body.
pub(crate) fn avcc_first_sps(config: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields::new(FourCc::AVCC, config.get(6..)?);
    let len = fields.u16().ok()?;
    fields.take(usize::from(len)).ok()
}

pub(crate) fn avcc_video(config: &[u8]) -> Video {
    avcc_first_sps(config)
        .and_then(sps::parse_h264_sps)
        .map(|sps| sps.video)
        .unwrap_or_default()
}

/// Builds an `avcC` body from parameter sets.
pub(crate) fn build_avcc(sps: &[&[u8]], pps: &[&[u8]]) -> Result<Bytes, Error> {
    let bad = |reason| Error::BadConfig {
        codec: "avcC",
        reason,
    };
    let first = sps.first().ok_or(bad("no sequence parameter set"))?;
    let &[_header, profile, constraints, level, ..] = *first else {
        return Err(bad("sequence parameter set is too short"));
    };
    let mut out = BytesMut::new();
    out.put_slice(&[1, profile, constraints, level, 0xff]);
    put_sets(&mut out, sps, 31, 0xe0).ok_or(bad("too many or too long sequence parameter sets"))?;
    put_sets(&mut out, pps, 255, 0).ok_or(bad("too many or too long picture parameter sets"))?;
    if sps::HIGH_PROFILES.contains(&profile) {
        let parsed =
            sps::parse_h264_sps(first).ok_or(bad("sequence parameter set is malformed"))?;
        out.put_slice(&[
            0xfc | parsed.chroma_format,
            0xf8 | (parsed.bit_depth_luma - 8),
            0xf8 | (parsed.bit_depth_chroma - 8),
            0,
        ]);
    }
    Ok(out.freeze())
}

fn put_sets(out: &mut BytesMut, sets: &[&[u8]], max: u8, marker: u8) -> Option<()> {
    let count = u8::try_from(sets.len())
        .ok()
        .filter(|count| *count <= max)?;
    out.put_u8(marker | count);
    for set in sets {
        out.put_u16(u16::try_from(set.len()).ok()?);
        out.put_slice(set);
    }
    Some(())
}

/// Checks the fixed part of an `hvcC` body.
pub(crate) fn check_hvcc(config: &[u8]) -> Result<(), Error> {
    let bad = |reason| Error::BadConfig {
        codec: "hvcC",
        reason,
    };
    match config {
        // Version 0 was written by early muxers; the layout is the same.
        [0 | 1, rest @ ..] if rest.len() >= 22 => Ok(()),
        [0 | 1, ..] | [] => Err(bad("too short")),
        _ => Err(bad("unknown version")),
    }
}

pub(crate) fn hvcc_video(config: &[u8]) -> Video {
    hvcc_first_sps(config)
        .and_then(sps::parse_hevc_sps)
        .unwrap_or_default()
}

fn hvcc_first_sps(config: &[u8]) -> Option<&[u8]> {
    const SPS_NAL_TYPE: u8 = 33;
    let mut fields = Fields::new(FourCc::HVCC, config.get(22..)?);
    for _ in 0..fields.u8().ok()? {
        let nal_type = fields.u8().ok()? & 0x3f;
        for _ in 0..fields.u16().ok()? {
            let len = fields.u16().ok()?;
            let nal = fields.take(usize::from(len)).ok()?;
            if nal_type == SPS_NAL_TYPE {
                return Some(nal);
            }
        }
    }
    None
}

/// Checks the fixed part of an `av1C` body.
pub(crate) fn check_av1c(config: &[u8]) -> Result<(), Error> {
    match config {
        [0x81, _, _, _, ..] => Ok(()),
        _ => Err(Error::BadConfig {
            codec: "av1C",
            reason: "too short, or unknown version",
        }),
    }
}

/// `dOps` body from an `OpusHead`: same fields, other byte order.
pub(crate) fn dops_from_opus_head(head: &[u8]) -> Result<Bytes, Error> {
    let bad = |reason| Error::BadConfig {
        codec: "OpusHead",
        reason,
    };
    let rest = head
        .strip_prefix(b"OpusHead")
        .ok_or(bad("does not begin with OpusHead"))?;
    let Some((
        &[
            version,
            channels,
            skip0,
            skip1,
            r0,
            r1,
            r2,
            r3,
            gain0,
            gain1,
            family,
        ],
        table,
    )) = rest.split_first_chunk::<11>()
    else {
        return Err(bad("too short"));
    };
    if version >> 4 != 0 || channels == 0 {
        return Err(bad("unknown version, or no channels"));
    }
    let mut out = BytesMut::new();
    out.put_slice(&[
        0, channels, skip1, skip0, r3, r2, r1, r0, gain1, gain0, family,
    ]);
    if family != 0 {
        let len = 2 + usize::from(channels);
        out.put_slice(
            table
                .get(..len)
                .ok_or(bad("channel mapping table is too short"))?,
        );
    }
    Ok(out.freeze())
}

pub(crate) fn flac_audio(config: &[u8]) -> Audio {
    // Version and flags, block header, then the 34 bytes of STREAMINFO.
    let mut bits = Bits::plain(config.get(8..).unwrap_or_default());
    let shape = bits
        .skip(80)
        .and_then(|()| Some((bits.bits(20)?, bits.bits(3)?)));
    shape.map_or(Audio::default(), |(sample_rate, channels)| Audio {
        sample_rate,
        channels: u16::try_from(channels).unwrap_or(0) + 1,
    })
}

/// `AudioSpecificConfig` out of an `esds` body; `None` when it describes another codec.
pub(crate) fn aac_from_esds(esds: &[u8]) -> Option<Bytes> {
    let (tag, es) = descriptor(esds.get(4..)?)?;
    if tag != 3 {
        return None;
    }
    let flags = *es.get(2)?;
    let mut skip = 3;
    if flags & 0x80 != 0 {
        skip += 2;
    }
    if flags & 0x40 != 0 {
        skip += 1 + usize::from(*es.get(skip)?);
    }
    if flags & 0x20 != 0 {
        skip += 2;
    }
    let (tag, config) = descriptor(es.get(skip..)?)?;
    // Object types 0x40 (MPEG-4 audio) and 0x66..=0x68 (MPEG-2 AAC).
    if tag != 4 || !matches!(config.first()?, 0x40 | 0x66..=0x68) {
        return None;
    }
    let (tag, specific) = descriptor(config.get(13..)?)?;
    (tag == 5).then(|| Bytes::copy_from_slice(specific))
}

/// Tag and body of the descriptor at the start of `bytes` (ISO/IEC 14496-1, 8.3.3).
fn descriptor(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&tag, mut rest) = bytes.split_first()?;
    let mut len = 0usize;
    for _ in 0..4 {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        len = len << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    // Some muxers claim more than they write; what is there is enough for the first fields.
    Some((tag, rest.get(..len).unwrap_or(rest)))
}

/// Writes an `esds` box for an `AudioSpecificConfig`.
pub(crate) fn write_esds(out: &mut BoxWriter, config: &[u8]) {
    // MPEG-4 audio, an audio stream; the buffer's size and the bit rates are not known.
    let mut decoder = vec![0x40, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    write_descriptor(&mut decoder, 5, config);
    let mut es = vec![0, 0, 0];
    write_descriptor(&mut es, 4, &decoder);
    write_descriptor(&mut es, 6, &[2]);
    let mut all = Vec::with_capacity(es.len() + 5);
    write_descriptor(&mut all, 3, &es);
    out.full(FourCc::ESDS, 0, 0, |w| w.bytes(&all));
}

/// Writes a descriptor, its length in as few bytes as hold it. Configurations are shorter than the 256 MiB
/// that four bytes say.
fn write_descriptor(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    let len = body.len();
    for shift in [21, 14, 7] {
        if len >> shift != 0 {
            out.push(0x80 | seven_bits(len >> shift));
        }
    }
    out.push(seven_bits(len));
    out.extend_from_slice(body);
}

fn seven_bits(value: usize) -> u8 {
    // No more than seven bits are left.
    u8::try_from(value & 0x7f).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn esds_gives_back_its_config() {
        let mut out = BoxWriter::default();
        write_esds(&mut out, &[0x11, 0x90]);
        let esds = out.finish();
        assert_eq!(
            aac_from_esds(&esds[8..]).as_deref(),
            Some(&[0x11, 0x90][..])
        );
        for config in [vec![7; 64], vec![7; 65], vec![7; 127], vec![7; 20_000]] {
            let mut out = BoxWriter::default();
            write_esds(&mut out, &config);
            let esds = out.finish();
            assert_eq!(aac_from_esds(&esds[8..]).as_deref(), Some(&config[..]));
        }
        for len in 0..esds.len() - 8 {
            let _ = aac_from_esds(&esds[8..8 + len]);
        }
    }

    #[test]
    fn opus_head_becomes_dops() {
        let head = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
        let dops = dops_from_opus_head(head).unwrap();
        assert_eq!(&dops[..], [0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0]);
        assert!(dops_from_opus_head(&head[..18]).is_err());
    }

    #[test]
    fn avcc_is_built_from_parameter_sets() {
        let sps: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0xd9];
        let avcc = build_avcc(&[sps], &[&[0x68, 0xce]]).unwrap();
        assert_eq!(&avcc[..7], [1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0]);
        assert_eq!(avcc_first_sps(&avcc), Some(sps));
        check_avcc(&avcc).unwrap();
        assert!(build_avcc(&[], &[]).is_err());
    }
}
