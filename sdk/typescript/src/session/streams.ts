/**
 * One WebTransport session: its streams, read and written for the machine.
 *
 * | direction | back-pressure |
 * |---|---|
 * | in | a stream is read only while `mayRead` says so; what is not read stays in QUIC's window |
 * | out | one write in flight per stream, the streams of higher priority first, `SENDING_BYTES_MAX` in all |
 *
 * Browsers carry stream codes up to 255 only: larger ones are sent as 255.
 */

/** Bytes that are handed to the transport and not yet taken by it, over all streams. */
const SENDING_BYTES_MAX = 256 << 10;
const READ_BYTES = 64 << 10;
const STREAM_CODE_MAX = 255;

/** What happens to a session's streams. */
export interface StreamSink {
  data(stream: number, bytes: Uint8Array): void;
  event(stream: number, event: 'finished' | 'reset' | 'stopped' | 'writable', code: number): void;
  datagram(bytes: Uint8Array): void;
  /** Whether the stream may be read at the moment; else a promise of when. */
  mayRead(stream: number): true | Promise<void>;
}

interface Sending {
  writer: WritableStreamDefaultWriter<Uint8Array> | null;
  priority: number;
  queue: { bytes: Uint8Array; fin: boolean; notify: boolean; since: number }[];
  busy: boolean;
  /** Since when the oldest of what is being written waits. */
  since: number;
  over: boolean;
  /** A code to abandon it with, once it is open. */
  abort: number | null;
}

interface Receiving {
  cancel(code: number): void;
}

export class SessionStreams {
  readonly #wt: WebTransport;
  readonly #sink: StreamSink;
  readonly #sending = new Map<number, Sending>();
  readonly #receiving = new Map<number, Receiving>();
  #inFlight = 0;
  #peerBidi = 0;
  #peerUni = 0;
  #datagrams: WritableStreamDefaultWriter<Uint8Array> | null = null;
  received = 0;
  sent = 0;

  constructor(wt: WebTransport, sink: StreamSink) {
    this.#wt = wt;
    this.#sink = sink;
  }

