//! NAL units in samples: walking the length fields, finding key frames.
//!
//! In MP4 each NAL unit stands behind its length (1, 2 or 4 bytes, see
//! [`codec::nal_length_size`](super::codec::nal_length_size)), not behind a start code.
//! Sources: ISO/IEC 14496-15, 5.3.2; ITU-T H.264 table 7-1; ITU-T H.265 table 7-1.

use super::codec::nal_length_size;
use super::track::Codec;

/// Iterates over the NAL units of a sample. `Err` once when a length runs past the end.
pub fn units(sample: &[u8], length_size: usize) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    let mut rest = Some(sample);
    std::iter::from_fn(move || {
        let bytes = rest.take().filter(|bytes| !bytes.is_empty())?;
        Some(match split_unit(bytes, length_size) {
            Some((unit, after)) => {
                rest = Some(after);
                Ok(unit)
            }
            None => Err(Malformed),
        })
    })
}

/// A NAL unit's length runs past the end of its sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a nal unit is longer than its sample")]
pub struct Malformed;

fn split_unit(bytes: &[u8], length_size: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(length_size)?;
    let length = length
        .iter()
        .fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

/// Whether a sample of `codec` holds an intra random access picture; `None` when the codec is not
/// made of NAL units, or the sample is malformed.
///
/// H.264: an IDR slice. HEVC: BLA, IDR or CRA.
pub fn is_key_frame(codec: &Codec, sample: &[u8]) -> Option<bool> {
    let is_random_access: fn(u8) -> bool = match codec {
        Codec::H264 { .. } => |header| header & 0x1f == 5,
        Codec::Hevc { .. } => |header| (16..=21).contains(&(header >> 1 & 0x3f)),
        _ => return None,
    };
    let mut found = false;
    for unit in units(sample, nal_length_size(codec)) {
        found |= unit
            .ok()?
            .first()
            .is_some_and(|header| is_random_access(*header));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn units_are_walked_and_overrun_is_told() {
        let sample = [0, 0, 0, 1, 9, 0, 0, 0, 2, 0x65, 1, 0, 0, 0, 9, 1];
        let found: Vec<_> = units(&sample, 4).collect();
        assert_eq!(found, [Ok(&[9][..]), Ok(&[0x65, 1][..]), Err(Malformed)]);
        let codec = Codec::H264 {
            config: Bytes::from_static(&[1, 66, 0, 30, 0xff, 0xe1]),
            in_band: false,
        };
        assert_eq!(is_key_frame(&codec, &sample[..11]), Some(true));
        assert_eq!(is_key_frame(&codec, &sample[..5]), Some(false));
        assert_eq!(is_key_frame(&codec, &sample), None);
    }
}
