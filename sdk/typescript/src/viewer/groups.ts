/**
 * The group of the picture that plays: how long groups are, and how much of this one is there.
 *
 * A rendition that is left at once is followed by another one, which a decoder can begin only with a group: either
 * with the one that plays, all of it that was there already once more, or with the next, which has not begun yet.
 * Pure; times in milliseconds, those of the media in microseconds.
 */

/** What comes once more comes at once, which a narrow path seldom takes without loss, and has to be decoded. */
const AGAIN_MS = 300;

export class Groups {
  #group = -1;
  #startUs = 0;
  #endUs = 0;
  #lengthUs = 0;

  /** Where the newest chunk ends. */
  get endUs(): number {
    return this.#endUs;
  }

  /** A chunk of the rendition that plays. */
  took(group: number, timeUs: number, durationUs: number): void {
    if (group !== this.#group) {
      if (group === this.#group + 1) this.#lengthUs = timeUs - this.#startUs;
      this.#group = group;
      this.#startUs = timeUs;
    }
    this.#endUs = timeUs + durationUs;
  }

  /**
   * Whether the next group is there sooner than what was played of this one in other bits: `share` is how much of the
   * path they take, `queueMs` how far what comes is behind.
   */
  isNextSooner(share: number, queueMs: number): boolean {
    if (this.#lengthUs <= 0) return false;
    const hadMs = (this.#endUs - this.#startUs) / 1000;
    return this.#lengthUs / 1000 - hadMs - queueMs < hadMs * share + AGAIN_MS;
  }
}
