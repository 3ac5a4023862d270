/**
 * The driver: one machine, its WebTransport sessions and its timer. Runs in a Worker, or on the page's
 * thread where there is none; either way it speaks in messages.
 *
 * It moves bytes and time, and decides nothing: what is opened, sent and said is the machine's.
 *
 * Back-pressure: chunks that the page has not consumed are counted, and beyond `UNCONSUMED_BYTES_MAX`
 * no media stream is read until it has. The peer's first stream may carry its control messages, and is
 * always read.
 */

import { Engine, FIN, INDEPENDENT, INIT, Kind, NOTIFY, StreamEvent } from '../engine/engine.ts';
import type { MachineEvent, PageMessage, SessionMessage, StartMessage } from './messages.ts';
import { SessionStreams } from './streams.ts';

const UNCONSUMED_BYTES_MAX = 16 << 20;
const TELL_EVERY_MS = 100;
const FIRST_PEER_STREAM = 3;
/** How long the reason of a session's end may take after the end of its request streams. */
const REASON_MS = 150;
/** The same after the end of its control stream, which nothing but a fault or the session's end brings. */
const CONTROL_REASON_MS = 1000;

interface Open {
  wt: WebTransport;
  streams: SessionStreams | null;
  url: URL;
  /** The machine ended it, with this code. */
  closing: { code: number; reason: string } | null;
}

export class Session {
  readonly #post: (message: SessionMessage, transfer: Transferable[]) => void;
  readonly #transport: typeof WebTransport;
  #engine: Engine | null = null;
  #hashes: ArrayBuffer[] = [];
  #protocols: string[] = [];
  readonly #open = new Map<number, Open>();
  #timer: ReturnType<typeof setTimeout> | null = null;
  #timerAt = -1;
  #teller: ReturnType<typeof setInterval> | null = null;
  #unconsumed = 0;
  #paused = false;
  #resume: (() => void) | null = null;
  #resumed: Promise<void> | null = null;
  #received = 0;
  #sent = 0;
  #failed = false;

  constructor(
    post: (message: SessionMessage, transfer: Transferable[]) => void,
    transport: typeof WebTransport,
  ) {
    this.#post = post;
    this.#transport = transport;
  }

  /** Takes a message of the page's. */
  handle(message: PageMessage): void {
    if (message.t === 'start') {
      this.#start(message).catch((error: unknown) => this.#fail(error));
      return;
    }
    try {
      this.#take(message);
    } catch (error) {
      this.#fail(error);
    }
  }

  #take(message: Exclude<PageMessage, StartMessage>): void {
    const engine = this.#engine;
    if (!engine || this.#failed) return;
    const now = performance.now();
    switch (message.t) {
      case 'connect':
        this.#connect(message.session, message.url);
        return;
      case 'command':
        this.#command(engine, now, message.command);
        break;
      case 'pause':
        this.#paused = message.paused;
        this.#check();
        return;
      case 'consumed':
        this.#unconsumed -= message.bytes;
        this.#check();
        return;
      case 'config':
        engine.configure(
          now,
          message.unixUs,
          message.kind,
          message.number,
          message.codec,
          new Uint8Array(message.record),
        );
        break;
      case 'frame':
        engine.frame(now, { ...message, data: new Uint8Array(message.data) });
        break;
      case 'recorded':
        engine.recorded(now, message.unixUs, new Uint8Array(message.data));
        break;
      case 'close':
        this.#end(message.reason);
        return;
    }
    this.#pump();
  }

