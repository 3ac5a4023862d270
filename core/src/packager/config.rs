//! [`Config`] and [`Limits`] of a packager.

use std::time::Duration;

/// How the duration of a video frame is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durations {
    /// Predicted from the frames before: no delay.
    #[default]
    Predicted,
    /// Each frame is held until the next one comes: exact, one frame of delay.
    Exact,
}

/// Habits of a packager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the first frame stands on the timeline that is written. The time since the Unix epoch
    /// makes the timeline go on when an encoder, or this program, comes back.
    pub start: Duration,
    /// How video durations are found.
    pub durations: Durations,
    /// Length of an audio chunk; a chunk has at least one frame. Zero for one frame each.
    pub audio_chunk: Duration,
    /// Whether to put a `prft` in front of each chunk.
    pub reference_time: bool,
    /// Difference between a timestamp and the predicted time up to which the prediction stands. At
    /// least two ticks of the source's clock are allowed.
    pub tolerance: Duration,
    /// How far audio timestamps may run ahead of the count of samples. Small, because players show
    /// a picture too late before they show it too early, and a gap of this size is filled by them.
    pub audio_ahead_max: Duration,
    /// How far audio timestamps may stay behind the count of samples.
    pub audio_behind_max: Duration,
    /// A timestamp further behind the expected one is a jump of the encoder's clock.
    pub back_max: Duration,
    /// A timestamp further ahead of the expected one, the time that passed taken off, is a jump.
    pub ahead_max: Duration,
    /// Bounds.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            start: Duration::ZERO,
            durations: Durations::Predicted,
            audio_chunk: Duration::ZERO,
            reference_time: true,
            tolerance: Duration::ZERO,
            audio_ahead_max: Duration::from_millis(30),
            audio_behind_max: Duration::from_millis(40),
            back_max: Duration::from_secs(1),
            ahead_max: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }
}

/// Bounds of a packager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tracks of one encoder; the next one is a fault.
    pub tracks_max: usize,
    /// Size of one frame in bytes; a larger one is left out.
    pub frame_bytes_max: usize,
    /// Media time for which an announced track is awaited.
    pub gather: Duration,
    /// Frames that are kept while gathering; then it begins with what there is.
    pub gather_frames_max: usize,
    /// Bytes of those.
    pub gather_bytes_max: usize,
    /// Frames in one audio chunk, whatever [`Config::audio_chunk`] says.
    pub audio_chunk_frames_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tracks_max: 8,
            frame_bytes_max: 16 << 20,
            gather: Duration::from_millis(500),
            gather_frames_max: 512,
            gather_bytes_max: 16 << 20,
            audio_chunk_frames_max: 256,
        }
    }
}
