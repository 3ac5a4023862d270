/** What a viewer is told, and what it tells. */

import type { ViewerCloseReason, StreamError } from '../close.ts';
import type { AssetOptions, DataPlaneOptions } from '../options.ts';

/** A rendition to choose. */
export interface Quality {
  /** The track's name: `video/720p`. */
  name: string;
  /** Words for a menu: `720p`. */
  label: string;
  /** Pixels; 0 when not known. */
  width: number;
  /** Pixels; 0 when not known. */
  height: number;
  /** Bits per second; 0 when not known. */
  bitrate: number;
}

/** How the viewing goes. Times in milliseconds. */
export interface ViewerStats {
  /** How the stream comes: MoQT, segments over HTTPS, or another player. */
  transport: 'moqt' | 'vod' | 'fallback' | 'none';
  /** Negotiated protocol: `moqt-22`. */
  protocol: string;
  /** What it does at the moment. */
  state: ViewerState;
  /** From `play()` until the first frame could be shown. */
  joinMs: number | null;
  /** Behind the clock of the machine that packaged the picture; `null` when the stream does not say. */
  latencyMs: number | null;
  /** Media that is there and not yet played. */
  bufferMs: number;
  /** The buffer that is aimed at. */
  targetBufferMs: number;
  /** Bits per second that arrive, averaged over some seconds. */
  bitrate: number;
  /** Bits per second that the path seems able to bring; 0 when not known. */
  throughput: number;
  /** Times that the picture stood still after it began. */
  stalls: number;
  /** How long it stood still, altogether. */
  stalledMs: number;
  /** Pictures that were decoded, those dropped included. */
  decodedFrames: number;
  /** Pictures that were decoded too late to be shown. */
  droppedFrames: number;
  /** Name of the rendition that is shown. */
  rendition: string;
  /** Changes of the rendition. */
  switches: number;
  /** Places where media never arrived. */
  gaps: number;
  /** Jumps to the live edge. */
  skips: number;
  /** Sessions after the first. */
  reconnects: number;
  /** 1 is natural speed; a little more or less while playback closes in on its target. */
  playbackRate: number;
  /** Bytes of media that arrived. */
  bytes: number;
}

/**
 * What a viewer does at the moment.
 *
 * | state | means |
 * |---|---|
 * | `idle` | nothing: before `play()`, after `stop()` |
 * | `connecting` | asks for the relay and opens a session |
 * | `waiting` | the session is there, the stream is not yet |
 * | `buffering` | media is awaited: at the beginning, and in a stall |
 * | `playing`, `paused` | as the element says |
 * | `reconnecting` | the session was lost, the next one is on its way |
 * | `ended` | the stream is complete |
 * | `failed` | over, with an error |
 */
export type ViewerState =
  | 'idle'
  | 'connecting'
  | 'waiting'
  | 'buffering'
  | 'playing'
  | 'paused'
  | 'reconnecting'
  | 'ended'
  | 'failed';

/** A player that takes over where WebTransport or Media Source Extensions are missing. */
export interface FallbackPlayer {
  /** Begins to play into the element; throws when it cannot. */
  play(source: FallbackSource): Promise<void>;
  /** Lets go of the element. */
  stop(): void;
}

/** What a fallback player is given. */
export interface FallbackSource {
  /** What was given to `play`: `lv_..`. */
  id: string;
  /** Where to play. */
  video: HTMLVideoElement;
  /** The LL-HLS playlist: `<apiBase>/playback/<id>/index.m3u8?tok=..`. */
  hlsUrl: string;
  /** The playback token, when there is one. */
  token: string | undefined;
}

/** Options of a viewer. */
export interface ViewerOptions extends DataPlaneOptions, AssetOptions {
  /** Playback has begun: the first segment is buffered. */
  onStarted?: (() => void) | undefined;
  /** Connection or decode error. Without it, errors are thrown by `play()`. */
  onError?: ((error: StreamError) => void) | undefined;
  /** Terminal close, once. */
  onClose?: ((reason: ViewerCloseReason, detail: string) => void) | undefined;
  /** The state changed. */
  onState?: ((state: ViewerState) => void) | undefined;
  /** The renditions, or the one that is shown, changed. */
  onQuality?: ((viewer: { qualities: Quality[]; quality: string; rendition: string }) => void) | undefined;
  /** Used instead of `globalThis.fetch`. */
  fetchImpl?: typeof fetch | undefined;
  /** Gives a fresh playback token. Asked before the present one expires, and after a refusal. */
  getToken?: (() => Promise<string>) | undefined;
  /** Buffer that is aimed at, in milliseconds (default 220 with MoQT). */
  targetBufferMs?: number | undefined;
  /** Further behind the target than this, playback jumps to the live edge (default 2000). */
  maxBehindMs?: number | undefined;
  /** Fastest playback that catches up (default 1.08). */
  catchUpRate?: number | undefined;
  /** `auto`, or the name of a rendition (default `auto`). */
  quality?: string | undefined;
  /** Tallest picture that `auto` chooses; 0 for no bound, `element` for the element's own size (default 0). */
  maxHeight?: number | 'element' | undefined;
  /** Where QoE beacons go; none without it. */
  beaconUrl?: string | undefined;
  /** Milliseconds between beacons (default 10000). */
  beaconIntervalMs?: number | undefined;
  /** Plays where this browser cannot; without it the element is given the LL-HLS playlist. */
  fallback?: FallbackPlayer | undefined;
  /** Give up after so many failed attempts in a row, or never (default never). */
  reconnectAttemptsMax?: number | undefined;
}
