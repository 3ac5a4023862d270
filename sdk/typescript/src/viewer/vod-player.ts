/**
 * Plays an asset: `catalog.json` and CMAF files over HTTPS.
 *
 * The catalog is the live one's, at `<apiBase>/playback/<id>/catalog.json`, with `live: false`. A track's
 * media is one CMAF file, `url` in the catalog or `<name>.mp4` beside it, read in ranges ahead of the
 * playhead; its init segment is `initData`, or the file's beginning. Seeking is the element's own: all
 * media is appended in order, and a seek into what is not there yet is waited for.
 *
 * Limits: `AHEAD_S` seconds and one request for each track at a time.
 */

import { StreamError, asStreamError, type ViewerCloseReason } from '../close.ts';
import { canPlay } from '../mse/sink.ts';
import { TrackBuffer } from '../mse/track-buffer.ts';
import type { Quality, ViewerOptions, ViewerState, ViewerStats } from './options.ts';

const AHEAD_S = 30;
const RANGE_BYTES = 1 << 20;
const RETRIES_MAX = 5;

interface VodTrack {
  name: string;
  kind: string;
  codec: string;
  bitrate?: number;
  width?: number;
  height?: number;
  initData?: string;
  url?: string;
}

export interface VodEvents {
  started(): void;
  state(state: ViewerState): void;
  quality(): void;
  error(error: StreamError): void;
  closed(reason: ViewerCloseReason, detail: string): void;
}

interface Feed {
  track: VodTrack;
  buffer: TrackBuffer;
  url: string;
  at: number;
  ended: boolean;
}

export class VodPlayer {
  readonly #video: HTMLVideoElement;
  readonly #id: string;
  readonly #options: ViewerOptions;
  readonly #events: VodEvents;
  readonly #fetch: typeof fetch;
  readonly #abort = new AbortController();
  readonly #startedAt = performance.now();
  readonly #feeds: Feed[] = [];
  #source: MediaSource | null = null;
  #objectUrl = '';
  #joinMs: number | null = null;
  #bytes = 0;
  #closed = false;
  qualities: Quality[] = [];
  quality = 'auto';
  rendition = '';

  constructor(video: HTMLVideoElement, id: string, options: ViewerOptions, events: VodEvents) {
    this.#video = video;
    this.#id = id;
    this.#options = options;
    this.#events = events;
    this.#fetch = options.fetchImpl ?? globalThis.fetch.bind(globalThis);
  }

