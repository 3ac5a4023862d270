//! [`Fragment`]: one `moof` and its `mdat`, taken apart into samples without copying media.
//!
//! Sources: ISO/IEC 14496-12 section 8.8 (movie fragments), ISO/IEC 23000-19 (CMAF).

use super::prft::ProducerReference;
use crate::payload::Payload;
use bytes::Bytes;

/// Flags of a sample (ISO/IEC 14496-12, 8.8.3.1), in their 32-bit form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleFlags(pub u32);

impl SampleFlags {
    /// Decodable alone: depends on no other sample.
    pub const SYNC: Self = Self(0x0200_0000);
    /// Depends on others, and is not a sync sample.
    pub const DEPENDENT: Self = Self(0x0101_0000);

    const NON_SYNC_BIT: u32 = 0x0001_0000;

    /// Whether decoding can begin here.
    pub const fn is_sync(self) -> bool {
        self.0 & Self::NON_SYNC_BIT == 0
    }
}

/// One sample: a coded picture, or one audio frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Duration in ticks of the track's timescale.
    pub duration: u32,
    /// Size in bytes.
    pub size: u32,
    /// Sync and dependency flags.
    pub flags: SampleFlags,
    /// Presentation minus decode time in ticks. Version 0 boxes call this unsigned; what passes
    /// 31 bits is read as negative, as players do.
    pub composition_offset: i32,
    /// Where the sample begins in [`Fragment::media`].
    pub offset: u32,
}

/// The samples of one track in a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackFragment {
    /// Which track of the init segment.
    pub track_id: u32,
    /// Decode time of the first sample, in ticks.
    pub base_decode_time: u64,
    /// Sum of the sample durations, in ticks.
    pub duration: u64,
    /// The samples in decode order.
    pub samples: Vec<Sample>,
}

impl TrackFragment {
    /// Whether the first sample is a sync sample.
    pub fn starts_with_sync(&self) -> bool {
        self.samples.first().is_some_and(|s| s.flags.is_sync())
    }
}

/// One `moof` with its `mdat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// `styp`, `prft` and `emsg` boxes that came before the `moof`, in order. A `sidx` is dropped:
    /// it indexes a file.
    pub prefix: Payload,
    /// `moof`, with its header.
    pub moof: Bytes,
    /// What stands between `moof` and the content of `mdat`: the `mdat` header, and any box between.
    pub gap: Bytes,
    /// Content of `mdat`, in the pieces in which it arrived.
    pub media: Payload,
    /// Sequence number from `mfhd`.
    pub sequence: u32,
    /// One entry per `traf`, in order.
    pub tracks: Vec<TrackFragment>,
    /// Whether a decoder can begin here: the first sample of video is a sync sample. In a stream
    /// with video, a fragment without any is not independent.
    pub is_independent: bool,
    /// Whether the fragment may be moved to another place (no absolute file offsets in it).
    pub is_relocatable: bool,
    /// When the producer made this fragment, if a `prft` said so.
    pub producer_reference: Option<ProducerReference>,
}

impl Fragment {
    /// The whole fragment as one object: prefix, `moof`, `mdat`. Copies no media.
    pub fn payload(&self) -> Payload {
        let mut pieces =
            Vec::with_capacity(self.prefix.pieces().len() + self.media.pieces().len() + 2);
        pieces.extend_from_slice(self.prefix.pieces());
        pieces.push(self.moof.clone());
        pieces.push(self.gap.clone());
        pieces.extend_from_slice(self.media.pieces());
        Payload::from_pieces(pieces)
    }

    /// The bytes of one sample. Copies no media.
    ///
    /// `sample` must be of this fragment; what lies outside the media is cut off.
    pub fn sample_payload(&self, sample: &Sample) -> Payload {
        slice(&self.media, sample.offset as usize, sample.size as usize)
    }

    /// The entry of `track_id`, if the fragment has samples of it.
    pub fn track(&self, track_id: u32) -> Option<&TrackFragment> {
        self.tracks.iter().find(|track| track.track_id == track_id)
    }

    /// Number of samples over all tracks.
    pub fn sample_count(&self) -> usize {
        self.tracks.iter().map(|track| track.samples.len()).sum()
    }
}

/// `len` bytes of `payload` from `start`, sharing its pieces.
pub(crate) fn slice(payload: &Payload, start: usize, len: usize) -> Payload {
    let mut pieces = Vec::new();
    let mut skip = start;
    let mut left = len;
    for piece in payload.pieces() {
        if left == 0 {
            break;
        }
        if skip >= piece.len() {
            skip -= piece.len();
            continue;
        }
        let end = piece.len().min(skip.saturating_add(left));
        pieces.push(piece.slice(skip..end));
        left -= end - skip;
        skip = 0;
    }
    Payload::from_pieces(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_share_pieces_and_cross_borders() {
        let payload = Payload::from_pieces(vec![
            Bytes::from_static(b"abc"),
            Bytes::from_static(b"de"),
            Bytes::from_static(b"fgh"),
        ]);
        assert_eq!(slice(&payload, 2, 4).to_bytes(), "cdef");
        assert_eq!(slice(&payload, 0, 0).len(), 0);
        assert_eq!(slice(&payload, 7, 9).to_bytes(), "h");
        assert_eq!(slice(&payload, 8, 1).len(), 0);
        let whole = slice(&payload, 0, 8);
        assert_eq!(whole.pieces()[0].as_ptr(), payload.pieces()[0].as_ptr());
    }
}
