//! How long a frame of audio is, and where it stands when samples are counted.
//!
//! Sources: ISO/IEC 14496-3 section 1.6.2 (frame lengths in the `AudioSpecificConfig`), RFC 6716
//! section 3.1 (the Opus TOC byte), RFC 9639 section 8.2 (FLAC STREAMINFO).

use crate::cmaf::Codec;
use crate::cmaf::codec::AacConfig;
use std::num::NonZeroU32;

/// Opus counts at 48 kHz, whatever was encoded.
const OPUS_RATE: NonZeroU32 = NonZeroU32::new(48_000).unwrap();

/// Length of a codec's frames, in samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameLength {
    /// Always the same.
    Fixed(u32),
    /// In the first byte or two of each packet.
    Opus,
    /// To be learnt from timestamps.
    Unknown,
}

impl FrameLength {
    /// Frame length of a codec and the rate in which it counts.
    pub(super) fn of(codec: &Codec, sample_rate: u32) -> (Self, Option<NonZeroU32>) {
        match codec {
            Codec::Aac { config } => {
                let rate = AacConfig::parse(config).map_or(sample_rate, |aac| aac.core_rate);
                let length = aac_frame_length(config).map_or(Self::Unknown, Self::Fixed);
                (length, NonZeroU32::new(rate))
            }
            Codec::Opus { .. } => (Self::Opus, Some(OPUS_RATE)),
            Codec::Flac { config } => {
                let length = flac_block_length(config).map_or(Self::Unknown, Self::Fixed);
                (length, NonZeroU32::new(sample_rate))
            }
            _ => (Self::Unknown, NonZeroU32::new(sample_rate)),
        }
    }

    /// Samples in this frame.
    pub(super) fn samples(self, frame: &[u8]) -> Option<u32> {
        match self {
            Self::Fixed(samples) => Some(samples),
            Self::Opus => opus_samples(frame),
            Self::Unknown => None,
        }
    }
}

/// Samples of the core coder in a frame; `None` for object types whose length varies.
fn aac_frame_length(config: &[u8]) -> Option<u32> {
    let mut bits = Bits(config, 0);
    let mut object_type = bits.object_type()?;
    bits.sampling_rate()?;
    bits.take(4)?;
    if object_type == 5 || object_type == 29 {
        bits.sampling_rate()?;
        object_type = bits.object_type()?;
    }
    let is_short = bits.take(1)? == 1;
    match object_type {
        1..=4 | 6 | 7 | 17 | 19..=22 => Some(if is_short { 960 } else { 1024 }),
        23 | 39 => Some(if is_short { 480 } else { 512 }),
        _ => None,
    }
}

/// STREAMINFO's block size, if the smallest is the largest.
fn flac_block_length(config: &[u8]) -> Option<u32> {
    // Version and flags, block header, then STREAMINFO.
    let [a, b, c, d] = *config.get(8..)?.first_chunk::<4>()?;
    let (least, most) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    (least == most && most > 0).then_some(most.into())
}

/// Samples at 48 kHz in an Opus packet; at most 120 ms.
fn opus_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880].get(usize::from(config & 3)).copied(),
        config @ 12..=15 => [480, 960].get(usize::from(config & 1)).copied(),
        config => [120, 240, 480, 960].get(usize::from(config & 3)).copied(),
    }?;
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    Some(frames * frame).filter(|samples| (1..=5760).contains(samples))
}

/// Bits of a short record, most significant first.
struct Bits<'a>(&'a [u8], usize);

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.0.get(self.1 / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.1 % 8) & 1);
            self.1 += 1;
        }
        Some(value)
    }

    fn object_type(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)?),
            short => Some(short),
        }
    }

    fn sampling_rate(&mut self) -> Option<()> {
        if self.take(4)? == 15 {
            self.take(24)?;
        }
        Some(())
    }
}

/// Where a frame of samples stands, and for how long. In ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) at: i64,
    pub(super) duration: u32,
}

