//! One track of a packager: times its frames and writes its chunks.
//!
//! | kind | a chunk is | its duration comes from |
//! |---|---|---|
//! | video | one frame, from the first key frame on | the input, the prediction, or the next frame |
//! | audio | one frame, or as many as fill the wished length | the codec's count of samples |

use super::audio::{FrameLength, SampleCount};
use super::config::{Config, Durations};
use super::input::{Announcement, Frame, Source};
use super::machine::Counters;
use super::output::{Chunk, FaultReason, PackagedTrack};
use super::timeline::{Clock, Placed, Timeline};
use super::timing::FrameTiming;
use crate::cmaf::{
    ChunkWriter, Codec, Kind, MediaSample, NtpTime, ProducerReference, ReferencePoint, SampleFlags,
    Track, init_segment, nal,
};
use crate::time::MediaTime;
use std::num::NonZeroU32;
use std::time::Duration;

/// Timescale of video whose own divides it: 30 and 29.97 frames per second are whole ticks.
const VIDEO_TIMESCALE: NonZeroU32 = NonZeroU32::new(90_000).unwrap();

/// Largest timescale of a source: 100 ns, the finest that any container counts in.
const TIMESCALE_MAX: u32 = 10_000_000;

/// Timestamps further from zero than this (35 years) say nothing, and would overflow sums.
const MICROS_MAX: u64 = 1 << 50;

/// A configured track.
#[derive(Debug)]
pub(super) struct TrackState {
    packaged: PackagedTrack,
    source_timescale: NonZeroU32,
    config: Config,
    writer: ChunkWriter,
    clock: Clock,
    media: Media,
}

#[derive(Debug)]
enum Media {
    Video {
        timing: FrameTiming,
        awaits_key: bool,
        held: Option<Sampled>,
    },
    Audio {
        length: FrameLength,
        count: SampleCount,
        /// For codecs that do not say how long a frame is.
        timing: FrameTiming,
        gathered: Vec<Sampled>,
        ticks_wanted: u64,
    },
}

/// A frame with its place.
#[derive(Clone, Debug)]
struct Sampled {
    ticks: i64,
    arrived: NtpTime,
    sample: MediaSample,
}

impl TrackState {
    /// A track for a configuration; `id` names it in the file format.
    pub(super) fn new(
        source: Source,
        id: u32,
        codec: Codec,
        source_timescale: NonZeroU32,
        config: &Config,
        announced: &Announcement,
    ) -> Result<Self, FaultReason> {
        if codec.kind() != source.kind || source.kind == Kind::Other {
            return Err(FaultReason::WrongKind);
        }
        if source_timescale.get() > TIMESCALE_MAX {
            return Err(FaultReason::Timescale {
                timescale: source_timescale.get(),
            });
        }
        let mut track = Track::new(id, source_timescale, codec)?;
        let (timescale, media) = if source.kind == Kind::Video {
            describe_video(&mut track, announced);
            let timescale = video_timescale(source_timescale);
            (
                timescale,
                video(&track, source_timescale, timescale, config),
            )
        } else {
            let (length, timescale) = audio_length(&track, source_timescale);
            (
                timescale,
                audio(length, source_timescale, timescale, config),
            )
        };
        track.timescale = timescale;
        let init = init_segment(std::slice::from_ref(&track))?;
        Ok(Self {
            writer: ChunkWriter::new(id),
            clock: Clock::new(timescale),
            packaged: PackagedTrack {
                name: base_name(&track),
                source,
                track,
                init,
                bitrate: match source.kind {
                    Kind::Video => announced.video_bitrate,
                    _ => announced.audio_bitrate,
                },
            },
            source_timescale,
            config: *config,
            media,
        })
    }

    /// Takes over the place on the timeline and the numbering from the configuration before.
    pub(super) fn continue_from(&mut self, before: Self) {
        self.writer = before.writer;
        self.clock = before.clock;
        self.clock.set_timescale(self.packaged.track.timescale);
    }

    pub(super) fn packaged(&self) -> &PackagedTrack {
        &self.packaged
    }

    pub(super) fn is_same(&self, codec: &Codec, source_timescale: NonZeroU32) -> bool {
        self.packaged.track.codec == *codec && self.source_timescale == source_timescale
    }

    /// Takes a frame; appends the chunks that it completes.
    pub(super) fn take(
        &mut self,
        timeline: &mut Timeline,
        frame: Frame,
        counters: &mut Counters,
        out: &mut Vec<Chunk>,
    ) {
        if frame.data.is_empty() || frame.data.len() > self.config.limits.frame_bytes_max {
            counters.refused_size += 1;
            return;
        }
        if frame.decode_time.as_micros().unsigned_abs() > MICROS_MAX {
            counters.implausible_time += 1;
            return;
        }
        let key = self.is_key(&frame);
        if let Media::Video { awaits_key, .. } = &mut self.media {
            if *awaits_key && !key {
                counters.before_key += 1;
                return;
            }
            *awaits_key = false;
        }
        let placed = self.clock.place(timeline, frame.decode_time, frame.arrived);
        if placed.ticks < 0 {
            counters.before_start += 1;
            return;
        }
        match &self.media {
            Media::Video { .. } => self.take_video(placed, frame, key, out),
            Media::Audio { .. } => self.take_audio(placed, frame, counters, out),
        }
    }

