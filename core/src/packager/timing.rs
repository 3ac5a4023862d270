//! Decode times and durations of frames whose length is not known before the next one comes.
//!
//! A loop with two parts: an estimate of the interval between frames, and a correction that works
//! off a quarter of the difference between written and true time with each frame. Both begin anew
//! when the encoder's clock jumps. All numbers are ticks of the track.

/// A change of interval stands once two frames in a row agree about it.
const AGREEMENT: i64 = 2;

/// Predicts durations and keeps decode times continuous.
#[derive(Debug)]
pub(super) struct FrameTiming {
    /// Largest difference to the timestamp at which the prediction is honoured.
    tolerance: i64,
    interval: Option<i64>,
    /// A differing interval, seen once.
    candidate: Option<i64>,
    /// Timestamp of the frame before.
    before: Option<i64>,
    /// Decode time that was written for it.
    written: Option<i64>,
    /// Where it was said to end.
    expected: Option<i64>,
    fallback: i64,
    duration_max: i64,
}

/// Decode time of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decode {
    /// What is to be written.
    pub(super) ticks: i64,
    /// Whether it had to be moved away from the timestamp to keep the order of decoding.
    pub(super) is_moved: bool,
}

impl FrameTiming {
    /// `interval` is what configuration records say, if they do; `timescale` bounds what is
    /// plausible.
    pub(super) fn new(timescale: u32, tolerance: i64, interval: Option<i64>) -> Self {
        let second = i64::from(timescale);
        Self {
            tolerance,
            interval: interval.filter(|ticks| (1..=second).contains(ticks)),
            candidate: None,
            before: None,
            written: None,
            expected: None,
            fallback: (second / 30).max(1),
            duration_max: second.saturating_mul(10),
        }
    }

    /// Forgets the frame before, but not how long frames are.
    pub(super) fn restart(&mut self) {
        self.before = None;
        self.candidate = None;
        self.expected = None;
    }

    /// The decode time for a frame with this timestamp.
    pub(super) fn decode_time(&mut self, timestamp: i64) -> Decode {
        self.learn(timestamp);
        let near = self
            .expected
            .filter(|expected| timestamp.saturating_sub(*expected).abs() <= self.tolerance);
        let earliest = self
            .written
            .map_or(i64::MIN, |ticks| ticks.saturating_add(1));
        let ticks = near.unwrap_or(timestamp).max(earliest);
        self.before = Some(timestamp);
        self.written = Some(ticks);
        Decode {
            ticks,
            is_moved: near.is_none() && ticks != timestamp,
        }
    }

    /// The duration of the frame that `decode_time` was asked for last.
    pub(super) fn predict(&mut self) -> u32 {
        let interval = self.interval.unwrap_or(self.fallback);
        let behind = match (self.before, self.written) {
            (Some(timestamp), Some(written)) => timestamp.saturating_sub(written),
            _ => 0,
        };
        // What had to be moved far is not made good within a frame.
        let correction = (behind / 4).clamp(-(interval / 4), interval / 4);
        self.set(interval.saturating_add(correction))
    }

    /// Takes a duration that is known.
    pub(super) fn set(&mut self, duration: i64) -> u32 {
        let duration = duration.clamp(1, self.duration_max);
        self.expected = self.written.map(|ticks| ticks.saturating_add(duration));
        u32::try_from(duration).unwrap_or(u32::MAX)
    }

    /// The best guess of a frame's length.
    pub(super) fn interval(&self) -> i64 {
        self.interval.unwrap_or(self.fallback)
    }

    fn learn(&mut self, timestamp: i64) {
        let Some(before) = self.before else { return };
        let seen = timestamp.saturating_sub(before);
        if seen <= 0 || seen > self.duration_max {
            return;
        }
        let agree = self.tolerance.saturating_mul(AGREEMENT).max(1);
        let is_near = |known: &i64| seen.saturating_sub(*known).abs() <= agree;
        match self.interval {
            None => self.interval = Some(seen),
            Some(known) if is_near(&known) => {
                self.interval = Some(known.saturating_add((seen - known) / 8));
                self.candidate = None;
            }
            Some(_) if self.candidate.as_ref().is_some_and(is_near) => {
                self.interval = Some(seen);
                self.candidate = None;
            }
            Some(_) => self.candidate = Some(seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds timestamps in milliseconds at 90 kHz; gives decode times, durations and the largest
    /// difference to the true time.
    fn run(timing: &mut FrameTiming, stamps: impl Iterator<Item = i64>) -> (Vec<(i64, i64)>, i64) {
        let mut worst = 0;
        let frames = stamps.map(|ms| {
            let decode = timing.decode_time(ms * 90);
            worst = worst.max((decode.ticks - ms * 90).abs());
            (decode.ticks, i64::from(timing.predict()))
        });
        (frames.collect(), worst)
    }

    fn gaps(frames: &[(i64, i64)]) -> usize {
        frames
            .windows(2)
            .filter(|w| w[0].0 + w[0].1 != w[1].0)
            .count()
    }

    #[test]
    fn rounded_timestamps_of_a_steady_rate_give_a_gapless_track() {
        for rate in [23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 59.94, 60.0, 120.0] {
            #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
            let stamps = (0..5000).map(|n| (f64::from(n) * 1000.0 / rate).round() as i64);
            let mut timing = FrameTiming::new(90_000, 180, None);
            let (frames, worst) = run(&mut timing, stamps);
            // The first frame's duration is a guess; the second may have to correct it.
            assert!(gaps(&frames) <= 1, "{rate}: {} gaps", gaps(&frames));
            assert!(worst <= 180, "{rate}: {worst} ticks away");
        }
    }

    #[test]
    fn a_changed_rate_is_followed_after_two_frames() {
        let stamps = (0..100)
            .map(|n| n * 40)
            .chain((1..100).map(|n| 3960 + n * 20));
        let mut timing = FrameTiming::new(90_000, 180, Some(3600));
        let (frames, worst) = run(&mut timing, stamps);
        assert_eq!(worst, 0);
        assert_eq!(gaps(&frames), 2);
        assert_eq!(frames.last().unwrap().1, 1800);
    }

    #[test]
    fn irregular_frames_stand_at_their_timestamps_in_order() {
        let stamps = [0, 100, 110, 500, 490, 495, 700, 2000];
        let mut timing = FrameTiming::new(90_000, 180, None);
        let (frames, _) = run(&mut timing, stamps.into_iter());
        assert!(frames.windows(2).all(|w| w[0].0 < w[1].0), "{frames:?}");
        assert_eq!(frames[7].0, 180_000);
        assert_eq!(frames[3].0, 45_000);
        assert_eq!(frames[4].0, 45_001);
    }
}
