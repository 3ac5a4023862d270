/**
 * Picture and sound beside each other: which of them is done without for a while.
 *
 * What is played is what both have, so one that stops, or falls behind for good, would hold the other for ever:
 *
 * | a kind | while the picture stands | comes back |
 * |---|---|---|
 * | has not come for `MISSING_MS`, the other one is fresh | is done without | when it comes again, at its place |
 * | comes, but ends `BEHIND_MS` before the other one | is done without | when it is `NEAR_MS` near |
 *
 * An encoder may well send its sound a second late: that costs latency once, and is no reason. Pure; times in
 * milliseconds, those of the media in microseconds.
 */

const MISSING_MS = 2000;
/** A kind that came within this goes on. */
const FRESH_MS = 500;
const BEHIND_MS = 3000;
const NEAR_MS = 1000;

interface Lane {
  at: number;
  endUs: number;
}

export class Lanes {
  readonly #lanes = new Map<string, Lane>();
  readonly #absent = new Set<string>();
  #since = 0;

  /** All kinds are wanted again. */
  reset(): void {
    this.#absent.clear();
  }

  /** Playback begins anew, perhaps with other kinds: they are given time to come. */
  begin(now: number): void {
    this.#since = now;
  }

  isAbsent(kind: string): boolean {
    return this.#absent.has(kind);
  }

  /** Media of a kind came, up to this time. Returns whether it was done without until now. */
  took(kind: string, now: number, endUs: number): boolean {
    this.#lanes.set(kind, { at: now, endUs });
    return this.#behindMs(kind) <= NEAR_MS && this.#absent.delete(kind);
  }

  /** The picture stands: whether a kind of those that are played is to be done without from now on. */
  giveUp(now: number, played: string[]): boolean {
    if (played.length < 2 || now - this.#since < MISSING_MS) return false;
    const age = (kind: string): number => now - (this.#lanes.get(kind)?.at ?? 0);
    const stale = played.filter((kind) => age(kind) > MISSING_MS);
    const late = played.filter((kind) => this.#behindMs(kind) > BEHIND_MS);
    // Where both stopped, one stopped first: that is an outage or the end.
    if (!played.some((kind) => age(kind) < FRESH_MS)) return false;
    const given = stale.length > 0 ? stale : late;
    if (given.length !== 1) return false;
    for (const kind of given) this.#absent.add(kind);
    return true;
  }

  /** How long before the one that is ahead a kind ends. */
  #behindMs(kind: string): number {
    const own = this.#lanes.get(kind)?.endUs;
    if (own === undefined) return 0;
    return (Math.max(...[...this.#lanes.values()].map(({ endUs }) => endUs)) - own) / 1000;
  }
}
