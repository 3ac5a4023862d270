/** Pauses between attempts: short at first, doubled up to a cap, with a random part. */

export interface BackoffLimits {
  firstMs: number;
  maxMs: number;
}

export class Backoff {
  readonly #limits: BackoffLimits;
  readonly #random: () => number;
  #failures = 0;

  constructor(limits: BackoffLimits, random: () => number) {
    this.#limits = limits;
    this.#random = random;
  }

  /** Attempts that failed since the last success. */
  get failures(): number {
    return this.#failures;
  }

  /** The pause before the next attempt, in milliseconds. */
  next(): number {
    const { firstMs, maxMs } = this.#limits;
    const whole = Math.min(maxMs, firstMs * 2 ** this.#failures);
    this.#failures += 1;
    // Viewers that lost the same relay do not come back at the same moment.
    return whole * (0.75 + 0.5 * this.#random());
  }

  succeeded(): void {
    this.#failures = 0;
  }
}
