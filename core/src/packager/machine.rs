//! [`Packager`]: routes the encoder's inputs to its tracks. See the parent module.

use super::config::Config;
use super::input::{Announcement, Frame, Input, Source};
use super::output::{Chunk, Fault, FaultReason, Output, PackagedTrack};
use super::timeline::Timeline;
use super::track::TrackState;
use crate::cmaf::{Codec, Kind};
use crate::map::{BTreeMap, BTreeSet};
use crate::time::MediaTime;
use std::collections::VecDeque;
use std::num::NonZeroU32;

/// What became of an encoder's frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that came in.
    pub frames: u64,
    /// Chunks that went out.
    pub chunks: u64,
    /// Frames of a track that has no configuration.
    pub unconfigured: u64,
    /// Video frames before the first key frame of their configuration.
    pub before_key: u64,
    /// Frames from before the zero of the timeline.
    pub before_start: u64,
    /// Frames whose timestamp is decades away from zero.
    pub implausible_time: u64,
    /// Frames without bytes, or larger than the limit.
    pub refused_size: u64,
    /// Chunks left out because the track had got as far already: a new configuration, or a clock that
    /// no encoder has, put them at or before the last one.
    pub not_after_last: u64,
    /// Audio frames that stand for less time than they sound, because timestamps stay behind samples.
    pub shortened_audio: u64,
}

/// The packager machine. See the parent module.
#[derive(Debug)]
pub struct Packager {
    config: Config,
    announced: Announcement,
    timeline: Timeline,
    tracks: BTreeMap<Source, TrackState>,
    /// Tracks whose fault was told.
    faulty: BTreeSet<Source>,
    /// `None` once it runs.
    gathering: Option<Gathering>,
    counters: Counters,
    /// Decode time of the last chunk of each track id, over changes of its configuration.
    last: BTreeMap<u32, MediaTime>,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Default)]
struct Gathering {
    frames: VecDeque<Frame>,
    bytes: usize,
    first: Option<MediaTime>,
}

impl Packager {
    /// A packager for one encoder.
    pub fn new(config: Config) -> Self {
        Self {
            announced: Announcement::default(),
            timeline: Timeline::new(config.start, config.back_max, config.ahead_max),
            config,
            tracks: BTreeMap::new(),
            faulty: BTreeSet::new(),
            gathering: Some(Gathering::default()),
            counters: Counters::default(),
            last: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// What the encoder did. Drain [`Self::poll`] afterwards.
    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Announced(announced) => {
                self.announced = announced;
                self.begin_if_complete();
            }
            Input::Config {
                source,
                codec,
                timescale,
            } => self.configure(source, codec, timescale),
            Input::Frame(frame) => {
                self.counters.frames += 1;
                if self.gathering.is_some() {
                    self.gather(frame);
                } else {
                    self.package(frame);
                }
            }
            Input::End(source) => {
                self.begin();
                self.flush(source);
            }
            Input::Finished => {
                self.begin();
                let sources: Vec<Source> = self.tracks.keys().copied().collect();
                for source in sources {
                    self.flush(source);
                }
            }
        }
    }

    /// The next output, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The tracks that are configured, video first.
    pub fn tracks(&self) -> Vec<PackagedTrack> {
        let mut names = BTreeSet::new();
        let named = self.tracks.values().map(|state| {
            let mut track = state.packaged().clone();
            if !names.insert(track.name.clone()) {
                track.name = format!("{}-{}", track.name, track.track.id);
                names.insert(track.name.clone());
            }
            track
        });
        named.collect()
    }

