/** What the two ways to make media have in common. */

import type { EncodedFrame } from '../engine/engine.ts';

/** What an encoder's output goes to. */
export interface MediaTarget {
  /** A configuration record; codec as `ms_config` numbers them. */
  config(kind: number, number: number, codec: number, record: Uint8Array<ArrayBuffer>): void;
  frame(frame: Omit<EncodedFrame, 'data'> & { data: ArrayBuffer }): void;
  /** Fragmented MP4. */
  recorded(data: ArrayBuffer): void;
  /** A track of the stream ended by itself; whether others go on. */
  ended(kind: number, othersGoOn: boolean): void;
  failed(reason: string): void;
}

/** Figures of the encoders. */
export interface MediaFigures {
  encodedFrames: number;
  droppedFrames: number;
  keyFrames: number;
  width: number;
  height: number;
  framerate: number;
  targetBitrate: number;
}

/** A way to make media of a `MediaStream`. */
export interface MediaMaker {
  readonly path: 'webcodecs' | 'media-recorder';
  start(): Promise<void>;
  /** The transport's queue, some times per second. */
  queued(now: number, queuedMs: number): void;
  figures(): MediaFigures;
  /** Stops; resolves when everything was handed on. */
  stop(): Promise<void>;
}

export function unixUs(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}
