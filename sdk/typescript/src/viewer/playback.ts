/**
 * The element's clock: when to begin, how fast to go, when to jump, and what the viewer saw of it.
 *
 * | state | means | left by |
 * |---|---|---|
 * | buffering | nothing has been shown | enough is there |
 * | playing | the playhead moves, or waits for media | `close()` |
 *
 * The first media is the group that is under way, up to now, in a burst: playback begins with its first
 * frames, and jumps to its end, less the target, once that is there. A hole that nothing will fill is
 * jumped over.
 */

import { rangeAfter, rangeAt } from '../mse/ranges.ts';
import type { MediaSink } from '../mse/sink.ts';
import { LiveEdge, type LiveEdgeOptions } from './live-edge.ts';

const TICK_MS = 50;
/** So much is enough to begin with. */
const BEGIN_MS_MIN = 60;
/** The rest of the first burst comes within this time: what is above the target is jumped over at once. */
const SETTLE_MS = 800;
const SETTLE_ABOVE_MS = 120;
const HOLE_WAIT_MS = 250;
/** The playhead is held when less than this is ahead of it. */
const HOLD_MS = 10;
/** A playhead that does not move for so long stands still. */
const STALL_MS = 120;

export interface PlaybackEvents {
  started(): void;
  /** The picture stands still, or goes on. */
  stalled(isStalled: boolean): void;
  /** Playing needs a gesture that was not made. */
  blocked(): void;
  tick(now: number): void;
}

export class Playback {
  readonly #video: HTMLVideoElement;
  readonly #edge: LiveEdge;
  readonly #events: PlaybackEvents;
  #sink: MediaSink | null = null;
  #timer: ReturnType<typeof setInterval> | null = null;
  #begun = false;
  #firstAppendAt = 0;
  #begunAt = 0;
  #position = 0;
  #movedAt = 0;
  #stalledAt = 0;
  #holeAt = 0;
  #ended = false;
  #held = false;
  bufferMs = 0;
  stalls = 0;
  stalledMs = 0;
  gaps = 0;
  skips = 0;

  constructor(video: HTMLVideoElement, options: LiveEdgeOptions, events: PlaybackEvents) {
    this.#video = video;
    this.#edge = new LiveEdge(options);
    this.#events = events;
  }

  get targetMs(): number {
    return this.#edge.targetMs;
  }

  get isStalled(): boolean {
    return this.#stalledAt > 0;
  }

  get hasBegun(): boolean {
    return this.#begun;
  }

