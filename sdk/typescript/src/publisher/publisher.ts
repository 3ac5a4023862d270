/**
 * `BroadcastPublisher`: sends a `MediaStream` to a live input.
 *
 * | state | means | left by |
 * |---|---|---|
 * | connecting | the relay is asked for the stream's namespace | its answer, or a refusal |
 * | live | media is made and sent | `stop()`, the end of all tracks, a lost session |
 * | reconnecting | the session is lost; media goes on being made, the newest is kept | a new session |
 * | ended, failed | over, with a reason | `publish()` |
 *
 * Surface: seed document 000. The address is `/publish/<input>?sk=<streamKey>`, the namespace
 * `stream/<org>/<input>`.
 */

import { StreamError, asStreamError, type PublisherCloseReason } from '../close.ts';
import { AUDIO } from '../engine/engine.ts';
import { movedUrl, sessionUrl } from '../session/address.ts';
import { Backoff } from '../session/backoff.ts';
import { canRunSessions, hashesOf, openChannel, type Channel } from '../session/channel.ts';
import type { MachineEvent, SessionMessage, TransportMessage } from '../session/messages.ts';
import { relayOf, type Resolved } from '../viewer/resolve.ts';
import { unixUs, type MediaMaker, type MediaTarget } from './media.ts';
import type { PublisherOptions, PublisherState, PublisherStats } from './options.ts';
import { RecorderMaker, recorderType } from './recorder.ts';
import { WebCodecsMaker, canEncode } from './webcodecs.ts';

const RETRY = { firstMs: 100, maxMs: 2000 };
/** How long the last of the media may take on its way out. */
const DRAIN_MS_MAX = 2000;
const RATE_WINDOW_MS = 2000;

/**
 * Sends a `MediaStream` to a live input: encodes it, and goes on in a new session when a relay restarts or the network
 * changes. One stream at a time.
 */
export class BroadcastPublisher {
  readonly #options: PublisherOptions;
  readonly #backoff = new Backoff(RETRY, Math.random);
  #state: PublisherState = 'idle';
  #channel: Channel | null = null;
  #maker: MediaMaker | null = null;
  #url = '';
  #session = 0;
  /** The session that takes this one's place, while the relay goes away. */
  #movingTo = 0;
  #turn = 0;
  #settle: { resolve: () => void; reject: (error: StreamError) => void } | null = null;
  #drained: (() => void) | null = null;
  #retry: ReturnType<typeof setTimeout> | null = null;
  #protocol = '';
  #transport: TransportMessage | null = null;
  #sentAt: { at: number; sent: number }[] = [];
  #reconnects = 0;
  #ending = false;

  /** Nothing happens before `publish`. */
  constructor(options: PublisherOptions = {}) {
    this.#options = options;
  }

