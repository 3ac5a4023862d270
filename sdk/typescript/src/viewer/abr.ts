/**
 * Chooses the rendition that the path can bring.
 *
 * Media of a live stream comes as fast as it is made, so its rate says nothing about what the path could
 * bring, until it brings too little: then what arrives is what it can bring. So:
 *
 * | sign | decision |
 * |---|---|
 * | each chunk comes later than the one before, and they bring less than the rendition has | down, at once, to what fits into what arrives |
 * | chunks come late for a while, or the buffer runs dry | down, at once, likewise |
 * | all is calm for a while | up by one, at the next group |
 * | that went wrong | down again, and a longer while before the next try |
 *
 * Lateness of a chunk is its arrival against the time at which it was made (its presentation time where the stream
 * does not say), so that an encoder that is slow is not taken for a path; the least of a long window is the path
 * without a queue, the least of a short one what it is now. Big key frames do not disturb the least; and a
 * path that is wide enough brings them as fast as it can, so that they are no sign of a narrow one.
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
/** Chunks that come later and later: over so long, by so much of that time, in so many steps of so much. */
const TREND_MS = 300;
const TREND_MS_MIN = 140;
const TREND_GROWTH = 0.2;
const TREND_STEPS = 2;
const TREND_STEP_MS = 15;
/** A single step that is more of the growth than this is a hiccup of whoever sends or receives. */
const TREND_STEP_SHARE = 0.7;
const TREND_LATE_MS = 60;
/** So long it takes for another rendition to be there. */
const SWITCH_MS = 800;
/** Less of the rendition's bits than this is too little. */
const TREND_RATE = 0.85;
/** Less of them than this is no path at all. */
const TREND_RATE_MIN = 0.2;
/** Over so long what is received is looked at. */
const RECEIVED_MS = 90;
/** Media that tells how many bits a rendition truly has. */
const USUAL_MS = 5000;
const USUAL_MS_MIN = 1000;
const SAFETY = 0.8;
const PROBE_MS_MIN = 6000;
const PROBE_MS_MAX = 60_000;
/** After a change nothing is decided: what was on its way still comes. */
const SETTLE_MS = 1500;
/** A page that did not ask for so long stood still itself, and has yet to hear what came meanwhile. */
const ASLEEP_MS = 150;
/** A step up that fails within this time was one too much. */
const TRIAL_MS = 10_000;

export class Abr {
  readonly #lateness: { at: number; ms: number }[] = [];
  readonly #trend: { at: number; presented: number; ms: number; bytes: number }[] = [];
  /** All bytes that came until then, of media and of everything else. */
  readonly #received: { at: number; bytes: number }[] = [];
  readonly #arrivals: { at: number; bytes: number }[] = [];
  /** The last seconds of media; `at` is its own time. */
  readonly #media: { at: number; bytes: number }[] = [];
  #floor: { at: number; ms: number }[] = [];
  #probeMs = PROBE_MS_MIN;
  #calmSince = 0;
  #settledAt = 0;
  #wentUpAt = -Infinity;
  #capacity = 0;
  #lastAt = 0;
  #askedAt = 0;
  #isMadeKnown = false;