  async start(): Promise<void> {
    const base = `${(this.#options.apiBase ?? '').replace(/\/$/, '')}/playback/${encodeURIComponent(this.#id)}/`;
    const response = await this.#request(this.#address(`${base}catalog.json`));
    const catalog = (await response.json()) as { tracks?: VodTrack[] };
    const playable = (catalog.tracks ?? []).filter((track) => canPlay(typeOf(track)));
    const videos = playable.filter((track) => track.kind === 'video');
    videos.sort((a, b) => (b.bitrate ?? 0) - (a.bitrate ?? 0));
    const wanted = videos.find((track) => track.name === this.#options.quality) ?? videos[0];
    const audio = playable.find((track) => track.kind === 'audio');
    const chosen = [wanted, audio].filter((track) => track !== undefined);
    if (chosen.length === 0) throw new StreamError('decode', 'this browser can play none of the asset’s codecs');
    this.rendition = wanted?.name ?? '';
    this.qualities = videos.map((track) => ({
      name: track.name,
      label: track.height ? `${track.height}p` : track.name,
      width: track.width ?? 0,
      height: track.height ?? 0,
      bitrate: track.bitrate ?? 0,
    }));
    this.#events.quality();
    await this.#open();
    for (const track of chosen) this.#add(track, base);
    const feeding = this.#feeds.map((feed) => this.#feed(feed));
    this.#video.addEventListener('playing', this.#playing);
    this.#video.addEventListener('waiting', this.#waiting);
    this.#video.addEventListener('pause', this.#paused);
    this.#video.addEventListener('ended', this.#ended);
    this.#video.play().catch(() => this.#events.state('paused'));
    Promise.all(feeding).then(
      () => this.#finish(),
      (error: unknown) => this.#fail(asStreamError(error)),
    );
  }

  stop(): void {
    this.#close('closed_by_caller', '');
  }

  /** An asset has no live edge. */
  seekToLive(): void {}

  stats(): Omit<ViewerStats, 'state'> {
    const frames = this.#video.getVideoPlaybackQuality?.();
    const ranges = this.#video.buffered;
    const end = ranges.length > 0 ? ranges.end(ranges.length - 1) : 0;
    return {
      transport: 'vod',
      protocol: 'https',
      joinMs: this.#joinMs,
      latencyMs: null,
      bufferMs: Math.max(0, (end - this.#video.currentTime) * 1000),
      targetBufferMs: AHEAD_S * 1000,
      bitrate: 0,
      throughput: 0,
      stalls: 0,
      stalledMs: 0,
      decodedFrames: frames?.totalVideoFrames ?? 0,
      droppedFrames: frames?.droppedVideoFrames ?? 0,
      rendition: this.rendition,
      switches: 0,
      gaps: 0,
      skips: 0,
      reconnects: 0,
      playbackRate: this.#video.playbackRate,
      bytes: this.#bytes,
    };
  }

  #address(url: string): string {
    const { token } = this.#options;
    if (token === undefined) return url;
    return `${url}${url.includes('?') ? '&' : '?'}tok=${encodeURIComponent(token)}`;
  }

  async #request(url: string, headers: Record<string, string> = {}): Promise<Response> {
    for (let attempt = 0; ; attempt++) {
      let response: Response | null = null;
      try {
        response = await this.#fetch(url, { headers, signal: this.#abort.signal });
      } catch (error) {
        if (this.#closed || attempt >= RETRIES_MAX) throw asStreamError(error);
      }
      if (response?.status === 401 || response?.status === 403) {
        throw new StreamError('auth_failed', 'auth_failed: the playback token was refused');
      }
      if (response && (response.ok || response.status === 416)) return response;
      if (response && response.status < 500) {
        throw new StreamError('network', `no asset ${this.#id}: status ${response.status}`);
      }
      if (attempt >= RETRIES_MAX) throw new StreamError('network', 'the server does not answer');
      await pause(250 * 2 ** attempt);
    }
  }

  #open(): Promise<void> {
    const source = new MediaSource();
    this.#source = source;
    this.#objectUrl = URL.createObjectURL(source);
    this.#video.src = this.#objectUrl;
    return new Promise((resolve) => source.addEventListener('sourceopen', () => resolve(), { once: true }));
  }

  #add(track: VodTrack, base: string): void {
    if (!this.#source) return;
    const type = typeOf(track);
    const buffer = new TrackBuffer(this.#source, type, {
      position: () => this.#video.currentTime,
      failed: (reason) => this.#fail(new StreamError('decode', reason)),
      appended: () => undefined,
    });
    if (track.initData !== undefined) {
      buffer.init(Uint8Array.from(atob(track.initData), (letter) => letter.charCodeAt(0)), type);
    }
    const path = track.url ?? `${track.name.split('/').map(encodeURIComponent).join('/')}.mp4`;
    const url = new URL(path, new URL(base, globalThis.location.href)).href;
    this.#feeds.push({ track, buffer, url: this.#address(url), at: 0, ended: false });
  }

  async #feed(feed: Feed): Promise<void> {
    while (!feed.ended && !this.#closed) {
      if (this.#isAhead(feed)) {
        await pause(500);
        continue;
      }
      const end = feed.at + RANGE_BYTES - 1;
      const response = await this.#request(feed.url, { range: `bytes=${feed.at}-${end}` });
      if (response.status === 416) return;
      const bytes = new Uint8Array(await response.arrayBuffer());
      if (this.#closed) return;
      this.#bytes += bytes.byteLength;
      feed.at += bytes.byteLength;
      // A server that knows no ranges sent everything.
      feed.ended = response.status === 200 || bytes.byteLength < RANGE_BYTES;
      await new Promise<void>((resolve) => feed.buffer.append(bytes, resolve));
    }
  }

  #isAhead(feed: Feed): boolean {
    const last = feed.buffer.buffered.at(-1);
    return last !== undefined && last.end - this.#video.currentTime > AHEAD_S;
  }

  #finish(): void {
    if (!this.#closed && this.#source?.readyState === 'open') this.#source.endOfStream();
  }

  readonly #playing = (): void => {
    if (this.#joinMs === null) {
      this.#joinMs = performance.now() - this.#startedAt;
      this.#events.started();
    }
    this.#events.state('playing');
  };

  readonly #waiting = (): void => this.#events.state('buffering');
  readonly #paused = (): void => {
    if (!this.#video.ended) this.#events.state('paused');
  };
  readonly #ended = (): void => this.#close('complete', '');

  #fail(error: StreamError): void {
    if (this.#closed) return;
    this.#events.error(error);
    this.#close(error.reason === 'auth_failed' ? 'auth_failed' : 'network', error.message);
  }

  #close(reason: ViewerCloseReason, detail: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#abort.abort();
    for (const { buffer } of this.#feeds) buffer.close();
    this.#video.removeEventListener('playing', this.#playing);
    this.#video.removeEventListener('waiting', this.#waiting);
    this.#video.removeEventListener('pause', this.#paused);
    this.#video.removeEventListener('ended', this.#ended);
    URL.revokeObjectURL(this.#objectUrl);
    if (reason !== 'complete') {
      this.#video.removeAttribute('src');
      this.#video.load();
    }
    this.#events.closed(reason, detail);
  }
}

function typeOf(track: VodTrack): string {
  return `${track.kind}/mp4; codecs="${track.codec}"`;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
