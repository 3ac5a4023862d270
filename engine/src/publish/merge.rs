//! Puts the samples of several tracks into the order of their decode times.
//!
//! A file may hold a second of video and then the same second of audio. Published as they stand, the
//! audio would come a second late. [`Merge`] holds samples until every track has one, so that the
//! earliest is known; a track that has none for [`SPAN_US_MAX`] is not waited for.

use super::source::Item;
use std::collections::{BTreeMap, VecDeque};

/// Media time that may be held while a track has nothing, in microseconds.
const SPAN_US_MAX: i64 = 3_000_000;
/// Samples that may be held.
const SAMPLES_MAX: usize = 20_000;

/// See the module's description.
#[derive(Default)]
pub(super) struct Merge {
    tracks: BTreeMap<u32, VecDeque<(i64, Item)>>,
    held: usize,
    /// Tracks of what comes next: told when everything before is out.
    next: VecDeque<Item>,
    has_ended: bool,
}

impl Merge {
    pub(super) fn push(&mut self, item: Item) {
        match (&item, self.next.is_empty()) {
            (
                Item::Sample {
                    track_id,
                    decode_time,
                    ..
                },
                true,
            ) => {
                let at = decode_time.as_micros();
                self.held += 1;
                self.tracks
                    .entry(*track_id)
                    .or_default()
                    .push_back((at, item));
            }
            // Behind a new set of tracks everything waits for its turn.
            (Item::Tracks(_), _) | (Item::Sample { .. }, false) => self.next.push_back(item),
        }
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// The next item; `None` when more has to come first, or when all is out.
    pub(super) fn pop(&mut self) -> Option<Item> {
        if self.held == 0 {
            return self.begin_next();
        }
        let (id, at) = self
            .tracks
            .iter()
            .filter_map(|(id, samples)| Some((*id, samples.front()?.0)))
            .min_by_key(|(_, at)| *at)?;
        let newest = self
            .tracks
            .values()
            .filter_map(|samples| samples.back())
            .map(|(at, _)| *at);
        let span = newest.max().unwrap_or(at).saturating_sub(at);
        let is_known = self.tracks.values().all(|samples| !samples.is_empty());
        let is_forced = self.has_ended || !self.next.is_empty();
        if is_known || is_forced || span > SPAN_US_MAX || self.held > SAMPLES_MAX {
            self.held -= 1;
            return self.tracks.get_mut(&id)?.pop_front().map(|(_, item)| item);
        }
        None
    }

    fn begin_next(&mut self) -> Option<Item> {
        let tracks = self.next.pop_front()?;
        if let Item::Tracks(tracks) = &tracks {
            self.tracks = tracks
                .iter()
                .map(|track| (track.id, VecDeque::new()))
                .collect();
        }
        for item in std::mem::take(&mut self.next) {
            self.push(item);
        }
        Some(tracks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use mainstem_core::cmaf::{Codec, MediaSample, SampleFlags, Track};
    use mainstem_core::time::MediaTime;
    use std::num::NonZeroU32;

    const MILLIS: NonZeroU32 = NonZeroU32::new(1000).unwrap();

    fn tracks(ids: &[u32]) -> Item {
        let aac = || Codec::aac(Bytes::from_static(&[0x11, 0x90])).unwrap();
        Item::Tracks(
            ids.iter()
                .map(|id| Track::new(*id, MILLIS, aac()).unwrap())
                .collect(),
        )
    }

    fn sample(track_id: u32, at: i64) -> Item {
        Item::Sample {
            track_id,
            decode_time: MediaTime::new(at, MILLIS),
            sample: MediaSample {
                duration: 1,
                composition_offset: 0,
                flags: SampleFlags::SYNC,
                data: Bytes::from_static(b"x").into(),
            },
        }
    }

    /// What comes out: `track@ms`, and `T` for a set of tracks.
    fn drain(merge: &mut Merge) -> String {
        let words = std::iter::from_fn(|| merge.pop()).map(|item| match item {
            Item::Tracks(_) => "T".to_owned(),
            Item::Sample {
                track_id,
                decode_time,
                ..
            } => {
                format!("{track_id}@{}", decode_time.ticks())
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn tracks_that_come_one_after_the_other_are_interleaved() {
        let mut merge = Merge::default();
        merge.push(tracks(&[1, 2]));
        for at in [0, 40, 80] {
            merge.push(sample(1, at));
        }
        assert_eq!(drain(&mut merge), "T");
        for at in [0, 21, 42] {
            merge.push(sample(2, at));
        }
        assert_eq!(drain(&mut merge), "1@0 2@0 2@21 1@40 2@42");
        merge.end();
        assert_eq!(drain(&mut merge), "1@80");
    }

    #[test]
    fn silent_track_is_not_waited_for_without_end() {
        let mut merge = Merge::default();
        merge.push(tracks(&[1, 2]));
        merge.push(sample(1, 0));
        assert_eq!(drain(&mut merge), "T");
        merge.push(sample(1, 3001));
        assert_eq!(drain(&mut merge), "1@0");
    }

    #[test]
    fn new_tracks_come_after_all_samples_of_the_old() {
        let mut merge = Merge::default();
        merge.push(tracks(&[1, 2]));
        merge.push(sample(1, 5));
        merge.push(tracks(&[3]));
        merge.push(sample(3, 0));
        assert_eq!(drain(&mut merge), "T 1@5 T 3@0");
    }
}