    /// Lets out what is held.
    pub(super) fn flush(&mut self, out: &mut Vec<Chunk>) {
        match &mut self.media {
            Media::Video { held, .. } => {
                if let Some(held) = held.take() {
                    self.write(&[held], out);
                }
            }
            Media::Audio { gathered, .. } => {
                let gathered = std::mem::take(gathered);
                self.write(&gathered, out);
            }
        }
    }

    fn is_key(&self, frame: &Frame) -> bool {
        let codec = &self.packaged.track.codec;
        match codec.kind() {
            // One piece in practice, so that nothing is copied here.
            Kind::Video => nal::is_key_frame(codec, &frame.data.to_bytes()).unwrap_or(frame.key),
            Kind::Audio | Kind::Other => true,
        }
    }

    fn take_video(&mut self, placed: Placed, frame: Frame, key: bool, out: &mut Vec<Chunk>) {
        let timescale = self.packaged.track.timescale;
        let unit = frame.decode_time.timescale();
        let rescaled = |ticks: i64| MediaTime::new(ticks, unit).rescale(timescale).ticks();
        let Media::Video { timing, held, .. } = &mut self.media else {
            return;
        };
        if placed.is_new {
            timing.restart();
        }
        let decode = timing.decode_time(placed.ticks);
        let mut offset = rescaled(frame.composition_offset.into());
        if decode.is_moved {
            // Shown when the encoder wants it shown, whatever became of the decode time.
            offset = offset
                .saturating_add(placed.ticks)
                .saturating_sub(decode.ticks);
        }
        let before = held.take();
        let holds = self.config.durations == Durations::Exact && frame.duration.is_none();
        let duration = match frame.duration {
            Some(known) => timing.set(rescaled(known.into())),
            None if holds => u32::try_from(timing.interval()).unwrap_or(1),
            None => timing.predict(),
        };
        self.clock
            .written(decode.ticks.saturating_add(duration.into()), frame.arrived);
        let sampled = Sampled {
            ticks: decode.ticks,
            arrived: frame.arrived,
            sample: MediaSample {
                duration,
                composition_offset: saturate(offset),
                flags: if key {
                    SampleFlags::SYNC
                } else {
                    SampleFlags::DEPENDENT
                },
                data: frame.data,
            },
        };
        if let Some(mut before) = before {
            if !placed.is_new {
                let exact = decode.ticks.saturating_sub(before.ticks);
                before.sample.duration = u32::try_from(exact).unwrap_or(u32::MAX);
            }
            self.write(&[before], out);
        }
        if holds && let Media::Video { held, .. } = &mut self.media {
            *held = Some(sampled);
        } else {
            self.write(&[sampled], out);
        }
    }

    fn take_audio(
        &mut self,
        placed: Placed,
        frame: Frame,
        counters: &mut Counters,
        out: &mut Vec<Chunk>,
    ) {
        let Media::Audio {
            length,
            count,
            timing,
            gathered,
            ticks_wanted,
        } = &mut self.media
        else {
            return;
        };
        if placed.is_new {
            count.restart();
            timing.restart();
        }
        let head = frame.data.pieces().first().map_or(&[][..], |piece| piece);
        let (ticks, duration) = if let Some(samples) = length.samples(head) {
            let stand = count.place(placed.ticks, samples);
            counters.shortened_audio += u64::from(stand.duration < samples);
            (stand.at, stand.duration)
        } else {
            let ticks = timing.decode_time(placed.ticks).ticks;
            (ticks, timing.predict())
        };
        let end = ticks.saturating_add(duration.into());
        self.clock.written(end, frame.arrived);
        let is_apart = gathered.last().is_some_and(|last| last.end() != ticks);
        let ready = is_apart.then(|| std::mem::take(gathered));
        gathered.push(Sampled {
            ticks,
            arrived: frame.arrived,
            sample: MediaSample {
                duration,
                composition_offset: 0,
                flags: SampleFlags::SYNC,
                data: frame.data,
            },
        });
        let held: u64 = gathered.iter().map(|s| u64::from(s.sample.duration)).sum();
        let is_full =
            held >= *ticks_wanted || gathered.len() >= self.config.limits.audio_chunk_frames_max;
        let full = is_full.then(|| std::mem::take(gathered));
        for samples in [ready, full].into_iter().flatten() {
            self.write(&samples, out);
        }
    }

