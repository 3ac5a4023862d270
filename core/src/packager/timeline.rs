//! From the encoder's clock to the timeline that is written.
//!
//! All tracks of an encoder share its clock, so they share one shift ([`Timeline`]). When the clock
//! jumps, the track that sees it first makes a new shift and the others adopt it when they see the
//! jump themselves ([`Clock`]): their frames from before the jump may still be on the way.
//! Units: shifts in microseconds, times in ticks of the track.

use crate::cmaf::NtpTime;
use crate::time::MediaTime;
use std::num::NonZeroU32;
use std::time::Duration;

const MICROS: NonZeroU32 = NonZeroU32::new(1_000_000).unwrap();

/// What all tracks share.
#[derive(Debug)]
pub(super) struct Timeline {
    start: i64,
    /// Added to the encoder's time; `None` before the first frame.
    shift: Option<i64>,
    back_max: i64,
    ahead_max: i64,
}

/// One track's view of the timeline.
#[derive(Debug)]
pub(super) struct Clock {
    timescale: NonZeroU32,
    shift: Option<i64>,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    /// Where the next frame is expected, in ticks.
    end: i64,
    arrived: NtpTime,
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Decode time in ticks of the track, as the encoder's timestamp says it.
    pub(super) ticks: i64,
    /// Whether it begins a new stretch: the first frame, or one after a jump of the clock.
    pub(super) is_new: bool,
}

impl Timeline {
    pub(super) fn new(start: Duration, back_max: Duration, ahead_max: Duration) -> Self {
        Self {
            start: micros(start),
            shift: None,
            back_max: micros(back_max),
            ahead_max: micros(ahead_max),
        }
    }
}

impl Clock {
    pub(super) fn new(timescale: NonZeroU32) -> Self {
        Self {
            timescale,
            shift: None,
            last: None,
        }
    }

    /// Goes on in another timescale.
    pub(super) fn set_timescale(&mut self, timescale: NonZeroU32) {
        if let Some(last) = &mut self.last {
            let end = MediaTime::new(last.end, self.timescale).rescale(timescale);
            // Rounded down; a tick more keeps it after what was written.
            last.end = end.ticks().saturating_add(1);
        }
        self.timescale = timescale;
    }

    /// The place of a frame with this decode time.
    pub(super) fn place(
        &mut self,
        timeline: &mut Timeline,
        raw: MediaTime,
        arrived: NtpTime,
    ) -> Placed {
        let common = *timeline
            .shift
            .get_or_insert_with(|| timeline.start.saturating_sub(raw.as_micros()));
        let own = *self.shift.get_or_insert(common);
        let ticks = self.shifted(raw, own);
        let Some(last) = self.last else {
            return Placed {
                ticks,
                is_new: true,
            };
        };
        let passed = arrived
            .as_unix_micros()
            .saturating_sub(last.arrived.as_unix_micros());
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        let is_jump = |ticks: i64| {
            let step = self.micros_of(ticks.saturating_sub(last.end));
            step < -timeline.back_max || step > passed.saturating_add(timeline.ahead_max)
        };
        if !is_jump(ticks) {
            return Placed {
                ticks,
                is_new: false,
            };
        }
        let adopted = self.shifted(raw, common);
        let ticks = if own != common && !is_jump(adopted) {
            self.shift = Some(common);
            adopted
        } else {
            // The end of what was written, and the time that nothing came.
            let target = self.micros_of(last.end).saturating_add(passed);
            let shift = target.saturating_sub(raw.as_micros());
            self.shift = Some(shift);
            timeline.shift = Some(shift);
            self.shifted(raw, shift)
        };
        Placed {
            ticks: ticks.max(last.end),
            is_new: true,
        }
    }

    /// Takes down where the frame that was placed last ends.
    pub(super) fn written(&mut self, end: i64, arrived: NtpTime) {
        self.last = Some(Last { end, arrived });
    }

    fn shifted(&self, raw: MediaTime, shift: i64) -> i64 {
        let shift = MediaTime::new(shift, MICROS).rescale(self.timescale);
        raw.rescale(self.timescale)
            .ticks()
            .saturating_add(shift.ticks())
    }

    fn micros_of(&self, ticks: i64) -> i64 {
        MediaTime::new(ticks, self.timescale).as_micros()
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: NonZeroU32 = NonZeroU32::new(1000).unwrap();
    const SEC: Duration = Duration::from_secs(1);

    fn ms(ticks: i64) -> MediaTime {
        MediaTime::new(ticks, MS)
    }

    fn at(ms: u64) -> NtpTime {
        NtpTime::from_unix_micros(ms * 1000)
    }

    fn step(clock: &mut Clock, timeline: &mut Timeline, raw: i64, arrived: u64) -> Placed {
        let placed = clock.place(timeline, ms(raw), at(arrived));
        clock.written(placed.ticks + 40, at(arrived));
        placed
    }

    #[test]
    fn a_jump_back_moves_all_tracks_by_the_same_amount() {
        let mut timeline = Timeline::new(SEC, SEC, 10 * SEC);
        let (mut video, mut audio) = (Clock::new(MS), Clock::new(MS));
        assert_eq!(step(&mut video, &mut timeline, 50_000, 0).ticks, 1000);
        assert_eq!(step(&mut audio, &mut timeline, 50_010, 0).ticks, 1010);
        assert_eq!(step(&mut video, &mut timeline, 50_040, 40).ticks, 1040);
        // The encoder begins anew at zero after 500 ms; sound from before is still on the way.
        let jumped = step(&mut video, &mut timeline, 0, 540);
        assert_eq!((jumped.ticks, jumped.is_new), (1580, true));
        let late = step(&mut audio, &mut timeline, 50_050, 541);
        assert_eq!((late.ticks, late.is_new), (1050, false));
        let adopted = step(&mut audio, &mut timeline, 10, 550);
        assert_eq!((adopted.ticks, adopted.is_new), (1590, true));
        assert_eq!(step(&mut video, &mut timeline, 40, 580).ticks, 1620);
    }

    #[test]
    fn a_jump_ahead_is_closed_and_a_pause_is_kept() {
        let mut timeline = Timeline::new(Duration::ZERO, SEC, 10 * SEC);
        let mut clock = Clock::new(MS);
        step(&mut clock, &mut timeline, 0, 0);
        // A minute of nothing that really was a minute.
        let paused = step(&mut clock, &mut timeline, 60_000, 60_000);
        assert_eq!((paused.ticks, paused.is_new), (60_000, false));
        // A minute on the encoder's clock only.
        let jumped = step(&mut clock, &mut timeline, 120_000, 60_040);
        assert_eq!((jumped.ticks, jumped.is_new), (60_080, true));
    }
}
