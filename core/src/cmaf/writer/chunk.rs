//! [`ChunkWriter`]: samples in, `moof` and `mdat` out.
//!
//! A chunk is `[prft] moof(mfhd traf(tfhd tfdt trun)) mdat`: default-base-is-moof, `tfdt` and
//! `trun` of version 1 (64-bit times, signed composition offsets). What all samples share moves
//! from `trun` to `tfhd`, so a one-frame chunk costs about 100 bytes. The head is one small buffer;
//! the samples' payloads follow it as the pieces that they are.
//! Sources: ISO/IEC 23000-19 section 7.3.2 (CMAF chunk), ISO/IEC 14496-12 section 8.8.

use crate::cmaf::boxes::{BoxWriter, FourCc};
use crate::cmaf::error::Error;
use crate::cmaf::fragment::{Sample, SampleFlags};
use crate::cmaf::prft::ProducerReference;
use crate::payload::Payload;
use bytes::Bytes;

/// One sample to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaSample {
    /// Duration in ticks.
    pub duration: u32,
    /// Presentation minus decode time in ticks; may be negative.
    pub composition_offset: i32,
    /// [`SampleFlags::SYNC`] for a key frame and for audio, else [`SampleFlags::DEPENDENT`].
    pub flags: SampleFlags,
    /// The coded bytes: NAL units with their lengths, an AAC frame without ADTS, an Opus packet.
    pub data: Payload,
}

/// Writes the chunks of one track, numbering them.
#[derive(Clone, Debug)]
pub struct ChunkWriter {
    track_id: u32,
    sequence: u32,
}

/// Most samples of one written chunk.
const SAMPLES_MAX: usize = 10_000;

impl ChunkWriter {
    /// A writer whose first chunk has sequence number 1.
    pub const fn new(track_id: u32) -> Self {
        Self {
            track_id,
            sequence: 0,
        }
    }

    /// The track that the chunks are of.
    pub const fn track_id(&self) -> u32 {
        self.track_id
    }

    /// Sequence number of the chunk written last; 0 before the first.
    pub const fn sequence(&self) -> u32 {
        self.sequence
    }

    /// One chunk. `base_decode_time` is the decode time of the first sample, in ticks.
    ///
    /// Copies no media. The first piece of the result is the head.
    pub fn chunk(
        &mut self,
        base_decode_time: u64,
        samples: &[MediaSample],
        producer_reference: Option<ProducerReference>,
    ) -> Result<Payload, Error> {
        if samples.is_empty() {
            return Err(Error::Empty { what: "sample" });
        }
        if samples.len() > SAMPLES_MAX {
            return Err(Error::TooManySamples { max: SAMPLES_MAX });
        }
        let bytes: usize = samples.iter().map(|sample| sample.data.len()).sum();
        let too_large = Error::ChunkTooLarge { bytes };
        let mdat_size = bytes
            .checked_add(8)
            .and_then(|size| u32::try_from(size).ok())
            .filter(|size| *size < 1 << 31)
            .ok_or(too_large)?;
        self.sequence = self.sequence.wrapping_add(1);
        let head = self.head(base_decode_time, samples, producer_reference, mdat_size);
        let mut pieces = Vec::with_capacity(samples.len() + 1);
        pieces.push(head);
        for sample in samples {
            pieces.extend_from_slice(sample.data.pieces());
        }
        Ok(Payload::from_pieces(pieces))
    }

    fn head(
        &self,
        base_decode_time: u64,
        samples: &[MediaSample],
        producer_reference: Option<ProducerReference>,
        mdat_size: u32,
    ) -> Bytes {
        let mut offset = 0u32;
        let entries: Vec<Sample> = samples
            .iter()
            .map(|sample| {
                // The sum of the sizes was checked to fit.
                let size = u32::try_from(sample.data.len()).unwrap_or(u32::MAX);
                let at = offset;
                offset = offset.saturating_add(size);
                Sample {
                    duration: sample.duration,
                    size,
                    flags: sample.flags,
                    composition_offset: sample.composition_offset,
                    offset: at,
                }
            })
            .collect();
        let mut out = BoxWriter::with_capacity(160 + 16 * samples.len());
        if let Some(reference) = producer_reference {
            reference.write(&mut out);
        }
        let traf = [(self.track_id, base_decode_time, entries.as_slice())];
        write_moof(&mut out, self.sequence, &traf);
        out.u32(mdat_size);
        out.bytes(&FourCc::MDAT.0);
        out.finish()
    }
}

