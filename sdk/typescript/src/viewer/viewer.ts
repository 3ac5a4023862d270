/**
 * `BroadcastViewer`: plays a stream into a `<video>` element.
 *
 * | id | plays by |
 * |---|---|
 * | `lv_..`, or a playback URL | MoQT over WebTransport; the fallback where the browser lacks it |
 * | `pb_..` | segments over HTTPS |
 *
 * Surface: seed document 000. `onClose` is called once; `onError` before it when there was an error.
 */

import { StreamError, asStreamError, type ViewerCloseReason } from '../close.ts';
import { canRunSessions } from '../session/channel.ts';
import { mintedToken } from '../streams-minted.ts';
import { parsePlaybackUrl } from '../streams-urls.ts';
import { Beacon } from './beacon.ts';
import { LivePlayer } from './live-player.ts';
import { NativeHls } from './native-hls.ts';
import type { FallbackPlayer, Quality, ViewerOptions, ViewerState, ViewerStats } from './options.ts';
import { resolveRelay } from './resolve.ts';
import { VodPlayer } from './vod-player.ts';

/** What plays a stream at the moment. */
interface Player {
  stop(): void;
  seekToLive(): void;
  qualities: Quality[];
  quality: string;
  rendition: string;
  stats(): Omit<ViewerStats, 'state'>;
}

/**
 * Plays one stream at a time into a `<video>` element, and comes back by itself when a relay restarts or the network
 * changes. `attach`, then `play`; `stop` before the page lets go of it.
 */
export class BroadcastViewer {
  readonly #options: ViewerOptions;
  #video: HTMLVideoElement | null = null;
  #player: Player | null = null;
  #fallback: FallbackPlayer | null = null;
  #beacon: Beacon | null = null;
  #state: ViewerState = 'idle';
  #quality: string;
  /** Counts plays, so that what belongs to an earlier one is not taken for this one's. */
  #turn = 0;
  #settle: { resolve: () => void; reject: (error: StreamError) => void } | null = null;

  /** Nothing happens before `play`. */
  constructor(options: ViewerOptions = {}) {
    this.#options = options;
    this.#quality = options.quality ?? 'auto';
  }

  /** The element that the stream is shown in, from the next `play` on. Gives the viewer itself. */
  attach(video: HTMLVideoElement): this {
    this.#video = video;
    return this;
  }

