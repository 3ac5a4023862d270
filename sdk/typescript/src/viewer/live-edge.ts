/**
 * Stays near the live edge: how fast to play, and when to jump.
 *
 * | buffer ahead | what is done |
 * |---|---|
 * | above the target | plays faster, in proportion, up to `catchUpRate` |
 * | about the target | plays as it is |
 * | below half of it | plays a little slower, so that it does not run dry |
 * | above the target by `maxBehindMs` | jumps to the target |
 *
 * The buffer moves with each frame and with each burst of the path, so the least of a window counts: that
 * is what was never needed. After a stall the target grows, and shrinks again when nothing happens.
 * All times in milliseconds; the clock is a parameter.
 */

export interface LiveEdgeOptions {
  targetMs: number;
  maxBehindMs: number;
  catchUpRate: number;
}

export interface LiveEdgeInput {
  now: number;
  /** Media ahead of the playhead. */
  bufferMs: number;
  playing: boolean;
}

export interface LiveEdgeOutput {
  rate: number;
  /** Jump so that this much is ahead. */
  jumpToMs: number | null;
}

const WINDOW_MS = 1000;
const SLOW_RATE = 0.97;
const TOLERANCE_MS = 60;
/** So far above the target the rate is the greatest. */
const FULL_RATE_MS = 250;
const STALL_GROWTH_MS = 150;
const TARGET_MS_MAX = 3000;
const CALM_MS = 15_000;
const SHRINK = 0.9;

export class LiveEdge {
  readonly #options: LiveEdgeOptions;
  #target: number;
  #samples: { at: number; bufferMs: number }[] = [];
  #calmSince = 0;
  #rate = 1;

  constructor(options: LiveEdgeOptions) {
    this.#options = options;
    this.#target = options.targetMs;
  }

  /** The buffer that is aimed at. */
  get targetMs(): number {
    return this.#target;
  }

  /** The picture stood still: more has to be kept. */
  stalled(now: number): void {
    this.#target = Math.min(TARGET_MS_MAX, this.#target + STALL_GROWTH_MS);
    this.#calmSince = now;
    this.#samples = [];
  }

  /** What was seen of the buffer says nothing about what comes: a jump, a pause. */
  reset(): void {
    this.#samples = [];
    this.#rate = 1;
  }

  update(input: LiveEdgeInput): LiveEdgeOutput {
    const { now, bufferMs } = input;
    if (!input.playing) {
      this.reset();
      return { rate: 1, jumpToMs: null };
    }
    this.#samples.push({ at: now, bufferMs });
    const from = now - WINDOW_MS;
    this.#samples = this.#samples.filter((sample) => sample.at >= from);
    if (bufferMs > this.#target + this.#options.maxBehindMs) {
      this.reset();
      return { rate: 1, jumpToMs: this.#target };
    }
    this.#relax(now);
    // What a part of a window shows may be a burst.
    if (now - (this.#samples[0]?.at ?? now) < WINDOW_MS / 2 && bufferMs >= this.#target / 3) {
      return { rate: this.#rate, jumpToMs: null };
    }
    const least = Math.min(...this.#samples.map((sample) => sample.bufferMs));
    this.#rate = this.#rateFor(least, bufferMs);
    return { rate: this.#rate, jumpToMs: null };
  }

  #rateFor(least: number, bufferMs: number): number {
    const above = least - this.#target;
    // Catching up ends at the target, not at its tolerance: else it would begin again at once.
    const threshold = this.#rate > 1 ? 0 : TOLERANCE_MS;
    if (above > threshold) {
      const share = Math.min(1, above / FULL_RATE_MS);
      const rate = 1 + (this.#options.catchUpRate - 1) * Math.max(0.25, share);
      // Steps, so that the element is not told anew all the time.
      return Math.round(rate * 100) / 100;
    }
    if (bufferMs < this.#target / 3) return SLOW_RATE;
    if (this.#rate < 1 && bufferMs < (this.#target * 2) / 3) return SLOW_RATE;
    return 1;
  }

  #relax(now: number): void {
    if (this.#calmSince === 0) this.#calmSince = now;
    if (now - this.#calmSince < CALM_MS || this.#target <= this.#options.targetMs) return;
    this.#calmSince = now;
    this.#target = Math.max(this.#options.targetMs, this.#target * SHRINK);
  }
}
