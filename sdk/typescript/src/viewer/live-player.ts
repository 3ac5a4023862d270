/**
 * Plays a live stream: from the session's chunks to the element, with the renditions in between.
 *
 * The parts decide for themselves: {@link ViewerSession} when to connect, {@link Playback} where the
 * playhead is, {@link Abr} which rendition is played. This joins them.
 */

import type { ViewerCloseReason } from '../close.ts';
import { StreamError } from '../close.ts';
import { MediaSink, canPlay } from '../mse/sink.ts';
import type { ChunkMessage, MachineEvent } from '../session/messages.ts';
import { Abr } from './abr.ts';
import { Groups } from './groups.ts';
import { Lanes } from './lanes.ts';
import type { Quality, ViewerOptions, ViewerState, ViewerStats } from './options.ts';
import { Playback } from './playback.ts';
import { bestIndex, playableTracks, qualityOf, renditionsOf, type CatalogEvent, type PlayableTrack } from './tracks.ts';
import { ViewerSession, type ViewerTarget } from './viewer-session.ts';

const TARGET_MS = 220;
const MAX_BEHIND_MS = 2000;
const CATCH_UP_RATE = 1.08;
/** Media ahead of a playhead that is held, beyond which nothing more is read. */
const AHEAD_MS_MAX = 20_000;
/** How much of the path a rendition takes that does not say. */
const SHARE_UNKNOWN = 0.5;
/** So much of a rendition that was changed to at once has to be there before it is shown. */
const AGAIN_US = 80_000;
const SKIP_US = 160_000;

export interface LivePlayerEvents {
  started(): void;
  state(state: ViewerState): void;
  quality(): void;
  error(error: StreamError): void;
  closed(reason: ViewerCloseReason, detail: string): void;
}

export class LivePlayer {
  readonly #video: HTMLVideoElement;
  readonly #options: ViewerOptions;
  readonly #events: LivePlayerEvents;
  readonly #session: ViewerSession;
  readonly #playback: Playback;
  readonly #abr = new Abr();
  readonly #startedAt = performance.now();
  #sink: MediaSink | null = null;
  #tracks: PlayableTrack[] = [];
  #finished = false;
  #renditions: PlayableTrack[] = [];
  #rendition = '';
  #wanted: string;
  #catalog: CatalogEvent | null = null;
  /** Tracks that have to begin with what a decoder can begin with. */
  #needKey = new Set<number>();
  readonly #lanes = new Lanes();
  readonly #groups = new Groups();
  /** A rendition that was changed to at once: where it begins, and where it has something to show. */
  #entry: { track: string; isNext: boolean; fromUs: number; showUs: number } | null = null;
  #refusedRenditions = new Set<string>();
  #joinMs: number | null = null;
  #latencyBase: number | null = null;
  #bytes = 0;
  #gaps = 0;
  #switches = 0;
  #readingPaused = false;
  #ending = false;
  #closed = false;
  #decodeFaults = 0;

