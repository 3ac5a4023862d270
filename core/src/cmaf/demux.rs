//! [`Splitter`]: fragments of several tracks in, chunks of one track out.
//!
//! A publisher of muxed fMP4 (a file, `MediaRecorder`) has video and audio in one `moof`; MoQT wants
//! a track per rendition, small objects, and a group that begins with a key frame. Each chunk is a
//! `moof` and `mdat` of its own with the track id that the fragment had, so it belongs to
//! [`Init::single_track`](super::Init::single_track). Media bytes stay where they are.
//!
//! A chunk never reaches across a key frame of video, so a key frame is always the first sample
//! of its chunk. Chunks come in order of decode time over all tracks: publishing them in that
//! order keeps sound and picture together.

use super::error::Error;
use super::fragment::{Fragment, Sample, TrackFragment};
use super::init::Init;
use super::prft::ProducerReference;
use super::track::Kind;
use super::writer::{ChunkWriter, MediaSample};
use crate::map::BTreeMap;
use crate::payload::Payload;
use crate::time::MediaTime;
use std::num::NonZeroU32;
use std::time::Duration;

/// How large a chunk of one track may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkSize {
    /// One sample each: the least delay.
    Frame,
    /// As many samples as fit the duration, at least one.
    Duration(Duration),
}

/// A chunk of one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackChunk {
    /// Track id, as in the init segment.
    pub track_id: u32,
    /// Video, audio or other.
    pub kind: Kind,
    /// `moof` and `mdat`, after a `prft` if the fragment had one.
    pub payload: Payload,
    /// Decode time of the first sample, in ticks.
    pub base_decode_time: u64,
    /// Sum of the sample durations, in ticks.
    pub duration: u64,
    /// Number of samples.
    pub samples: usize,
    /// Whether the first sample is a sync sample: the chunk may open a group.
    pub is_independent: bool,
    /// Ticks per second.
    pub timescale: NonZeroU32,
}

impl TrackChunk {
    /// Decode time of the first sample.
    pub fn decode_time(&self) -> MediaTime {
        let ticks = i64::try_from(self.base_decode_time).unwrap_or(i64::MAX);
        MediaTime::new(ticks, self.timescale)
    }
}

/// Splits the fragments of one init segment.
#[derive(Clone, Debug)]
pub struct Splitter {
    tracks: BTreeMap<u32, Output>,
}

#[derive(Clone, Debug)]
struct Output {
    writer: ChunkWriter,
    kind: Kind,
    timescale: NonZeroU32,
    /// Longest chunk in ticks; 0 for one sample each.
    ticks_max: u64,
}

impl Splitter {
    /// A splitter for the tracks of `init`.
    pub fn new(init: &Init, size: ChunkSize) -> Self {
        let tracks = init.tracks.iter().map(|track| {
            let ticks_max = match size {
                ChunkSize::Frame => 0,
                ChunkSize::Duration(duration) => {
                    let micros = duration.as_micros().min(u128::from(u32::MAX));
                    let ticks = micros * u128::from(track.timescale.get()) / 1_000_000;
                    u64::try_from(ticks).unwrap_or(u64::MAX)
                }
            };
            let output = Output {
                writer: ChunkWriter::new(track.id),
                kind: track.kind(),
                timescale: track.timescale,
                ticks_max,
            };
            (track.id, output)
        });
        Self {
            tracks: tracks.collect(),
        }
    }

    /// The chunks of `fragment`, in order of decode time.
    pub fn split(&mut self, fragment: &Fragment) -> Result<Vec<TrackChunk>, Error> {
        let mut chunks = Vec::new();
        for track in &fragment.tracks {
            let track_id = track.track_id;
            let output = self
                .tracks
                .get_mut(&track_id)
                .ok_or(Error::UnknownTrack { track_id })?;
            output.split(fragment, track, &mut chunks)?;
        }
        // Stable: chunks of one track keep their order even if their times do not rise.
        chunks.sort_by(seconds_order);
        Ok(chunks)
    }
}

fn seconds_order(a: &TrackChunk, b: &TrackChunk) -> std::cmp::Ordering {
    let scaled = |chunk: &TrackChunk, other: &TrackChunk| {
        u128::from(chunk.base_decode_time) * u128::from(other.timescale.get())
    };
    scaled(a, b).cmp(&scaled(b, a))
}

impl Output {
    fn split(
        &mut self,
        fragment: &Fragment,
        track: &TrackFragment,
        chunks: &mut Vec<TrackChunk>,
    ) -> Result<(), Error> {
        let mut time = track.base_decode_time;
        let mut rest = track.samples.as_slice();
        // One reference time is for one picture: it goes with the first chunk of its track.
        let mut reference = fragment
            .producer_reference
            .filter(|reference| reference.track_id == track.track_id);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.chunk_len(rest));
            rest = later;
            let duration = now.iter().map(|sample| u64::from(sample.duration)).sum();
            let chunk = self.chunk(fragment, now, time, reference.take())?;
            chunks.push(TrackChunk { duration, ..chunk });
            time = time.checked_add(duration).ok_or(Error::TimeOverflow {
                track_id: track.track_id,
            })?;
        }
        Ok(())
    }

    /// How many of `samples` make the next chunk; at least one.
    fn chunk_len(&self, samples: &[Sample]) -> usize {
        let mut ticks = 0u64;
        let fits = samples.iter().enumerate().take_while(|(index, sample)| {
            ticks = ticks.saturating_add(u64::from(sample.duration));
            let is_key_frame = self.kind == Kind::Video && sample.flags.is_sync();
            *index == 0 || (ticks <= self.ticks_max && !is_key_frame)
        });
        fits.count().max(1)
    }

    fn chunk(
        &mut self,
        fragment: &Fragment,
        samples: &[Sample],
        base_decode_time: u64,
        reference: Option<ProducerReference>,
    ) -> Result<TrackChunk, Error> {
        let media: Vec<MediaSample> = samples
            .iter()
            .map(|sample| MediaSample {
                duration: sample.duration,
                composition_offset: sample.composition_offset,
                flags: sample.flags,
                data: fragment.sample_payload(sample),
            })
            .collect();
        Ok(TrackChunk {
            track_id: self.writer.track_id(),
            kind: self.kind,
            payload: self.writer.chunk(base_decode_time, &media, reference)?,
            base_decode_time,
            duration: 0,
            samples: samples.len(),
            is_independent: samples.first().is_some_and(|sample| sample.flags.is_sync()),
            timescale: self.timescale,
        })
    }
}