  /** Begins to take what the peer opens. Call once the session is ready. */
  run(): void {
    void this.#accept(this.#wt.incomingBidirectionalStreams, (incoming: WebTransportBidirectionalStream) => {
      const stream = (this.#peerBidi++ << 2) | 1;
      this.#adopt(stream, incoming.writable, 0);
      void this.#read(stream, incoming.readable);
    });
    void this.#accept(this.#wt.incomingUnidirectionalStreams, (incoming: ReadableStream<Uint8Array>) => {
      const stream = (this.#peerUni++ << 2) | 3;
      void this.#read(stream, incoming);
    });
    void this.#accept(this.#wt.datagrams.readable, (bytes: Uint8Array) => this.#sink.datagram(bytes));
  }

  open(stream: number, priority: number): void {
    const sending: Sending = { writer: null, priority, queue: [], busy: false, since: 0, over: false, abort: null };
    this.#sending.set(stream, sending);
    const options = { sendOrder: priority };
    if (stream & 2) {
      this.#wt.createUnidirectionalStream(options).then(
        (writable) => this.#begin(stream, sending, writable),
        () => this.#lose(stream),
      );
    } else {
      this.#wt.createBidirectionalStream(options).then(
        (both) => {
          this.#begin(stream, sending, both.writable);
          void this.#read(stream, both.readable);
        },
        () => this.#lose(stream),
      );
    }
  }

  write(stream: number, bytes: Uint8Array, fin: boolean, notify: boolean, now: number): void {
    const sending = this.#sending.get(stream);
    if (!sending || sending.over) return;
    sending.queue.push({ bytes, fin, notify, since: now });
    this.#flush();
  }

  setPriority(stream: number, priority: number): void {
    const sending = this.#sending.get(stream);
    if (sending) sending.priority = priority;
  }

  reset(stream: number, code: number): void {
    const sending = this.#sending.get(stream);
    if (!sending) return;
    sending.queue = [];
    sending.over = true;
    if (sending.writer) this.#abandon(stream, sending.writer, code);
    else sending.abort = code;
  }

  stop(stream: number, code: number): void {
    this.#receiving.get(stream)?.cancel(code);
    this.#receiving.delete(stream);
  }

  datagram(bytes: Uint8Array): void {
    try {
      this.#datagrams ??= this.#wt.datagrams.writable.getWriter() as WritableStreamDefaultWriter<Uint8Array>;
      this.#datagrams.write(bytes).catch(() => undefined);
    } catch {
      // The session is over.
    }
  }

  /** Bytes that wait, and for how long the oldest does. */
  queued(now: number): { bytes: number; ms: number } {
    let bytes = this.#inFlight;
    let oldest = now;
    for (const sending of this.#sending.values()) {
      if (sending.busy && sending.since < oldest) oldest = sending.since;
      for (const { bytes: waiting, since } of sending.queue) {
        bytes += waiting.byteLength;
        if (since < oldest) oldest = since;
      }
    }
    return { bytes, ms: now - oldest };
  }

  #begin(stream: number, sending: Sending, writable: WritableStream<Uint8Array>): void {
    const writer = writable.getWriter();
    sending.writer = writer;
    this.#watch(stream, sending, writer);
    if (sending.abort !== null) this.#abandon(stream, writer, sending.abort);
    else this.#flush();
  }

  /** The writable side of a stream that the peer opened. */
  #adopt(stream: number, writable: WritableStream<Uint8Array>, priority: number): void {
    const sending: Sending = { writer: null, priority, queue: [], busy: false, since: 0, over: false, abort: null };
    this.#sending.set(stream, sending);
    this.#begin(stream, sending, writable);
  }

  /** The peer may ask not to be sent more. */
  #watch(stream: number, sending: Sending, writer: WritableStreamDefaultWriter<Uint8Array>): void {
    writer.closed.catch((error: unknown) => {
      if (sending.over) return;
      sending.over = true;
      sending.queue = [];
      this.#sending.delete(stream);
      const code = streamCode(error);
      if (code !== null) this.#sink.event(stream, 'stopped', code);
    });
  }

  #lose(stream: number): void {
    // The session is ending, which is told for all streams at once.
    this.#sending.delete(stream);
  }

  #abandon(stream: number, writer: WritableStreamDefaultWriter<Uint8Array>, code: number): void {
    this.#sending.delete(stream);
    writer.abort(streamError(code)).catch(() => undefined);
  }

  /** Hands on what may be, the streams of higher priority first. */
  #flush(): void {
    while (this.#inFlight < SENDING_BYTES_MAX) {
      let best: Sending | null = null;
      let bestStream = 0;
      for (const [stream, sending] of this.#sending) {
        if (sending.writer && !sending.busy && sending.queue.length > 0) {
          if (!best || sending.priority > best.priority) {
            best = sending;
            bestStream = stream;
          }
        }
      }
      if (!best) return;
      this.#send(bestStream, best);
    }
  }

  #send(stream: number, sending: Sending): void {
    const writer = sending.writer;
    if (!writer) return;
    // What waits on one stream goes in one write.
    const waiting = sending.queue;
    sending.queue = [];
    const bytes = joined(waiting.map((each) => each.bytes));
    const fin = waiting.some((each) => each.fin);
    const notify = waiting.some((each) => each.notify);
    sending.busy = true;
    sending.since = waiting[0]?.since ?? 0;
    this.#inFlight += bytes.byteLength;
    const written = bytes.byteLength > 0 ? writer.write(bytes) : Promise.resolve();
    const settle = (): void => {
      this.#inFlight -= bytes.byteLength;
      sending.busy = false;
    };
    written.then(
      () => {
        settle();
        this.sent += bytes.byteLength;
        if (fin && !sending.over) {
          sending.over = true;
          this.#sending.delete(stream);
          writer.close().catch(() => undefined);
        }
        if (notify) this.#sink.event(stream, 'writable', 0);
        this.#flush();
      },
      () => {
        settle();
        this.#flush();
      },
    );
  }

  async #accept<T>(streams: ReadableStream<T>, take: (stream: T) => void): Promise<void> {
    const reader = streams.getReader();
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        take(value);
      }
    } catch {
      // The session is over, which `closed` tells.
    }
  }

  async #read(stream: number, readable: ReadableStream<Uint8Array>): Promise<void> {
    let over = false;
    const reader = byobReader(readable) ?? readable.getReader();
    this.#receiving.set(stream, {
      cancel: (code) => {
        over = true;
        reader.cancel(streamError(code)).catch(() => undefined);
      },
    });
    let buffer = new ArrayBuffer(READ_BYTES);
    try {
      for (;;) {
        const may = this.#sink.mayRead(stream);
        if (may !== true) await may;
        if (over) return;
        const { value, done } = isByob(reader)
          ? await reader.read(new Uint8Array(buffer))
          : await reader.read();
        if (over) return;
        if (value && value.byteLength > 0) {
          this.received += value.byteLength;
          this.#sink.data(stream, value);
        }
        if (done) {
          this.#receiving.delete(stream);
          this.#sink.event(stream, 'finished', 0);
          return;
        }
        if (value) buffer = value.buffer as ArrayBuffer;
      }
    } catch (error) {
      this.#receiving.delete(stream);
      const code = streamCode(error);
      if (!over && code !== null) this.#sink.event(stream, 'reset', code);
    }
  }
}

type ByobReader = ReadableStreamBYOBReader & { byob?: true };

function byobReader(readable: ReadableStream<Uint8Array>): ByobReader | null {
  try {
    return readable.getReader({ mode: 'byob' });
  } catch {
    return null;
  }
}

function isByob(reader: ByobReader | ReadableStreamDefaultReader<Uint8Array>): reader is ByobReader {
  return typeof ReadableStreamBYOBReader !== 'undefined' && reader instanceof ReadableStreamBYOBReader;
}

function joined(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const only = parts.length === 1 ? parts[0] : undefined;
  if (only) return only as Uint8Array<ArrayBuffer>;
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.byteLength;
  }
  return out;
}

/** The code that a stream was ended with; `null` when the session was. */
function streamCode(error: unknown): number | null {
  const of = error as { source?: string; streamErrorCode?: number | null } | undefined;
  if (of?.source === 'session') return null;
  return typeof of?.streamErrorCode === 'number' ? of.streamErrorCode : null;
}

/** Browsers differ in how a stream's code is given. */
function streamError(code: number): unknown {
  const streamErrorCode = Math.min(code, STREAM_CODE_MAX);
  const Constructor = (globalThis as { WebTransportError?: new (...args: unknown[]) => unknown }).WebTransportError;
  if (!Constructor) return undefined;
  try {
    return new Constructor('stream', { source: 'stream', streamErrorCode });
  } catch {
    try {
      return new Constructor({ message: 'stream', streamErrorCode });
    } catch {
      return undefined;
    }
  }
}
