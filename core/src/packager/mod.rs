//! The packager: access units of an encoder in, CMAF chunks of each track out.
//!
//! | phase | what it does | leaves by |
//! |---|---|---|
//! | gathering | keeps frames until every announced track has its configuration | all are there, [`Limits::gather`] of media time, or a full queue |
//! | running | a chunk per frame, as it comes | - |
//!
//! Input: [`Input`], which any ingest protocol can make ([`rtmp`] does for RTMP). Output:
//! [`Output::Tracks`] when the set of tracks is known and each time it changes, then
//! [`Output::Chunk`]s. Nothing here waits for time: the machine moves when a frame comes, so it has
//! no deadline. The same inputs give the same outputs.
//!
//! # Time
//!
//! All tracks of an encoder share its clock. The first frame stands at [`Config::start`] on the
//! timeline that is written; the rest keeps its distance to it. A clock that jumps (back by more
//! than [`Config::back_max`], or ahead by more than [`Config::ahead_max`] without that time having
//! passed) is tied to the end of what was written, for all tracks by the same amount, so that sound
//! and picture stay together. The module `timeline` says how.
//!
//! A chunk of one frame must say how long the frame lasts before the next one is seen. Holding each
//! frame back until then would cost a frame of delay, so the duration is predicted, and the
//! prediction is honoured: the next chunk begins where this one ends as long as the encoder's
//! timestamp agrees within [`Config::tolerance`] (RTMP counts milliseconds: at 30 frames per second
//! its timestamps go in steps of 33, 33 and 34), else exactly at the timestamp. The differences are
//! worked off in the next durations, so nothing adds up. [`Durations::Exact`] holds one frame
//! instead.
//!
//! Audio is counted in samples: frames of a known length follow each other without a gap, and the
//! count is set to the timestamp again when the two have drifted apart by more than
//! [`Config::audio_ahead_max`] (a gap) or [`Config::audio_behind_max`] (frames are made shorter).
//!
//! # Chunks
//!
//! One video frame each. One audio frame each by default: at 48 kHz a frame of AAC is 21 ms, which
//! is all the delay that packaging sound costs; the price is about 150 bytes of boxes per frame,
//! 55 kbit/s. [`Config::audio_chunk`] trades the one for the other. In front of each chunk stands a
//! `prft` with the time at which its last frame arrived.
//!
//! # Faults
//!
//! A configuration that cannot be read, or more than the [`Limits`] allow, is an
//! [`Output::Fault`]: the track is left out, and the owner decides whether the rest is worth having.
//! Frames that cannot be packaged are counted in [`Counters`].
//!
//! Sources: ISO/IEC 23000-19 (CMAF), ISO/IEC 14496-12 section 8.8 and 8.16.5, DASH-IF live media
//! ingest (decode times counted from the Unix epoch).

mod audio;
mod config;
mod input;
mod machine;
mod output;
pub mod rtmp;
mod timeline;
mod timing;
mod track;

pub use config::{Config, Durations, Limits};
pub use input::{Announcement, Frame, Input, Source};
pub use machine::{Counters, Packager};
pub use output::{Chunk, Fault, FaultReason, Output, PackagedTrack};