  /** A chunk arrived. `presented` is its time on the stream's own clock, `made` when the producer had it, if known. */
  arrived(now: number, presented: number, bytes: number, made: number | null = null): void {
    if ((made !== null) !== this.#isMadeKnown) {
      this.#isMadeKnown = made !== null;
      this.#forget();
    }
    const ms = now - (made ?? presented);
    this.#lastAt = now;
    this.#lateness.push({ at: now, ms });
    this.#trend.push({ at: now, presented, ms, bytes });
    this.#arrivals.push({ at: now, bytes });
    this.#media.push({ at: presented, bytes });
    drop(this.#media, presented - USUAL_MS);
    drop(this.#lateness, now - SHORT_MS);
    drop(this.#trend, now - TREND_MS);
    drop(this.#arrivals, now - 2000);
    // The least of the long window, kept as a falling staircase.
    while ((this.#floor.at(-1)?.ms ?? -Infinity) >= ms) this.#floor.pop();
    this.#floor.push({ at: now, ms });
    drop(this.#floor, now - LONG_MS);
  }

  /** So many bytes came since the beginning, whole chunks or not. */
  received(now: number, bytes: number): void {
    if (bytes < (this.#received.at(-1)?.bytes ?? 0)) this.#received.length = 0;
    this.#received.push({ at: now, bytes });
    drop(this.#received, now - TREND_MS);
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
    this.#forget();
    this.#media.length = 0;
    this.#arrivals.length = 0;
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
    const wasAsleep = now - this.#askedAt > ASLEEP_MS;
    this.#askedAt = now;
    if (wasAsleep) return null;
    const present = renditions[current];
    if (!present || renditions.length < 2) return null;
    if (current < best) return this.#change(now, best, false);
    const queueMax = Math.max(QUEUE_MS_MAX, buffer.targetMs * 0.6);
    const queueMs = this.queueMs(now);
    const isDry = buffer.stalled || buffer.ms < buffer.targetMs * 0.15;
    // Dry before another rendition could be there.
    const isEbbing = buffer.ms < this.#ebb(now, present.bitrate) * SWITCH_MS;
    if (isEbbing || queueMs > queueMax || (isDry && queueMs > 60)) {
      this.#calmSince = now;
      if (now < this.#settledAt || current + 1 >= renditions.length) return null;
      this.#capacity = Math.min(this.rate(now), this.#trendRate());
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

  #forget(): void {
    this.#lateness.length = 0;
    this.#trend.length = 0;
    this.#floor = [];
  }

  /**
   * How fast the buffer ebbs, as a share of time, when chunks bring less than `bitrate`, and come later and later
   * for that; else 0. A large chunk that is under way counts as one that is late, as long as its bytes come.
   */
  #ebb(now: number, bitrate: number): number {
    const first = this.#trend[0];
    const last = this.#trend.at(-1);
    if (!first || !last || now - first.at < TREND_MS_MIN) return 0;
    const usual = this.#usualRate() ?? bitrate;
    const steps = this.#trend.slice(1).map((sample, before) => sample.ms - (this.#trend[before]?.ms ?? sample.ms));
    const each = (last.presented - first.presented) / Math.max(1, steps.length);
    const overdue = now - last.at - each;
    const isUnderWay = each > 0 && overdue > each;
    const growth = last.ms - first.ms + (isUnderWay ? overdue : 0);
    const ebb = growth / ((isUnderWay ? now : last.at) - first.at);
    const late = last.ms - (this.#floor[0]?.ms ?? last.ms) + (isUnderWay ? overdue : 0);
    const rate = isUnderWay ? this.#receivedRate(now) : this.#trendRate();
    const risen = steps.filter((step) => step > TREND_STEP_MS).length;
    // Of what is under way, bytes come; else it is a hiccup, as is a single step.
    const isSteady = isUnderWay
      ? rate > usual * TREND_RATE_MIN
      : risen >= TREND_STEPS && Math.max(...steps) < growth * TREND_STEP_SHARE;
    const isNarrow = ebb > TREND_GROWTH && late > TREND_LATE_MS && isSteady && rate < usual * TREND_RATE;
    return isNarrow ? ebb : 0;
  }

  /** What arrived in the last moments, chunks that are under way with it; 0 when not known. */
  #receivedRate(now: number): number {
    const last = this.#received.at(-1);
    const first = this.#received.findLast(({ at }) => at <= (last?.at ?? 0) - RECEIVED_MS);
    if (!first || !last || now - last.at > TREND_MS) return 0;
    return ((last.bytes - first.bytes) * 8000) / (last.at - first.at);
  }

  /** The bits of the rendition that plays, as it was made; `null` when too little is known. */
  #usualRate(): number | null {
    const span = (this.#media.at(-1)?.at ?? 0) - (this.#media[0]?.at ?? 0);
    if (span < USUAL_MS_MIN) return null;
    return (this.#media.slice(1).reduce((sum, each) => sum + each.bytes, 0) * 8000) / span;
  }

  /** What arrives at this very moment; more than anything when too little is known. */
  #trendRate(): number {
    const first = this.#trend[0];
    const last = this.#trend.at(-1);
    if (!first || !last || last.at - first.at < TREND_MS_MIN) return Infinity;
    const bytes = this.#trend.slice(1).reduce((sum, sample) => sum + sample.bytes, 0);
    return (bytes * 8000) / (last.at - first.at);
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
