/**
 * Keeps the count of samples and the clock of a sound track together.
 *
 * Encoders count: what they are given stands end to end, whatever its timestamps say. So data that was lost on
 * its way from the device (a page that was busy, a device that paused) makes all later sound come too early by as
 * much, and a device whose samples are not quite as many per second as it says makes it drift. Both add up for as
 * long as a broadcast lasts. What is to be done with a piece of sound so that it stays at its time:
 *
 * | how far its time is from the count | what is done |
 * |---|---|
 * | further than `RESTART_US` | the encoder begins anew: the clock is another one |
 * | ahead by more than `JUMP_US`, or by more than `STEP_US` for a window | silence comes before it |
 * | behind by more than `STEP_US` for a window, or after silence that was made up | its beginning is left out |
 * | more than `SLEW_US` for a window | it is made a little longer or shorter, which nobody hears |
 *
 * Timestamps say when a piece was seen, which may be late and is hardly ever early: of a window, the least
 * distance counts for what is missing, and the greatest for what is too much. Pure; times in microseconds.
 */

const WINDOW_US = 300_000;
const JUMP_US = 250_000;
const STEP_US = 40_000;
const SLEW_US = 8000;
/** Where lengthening and shortening ends. */
const SLEW_END_US = 1000;
/** A piece is changed by one sample in so many. */
const SLEW_SHARE = 480;
const RESTART_US = 3_000_000;

/** What is to be done with a piece, in this order. All in samples. */
export interface SoundStep {
  /** The encoder has to begin anew, with this piece. */
  restart: boolean;
  /** Silence before it. */
  silence: number;
  /** Left out at its beginning; all of it when it is not longer. */
  skip: number;
  /** What is left of it is to last so much longer, or shorter when negative. */
  stretch: number;
}

export class SoundClock {
  readonly #rate: number;
  #baseUs: number | null = null;
  /** Samples since `#baseUs`. */
  #count = 0;
  #window: { at: number; distance: number }[] = [];
  /** Samples that are to be left out. */
  #owed = 0;
  #slewing = 0;
  #isMadeUp = false;

  constructor(sampleRate: number) {
    this.#rate = sampleRate;
  }

  /** Where the next sample stands; `null` before the first. */
  get endUs(): number | null {
    return this.#baseUs === null ? null : this.#baseUs + (this.#count * 1e6) / this.#rate;
  }

  /** A piece of `samples`, which begins at `timeUs` of the track's clock. */
  take(timeUs: number, samples: number): SoundStep {
    const end = this.endUs;
    if (end === null) return this.#begin(timeUs, samples, false);
    const distance = timeUs - end;
    if (Math.abs(distance) > RESTART_US) return this.#begin(timeUs, samples, true);
    let silence = 0;
    if (this.#isMadeUp && distance < 0) this.#owed = this.#samples(-distance);
    else if (this.#owed === 0) silence = this.#look(timeUs, distance);
    const skip = Math.min(samples, this.#owed);
    this.#owed -= skip;
    // Of what comes late, all is left out until its times are past the silence.
    if (this.#isMadeUp) {
      this.#isMadeUp = skip === samples;
      this.#owed = 0;
    }
    const left = samples - skip;
    const stretch = silence > 0 || skip > 0 ? 0 : this.#slew(timeUs, left);
    this.#count += silence + left + stretch;
    return { restart: false, silence, skip, stretch };
  }

  /** Nothing comes: how many samples of silence are due until `timeUs`. None when that is too long ago to make up. */
  makeUp(timeUs: number): number {
    const end = this.endUs;
    if (end === null || timeUs <= end || timeUs - end > RESTART_US) return 0;
    const silence = this.#samples(timeUs - end);
    this.#count += silence;
    this.#isMadeUp = true;
    this.#owed = 0;
    this.#forget();
    return silence;
  }

  #begin(timeUs: number, samples: number, restart: boolean): SoundStep {
    this.#baseUs = timeUs;
    this.#count = samples;
    this.#owed = 0;
    this.#isMadeUp = false;
    this.#forget();
    return { restart, silence: 0, skip: 0, stretch: 0 };
  }

  /** Looks at the distance, and at those before it. Returns what is missing; what is too much is owed. */
  #look(timeUs: number, distance: number): number {
    this.#window.push({ at: timeUs, distance });
    this.#window = this.#window.filter(({ at }) => at >= timeUs - WINDOW_US && at <= timeUs);
    let missing = distance > JUMP_US ? distance : 0;
    if (this.#isFull(timeUs)) {
      if (this.#least > STEP_US) missing = Math.max(missing, this.#least);
      if (this.#most < -STEP_US) this.#owed = this.#samples(-this.#most);
    }
    if (missing > 0 || this.#owed > 0) this.#forget();
    return this.#samples(missing);
  }

  #slew(timeUs: number, samples: number): number {
    if (!this.#isFull(timeUs)) return 0;
    const end = this.#slewing === 0 ? SLEW_US : SLEW_END_US;
    if (this.#least > end) this.#slewing = 1;
    else if (this.#most < -end) this.#slewing = -1;
    else this.#slewing = 0;
    return this.#slewing * Math.max(1, Math.round(samples / SLEW_SHARE));
  }

  get #least(): number {
    return Math.min(...this.#window.map(({ distance }) => distance));
  }

  get #most(): number {
    return Math.max(...this.#window.map(({ distance }) => distance));
  }

  #isFull(now: number): boolean {
    return now - (this.#window[0]?.at ?? now) > WINDOW_US * 0.8;
  }

  #forget(): void {
    this.#window = [];
    this.#slewing = 0;
  }

  #samples(us: number): number {
    return Math.round((us * this.#rate) / 1e6);
  }
}
