//! What a viewer saw, counted: frames, gaps, delays.
//!
//! A frame is a sample of a fragment. A gap is a place where frames are known to be missing between
//! the first and the last: an object or group that did not come. Latency is the wall clock at
//! arrival minus the producer reference time (`prft`) of the chunk, for chunks that were produced
//! after the viewer asked: what the relay had retained says nothing about the delay of the path.

use mainstem_core::cmaf::Fragment;
use std::collections::BTreeMap;
use std::time::Duration;

/// One track's counts.
#[derive(Clone, Debug)]
pub(super) struct TrackTally {
    /// `video` or `audio`.
    pub kind: String,
    /// RFC 6381.
    pub codec: String,
    /// Samples.
    pub frames: u64,
    /// Payload bytes of its objects.
    pub bytes: u64,
    /// Groups.
    pub groups: u64,
    /// Places where frames are missing.
    pub gaps: u64,
    /// Objects that came again.
    pub repeats: u64,
    /// Whether the first frame was a key frame.
    pub first_is_key: bool,
    last: Option<(u64, u64)>,
    /// Whether the machine told of a gap before the next object: its numbers say the same.
    is_gap_told: bool,
}

/// All counts of one viewing.
#[derive(Debug, Default)]
pub(super) struct Tally {
    tracks: BTreeMap<String, TrackTally>,
    latencies_us: Vec<u64>,
    /// When the newest session asked for its tracks, in microseconds of Unix time.
    asked_at_us: Option<u64>,
    /// From the start to the first frame.
    pub join: Option<Duration>,
    /// Sessions after the first.
    pub reconnects: u64,
    /// Relays that went away and were followed, without an end of the picture.
    pub moves: u64,
}

/// Latency figures that are kept; beyond it every second one is dropped and so on, so that a day of
/// watching fits in memory. A plain cut-off would forget how it ended.
const LATENCIES_MAX: usize = 1 << 20;

impl Tally {
    /// A session has asked for its tracks: what was produced before says nothing about delay. Gaps
    /// between sessions count: a new session goes on where the one before was lost.
    pub(super) fn asked(&mut self, at_us: u64) {
        self.asked_at_us = Some(at_us);
    }

    /// A track of the catalog.
    pub(super) fn add_track(&mut self, name: &str, kind: &str, codec: &str) {
        self.tracks
            .entry(name.to_owned())
            .or_insert_with(|| TrackTally {
                kind: kind.to_owned(),
                codec: codec.to_owned(),
                frames: 0,
                bytes: 0,
                groups: 0,
                gaps: 0,
                repeats: 0,
                first_is_key: false,
                last: None,
                is_gap_told: false,
            });
    }

    /// An object of a track, with the fragments that it holds.
    pub(super) fn add_object(
        &mut self,
        name: &str,
        place: (u64, u64),
        bytes: usize,
        fragments: &[Fragment],
        arrived_us: u64,
    ) {
        let Some(track) = self.tracks.get_mut(name) else {
            return;
        };
        track.take_place(place);
        track.bytes += bytes as u64;
        for fragment in fragments {
            if track.frames == 0 {
                track.first_is_key = fragment.is_independent;
            }
            track.frames += fragment.sample_count() as u64;
            let produced = fragment
                .producer_reference
                .as_ref()
                .map(|at| at.time.as_unix_micros());
            if let (Some(produced), Some(asked)) = (produced, self.asked_at_us)
                && produced >= asked
            {
                self.latencies_us.push(arrived_us.saturating_sub(produced));
            }
        }
        if self.latencies_us.len() > LATENCIES_MAX {
            let mut keep = false;
            self.latencies_us.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Frames of a track are lost.
    pub(super) fn add_gap(&mut self, name: &str) {
        if let Some(track) = self.tracks.get_mut(name) {
            track.gaps += 1;
            track.is_gap_told = true;
        }
    }

    /// The tracks by name.
    pub(super) fn tracks(&self) -> &BTreeMap<String, TrackTally> {
        &self.tracks
    }

    /// Frames of all tracks.
    pub(super) fn frames(&self) -> u64 {
        self.tracks.values().map(|track| track.frames).sum()
    }

    /// Payload bytes of all tracks.
    pub(super) fn bytes(&self) -> u64 {
        self.tracks.values().map(|track| track.bytes).sum()
    }

    /// Gaps of all tracks.
    pub(super) fn gaps(&self) -> u64 {
        self.tracks.values().map(|track| track.gaps).sum()
    }

    /// Median, 99th percentile and maximum in milliseconds, and of how many; `None` without any.
    pub(super) fn latency(&self) -> Option<Latency> {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let index = (sorted.len().saturating_sub(1)) * percent / 100;
            sorted.get(index).map(|us| to_ms(*us))
        };
        Some(Latency {
            p50: at(50)?,
            p99: at(99)?,
            max: at(100)?,
            samples: sorted.len(),
        })
    }
}

impl TrackTally {
    fn take_place(&mut self, (group, object): (u64, u64)) {
        if self.last.is_some_and(|last| (group, object) <= last) {
            self.repeats += 1;
        }
        let gaps = match self.last {
            None => {
                self.groups += 1;
                0
            }
            Some((last_group, last_object)) if last_group == group => {
                u64::from(object != last_object.saturating_add(1))
            }
            Some((last_group, _)) => {
                self.groups += 1;
                u64::from(group != last_group.saturating_add(1)) + u64::from(object != 0)
            }
        };
        if !std::mem::take(&mut self.is_gap_told) {
            self.gaps += gaps;
        }
        self.last = Some((group, object));
    }
}

/// Latency in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Latency {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
    /// Of how many chunks.
    pub samples: usize,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds of a delay are far below 2^52"
)]
fn to_ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_between_objects_and_groups() {
        let mut tally = Tally::default();
        tally.add_track("video", "video", "avc1.42E01F");
        tally.asked(1000);
        let mut add = |group, object| {
            tally.add_object("video", (group, object), 10, &[], 2000);
        };
        for place in [(5, 0), (5, 1), (6, 0), (6, 2), (8, 0)] {
            add(place.0, place.1);
        }
        let track = &tally.tracks()["video"];
        assert_eq!((track.groups, track.gaps, track.bytes), (3, 2, 50));
    }

    #[test]
    fn a_gap_that_was_told_is_counted_once_and_a_new_session_hides_none() {
        let mut tally = Tally::default();
        tally.add_track("video", "video", "avc1.42E01F");
        tally.asked(1000);
        tally.add_object("video", (5, 0), 10, &[], 2000);
        tally.add_gap("video");
        tally.add_object("video", (9, 3), 10, &[], 2000);
        assert_eq!(tally.tracks()["video"].gaps, 1);
        tally.asked(3000);
        tally.add_object("video", (9, 5), 10, &[], 4000);
        assert_eq!(tally.tracks()["video"].gaps, 2);
    }
}
