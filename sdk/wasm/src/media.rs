//! What a chunk of a track holds: its times, and whether a decoder can begin with it.
//!
//! Each track has a reader of its own, set up with the catalog's init segment. A track without one
//! in the catalog brings it in its objects, which is told as [`Found::Init`].
//!
//! The last frame of a video chunk is said to last longer than it does ([`STRETCH`]). A player of Media
//! Source Extensions drops everything up to the next key frame when a frame comes later than twice the
//! duration of the one before, which a camera in the dark or a busy encoder does at any time. The true
//! duration is in [`Times`].
//!
//! Errors: a chunk that is no `moof mdat` is named and left out; the reader begins anew with the next.
//! Source: Media Source Extensions, "coded frame processing", step 6.

use bytes::Bytes;
use mainstem_core::cmaf::{
    self, ChunkWriter, Event, Fragment, Init, Kind, Limits, MediaSample, Reader,
};
use mainstem_core::payload::Payload;
use mainstem_core::time::MediaTime;
use std::sync::Arc;
use std::time::Duration;

/// How long the last frame of a chunk is said to last, at least.
const STRETCH: Duration = Duration::from_secs(1);

/// Reads a track's chunks.
#[derive(Debug)]
pub(crate) struct Media {
    init: Option<Arc<Init>>,
    reader: Reader,
}

/// What was in an object.
#[derive(Debug)]
pub(crate) enum Found {
    /// An init segment.
    Init(Bytes),
    /// A chunk.
    Chunk(Times, Payload),
}

/// When a chunk is. Microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// Presentation time of its first sample.
    pub presented: i64,
    /// How long its samples last.
    pub duration: u64,
    /// Unix time at which the producer had it; 0 when it does not say.
    pub produced: u64,
    /// Whether a decoder can begin with it.
    pub is_independent: bool,
}

impl Media {
    /// A reader of a track with this init segment.
    pub(crate) fn new(init: Option<&Bytes>) -> Self {
        let limits = Limits::default();
        let init = init.and_then(|raw| Init::parse(raw.clone(), &limits).ok());
        let init = init.map(Arc::new);
        let reader = reader_of(init.as_ref());
        Self { init, reader }
    }

    /// What an object holds.
    pub(crate) fn read(&mut self, payload: &Payload) -> Result<Vec<Found>, cmaf::Error> {
        let found = self.read_on(payload);
        if found.is_err() || !self.reader.is_at_boundary() {
            self.reader = reader_of(self.init.as_ref());
        }
        found
    }

    fn read_on(&mut self, payload: &Payload) -> Result<Vec<Found>, cmaf::Error> {
        let mut found = Vec::new();
        self.reader.push_payload(payload)?;
        while let Some(event) = self.reader.poll()? {
            match event {
                Event::Init(init) => {
                    found.push(Found::Init(init.raw.clone()));
                    self.init = Some(init);
                }
                Event::Fragment(fragment) => {
                    let times = self.times_of(&fragment);
                    found.push(Found::Chunk(times, self.stretched(&fragment)?));
                }
            }
        }
        Ok(found)
    }

    /// The same chunk, its last frame of longer duration when it is video.
    fn stretched(&self, fragment: &Fragment) -> Result<Payload, cmaf::Error> {
        let [part] = fragment.tracks.as_slice() else {
            return Ok(fragment.payload());
        };
        let track = self
            .init
            .as_ref()
            .and_then(|init| init.track(part.track_id));
        let Some(track) = track.filter(|track| track.kind() == Kind::Video) else {
            return Ok(fragment.payload());
        };
        let least = u128::from(track.timescale.get()) * STRETCH.as_millis() / 1000;
        let mut samples: Vec<MediaSample> = part
            .samples
            .iter()
            .map(|sample| MediaSample {
                duration: sample.duration,
                composition_offset: sample.composition_offset,
                flags: sample.flags,
                data: fragment.sample_payload(sample),
            })
            .collect();
        if let Some(last) = samples.last_mut() {
            last.duration = last.duration.max(u32::try_from(least).unwrap_or(u32::MAX));
        }
        ChunkWriter::new(part.track_id).chunk(part.base_decode_time, &samples, None)
    }

    fn times_of(&self, fragment: &Fragment) -> Times {
        let produced = fragment.producer_reference;
        let mut times = Times {
            is_independent: fragment.is_independent,
            produced: produced.map_or(0, |reference| reference.time.as_unix_micros()),
            ..Times::default()
        };
        let Some(part) = fragment.tracks.first() else {
            return times;
        };
        let track = self
            .init
            .as_ref()
            .and_then(|init| init.track(part.track_id));
        let Some(track) = track else { return times };
        let micros = |ticks: i64| MediaTime::new(ticks, track.timescale).as_micros();
        let offset = part
            .samples
            .first()
            .map_or(0, |first| first.composition_offset);
        let decoded = i64::try_from(part.base_decode_time).unwrap_or(i64::MAX);
        times.presented = micros(decoded.saturating_add(offset.into()));
        let duration = micros(i64::try_from(part.duration).unwrap_or(i64::MAX));
        times.duration = u64::try_from(duration).unwrap_or(0);
        times
    }
}

fn reader_of(init: Option<&Arc<Init>>) -> Reader {
    match init {
        Some(init) => Reader::with_init(Arc::clone(init), Limits::default()),
        None => Reader::new(Limits::default()),
    }
}
