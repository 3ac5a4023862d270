/**
 * The WebAssembly module: one instance is one machine. See `sdk/wasm` for the ABI.
 *
 * Nothing here knows a protocol: inputs are written into the module's memory, outputs are records of
 * numbers and of places in it, valid until the next call.
 */

/** Kinds of outputs, as `ms_poll` returns them. */
export const Kind = {
  none: 0,
  open: 1,
  write: 2,
  setPriority: 3,
  reset: 4,
  stop: 5,
  datagram: 6,
  close: 7,
  event: 16,
  chunk: 17,
} as const;

/** Events of a stream, as `ms_stream` takes them. */
export const StreamEvent = { data: 0, finished: 1, reset: 2, stopped: 3, writable: 4 } as const;

export const FIN = 1;
export const NOTIFY = 2;
export const INDEPENDENT = 1;
export const INIT = 2;

/** Kinds of media for the publisher. */
export const VIDEO = 0;
export const AUDIO = 1;

const HEAD_BYTES = 64;
const NUMBERS_AT = 16;

interface Exports {
  memory: WebAssembly.Memory;
  ms_input(len: number): number;
  ms_output(): number;
  ms_output_len(): number;
  ms_viewer(len: number): number;
  ms_publisher(now: number, len: number): number;
  ms_opened(now: number, session: number, len: number): number;
  ms_stream(now: number, session: number, stream: number, event: number, code: number, len: number): void;
  ms_datagram(now: number, session: number, len: number): void;
  ms_closed(now: number, session: number, by: number, code: number, len: number): void;
  ms_timeout(now: number): void;
  ms_next_timeout(): number;
  ms_poll(): number;
  ms_command(now: number, len: number): number;
  ms_config(now: number, unixUs: number, kind: number, number: number, codec: number, len: number): number;
  ms_frame(
    now: number,
    unixUs: number,
    kind: number,
    number: number,
    isKey: number,
    timeUs: number,
    durationUs: number,
    len: number,
  ): void;
  ms_recorded(now: number, unixUs: number, len: number): void;
  ms_subscriptions(): number;
}

/** What an encoder made. Times in microseconds. */
export interface EncodedFrame {
  kind: number;
  number: number;
  isKey: boolean;
  timeUs: number;
  durationUs: number;
  unixUs: number;
  data: Uint8Array;
}

const modules = new Map<string, Promise<WebAssembly.Module>>();

/** Fetches and compiles the module, once per URL. */
export function compile(url: string, fetchImpl: typeof fetch = fetch): Promise<WebAssembly.Module> {
  const known = modules.get(url);
  if (known) return known;
  const compiled = compileAnew(url, fetchImpl);
  modules.set(url, compiled);
  compiled.catch(() => modules.delete(url));
  return compiled;
}