  /**
   * Resolves and plays. Fulfilled when playback has begun; a stream that is not there yet is waited for. What was
   * playing before is stopped.
   * Without `onError`, what goes wrong before that is thrown as a `StreamError`; with it, it is told there.
   *
   * @param id `lv_..` of a live input, `pb_..` of a recording, or a signed playback URL, whose relay and token then
   *   count where the options name none.
   */
  async play(id: string): Promise<void> {
    if (this.#player || this.#fallback) this.stop();
    const turn = ++this.#turn;
    try {
      const begun = new Promise<void>((resolve, reject) => {
        this.#settle = { resolve, reject };
      });
      // It is awaited below; a rejection in between is not to count as unhandled.
      begun.catch(() => undefined);
      await this.#begin(id, turn);
      await begun;
    } catch (thrown) {
      const error = asStreamError(thrown);
      if (turn === this.#turn && this.#state !== 'failed' && error.reason !== 'closed_by_caller') {
        this.#failed(error);
        this.#closed(turn, closeReasonOf(error), error.message);
      }
      if (!this.#options.onError && error.reason !== 'closed_by_caller') throw error;
    }
  }

  /** Tears down every track subscription and ends the media source: `onClose` gets `closed_by_caller`. */
  stop(): void {
    const turn = this.#turn;
    this.#player?.stop();
    if (this.#fallback) {
      this.#fallback.stop();
      this.#fallback = null;
      this.#closed(turn, 'closed_by_caller', '');
    } else if (this.#settle && turn === this.#turn) {
      this.#closed(turn, 'closed_by_caller', '');
    }
    this.#turn += 1;
  }

  /** Jumps to the newest picture; without effect in a recording. */
  seekToLive(): void {
    this.#player?.seekToLive();
  }

  /** What it does at the moment. */
  get state(): ViewerState {
    return this.#state;
  }

  /** The renditions, best first; none before the catalog is there. */
  get qualities(): Quality[] {
    return this.#player?.qualities ?? [];
  }

  /** `auto`, or the name of a rendition. Setting it changes over at the next key frame. */
  get quality(): string {
    return this.#player?.quality ?? this.#quality;
  }

  set quality(name: string) {
    this.#quality = name;
    if (this.#player) this.#player.quality = name;
  }

  /** The name of the rendition that is shown. */
  get rendition(): string {
    return this.#player?.rendition ?? '';
  }

  /** How it goes, at the moment of the call. Cheap: for a display that asks several times a second. */
  stats(): ViewerStats {
    return { ...(this.#player?.stats() ?? nothing(this.#fallback !== null)), state: this.#state };
  }

  async #begin(given: string, turn: number): Promise<void> {
    const video = this.#video;
    if (!video) throw new StreamError('unsupported', 'no element: call attach(video) before play(id)');
    const address = parsePlaybackUrl(given);
    const id = address?.input ?? given;
    const options: ViewerOptions = { ...this.#options, quality: this.#quality };
    if (address) {
      options.token ??= address.token;
      options.relayUrl ??= address.relayUrl;
    }
    if (options.getToken === undefined) options.token ??= mintedToken(id);
    if (options.token === undefined && options.getToken) options.token = await options.getToken();
    if (turn !== this.#turn) return;
    this.#setState('connecting');
    const isVod = id.startsWith('pb_');
    if (!isVod && !canRunSessions(options)) {
      await this.#playByFallback(id, video, options, turn);
      return;
    }
    const events = {
      started: () => this.#started(turn),
      state: (state: ViewerState) => turn === this.#turn && this.#setState(state),
      quality: () => turn === this.#turn && this.#tellQuality(),
      error: (error: StreamError) => turn === this.#turn && this.#failed(error),
      closed: (reason: ViewerCloseReason, detail: string) => this.#closed(turn, reason, detail),
    };
    if (isVod) {
      const player = new VodPlayer(video, id, options, events);
      this.#use(player, id);
      await player.start();
      return;
    }
    const { relayUrl, hashes } = await resolveRelay(id, options, options.token);
    if (turn !== this.#turn) return;
    const player = new LivePlayer(video, options, { id, relayUrl, hashes }, events);
    this.#use(player, id);
    await player.start();
  }

  #use(player: Player, id: string): void {
    this.#player = player;
    const { beaconUrl, beaconIntervalMs } = this.#options;
    if (beaconUrl !== undefined && beaconUrl !== '') {
      this.#beacon = new Beacon({ url: beaconUrl, intervalMs: beaconIntervalMs, id, stats: () => this.stats() });
    }
  }

  async #playByFallback(id: string, video: HTMLVideoElement, options: ViewerOptions, turn: number): Promise<void> {
    const fallback = options.fallback ?? new NativeHls();
    this.#fallback = fallback;
    const base = (options.apiBase ?? '').replace(/\/$/, '');
    const query = options.token === undefined ? '' : `?tok=${encodeURIComponent(options.token)}`;
    const hlsUrl = `${base}/playback/${encodeURIComponent(id)}/index.m3u8${query}`;
    await fallback.play({ id, video, hlsUrl, token: options.token });
    this.#setState('playing');
    this.#started(turn);
  }

  #started(turn: number): void {
    if (turn !== this.#turn) return;
    this.#settle?.resolve();
    this.#settle = null;
    this.#options.onStarted?.();
  }

  #failed(error: StreamError): void {
    this.#setState('failed');
    this.#options.onError?.(error);
    this.#settle?.reject(error);
    this.#settle = null;
  }

  #closed(turn: number, reason: ViewerCloseReason, detail: string): void {
    if (turn !== this.#turn) return;
    this.#beacon?.end(reason);
    this.#beacon = null;
    const isError = reason === 'auth_failed' || reason === 'network';
    if (isError && this.#state !== 'failed') this.#failed(new StreamError(reason, detail));
    this.#settle?.reject(new StreamError('closed_by_caller', 'stopped before playback began'));
    this.#settle = null;
    this.#player = null;
    if (!isError) this.#setState(reason === 'complete' ? 'ended' : 'idle');
    this.#options.onClose?.(reason, detail);
  }

  #setState(state: ViewerState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#options.onState?.(state);
  }

  #tellQuality(): void {
    const { qualities, quality, rendition } = this;
    this.#options.onQuality?.({ qualities, quality, rendition });
  }
}

function closeReasonOf(error: StreamError): ViewerCloseReason {
  return error.reason === 'auth_failed' ? 'auth_failed' : 'network';
}

function nothing(isFallback: boolean): Omit<ViewerStats, 'state'> {
  return {
    transport: isFallback ? 'fallback' : 'none',
    protocol: '',
    joinMs: null,
    latencyMs: null,
    bufferMs: 0,
    targetBufferMs: 0,
    bitrate: 0,
    throughput: 0,
    stalls: 0,
    stalledMs: 0,
    decodedFrames: 0,
    droppedFrames: 0,
    rendition: '',
    switches: 0,
    gaps: 0,
    skips: 0,
    reconnects: 0,
    playbackRate: 1,
    bytes: 0,
  };
}
