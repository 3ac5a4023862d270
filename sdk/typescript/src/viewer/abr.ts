/**
 * Chooses the rendition that the path can bring.
 *
 * Media of a live stream comes as fast as it is made, so its rate says nothing about what the path could
 * bring, until it brings too little: then what arrives is what it can bring. So:
 *
 * | sign | decision |
 * |---|---|
 * | chunks come later and later, or the buffer runs dry | down, at once, to what fits into what arrives |
 * | all is calm for a while | up by one, at the next group |
 * | that went wrong | down again, and a longer while before the next try |
 *
 * Lateness of a chunk is its arrival against its presentation time; the least of a long window is the
 * path without a queue, the least of a short one what it is now. Big key frames do not disturb the least.
 * Renditions are ordered best first. Times in milliseconds, rates in bits per second.
 */

export interface AbrRendition {
  bitrate: number;
  height: number;
}

export interface AbrDecision {
  index: number;
  urgent: boolean;
}

const SHORT_MS = 400;
const LONG_MS = 20_000;
const QUEUE_MS_MAX = 180;
const SAFETY = 0.8;
const PROBE_MS_MIN = 6000;
const PROBE_MS_MAX = 60_000;
/** After a change nothing is decided: what was on its way still comes. */
const SETTLE_MS = 1500;
/** A step up that fails within this time was one too much. */
const TRIAL_MS = 10_000;

export class Abr {
  readonly #lateness: { at: number; ms: number }[] = [];
  readonly #arrivals: { at: number; bytes: number }[] = [];
  #floor: { at: number; ms: number }[] = [];
  #probeMs = PROBE_MS_MIN;
  #calmSince = 0;
  #settledAt = 0;
  #wentUpAt = -Infinity;
  #capacity = 0;
  #lastAt = 0;

  /** A chunk arrived. `presented` is its time on the stream's own clock. */
  arrived(now: number, presented: number, bytes: number): void {
    const ms = now - presented;
    this.#lastAt = now;
    this.#lateness.push({ at: now, ms });
    this.#arrivals.push({ at: now, bytes });
    drop(this.#lateness, now - SHORT_MS);
    drop(this.#arrivals, now - 2000);
    // The least of the long window, kept as a falling staircase.
    while ((this.#floor.at(-1)?.ms ?? -Infinity) >= ms) this.#floor.pop();
    this.#floor.push({ at: now, ms });
    drop(this.#floor, now - LONG_MS);
  }

  /** How long a chunk waits on the path, beyond what it has to. What does not come at all waits as well. */
  queueMs(now: number): number {
    const least = this.#floor[0];
    if (!least) return 0;
    drop(this.#lateness, now - SHORT_MS);
    if (this.#lateness.length === 0) return now - this.#lastAt;
    return Math.min(...this.#lateness.map((sample) => sample.ms)) - least.ms;
  }

  /** What arrives. */
  rate(now: number): number {
    const first = this.#arrivals[0];
    if (!first) return 0;
    const bytes = this.#arrivals.reduce((sum, arrival) => sum + arrival.bytes, 0);
    return (bytes * 8000) / Math.max(500, now - first.at);
  }

  /** What the path could bring when it last was too little; 0 when it never was. */
  get capacity(): number {
    return this.#capacity;
  }

  /** The timeline began anew, or the path is another one. */
  reset(now: number): void {
    this.#lateness.length = 0;
    this.#arrivals.length = 0;
    this.#floor = [];
    this.#calmSince = now;
    this.#settledAt = now + SETTLE_MS;
  }

  /** A change was made by others: by hand, or by the stream. */
  changed(now: number): void {
    this.#calmSince = now;
    this.#settledAt = now + SETTLE_MS;
  }

  /** Which rendition to play; `null` for no change. `best` is the best that may be chosen. */
  decide(
    now: number,
    renditions: AbrRendition[],
    current: number,
    best: number,
    buffer: { ms: number; targetMs: number; stalled: boolean },
  ): AbrDecision | null {
    const present = renditions[current];
    if (!present || renditions.length < 2) return null;
    if (current < best) return this.#change(now, best, false);
    const queueMax = Math.max(QUEUE_MS_MAX, buffer.targetMs * 0.6);
    const queueMs = this.queueMs(now);
    const isDry = buffer.stalled || buffer.ms < buffer.targetMs * 0.15;
    if (queueMs > queueMax || (isDry && queueMs > 60)) {
      this.#calmSince = now;
      if (now < this.#settledAt || current + 1 >= renditions.length) return null;
      this.#capacity = this.rate(now);
      if (now - this.#wentUpAt < TRIAL_MS) this.#probeMs = Math.min(PROBE_MS_MAX, this.#probeMs * 2);
      return this.#change(now, this.#fitting(renditions, current, this.#capacity), true);
    }
    if (queueMs > QUEUE_MS_MAX / 3 || isDry) this.#calmSince = now;
    if (now - this.#wentUpAt > PROBE_MS_MAX) this.#probeMs = PROBE_MS_MIN;
    if (current > best && now >= this.#settledAt && now - this.#calmSince >= this.#probeMs) {
      this.#wentUpAt = now;
      return this.#change(now, current - 1, false);
    }
    return null;
  }

  /** The best one below the present one that fits; the least when none does. */
  #fitting(renditions: AbrRendition[], current: number, capacity: number): number {
    for (let index = current + 1; index < renditions.length; index++) {
      const bitrate = renditions[index]?.bitrate ?? 0;
      if (bitrate > 0 && bitrate <= capacity * SAFETY) return index;
    }
    return renditions.length - 1;
  }

  #change(now: number, index: number, urgent: boolean): AbrDecision {
    this.changed(now);
    return { index, urgent };
  }
}

function drop(samples: { at: number }[], before: number): void {
  while ((samples[0]?.at ?? Infinity) < before) samples.shift();
}