async function compileAnew(url: string, fetchImpl: typeof fetch): Promise<WebAssembly.Module> {
  const response = await fetchImpl(url);
  if (!response.ok) throw new Error(`cannot load ${url}: status ${response.status}`);
  const type = response.headers.get('content-type') ?? '';
  if (type.startsWith('application/wasm')) return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Engine {
  readonly #exports: Exports;
  #view: DataView;
  #at = 0;
  #pieces = 0;
  /** Fields of the last output. */
  kind = 0;
  session = 0;
  stream = 0;
  flags = 0;

  private constructor(instance: WebAssembly.Instance) {
    this.#exports = instance.exports as unknown as Exports;
    this.#view = new DataView(this.#exports.memory.buffer);
  }

  static async create(module: WebAssembly.Module): Promise<Engine> {
    return new Engine(await WebAssembly.instantiate(module, {}));
  }

  becomeViewer(config: object): void {
    this.#check(this.#exports.ms_viewer(this.#text(JSON.stringify(config))));
  }

  becomePublisher(now: number, config: object): void {
    const len = this.#text(JSON.stringify(config));
    this.#check(this.#exports.ms_publisher(now, len));
  }

  opened(now: number, session: number, opened: { protocol: string; authority: string; path: string }): void {
    const len = this.#text(JSON.stringify(opened));
    this.#check(this.#exports.ms_opened(now, session, len));
  }

  data(now: number, session: number, stream: number, bytes: Uint8Array): void {
    this.#exports.ms_stream(now, session, stream, StreamEvent.data, 0, this.#bytes(bytes));
  }

  streamEvent(now: number, session: number, stream: number, event: number, code = 0): void {
    this.#exports.ms_stream(now, session, stream, event, code, 0);
  }

  datagram(now: number, session: number, bytes: Uint8Array): void {
    this.#exports.ms_datagram(now, session, this.#bytes(bytes));
  }

  /** `by`: nobody (0), this end (1), the peer (2). */
  closed(now: number, session: number, by: number, code: number, reason: string): void {
    this.#exports.ms_closed(now, session, by, code, this.#text(reason));
  }

  timeout(now: number): void {
    this.#exports.ms_timeout(now);
  }

  /** In milliseconds of the same clock; negative for none. */
  nextTimeout(): number {
    return this.#exports.ms_next_timeout();
  }

  command(now: number, command: object): void {
    this.#check(this.#exports.ms_command(now, this.#text(JSON.stringify(command))));
  }

  configure(now: number, unixUs: number, kind: number, number: number, codec: number, record: Uint8Array): void {
    this.#check(this.#exports.ms_config(now, unixUs, kind, number, codec, this.#bytes(record)));
  }

  frame(now: number, frame: EncodedFrame): void {
    const len = this.#bytes(frame.data);
    const { unixUs, kind, number, isKey, timeUs, durationUs } = frame;
    this.#exports.ms_frame(now, unixUs, kind, number, isKey ? 1 : 0, timeUs, durationUs, len);
  }

  recorded(now: number, unixUs: number, bytes: Uint8Array): void {
    this.#exports.ms_recorded(now, unixUs, this.#bytes(bytes));
  }

  subscriptions(): number {
    return this.#exports.ms_subscriptions();
  }

  /** The next output's kind, 0 for none. Its fields and bytes stand until the next call. */
  poll(): number {
    this.kind = this.#exports.ms_poll();
    if (this.kind === Kind.none) return 0;
    const view = this.#memory();
    this.#at = this.#exports.ms_output();
    this.session = view.getUint32(this.#at, true);
    this.stream = view.getUint32(this.#at + 4, true);
    this.flags = view.getUint32(this.#at + 8, true);
    this.#pieces = view.getUint32(this.#at + 12, true);
    return this.kind;
  }

  /** A number of the last output. */
  number(index: number): number {
    return this.#view.getFloat64(this.#at + NUMBERS_AT + 8 * index, true);
  }

  /** The payload of the last output, copied out of the module's memory. */
  bytes(): Uint8Array<ArrayBuffer> {
    const view = this.#view;
    let total = 0;
    for (let i = 0; i < this.#pieces; i++) total += view.getUint32(this.#at + HEAD_BYTES + 8 * i + 4, true);
    const out = new Uint8Array(total);
    let at = 0;
    for (let i = 0; i < this.#pieces; i++) {
      const start = view.getUint32(this.#at + HEAD_BYTES + 8 * i, true);
      const len = view.getUint32(this.#at + HEAD_BYTES + 8 * i + 4, true);
      out.set(new Uint8Array(view.buffer as ArrayBuffer, start, len), at);
      at += len;
    }
    return out;
  }

  /** The payload of the last output as text. */
  text(): string {
    return decoder.decode(this.bytes());
  }

  #memory(): DataView {
    const buffer = this.#exports.memory.buffer;
    if (this.#view.buffer !== buffer) this.#view = new DataView(buffer);
    return this.#view;
  }

  #bytes(bytes: Uint8Array): number {
    const at = this.#exports.ms_input(bytes.byteLength);
    if (at === 0) throw new RangeError(`${bytes.byteLength} bytes are more than one input may have`);
    new Uint8Array(this.#memory().buffer as ArrayBuffer, at, bytes.byteLength).set(bytes);
    return bytes.byteLength;
  }

  #text(text: string): number {
    return this.#bytes(encoder.encode(text));
  }

  #check(status: number): void {
    if (status === 0) return;
    const at = this.#exports.ms_output();
    const len = this.#exports.ms_output_len();
    const bytes = new Uint8Array(this.#memory().buffer as ArrayBuffer, at, len);
    throw new Error(decoder.decode(bytes.slice()));
  }
}