  /** A wish that comes too late, or for what is not there any more, changes nothing. */
  #command(engine: Engine, now: number, command: Record<string, unknown>): void {
    try {
      engine.command(now, command);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) throw error;
      console.debug(`mainstem: ${String(command['type'])}: ${wordsOf(error)}`);
    }
  }

  async #start(message: StartMessage): Promise<void> {
    const engine = await Engine.create(message.module);
    if (message.role === 'viewer') engine.becomeViewer(message.config);
    else engine.becomePublisher(performance.now(), message.config);
    this.#engine = engine;
    this.#hashes = message.hashes;
    this.#protocols = message.protocols;
    this.#teller = setInterval(() => this.#tell(), TELL_EVERY_MS);
    this.#post({ t: 'ready' }, []);
  }

  #connect(session: number, address: string): void {
    const url = new URL(address);
    let wt: WebTransport;
    try {
      const options: Record<string, unknown> = { protocols: this.#protocols };
      if (this.#hashes.length > 0) {
        options['serverCertificateHashes'] = this.#hashes.map((value) => ({ algorithm: 'sha-256', value }));
      }
      wt = new this.#transport(url.href, options as WebTransportOptions);
    } catch (error) {
      this.#over(session, 0, 0, wordsOf(error));
      return;
    }
    const open: Open = { wt, streams: null, url, closing: null };
    this.#open.set(session, open);
    wt.closed.then(
      (info) => this.#closed(session, info.closeCode ?? 0, info.reason ?? ''),
      (error: unknown) => this.#over(session, 0, 0, wordsOf(error)),
    );
    wt.ready.then(
      () => this.#ready(session, open),
      (error: unknown) => this.#over(session, 0, 0, wordsOf(error)),
    );
  }

  #ready(session: number, open: Open): void {
    const engine = this.#engine;
    if (!engine || this.#open.get(session) !== open) return;
    const protocol = (open.wt as { protocol?: string }).protocol ?? '';
    if (!this.#protocols.includes(protocol)) {
      open.wt.close({ closeCode: 0, reason: 'no protocol in common' });
      this.#over(session, 0, 0, `the relay speaks none of ${this.#protocols.join(', ')}`);
      return;
    }
    const now = (): number => performance.now();
    const drive = (change: () => void): void => {
      if (this.#failed || !this.#open.has(session)) return;
      try {
        change();
        this.#pump();
      } catch (error) {
        this.#fail(error);
      }
    };
    const streams = new SessionStreams(open.wt, {
      data: (stream, bytes) => drive(() => engine.data(now(), session, stream, bytes)),
      event: (stream, event, code) => {
        const tell = (): void => drive(() => engine.streamEvent(now(), session, stream, StreamEvent[event], code));
        // When the peer ends the session, its streams end with it, and that may be seen before the reason is.
        if (event === 'writable' || !isRequest(stream)) tell();
        else setTimeout(tell, stream === FIRST_PEER_STREAM ? CONTROL_REASON_MS : REASON_MS);
      },
      datagram: (bytes) => drive(() => engine.datagram(now(), session, bytes)),
      mayRead: (stream) => this.#mayRead(stream),
    });
    open.streams = streams;
    this.#post({ t: 'open', session, protocol }, []);
    drive(() => {
      const path = open.url.pathname + open.url.search;
      engine.opened(now(), session, { protocol, authority: open.url.host, path });
    });
    streams.run();
  }

  /** The session ended in good order: by whom tells whether the machine asked for it. */
  #closed(session: number, code: number, reason: string): void {
    const closing = this.#open.get(session)?.closing;
    if (closing) this.#over(session, 1, closing.code, closing.reason);
    else this.#over(session, 2, code, reason);
  }

  #over(session: number, by: number, code: number, reason: string): void {
    const open = this.#open.get(session);
    if (open) {
      this.#open.delete(session);
      this.#received += open.streams?.received ?? 0;
      this.#sent += open.streams?.sent ?? 0;
      const closing = open.closing;
      if (closing && by === 0) [by, code, reason] = [1, closing.code, closing.reason];
    }
    if (!this.#engine || this.#failed) return;
    try {
      this.#engine.closed(performance.now(), session, by, code, reason);
      this.#pump();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Does what the machine wants done, until it wants nothing more. */
  #pump(): void {
    const engine = this.#engine;
    if (!engine) return;
    const now = performance.now();
    for (let kind = engine.poll(); kind !== Kind.none; kind = engine.poll()) {
      switch (kind) {
        case Kind.chunk:
          this.#tellChunk(engine);
          break;
        case Kind.event:
          this.#tellEvent(engine);
          break;
        default:
          this.#transportWork(engine, kind, now);
      }
    }
    this.#setTimer(engine.nextTimeout());
  }

  #transportWork(engine: Engine, kind: number, now: number): void {
    const { session, stream } = engine;
    const open = this.#open.get(session);
    const streams = open?.streams;
    if (!open || !streams) return;
    switch (kind) {
      case Kind.open:
        streams.open(stream, engine.number(0));
        break;
      case Kind.write: {
        const { flags } = engine;
        streams.write(stream, engine.bytes(), (flags & FIN) !== 0, (flags & NOTIFY) !== 0, now);
        break;
      }
      case Kind.setPriority:
        streams.setPriority(stream, engine.number(0));
        break;
      case Kind.reset:
        streams.reset(stream, engine.number(0));
        break;
      case Kind.stop:
        streams.stop(stream, engine.number(0));
        break;
      case Kind.datagram:
        streams.datagram(engine.bytes());
        break;
      case Kind.close: {
        const closing = { code: engine.number(0), reason: engine.text() };
        open.closing = closing;
        open.wt.close({ closeCode: Math.min(closing.code, 0xffffffff), reason: closing.reason });
        break;
      }
    }
  }

  #tellChunk(engine: Engine): void {
    const { stream: track, flags } = engine;
    const numbers = [0, 1, 2, 3, 4].map((index) => engine.number(index));
    const [group = 0, object = 0, time = 0, duration = 0, produced = 0] = numbers;
    const data = engine.bytes().buffer;
    this.#unconsumed += data.byteLength;
    const arrived = performance.timeOrigin + performance.now();
    const independent = (flags & INDEPENDENT) !== 0;
    const init = (flags & INIT) !== 0;
    this.#post(
      { t: 'chunk', track, group, object, time, duration, produced, arrived, independent, init, data },
      [data],
    );
  }

  #tellEvent(engine: Engine): void {
    const event = JSON.parse(engine.text()) as MachineEvent;
    if (event.type === 'closed' && engine.session !== 0) event.session = engine.session;
    this.#post({ t: 'event', event }, []);
  }

  #setTimer(at: number): void {
    if (at === this.#timerAt && this.#timer !== null) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#timerAt = at;
    if (at < 0) return;
    const wait = Math.max(0, Math.ceil(at - performance.now()));
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (!this.#engine || this.#failed) return;
      try {
        this.#engine.timeout(performance.now());
        this.#pump();
      } catch (error) {
        this.#fail(error);
      }
    }, wait);
  }

  #mayRead(stream: number): true | Promise<void> {
    const isMedia = (stream & 3) === 3 && stream !== FIRST_PEER_STREAM;
    if (!isMedia || !(this.#paused || this.#unconsumed > UNCONSUMED_BYTES_MAX)) return true;
    this.#resumed ??= new Promise((resolve) => {
      this.#resume = resolve;
    });
    return this.#resumed;
  }

  #check(): void {
    if (this.#paused || this.#unconsumed > UNCONSUMED_BYTES_MAX) return;
    this.#resume?.();
    this.#resume = null;
    this.#resumed = null;
  }

  #tell(): void {
    if (this.#failed) return;
    const now = performance.now();
    let received = this.#received;
    let sent = this.#sent;
    let queued = 0;
    let queuedMs = 0;
    for (const { streams } of this.#open.values()) {
      if (!streams) continue;
      received += streams.received;
      sent += streams.sent;
      const waiting = streams.queued(now);
      queued += waiting.bytes;
      queuedMs = Math.max(queuedMs, waiting.ms);
    }
    const subscriptions = this.#engine?.subscriptions() ?? 0;
    this.#post({ t: 'transport', received, sent, queued, queuedMs, subscriptions }, []);
  }

  #end(reason: string): void {
    const engine = this.#engine;
    if (engine && !this.#failed) {
      this.#command(engine, performance.now(), { type: 'close', reason });
      this.#pump();
    }
    this.#failed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#teller !== null) clearInterval(this.#teller);
    for (const { wt } of this.#open.values()) closeQuietly(wt, reason);
    this.#open.clear();
    this.#check();
  }

  /** The machine cannot go on: a fault of this program. */
  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    if (this.#teller !== null) clearInterval(this.#teller);
    for (const { wt } of this.#open.values()) closeQuietly(wt, 'internal error');
    this.#open.clear();
    this.#post({ t: 'failed', reason: wordsOf(error) }, []);
  }
}

/** Whether a stream carries control messages or a request: both ways, or the peer's first. */
function isRequest(stream: number): boolean {
  return (stream & 2) === 0 || stream === FIRST_PEER_STREAM;
}

function closeQuietly(wt: WebTransport, reason: string): void {
  try {
    wt.close({ closeCode: 0, reason });
  } catch {
    // It never opened, or is over.
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