    fn write(&mut self, sampled: &[Sampled], out: &mut Vec<Chunk>) {
        let (Some(first), Some(last)) = (sampled.first(), sampled.last()) else {
            return;
        };
        // Frames from before the zero of the timeline were refused.
        let base = u64::try_from(first.ticks).unwrap_or(0);
        let track_id = self.packaged.track.id;
        let reference = self.config.reference_time.then_some(ProducerReference {
            track_id,
            time: last.arrived,
            media_time: base,
            point: ReferencePoint::Packaged,
        });
        let samples: Vec<MediaSample> = sampled.iter().map(|s| s.sample.clone()).collect();
        // Sizes and counts are bounded far below what the writer refuses.
        let Ok(payload) = self.writer.chunk(base, &samples, reference) else {
            return;
        };
        let timescale = self.packaged.track.timescale;
        let offset = i64::from(first.sample.composition_offset);
        out.push(Chunk {
            track_id,
            kind: self.packaged.track.kind(),
            is_independent: first.sample.flags.is_sync(),
            decode_time: MediaTime::new(first.ticks, timescale),
            presentation_time: MediaTime::new(first.ticks.saturating_add(offset), timescale),
            duration: samples.iter().map(|s| u64::from(s.duration)).sum(),
            samples: samples.len(),
            payload,
        });
    }
}

impl Sampled {
    fn end(&self) -> i64 {
        self.ticks.saturating_add(self.sample.duration.into())
    }
}

/// Fills in what the configuration record does not say.
fn describe_video(track: &mut Track, announced: &Announcement) {
    let video = track.video.get_or_insert_default();
    if video.width == 0 || video.height == 0 {
        video.width = announced.video.width;
        video.height = announced.video.height;
    }
    video.frame_rate = video.frame_rate.or(announced.video.frame_rate);
}

fn video_timescale(source: NonZeroU32) -> NonZeroU32 {
    if VIDEO_TIMESCALE.get().is_multiple_of(source.get()) {
        VIDEO_TIMESCALE
    } else {
        source
    }
}

fn video(
    track: &Track,
    source_timescale: NonZeroU32,
    timescale: NonZeroU32,
    config: &Config,
) -> Media {
    let rate = track.video.and_then(|video| video.frame_rate);
    let interval = rate
        .filter(|rate| (1.0..=1000.0).contains(rate))
        .map(|rate| {
            #[expect(clippy::cast_possible_truncation, reason = "at most the timescale")]
            let ticks = (f64::from(timescale.get()) / rate).round() as i64;
            ticks
        });
    Media::Video {
        timing: FrameTiming::new(
            timescale.get(),
            tolerance(config.tolerance, source_timescale, timescale),
            interval,
        ),
        awaits_key: true,
        held: None,
    }
}

fn audio_length(track: &Track, source_timescale: NonZeroU32) -> (FrameLength, NonZeroU32) {
    let sample_rate = track.audio.map_or(0, |audio| audio.sample_rate);
    match FrameLength::of(&track.codec, sample_rate) {
        (length, Some(rate)) => (length, rate),
        (_, None) => (FrameLength::Unknown, source_timescale),
    }
}

fn audio(
    length: FrameLength,
    source_timescale: NonZeroU32,
    timescale: NonZeroU32,
    config: &Config,
) -> Media {
    let least = |wished| tolerance(wished, source_timescale, timescale);
    Media::Audio {
        length,
        count: SampleCount::new(
            least(config.audio_ahead_max),
            least(config.audio_behind_max),
        ),
        timing: FrameTiming::new(timescale.get(), least(config.tolerance), None),
        gathered: Vec::new(),
        ticks_wanted: ticks_of(config.audio_chunk, timescale),
    }
}

/// A tolerance in ticks: what is wished, but at least two ticks of the source's clock.
fn tolerance(wished: Duration, source: NonZeroU32, timescale: NonZeroU32) -> i64 {
    let precision = MediaTime::new(2, source).rescale(timescale).ticks().max(1);
    let wished = i64::try_from(ticks_of(wished, timescale)).unwrap_or(i64::MAX);
    wished.max(precision)
}

fn ticks_of(duration: Duration, timescale: NonZeroU32) -> u64 {
    let ticks = duration.as_micros().saturating_mul(timescale.get().into()) / 1_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// The name that a track has when no other has the same.
fn base_name(track: &Track) -> String {
    match (track.kind(), track.video) {
        (Kind::Video, Some(video)) if video.height > 0 => format!("video/{}p", video.height),
        (Kind::Video, _) => "video".to_owned(),
        (Kind::Audio | Kind::Other, _) => "audio".to_owned(),
    }
}

fn saturate(ticks: i64) -> i32 {
    i32::try_from(ticks).unwrap_or(if ticks < 0 { i32::MIN } else { i32::MAX })
}
