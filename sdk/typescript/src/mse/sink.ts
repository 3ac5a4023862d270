/**
 * A `MediaSource` with a `SourceBuffer` for the picture and one for the sound.
 *
 * | state | means | left by |
 * |---|---|---|
 * | opening | the element has the source, which is not open yet | `sourceopen` |
 * | open | chunks are appended | `end()`, `close()`, a fault |
 *
 * The stream's clock may stand anywhere (ours counts from 1970); the element's begins near zero: the first
 * chunk decides the offset, the same for both buffers. A rendition that changes brings its own init
 * segment; the browser replaces what overlaps. Frames of the picture are appended with durations that are too
 * long (see `sdk/wasm`), so where the media ends is counted here.
 */

import { intersection, type Range } from './ranges.ts';
import { TrackBuffer } from './track-buffer.ts';

/** Room for sound that is a little before the first picture. */
const LEAD_S = 2;

export interface SinkTrack {
  name: string;
  /** `video/mp4; codecs="avc1.42E01F"`. */
  type: string;
  init: Uint8Array;
}

export interface SinkOptions {
  /** The kinds that will come. */
  video: SinkTrack | null;
  audio: SinkTrack | null;
  onFailed: (reason: string) => void;
  onAppended: () => void;
}

/** A chunk of a track. */
export interface SinkChunk {
  bytes: Uint8Array;
  timeUs: number;
  /** How long it truly lasts: in its bytes, the last frame lasts longer. */
  durationUs: number;
}

interface Lane {
  buffer: TrackBuffer;
  track: string;
  type: string;
  /** Where the newest chunk ends. */
  endUs: number;
}

interface Scope {
  ManagedMediaSource?: typeof MediaSource;
}

/** Whether this browser can play such a track. */
export function canPlay(type: string): boolean {
  const source = sourceClass();
  return source !== undefined && source.isTypeSupported(type);
}

function sourceClass(): typeof MediaSource | undefined {
  return globalThis.MediaSource ?? (globalThis as Scope).ManagedMediaSource;
}

export class MediaSink {
  readonly #video: HTMLVideoElement;
  readonly #source: MediaSource;
  readonly #url: string;
  readonly #options: SinkOptions;
  readonly #lanes = new Map<string, Lane>();
  #early: (() => void)[] = [];
  #offset: number | null = null;
  #closed = false;

  constructor(video: HTMLVideoElement, options: SinkOptions) {
    const Source = sourceClass();
    if (!Source) throw new Error('this browser has no Media Source Extensions');
    this.#video = video;
    this.#options = options;
    this.#source = new Source();
    this.#url = URL.createObjectURL(this.#source);
    this.#source.addEventListener('sourceopen', () => this.#opened(), { once: true });
    video.disableRemotePlayback = true;
    video.src = this.#url;
  }

  /** Whether it takes this kind. */
  takes(kind: string): boolean {
    return (kind === 'video' ? this.#options.video : this.#options.audio) !== null;
  }

  /** Appends a chunk of a track. `timeUs` decides the timeline's beginning when it is the first. */
  append(kind: string, track: SinkTrack, chunk: SinkChunk, done: () => void): void {
    const { timeUs, bytes } = chunk;
    if (this.#closed) return done();
    if (this.#offset === null) this.#setOffset(LEAD_S - timeUs / 1e6);
    this.#when(() => {
      const lane = this.#lanes.get(kind);
      if (!lane) return done();
      if (lane.track !== track.name) {
        lane.track = track.name;
        lane.type = track.type;
        lane.buffer.init(track.init, track.type);
      }
      lane.endUs = timeUs + chunk.durationUs;
      lane.buffer.append(bytes, done);
    });
  }

  /** A new init segment of a track under the same name. */
  renew(kind: string): void {
    const lane = this.#lanes.get(kind);
    if (lane) lane.track = '';
  }

  /** What can be played. */
  get ranges(): Range[] {
    const end = this.endTime;
    const common = intersection([...this.#lanes.values()].map(({ buffer }) => buffer.buffered));
    return common.filter(({ start }) => start < end).map((range) => ({ start: range.start, end: Math.min(range.end, end) }));
  }

  /** Where the media that is there ends, in the element's time: of the kind that ends first. */
  get endTime(): number {
    let endUs = Infinity;
    for (const lane of this.#lanes.values()) endUs = Math.min(endUs, lane.endUs);
    return this.elementTime(endUs);
  }

  get waitingBytes(): number {
    let bytes = 0;
    for (const { buffer } of this.#lanes.values()) bytes += buffer.waitingBytes;
    return bytes;
  }

  /** The stream's time, in microseconds, at a time of the element's. */
  streamTimeUs(seconds: number): number {
    return (seconds - (this.#offset ?? 0)) * 1e6;
  }

  elementTime(timeUs: number): number {
    return timeUs / 1e6 + (this.#offset ?? 0);
  }

  /** Nothing more comes. */
  end(): void {
    this.#when(() => {
      if (this.#source.readyState !== 'open') return;
      const waits = (): boolean => [...this.#lanes.values()].some(({ buffer }) => buffer.waitingBytes > 0);
      const finish = (): void => {
        if (this.#closed || this.#source.readyState !== 'open') return;
        if (waits()) {
          setTimeout(finish, 50);
          return;
        }
        try {
          this.#source.endOfStream();
        } catch {
          setTimeout(finish, 50);
        }
      };
      finish();
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { buffer } of this.#lanes.values()) buffer.close();
    this.#lanes.clear();
    this.#early = [];
    URL.revokeObjectURL(this.#url);
    if (this.#video.src === this.#url) {
      this.#video.removeAttribute('src');
      this.#video.load();
    }
  }

  #opened(): void {
    if (this.#closed) return;
    // A live stream has no end that is known.
    this.#source.duration = Infinity;
    try {
      this.#add('video', this.#options.video);
      this.#add('audio', this.#options.audio);
    } catch (error) {
      this.#options.onFailed(error instanceof Error ? error.message : String(error));
      return;
    }
    if (this.#offset !== null) this.#setOffset(this.#offset);
    for (const run of this.#early.splice(0)) run();
  }

  #add(kind: string, track: SinkTrack | null): void {
    if (!track) return;
    const buffer = new TrackBuffer(this.#source, track.type, {
      position: () => this.#video.currentTime,
      failed: (reason) => this.#options.onFailed(reason),
      appended: () => this.#options.onAppended(),
    });
    buffer.init(track.init, track.type);
    this.#lanes.set(kind, { buffer, track: track.name, type: track.type, endUs: -Infinity });
  }

  #setOffset(seconds: number): void {
    this.#offset = seconds;
    for (const { buffer } of this.#lanes.values()) buffer.offset = seconds;
  }

  #when(run: () => void): void {
    if (this.#lanes.size > 0) run();
    else this.#early.push(run);
  }
}