/// Counts samples, and keeps the count near the timestamps. Ticks are samples.
#[derive(Debug)]
pub(super) struct SampleCount {
    next: Option<i64>,
    ahead_max: i64,
    behind_max: i64,
}

impl SampleCount {
    pub(super) fn new(ahead_max: i64, behind_max: i64) -> Self {
        Self {
            next: None,
            ahead_max,
            behind_max,
        }
    }

    /// Begins a new stretch with the next frame.
    pub(super) fn restart(&mut self) {
        self.next = None;
    }

    /// The place of a frame of `samples` with this timestamp.
    ///
    /// When there is more sound than time, frames stand for half of what they sound, one after the
    /// other, until the count and the timestamps agree again: no frame is lost and none overlaps.
    pub(super) fn place(&mut self, timestamp: i64, samples: u32) -> Stand {
        let next = self.next.unwrap_or(timestamp);
        let ahead = timestamp.saturating_sub(next);
        let at = if ahead > self.ahead_max {
            timestamp
        } else {
            next
        };
        let duration = if ahead < -self.behind_max {
            (samples / 2).max(1)
        } else {
            samples
        };
        self.next = Some(at.saturating_add(duration.into()));
        Stand { at, duration }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn frame_lengths_are_in_the_records() {
        let aac = |bytes: &'static [u8]| Codec::Aac {
            config: Bytes::from_static(bytes),
        };
        let of = |codec: &Codec| FrameLength::of(codec, 44_100);
        let rate = NonZeroU32::new;
        // AAC-LC at 44.1 kHz, and with frames of 960.
        assert_eq!(
            of(&aac(&[0x12, 0x10])),
            (FrameLength::Fixed(1024), rate(44_100))
        );
        assert_eq!(
            of(&aac(&[0x12, 0x14])),
            (FrameLength::Fixed(960), rate(44_100))
        );
        // HE-AAC: core at 24 kHz, output at 48 kHz.
        let he = aac(&[0x2b, 0x11, 0x88, 0x00]);
        assert_eq!(of(&he), (FrameLength::Fixed(1024), rate(24_000)));
        let opus = Codec::Opus {
            config: Bytes::new(),
        };
        assert_eq!(of(&opus), (FrameLength::Opus, rate(48_000)));
    }

    #[test]
    fn opus_packets_say_how_long_they_are() {
        let samples = |packet: &[u8]| FrameLength::Opus.samples(packet);
        assert_eq!(samples(&[0xfc, 0]), Some(960), "celt, 20 ms, one frame");
        assert_eq!(samples(&[0x78, 0]), Some(960), "hybrid, 20 ms");
        assert_eq!(samples(&[0x19, 0]), Some(5760), "silk, 60 ms, two frames");
        assert_eq!(
            samples(&[0xe3, 0x05]),
            Some(600),
            "celt, 2.5 ms, five frames"
        );
        assert_eq!(samples(&[0xfb, 0x3f]), None, "longer than 120 ms");
        assert_eq!(samples(&[0xff]), None);
        assert_eq!(samples(&[]), None);
    }

    #[test]
    fn samples_are_counted_until_the_timestamps_drift_away() {
        let mut count = SampleCount::new(1440, 4800);
        let mut place = |timestamp| {
            let stand = count.place(timestamp, 1024);
            (stand.at, stand.duration)
        };
        assert_eq!(place(0), (0, 1024));
        assert_eq!(place(1000), (1024, 1024));
        assert_eq!(place(2048 + 1440), (2048, 1024));
        assert_eq!(place(3072 + 1441), (3072 + 1441, 1024));
        let next = 3072 + 1441 + 1024;
        assert_eq!(place(next - 4800), (next, 1024));
        assert_eq!(place(next + 1024 - 4801), (next + 1024, 512));
        assert_eq!(place(next + 1536 - 4800), (next + 1536, 1024));
    }
}