  /**
   * Connects, announces the stream and sends `media`. Fulfilled when the relay has taken the stream.
   * Without `onError`, what goes wrong before that is thrown as a `StreamError`; with it, it is told there.
   *
   * @param input The input's `external_input_id`, `lv_..`.
   * @param streamKey Its stream key, in clear.
   * @param media What is sent: one picture and one sound, or one of them. When its tracks end, the broadcast is
   *   `finished`.
   * @param namespace Where the stream stands: `stream/<org>/<input>`. Without it the relay finds out.
   */
  async publish(input: string, streamKey: string, media: MediaStream, namespace?: string): Promise<void> {
    if (this.#channel) this.stop();
    const turn = ++this.#turn;
    this.#ending = false;
    this.#reconnects = 0;
    this.#movingTo = 0;
    this.#protocol = '';
    this.#sentAt = [];
    this.#setState('connecting');
    try {
      const taken = new Promise<void>((resolve, reject) => {
        this.#settle = { resolve, reject };
      });
      taken.catch(() => undefined);
      await this.#begin(turn, input, streamKey, media, namespace ?? `publish/${input}`);
      await taken;
    } catch (thrown) {
      const error = asStreamError(thrown);
      if (turn === this.#turn) this.#close(closeReasonOf(error), error.message);
      if (!this.#options.onError && error.reason !== 'closed_by_caller') throw error;
    }
  }

  /** Stops making media, ends the tracks and the session. The stream's devices stay as they are. */
  stop(): void {
    void this.#finish('closed_by_caller');
  }

  /** What it does at the moment. */
  get state(): PublisherState {
    return this.#state;
  }

  /** How it goes, at the moment of the call. */
  stats(): PublisherStats {
    const figures = this.#maker?.figures();
    const transport = this.#transport;
    return {
      state: this.#state,
      path: this.#maker?.path ?? 'none',
      protocol: this.#protocol,
      targetBitrate: figures?.targetBitrate ?? 0,
      bitrate: this.#rate(),
      queuedBytes: transport?.queued ?? 0,
      encodedFrames: figures?.encodedFrames ?? 0,
      droppedFrames: figures?.droppedFrames ?? 0,
      keyFrames: figures?.keyFrames ?? 0,
      width: figures?.width ?? 0,
      height: figures?.height ?? 0,
      framerate: figures?.framerate ?? 0,
      subscriptions: transport?.subscriptions ?? 0,
      reconnects: this.#reconnects,
      bytes: transport?.sent ?? 0,
    };
  }

  async #begin(turn: number, input: string, streamKey: string, media: MediaStream, namespace: string): Promise<void> {
    const options = this.#options;
    if (!canRunSessions(options)) {
      throw new StreamError('unsupported', 'this browser has no WebTransport: use a current Chrome, Edge, Firefox or Safari');
    }
    const hasVideo = media.getVideoTracks().length > 0;
    const hasAudio = media.getAudioTracks().length > 0;
    if (!hasVideo && !hasAudio) throw new StreamError('unsupported', 'the MediaStream has neither video nor audio');
    const { relayUrl, hashes } = relayFor(options);
    this.#url = sessionUrl(relayUrl, `/publish/${encodeURIComponent(input)}`, { sk: streamKey });
    const maker = await this.#chooseMaker(media, this.#target(turn));
    const { renditions } = options;
    const bitrates = renditions?.map((rendition) => rendition.bitrate).sort((a, b) => b - a) ?? [];
    if (bitrates.length === 0 && options.videoBitrate !== undefined) bitrates.push(options.videoBitrate);
    const config = {
      namespace,
      firstGroup: Date.now(),
      startUs: unixUs(),
      hasVideo,
      hasAudio,
      bitrates,
      audioBitrate: options.audioBitrate ?? 96_000,
      grease: crypto.getRandomValues(new Uint32Array(1))[0] ?? 0,
    };
    const start = { role: 'publisher' as const, config, hashes: hashesOf(hashes) };
    const fetchImpl = globalThis.fetch.bind(globalThis);
    const channel = await openChannel(options, fetchImpl, start, (message) => {
      if (turn === this.#turn) this.#take(message);
    });
    if (turn !== this.#turn) {
      channel.end('closed by caller');
      return;
    }
    this.#channel = channel;
    this.#maker = maker;
    this.#connect();
  }

  async #chooseMaker(media: MediaStream, target: MediaTarget): Promise<MediaMaker> {
    const { path = 'auto' } = this.#options;
    if (path !== 'media-recorder' && (await canEncode(media))) {
      return new WebCodecsMaker(media, this.#options, target);
    }
    const type = path === 'webcodecs' ? null : recorderType(media, this.#options.mimeType);
    if (type === null) {
      throw new StreamError('unsupported', 'this browser can make neither H.264 nor fragmented MP4 of this stream');
    }
    return new RecorderMaker(media, type, this.#options, target);
  }

  /** Where the media goes: to the session of this turn. */
  #target(turn: number): MediaTarget {
    const send = (message: Parameters<Channel['send']>[0], transfer: Transferable[]): void => {
      if (turn === this.#turn) this.#channel?.send(message, transfer);
    };
    return {
      config: (kind, number, codec, record) =>
        send({ t: 'config', kind, number, codec, unixUs: unixUs(), record: record.buffer }, [record.buffer]),
      frame: (frame) => send({ t: 'frame', ...frame }, [frame.data]),
      recorded: (data) => send({ t: 'recorded', unixUs: unixUs(), data }, [data]),
      ended: (kind, othersGoOn) => {
        if (turn !== this.#turn) return;
        if (othersGoOn) this.#command({ type: 'end', kind: kind === AUDIO ? 'audio' : 'video', number: 0 });
        else void this.#finish('finished');
      },
      failed: (reason) => {
        if (turn === this.#turn) this.#fail(new StreamError('unsupported', reason));
      },
    };
  }

  #connect(): void {
    this.#session += 1;
    this.#channel?.send({ t: 'connect', session: this.#session, url: this.#url });
  }

  #take(message: SessionMessage): void {
    switch (message.t) {
      case 'open':
        this.#protocol = message.protocol;
        break;
      case 'transport':
        this.#transport = message;
        this.#measure(message.sent);
        this.#maker?.queued(performance.now(), message.queuedMs);
        break;
      case 'event':
        this.#takeEvent(message.event);
        break;
      case 'failed':
        this.#fail(new StreamError('network', `the session's program failed: ${message.reason}`));
        break;
      default:
    }
  }

  #takeEvent(event: MachineEvent): void {
    switch (event.type) {
      case 'announced':
        this.#announced(event.session);
        break;
      case 'refused':
        if (event.session === this.#movingTo) this.#movingTo = 0;
        else this.#fail(new StreamError('auth_failed', event.reason));
        break;
      case 'goaway':
        if (this.#movingTo !== 0) break;
        this.#url = movedUrl(this.#url, event.uri);
        this.#connect();
        this.#movingTo = this.#session;
        break;
      case 'closed':
        this.#closed(event.session ?? 0, event.by === 'local' && event.code === 0, event.reason);
        break;
      case 'drained':
        this.#drained?.();
        break;
      case 'fault':
        this.#options.onError?.(new StreamError('decode', event.reason));
        break;
      default:
    }
  }

  #announced(session: number): void {
    this.#backoff.succeeded();
    if (session === this.#movingTo) this.#movingTo = 0;
    const isFirst = this.#settle !== null;
    this.#setState('live');
    if (!isFirst) {
      this.#reconnects += 1;
      return;
    }
    this.#maker?.start().then(
      () => {
        this.#settle?.resolve();
        this.#settle = null;
      },
      (error: unknown) => this.#fail(asStreamError(error, 'unsupported')),
    );
  }

  #closed(session: number, isOurs: boolean, reason: string): void {
    if (this.#ending || this.#channel === null) return;
    if (reason.startsWith('auth_failed')) {
      this.#fail(new StreamError('auth_failed', reason));
      return;
    }
    if (session === this.#movingTo) {
      this.#movingTo = 0;
      return;
    }
    // An older one; the newer one serves, or is on its way.
    if (session !== this.#session || isOurs) return;
    this.#setState(this.#settle ? 'connecting' : 'reconnecting');
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), this.#backoff.next());
  }

  #command(command: Record<string, unknown>): void {
    this.#channel?.send({ t: 'command', command });
  }

  /** In good order: what is encoded goes out, the tracks end, then the session. */
  async #finish(reason: 'closed_by_caller' | 'finished'): Promise<void> {
    const channel = this.#channel;
    if (this.#ending) return;
    if (!channel) {
      if (this.#settle) this.#close(reason, '');
      return;
    }
    this.#ending = true;
    const turn = this.#turn;
    await this.#maker?.stop();
    const drained = new Promise<void>((resolve) => {
      this.#drained = resolve;
      setTimeout(resolve, DRAIN_MS_MAX);
    });
    this.#command({ type: 'finish', unixMs: Date.now() });
    if (this.#state === 'live') await drained;
    this.#drained = null;
    if (turn === this.#turn) this.#close(reason, '');
    else channel.end(reason);
  }

  #fail(error: StreamError): void {
    this.#close(closeReasonOf(error), error.message, error);
  }

  #close(reason: PublisherCloseReason, detail: string, cause?: StreamError): void {
    if (this.#state === 'ended' || this.#state === 'failed') return;
    this.#ending = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    void this.#maker?.stop();
    this.#channel?.end(reason);
    this.#channel = null;
    const isError = reason === 'auth_failed' || reason === 'network';
    this.#setState(isError ? 'failed' : 'ended');
    const error = cause ?? new StreamError(reason, detail);
    if (isError) this.#options.onError?.(error);
    this.#settle?.reject(isError ? error : new StreamError('closed_by_caller', 'stopped before the relay took the stream'));
    this.#settle = null;
    this.#options.onClose?.(reason, detail);
  }

  #measure(sent: number): void {
    const at = performance.now();
    this.#sentAt.push({ at, sent });
    while ((this.#sentAt[0]?.at ?? at) < at - RATE_WINDOW_MS) this.#sentAt.shift();
  }

  #rate(): number {
    const first = this.#sentAt[0];
    const last = this.#sentAt.at(-1);
    if (!first || !last || last.at <= first.at) return 0;
    return ((last.sent - first.sent) * 8000) / (last.at - first.at);
  }

  #setState(state: PublisherState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#options.onState?.(state);
  }
}

function relayFor({ relayUrl, apiBase, serverCertificateHash }: PublisherOptions): Resolved {
  if (relayUrl !== undefined && relayUrl !== '') return relayOf(relayUrl, serverCertificateHash);
  if (apiBase === undefined) throw new StreamError('network', 'no relay is known: set relayUrl');
  const host = new URL(apiBase || '/', globalThis.location?.href).hostname;
  return { relayUrl: `https://${host}:4443`, hashes: serverCertificateHash };
}

function closeReasonOf(error: StreamError): PublisherCloseReason {
  return error.reason === 'auth_failed' || error.reason === 'closed_by_caller' ? error.reason : 'network';
}
