/**
 * How many bits the encoders may spend, by how long what they made waits to be sent.
 *
 * | waiting | decision |
 * |---|---|
 * | longer than `LATE_MS` | down to seven tenths, then a pause: the queue has to drain first |
 * | hardly, for `CALM_MS` | up by a tenth, to the maximum |
 *
 * Pure; times in milliseconds, rates in bits per second.
 */

const LATE_MS = 250;
const IDLE_MS = 80;
const CALM_MS = 3000;
const HOLD_MS = 1200;
const DOWN = 0.7;
const UP = 1.1;
/** Beyond this, frames are left out until the next key frame: they would come too late. */
const HOPELESS_MS = 1500;

export class Congestion {
  readonly #max: number;
  readonly #min: number;
  #bitrate: number;
  #heldUntil = 0;
  #calmSince: number | null = null;
  #queuedMs = 0;

  constructor(max: number, min: number) {
    this.#max = max;
    this.#min = Math.min(min, max);
    this.#bitrate = max;
  }

  get bitrate(): number {
    return this.#bitrate;
  }

  /** Whether frames should be left out. */
  get isHopeless(): boolean {
    return this.#queuedMs > HOPELESS_MS;
  }

  /** What waits. Returns the new bitrate when it changed. */
  update(now: number, queuedMs: number): number | null {
    this.#queuedMs = queuedMs;
    const before = this.#bitrate;
    if (queuedMs > LATE_MS) {
      this.#calmSince = null;
      if (now >= this.#heldUntil) {
        this.#heldUntil = now + HOLD_MS;
        this.#bitrate = Math.max(this.#min, Math.round(this.#bitrate * DOWN));
      }
    } else if (queuedMs > IDLE_MS) {
      this.#calmSince = null;
    } else {
      this.#calmSince ??= now;
      if (now - this.#calmSince >= CALM_MS) {
        this.#calmSince = now;
        this.#bitrate = Math.min(this.#max, Math.round(this.#bitrate * UP));
      }
    }
    return this.#bitrate === before ? null : this.#bitrate;
  }
}