  /** Time stood still so far, the present stall with it. */
  stalledMsAt(now: number): number {
    return this.stalledMs + (this.#stalledAt > 0 ? now - this.#stalledAt : 0);
  }

  /** Plays what this sink gets, from its live edge on. */
  use(sink: MediaSink): void {
    this.#sink = sink;
    this.#begun = false;
    this.#ended = false;
    this.#firstAppendAt = 0;
    this.#edge.reset();
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
  }

  /** Something was appended. */
  appended(): void {
    const now = performance.now();
    this.#firstAppendAt ||= now;
    if (!this.#begun) this.#begin(now);
  }

  /** Nothing more comes: the rest is played to its end. */
  finish(): void {
    this.#ended = true;
    this.#setRate(1);
  }

  /** Media before this time was left out: nothing comes before it any more. */
  skipTo(time: number): void {
    if (!this.#begun || this.#video.currentTime >= time) return;
    this.gaps += 1;
    this.#edge.reset();
    this.#jump(time);
  }

  /**
   * What is ahead was put in place of other media, from a key frame behind the playhead on. Elements play the old
   * media to its end and go on with the next key frame: to show what is there, the playhead is set where it is.
   */
  begunAnew(): void {
    if (this.#begun && !this.#video.seeking) this.#jump(this.#video.currentTime);
  }

  /** To the newest picture. */
  seekToLive(): void {
    const range = this.#sink?.ranges.at(-1);
    if (!range) return;
    this.#edge.reset();
    this.#jump(Math.max(range.start, range.end - this.#edge.targetMs / 1000));
    if (this.#video.paused) this.#play();
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#endStall(performance.now());
    this.#sink = null;
  }

  #tick(): void {
    const now = performance.now();
    if (!this.#begun) this.#begin(now);
    else this.#steer(now);
    this.#events.tick(now);
  }

  #begin(now: number): void {
    const range = this.#sink?.ranges.at(-1);
    if (!range || this.#firstAppendAt === 0) return;
    const haveMs = (range.end - range.start) * 1000;
    const isEnough = haveMs >= Math.max(BEGIN_MS_MIN, Math.min(this.#edge.targetMs * 0.5, 200));
    if (!isEnough && now - this.#firstAppendAt < 1000) return;
    this.#begun = true;
    this.#begunAt = now;
    this.#video.currentTime = Math.max(range.start, range.end - this.#edge.targetMs / 1000);
    this.#position = this.#video.currentTime;
    this.#movedAt = now;
    this.#play();
    this.#events.started();
  }

  #steer(now: number): void {
    const sink = this.#sink;
    if (!sink) return;
    const { currentTime, paused, seeking } = this.#video;
    const ranges = sink.ranges;
    const range = rangeAt(ranges, currentTime);
    this.bufferMs = range ? Math.max(0, (range.end - currentTime) * 1000) : 0;
    this.#watchMoves(now, currentTime, paused || seeking);
    if (this.#ended) {
      this.#setRate(1);
      return;
    }
    if (now - this.#begunAt < SETTLE_MS && range && this.bufferMs > this.#edge.targetMs + SETTLE_ABOVE_MS) {
      this.#jump(range.end - this.#edge.targetMs / 1000);
      return;
    }
    // An element stands still a little before a hole, not at it.
    const isAtEnd = this.bufferMs < 20 || (this.#stalledAt > 0 && this.bufferMs < 200);
    if (isAtEnd && !paused && this.#crossHole(now, currentTime)) return;
    this.#hold(sink.endTime - currentTime, paused);
    if (this.#held) return;
    const { rate, jumpToMs } = this.#edge.update({
      now,
      bufferMs: this.bufferMs,
      playing: !paused && !seeking && this.#stalledAt === 0,
    });
    this.#setRate(rate);
    if (jumpToMs !== null && range) {
      this.skips += 1;
      this.#jump(range.end - jumpToMs / 1000);
    } else if (range && !paused && this.#stalledAt > 0) {
      this.#leaveBacklog(range.end, currentTime);
    }
  }

  /**
   * The element does not know where the picture ends (its last frame is said to last long), so the
   * playhead is held here until enough is there again.
   */
  #hold(aheadS: number, paused: boolean): void {
    const aheadMs = aheadS * 1000;
    const enough = Math.min(this.#edge.targetMs * 0.6, 400);
    this.#held = !paused && aheadMs < (this.#held ? enough : HOLD_MS);
    if (this.#held) this.#setRate(0);
  }

  /** After a stall that a backlog follows, the live edge is where to go on. */
  #leaveBacklog(end: number, currentTime: number): void {
    const target = this.#edge.targetMs / 1000;
    if (end - currentTime > target + 1) {
      this.skips += 1;
      this.#jump(end - target);
    }
  }

  #watchMoves(now: number, currentTime: number, isHeld: boolean): void {
    if (currentTime !== this.#position || isHeld) {
      this.#position = currentTime;
      this.#movedAt = now;
      if (this.#stalledAt > 0 && !(isHeld && this.#video.seeking)) this.#endStall(now);
      return;
    }
    if (this.#stalledAt === 0 && now - this.#movedAt > STALL_MS && !this.#ended) {
      // Counted from when it stood still, not from when that was sure.
      this.#stalledAt = this.#movedAt;
      this.stalls += 1;
      this.#edge.stalled(now);
      this.#events.stalled(true);
    }
  }

  #endStall(now: number): void {
    if (this.#stalledAt === 0) return;
    this.stalledMs += now - this.#stalledAt;
    this.#stalledAt = 0;
    this.#events.stalled(false);
  }

  /** Returns whether the playhead was moved over a hole. */
  #crossHole(now: number, currentTime: number): boolean {
    const next = this.#sink ? rangeAfter(this.#sink.ranges, currentTime) : null;
    if (!next) {
      this.#holeAt = 0;
      return false;
    }
    this.#holeAt ||= now;
    // What is missing may still come, but not while much waits behind it.
    if (now - this.#holeAt < HOLE_WAIT_MS && next.end - next.start < 1) return false;
    this.#holeAt = 0;
    this.gaps += 1;
    this.#edge.reset();
    this.#jump(Math.max(next.start + 0.001, next.end - this.#edge.targetMs / 1000));
    return true;
  }

  #jump(to: number): void {
    this.#video.currentTime = to;
    this.#movedAt = performance.now();
  }

  #setRate(rate: number): void {
    if (this.#video.playbackRate !== rate) this.#video.playbackRate = rate;
  }

  #play(): void {
    this.#video.play().catch((error: unknown) => {
      if (!(error instanceof DOMException) || error.name !== 'NotAllowedError') return;
      if (this.#video.muted) {
        this.#events.blocked();
        return;
      }
      // Without a gesture browsers allow the picture alone.
      this.#video.muted = true;
      this.#video.play().catch(() => this.#events.blocked());
    });
  }
}