  constructor(video: HTMLVideoElement, options: ViewerOptions, target: ViewerTarget, events: LivePlayerEvents) {
    this.#video = video;
    this.#options = options;
    this.#events = events;
    this.#wanted = options.quality ?? 'auto';
    this.#playback = new Playback(
      video,
      {
        targetMs: options.targetBufferMs ?? TARGET_MS,
        maxBehindMs: options.maxBehindMs ?? MAX_BEHIND_MS,
        catchUpRate: options.catchUpRate ?? CATCH_UP_RATE,
      },
      {
        started: () => this.#started(),
        stalled: (isStalled) => this.#tell(isStalled ? 'buffering' : 'playing'),
        blocked: () => this.#tell('paused'),
        tick: (now) => this.#tick(now),
      },
    );
    this.#session = new ViewerSession(options, target, {
      chunk: (chunk) => this.#takeChunk(chunk),
      event: (event) => this.#takeEvent(event),
      transport: ({ received }) => this.#abr.received(performance.timeOrigin + performance.now(), received),
      state: (state) => this.#takeState(state),
      closed: (reason, detail) => this.#close(reason, detail),
    });
    video.addEventListener('pause', this.#paused);
    video.addEventListener('play', this.#resumed);
    video.addEventListener('error', this.#videoFailed);
    video.addEventListener('ended', this.#videoEnded);
  }

  start(): Promise<void> {
    return this.#session.start();
  }

  stop(): void {
    this.#close('closed_by_caller', '');
  }

  seekToLive(): void {
    this.#playback.seekToLive();
  }

  get qualities(): Quality[] {
    return this.#renditions.map(qualityOf);
  }

  get quality(): string {
    return this.#wanted;
  }

  set quality(name: string) {
    this.#wanted = name;
    this.#refusedRenditions.clear();
    this.#abr.changed(performance.now());
    if (name !== 'auto') this.#select(name, false);
    this.#events.quality();
  }

  get rendition(): string {
    return this.#rendition;
  }

  stats(): Omit<ViewerStats, 'state'> {
    const now = performance.now();
    const frames = this.#video.getVideoPlaybackQuality?.();
    const playback = this.#playback;
    return {
      transport: 'moqt',
      protocol: this.#session.protocol,
      joinMs: this.#joinMs,
      latencyMs: this.#latency(),
      bufferMs: playback.bufferMs,
      targetBufferMs: playback.targetMs,
      bitrate: this.#abr.rate(performance.timeOrigin + now),
      throughput: this.#abr.capacity,
      stalls: playback.stalls,
      stalledMs: playback.stalledMsAt(now),
      decodedFrames: frames?.totalVideoFrames ?? 0,
      droppedFrames: frames?.droppedVideoFrames ?? 0,
      rendition: this.#rendition,
      switches: this.#switches,
      gaps: this.#gaps + playback.gaps,
      skips: playback.skips,
      reconnects: this.#session.reconnects,
      playbackRate: this.#video.playbackRate,
      bytes: this.#bytes,
    };
  }

  #takeState(state: 'connecting' | 'connected' | 'waiting' | 'reconnecting'): void {
    if (state === 'connected') {
      if (!this.#playback.hasBegun) this.#tell('buffering');
      else if (!this.#playback.isStalled) this.#tell('playing');
    } else {
      this.#tell(state);
    }
  }

  #takeEvent(event: MachineEvent): void {
    switch (event.type) {
      case 'catalog':
        this.#follow(event);
        break;
      case 'gap':
        this.#gaps += 1;
        this.#needKey.add(event.track);
        break;
      case 'badMedia':
        this.#needKey.add(event.track);
        break;
      case 'switchFailed': {
        const failed = this.#tracks.find((track) => track.id === event.track);
        if (failed) this.#refusedRenditions.add(failed.name);
        this.#abr.changed(performance.now());
        break;
      }
      case 'trackEnded':
        this.#trackEnded(event.track);
        break;
      default:
    }
  }

  #follow(catalog: CatalogEvent): void {
    const before = this.#catalog;
    this.#catalog = catalog;
    if (!catalog.live && catalog.complete) this.#ending = true;
    // The news of the end and the ends of the tracks come on streams of their own, in any order: a catalog that
    // says that all is over names tracks that have ended already, and none that begins.
    if (this.#ending && this.#sink) {
      if (!this.#isAnyLeft()) this.#finish();
      return;
    }
    if (catalog.tracks.length === 0) return;
    this.#tracks = playableTracks(catalog, canPlay);
    this.#renditions = renditionsOf(this.#tracks);
    if (this.#tracks.length === 0) {
      const codecs = catalog.tracks.map((track) => track.codec).join(', ');
      this.#fail(new StreamError('decode', `this browser can play none of the stream's codecs: ${codecs}`));
      return;
    }
    this.#lanes.reset();
    this.#refusedRenditions.clear();
    if (before !== null && sameKinds(before, catalog)) {
      this.#renewInits(before, catalog);
    } else if (this.#sink) {
      this.#rebuild();
    }
    this.#chooseFirst();
    this.#ensureSink();
    this.#events.quality();
  }

  /** The machine begins with the first track of each kind; another one may be better for this browser. */
  #chooseFirst(): void {
    const best = this.#renditions[bestIndex(this.#renditions, this.#maxHeight())];
    const wanted = this.#renditions.find((track) => track.name === this.#wanted);
    const known = this.#renditions.find((track) => track.name === this.#rendition);
    const track = wanted ?? known ?? best;
    if (!track) return;
    const first = this.#catalog?.tracks.find((each) => each.kind === 'video');
    this.#rendition = track.name;
    if (first?.name !== track.name && !known) this.#session.command({ type: 'select', track: track.name, urgent: true });
  }

  #renewInits(before: CatalogEvent, after: CatalogEvent): void {
    for (const track of after.tracks) {
      const old = before.tracks.find((each) => each.name === track.name);
      if (old && old.initData !== track.initData) this.#sink?.renew(track.kind);
    }
  }

  /** Makes the sink once the init segments of what is to be played are known. */
  #ensureSink(): void {
    if (this.#sink || this.#closed) return;
    const video = this.#renditions.find((track) => track.name === this.#rendition) ?? null;
    const audio = this.#tracks.find((track) => track.kind === 'audio') ?? null;
    const kinds = [video, audio].filter((track) => track !== null && !this.#lanes.isAbsent(track.kind));
    if (kinds.length === 0 || kinds.some((track) => track?.hasInit !== true)) return;
    const sink = new MediaSink(this.#video, {
      video: this.#lanes.isAbsent('video') ? null : video,
      audio: this.#lanes.isAbsent('audio') ? null : audio,
      onAppended: () => this.#playback.appended(),
      onFailed: (reason) => this.#sinkFailed(sink, reason),
    });
    this.#sink = sink;
    this.#lanes.begin(performance.now());
    for (const track of this.#tracks) this.#needKey.add(track.id);
    this.#playback.use(sink);
  }

  /** Begins anew with another set of kinds, or after a fault of the decoder. */
  #rebuild(): void {
    this.#sink?.close();
    this.#sink = null;
    this.#ensureSink();
  }

  #takeChunk(chunk: ChunkMessage): void {
    const bytes = chunk.data.byteLength;
    const done = (): void => this.#session.consumed(bytes);
    this.#bytes += bytes;
    const track = this.#tracks.find((each) => each.id === chunk.track);
    if (!track) return done();
    if (chunk.init) {
      track.init = new Uint8Array(chunk.data);
      track.hasInit = true;
      this.#sink?.renew(track.kind);
      this.#ensureSink();
      return done();
    }
    if (track.kind === 'video') {
      this.#abr.arrived(chunk.arrived, chunk.time / 1000, bytes, chunk.produced > 0 ? chunk.produced / 1000 : null);
      this.#groups.took(chunk.group, chunk.time, chunk.duration);
      if (chunk.produced > 0) this.#latencyBase = chunk.produced - chunk.time;
    }
    // What was done without may be here again.
    if (this.#lanes.took(track.kind, performance.now(), chunk.time + chunk.duration)) this.#rebuild();
    if (this.#needKey.has(track.id)) {
      if (track.kind === 'video' && !chunk.independent) return done();
      this.#needKey.delete(track.id);
    }
    const sink = this.#sink;
    if (!sink?.takes(track.kind)) return done();
    if (track.kind === 'video' && track.name !== this.#rendition) this.#nowPlays(track);
    const { time: timeUs, duration: durationUs } = chunk;
    const entry = this.#entry;
    if (entry?.track === track.name && entry.fromUs < 0) {
      entry.fromUs = timeUs;
      if (entry.isNext) entry.showUs = timeUs + SKIP_US;
    }
    const appended = (): void => {
      done();
      if (entry && entry === this.#entry && sink === this.#sink) this.#enter(sink, entry, timeUs + durationUs);
    };
    sink.append(track.kind, track, { bytes: new Uint8Array(chunk.data), timeUs, durationUs }, appended);
  }

  /** Shows the rendition that was changed to at once, as soon as there is something to show. */
  #enter(sink: MediaSink, entry: { isNext: boolean; fromUs: number; showUs: number }, endUs: number): void {
    if (entry.fromUs < 0 || endUs < entry.showUs || sink.endTime < sink.elementTime(entry.showUs)) return;
    this.#entry = null;
    if (entry.isNext) this.#playback.skipTo(sink.elementTime(entry.fromUs) + 0.001);
    else this.#playback.begunAnew();
  }

  #nowPlays(track: PlayableTrack): void {
    this.#rendition = track.name;
    this.#switches += 1;
    this.#abr.reset(performance.timeOrigin + performance.now());
    this.#events.quality();
  }

  #trackEnded(id: number): void {
    this.#tracks = this.#tracks.filter((track) => track.id !== id);
    if (this.#ending && !this.#isAnyLeft()) this.#finish();
  }

  /** Whether something that is played has not ended. */
  #isAnyLeft(): boolean {
    return this.#tracks.some((track) => track.kind === 'audio' || track.name === this.#rendition);
  }

  /** All has come; what is buffered is still played. */
  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#playback.finish();
    this.#sink?.end();
    this.#session.stop('complete');
    // An element that is held, or that has nothing, never says that it ended.
    if (!this.#playback.hasBegun || this.#video.paused) this.#close('complete', '');
  }

  #tick(now: number): void {
    this.#session.watch(now);
    this.#holdBack();
    this.#adapt();
    this.#doWithout(now);
  }

  /** When one kind comes and the other does not, the one is better than none. */
  #doWithout(now: number): void {
    const sink = this.#sink;
    const stands = !this.#playback.hasBegun || this.#playback.isStalled;
    // At the end nothing comes any more, and nothing is missing.
    if (this.#ending || !sink || !stands) return;
    const played = ['video', 'audio'].filter((kind) => sink.takes(kind));
    if (this.#lanes.giveUp(now, played)) this.#rebuild();
  }

  #holdBack(): void {
    const isFull = this.#playback.bufferMs > AHEAD_MS_MAX;
    if (isFull === this.#readingPaused) return;
    this.#readingPaused = isFull;
    this.#session.pause(isFull);
  }

  #adapt(): void {
    if (this.#wanted !== 'auto' || !this.#playback.hasBegun || this.#video.paused) return;
    const choices = this.#renditions.filter((track) => !this.#refusedRenditions.has(track.name));
    const current = choices.findIndex((track) => track.name === this.#rendition);
    if (current < 0) return;
    const now = performance.timeOrigin + performance.now();
    const playback = this.#playback;
    const decision = this.#abr.decide(now, choices, current, bestIndex(choices, this.#maxHeight()), {
      ms: playback.bufferMs,
      targetMs: playback.targetMs,
      stalled: playback.isStalled,
    });
    const track = decision && choices[decision.index];
    if (!track) return;
    const share = this.#abr.capacity > 0 && track.bitrate > 0 ? track.bitrate / this.#abr.capacity : SHARE_UNKNOWN;
    const next = decision.urgent && this.#groups.isNextSooner(share, this.#abr.queueMs(now));
    const showUs = this.#groups.endUs + AGAIN_US;
    this.#entry = decision.urgent ? { track: track.name, isNext: next, fromUs: -1, showUs } : null;
    this.#select(track.name, decision.urgent, next);
  }

  /** `next`: the rest of the group that plays is left out. */
  #select(name: string, urgent: boolean, next = false): void {
    if (!this.#renditions.some((track) => track.name === name)) return;
    this.#session.command({ type: 'select', track: name, urgent, next });
  }

  #maxHeight(): number {
    const { maxHeight } = this.#options;
    if (maxHeight === 'element') {
      return Math.ceil(this.#video.clientHeight * (globalThis.devicePixelRatio || 1));
    }
    return maxHeight ?? 0;
  }

  #latency(): number | null {
    const sink = this.#sink;
    if (!sink || this.#latencyBase === null || !this.#playback.hasBegun) return null;
    const shownUs = sink.streamTimeUs(this.#video.currentTime);
    return Date.now() - (shownUs + this.#latencyBase) / 1000;
  }

  #started(): void {
    if (this.#joinMs === null) {
      this.#joinMs = performance.now() - this.#startedAt;
      this.#events.started();
    }
    this.#tell('playing');
  }

  #tell(state: ViewerState): void {
    if (!this.#closed) this.#events.state(state);
  }

  readonly #paused = (): void => {
    if (this.#playback.hasBegun && !this.#video.ended) this.#tell('paused');
  };

  readonly #resumed = (): void => {
    if (this.#playback.hasBegun) this.#tell('playing');
  };

  readonly #videoEnded = (): void => {
    if (this.#ending) this.#close('complete', '');
  };

  readonly #videoFailed = (): void => {
    const error = this.#video.error;
    if (error && this.#sink) this.#sinkFailed(this.#sink, error.message || `media error ${error.code}`);
  };

  /** A decoder may fail on damaged media; once more from the next key frame, and not for ever. */
  #sinkFailed(sink: MediaSink, reason: string): void {
    if (this.#closed || sink !== this.#sink) return;
    this.#decodeFaults += 1;
    if (this.#decodeFaults > 5) {
      this.#fail(new StreamError('decode', reason));
      return;
    }
    queueMicrotask(() => {
      if (sink === this.#sink && !this.#closed) this.#rebuild();
    });
  }

  #fail(error: StreamError): void {
    if (this.#closed) return;
    this.#events.error(error);
    this.#close('network', error.message);
  }

  #close(reason: ViewerCloseReason, detail: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#session.stop(reason);
    this.#playback.close();
    for (const [name, listener] of [
      ['pause', this.#paused],
      ['play', this.#resumed],
      ['error', this.#videoFailed],
      ['ended', this.#videoEnded],
    ] as const) {
      this.#video.removeEventListener(name, listener);
    }
    // What was shown last stays when the stream ended by itself.
    if (reason !== 'complete') this.#sink?.close();
    this.#events.closed(reason, detail);
  }
}

function sameKinds(a: CatalogEvent, b: CatalogEvent): boolean {
  const kinds = (catalog: CatalogEvent): string =>
    ['video', 'audio'].filter((kind) => catalog.tracks.some((track) => track.kind === kind)).join();
  return kinds(a) === kinds(b);
}