    /// What became of the frames so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn configure(&mut self, source: Source, codec: Codec, timescale: NonZeroU32) {
        let known = self.tracks.get(&source);
        if known.is_some_and(|track| track.is_same(&codec, timescale)) {
            return;
        }
        if known.is_some() {
            // What was gathered is of the old configuration.
            self.begin();
            self.flush(source);
        }
        match self.track(source, codec, timescale) {
            Ok(mut track) => {
                if let Some(before) = self.tracks.remove(&source) {
                    track.continue_from(before);
                }
                self.faulty.remove(&source);
                self.tracks.insert(source, track);
                if self.gathering.is_none() {
                    self.tell_tracks();
                }
            }
            Err(reason) => {
                if self.faulty.insert(source) {
                    let fault = Fault {
                        source_track: source,
                        reason,
                    };
                    self.outputs.push_back(Output::Fault(fault));
                }
            }
        }
        self.begin_if_complete();
    }

    fn track(
        &self,
        source: Source,
        codec: Codec,
        timescale: NonZeroU32,
    ) -> Result<TrackState, FaultReason> {
        let id = match self.tracks.get(&source) {
            Some(known) => known.packaged().track.id,
            None => self.free_id(source)?,
        };
        TrackState::new(source, id, codec, timescale, &self.config, &self.announced)
    }

    /// 1 for the first video track, 2 for the first audio track, then as they come.
    fn free_id(&self, source: Source) -> Result<u32, FaultReason> {
        let max = self.config.limits.tracks_max;
        if self.tracks.len() >= max {
            return Err(FaultReason::TooManyTracks { max });
        }
        Ok(match source {
            Source::VIDEO => 1,
            Source::AUDIO => 2,
            _ => {
                let ids = self.tracks.values().map(|track| track.packaged().track.id);
                ids.max().unwrap_or(0).max(2).saturating_add(1)
            }
        })
    }

    fn gather(&mut self, frame: Frame) {
        let limits = self.config.limits;
        let Some(gathering) = &mut self.gathering else {
            return;
        };
        let first = *gathering.first.get_or_insert(frame.decode_time);
        let waited = frame.decode_time.as_micros().abs_diff(first.as_micros());
        gathering.bytes = gathering.bytes.saturating_add(frame.data.len());
        gathering.frames.push_back(frame);
        if u128::from(waited) >= limits.gather.as_micros()
            || gathering.frames.len() >= limits.gather_frames_max
            || gathering.bytes >= limits.gather_bytes_max
        {
            self.begin();
        }
    }

    fn begin_if_complete(&mut self) {
        let has = |kind| self.tracks.keys().any(|source| source.kind == kind);
        let waits_for = |kind, announced: bool| announced && !has(kind);
        let is_complete = !self.tracks.is_empty()
            && !waits_for(Kind::Video, self.announced.has_video)
            && !waits_for(Kind::Audio, self.announced.has_audio);
        if is_complete {
            self.begin();
        }
    }

    /// Ends gathering: tells the tracks and packages what was kept.
    fn begin(&mut self) {
        let Some(gathering) = self.gathering.take() else {
            return;
        };
        if !self.tracks.is_empty() {
            self.tell_tracks();
        }
        for frame in gathering.frames {
            self.package(frame);
        }
    }

    fn tell_tracks(&mut self) {
        let tracks = self.tracks();
        self.outputs.push_back(Output::Tracks(tracks));
    }

    fn package(&mut self, frame: Frame) {
        let Some(track) = self.tracks.get_mut(&frame.source) else {
            self.counters.unconfigured += 1;
            return;
        };
        let mut chunks = Vec::new();
        track.take(&mut self.timeline, frame, &mut self.counters, &mut chunks);
        self.put(chunks);
    }

    fn flush(&mut self, source: Source) {
        if let Some(track) = self.tracks.get_mut(&source) {
            let mut chunks = Vec::new();
            track.flush(&mut chunks);
            self.put(chunks);
        }
    }

    fn put(&mut self, chunks: Vec<Chunk>) {
        for chunk in chunks {
            let (id, at) = (chunk.track_id, chunk.decode_time);
            let is_after = self
                .last
                .get(&id)
                .is_none_or(|last| last.timescale() != at.timescale() || last.ticks() < at.ticks());
            if is_after {
                self.last.insert(id, at);
                self.counters.chunks += 1;
                self.outputs.push_back(Output::Chunk(chunk));
            } else {
                self.counters.not_after_last += 1;
            }
        }
    }
}