/// Writes a `moof` for media that follows behind an eight-byte `mdat` header: per track its id,
/// decode time and samples, whose offsets count from the start of the media.
pub(crate) fn write_moof(out: &mut BoxWriter, sequence: u32, tracks: &[(u32, u64, &[Sample])]) {
    let moof_at = out.len();
    let mut data_offsets = Vec::new();
    out.boxed(FourCc::MOOF, |out| {
        out.full(FourCc::MFHD, 0, 0, |out| out.u32(sequence));
        for &(track_id, base_decode_time, samples) in tracks {
            let shared = Shared::of(samples);
            out.boxed(FourCc::TRAF, |out| {
                shared.write_tfhd(out, track_id);
                out.full(FourCc::TFDT, 1, 0, |out| out.u64(base_decode_time));
                let mut first_flags = shared.first_flags;
                for run in runs(samples) {
                    let media_at = run.first().map_or(0, |sample| sample.offset);
                    let field_at = shared.write_trun(out, run, first_flags.take());
                    data_offsets.push((field_at, media_at));
                }
            });
        }
    });
    let media_at = out.len() - moof_at + 8;
    for (field_at, offset) in data_offsets {
        let offset = media_at.saturating_add(offset as usize);
        out.set_u32(field_at, u32::try_from(offset).unwrap_or(u32::MAX));
    }
}

/// Runs of samples that lie one behind the other.
fn runs(samples: &[Sample]) -> impl Iterator<Item = &[Sample]> {
    samples.chunk_by(|a, b| a.offset.checked_add(a.size) == Some(b.offset))
}

/// What every sample of a chunk has in common, and which fields differ.
struct Shared {
    duration: Option<u32>,
    size: Option<u32>,
    /// Flags of all samples but the first.
    flags: Option<u32>,
    /// Flags of the first sample when they alone differ.
    first_flags: Option<u32>,
    has_composition: bool,
}

impl Shared {
    fn of(samples: &[Sample]) -> Self {
        let flags = same(samples.iter().map(|s| s.flags.0));
        let rest = same(samples.iter().skip(1).map(|s| s.flags.0));
        let first = samples.first().map(|s| s.flags.0);
        Self {
            duration: same(samples.iter().map(|s| s.duration)),
            size: same(samples.iter().map(|s| s.size)),
            flags: flags.or(rest),
            first_flags: if flags.is_none() && rest.is_some() {
                first
            } else {
                None
            },
            has_composition: samples.iter().any(|s| s.composition_offset != 0),
        }
    }

    fn write_tfhd(&self, out: &mut BoxWriter, track_id: u32) {
        let mut box_flags = 0x02_0000;
        for (field, bit) in [(self.duration, 0x08), (self.size, 0x10), (self.flags, 0x20)] {
            box_flags |= if field.is_some() { bit } else { 0 };
        }
        out.full(FourCc::TFHD, 0, box_flags, |out| {
            out.u32(track_id);
            for field in [self.duration, self.size, self.flags].into_iter().flatten() {
                out.u32(field);
            }
        });
    }

    /// Writes a run; gives the position of its data offset.
    fn write_trun(&self, out: &mut BoxWriter, run: &[Sample], first_flags: Option<u32>) -> usize {
        let mut box_flags = 0x01;
        for (present, bit) in [
            (first_flags.is_some(), 0x004),
            (self.duration.is_none(), 0x100),
            (self.size.is_none(), 0x200),
            (self.flags.is_none(), 0x400),
            (self.has_composition, 0x800),
        ] {
            box_flags |= if present { bit } else { 0 };
        }
        let mut data_offset_at = 0;
        out.full(FourCc::TRUN, 1, box_flags, |out| {
            out.u32(u32::try_from(run.len()).unwrap_or(u32::MAX));
            data_offset_at = out.len();
            out.u32(0);
            if let Some(flags) = first_flags {
                out.u32(flags);
            }
            for sample in run {
                if self.duration.is_none() {
                    out.u32(sample.duration);
                }
                if self.size.is_none() {
                    out.u32(sample.size);
                }
                if self.flags.is_none() {
                    out.u32(sample.flags.0);
                }
                if self.has_composition {
                    out.u32(sample.composition_offset.cast_unsigned());
                }
            }
        });
        data_offset_at
    }
}

/// The value that all items have, if they have one.
fn same(mut items: impl Iterator<Item = u32>) -> Option<u32> {
    let first = items.next()?;
    items.all(|item| item == first).then_some(first)
}
