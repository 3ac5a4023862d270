/**
 * One `SourceBuffer`: what waits to be appended, one operation at a time, and what is let go of.
 *
 * Chunks that wait go in one append. Media that was played is removed after `KEEP_S`, so that hours of
 * play stay within the browser's quota; when that is reached nevertheless, more is removed and the
 * append is tried again.
 */

import { rangesOf, type Range } from './ranges.ts';

/** Played media that is kept. */
const KEEP_S = 12;
/** Removing is not for free: this much at a time, at least. */
const REMOVE_S_MIN = 10;
/** What is kept when the quota is reached. */
const KEEP_S_MIN = 2;
const WAITING_BYTES_MAX = 32 << 20;

interface Pending {
  bytes: Uint8Array;
  /** Set for an init segment: the type that it is of. */
  type: string | null;
  done: () => void;
}

export interface TrackBufferOwner {
  /** Where the playhead is, in seconds. */
  position(): number;
  failed(reason: string): void;
  appended(): void;
}

export class TrackBuffer {
  readonly #buffer: SourceBuffer;
  readonly #owner: TrackBufferOwner;
  #waiting: Pending[] = [];
  #waitingBytes = 0;
  #appending: Pending[] = [];
  #type: string;
  #evictAll = false;
  #retries = 0;
  #closed = false;
  #offset = 0;

  constructor(source: MediaSource, type: string, owner: TrackBufferOwner) {
    this.#buffer = source.addSourceBuffer(type);
    this.#buffer.mode = 'segments';
    this.#type = type;
    this.#owner = owner;
    this.#buffer.addEventListener('updateend', this.#updated);
    this.#buffer.addEventListener('error', this.#errored);
  }

  /** Seconds that are taken off all times. To be set before anything is appended. */
  set offset(seconds: number) {
    this.#offset = seconds;
  }

  init(bytes: Uint8Array, type: string): void {
    this.#put({ bytes, type, done: () => undefined });
  }

  append(bytes: Uint8Array, done: () => void): void {
    this.#put({ bytes, type: null, done });
  }

  get buffered(): Range[] {
    try {
      return rangesOf(this.#buffer.buffered);
    } catch {
      return [];
    }
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  close(): void {
    this.#closed = true;
    this.#buffer.removeEventListener('updateend', this.#updated);
    this.#buffer.removeEventListener('error', this.#errored);
    for (const { done } of [...this.#appending, ...this.#waiting]) done();
    this.#appending = [];
    this.#waiting = [];
  }

  #put(pending: Pending): void {
    if (this.#closed || this.#waitingBytes + pending.bytes.byteLength > WAITING_BYTES_MAX) {
      pending.done();
      if (!this.#closed) this.#owner.failed('the browser takes media too slowly');
      return;
    }
    this.#waiting.push(pending);
    this.#waitingBytes += pending.bytes.byteLength;
    this.#next();
  }

  readonly #updated = (): void => {
    this.#retries = 0;
    this.#settle();
    this.#owner.appended();
    this.#next();
  };

  readonly #errored = (): void => {
    this.#settle();
    this.#owner.failed(`the browser cannot read the media (${this.#type})`);
  };

  #settle(): void {
    for (const { bytes, done } of this.#appending) {
      this.#waitingBytes -= bytes.byteLength;
      done();
    }
    this.#appending = [];
  }

  #next(): void {
    if (this.#closed || this.#buffer.updating || this.#appending.length > 0) return;
    if (this.#evict()) return;
    const first = this.#waiting.shift();
    if (!first) return;
    const batch = [first];
    if (first.type !== null && first.type !== this.#type) {
      try {
        this.#buffer.changeType(first.type);
        this.#type = first.type;
      } catch {
        this.#waitingBytes -= first.bytes.byteLength;
        this.#owner.failed(`this browser cannot play ${first.type}`);
        return;
      }
    }
    while (this.#waiting[0] && this.#waiting[0].type === null) {
      const next = this.#waiting.shift();
      if (next) batch.push(next);
    }
    this.#appending = batch;
    try {
      // Not to be set while something is appended, which is so here only.
      if (this.#buffer.timestampOffset !== this.#offset) this.#buffer.timestampOffset = this.#offset;
      this.#buffer.appendBuffer(joined(batch.map((each) => each.bytes)) as BufferSource);
    } catch (error) {
      this.#appending = [];
      this.#refused(batch, error);
    }
  }

  #refused(batch: Pending[], error: unknown): void {
    if (error instanceof DOMException && error.name === 'QuotaExceededError' && this.#retries < 3) {
      this.#retries += 1;
      this.#evictAll = true;
      this.#waiting.unshift(...batch);
      if (!this.#evict()) setTimeout(() => this.#next(), 200);
      return;
    }
    for (const { bytes, done } of batch) {
      this.#waitingBytes -= bytes.byteLength;
      done();
    }
    this.#owner.failed(error instanceof Error ? error.message : 'the browser takes no media');
  }

  /** Returns whether it began to remove something. */
  #evict(): boolean {
    const first = this.buffered[0];
    if (!first) return false;
    const keep = this.#evictAll ? KEEP_S_MIN : KEEP_S;
    const until = this.#owner.position() - keep;
    if (until - first.start < (this.#evictAll ? 0.5 : REMOVE_S_MIN)) return false;
    this.#evictAll = false;
    try {
      this.#buffer.remove(0, until);
      return true;
    } catch {
      return false;
    }
  }
}

function joined(parts: Uint8Array[]): Uint8Array {
  const only = parts[0];
  if (only && parts.length === 1) return only;
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.byteLength;
  }
  return out;
}
