/**
 * Media frame by frame: `MediaStreamTrackProcessor`, `VideoEncoder`, `AudioEncoder`.
 *
 * All encodings of the picture take the same frames, and their key frames come of the same frame, every
 * `timesliceMs`. Frames are left out when an encoder is behind, or when the path is hopelessly so. A picture
 * that stands still (a shared screen) is repeated, so that viewers can join. Sound is the business of {@link Sound}.
 *
 * Times: a track's own clock is tied to the page's clock by its first frame, both tracks by the same amount
 * where their clocks agree.
 */

import { AUDIO, VIDEO } from '../engine/engine.ts';
import { Congestion } from './congestion.ts';
import { unixUs, type MediaFigures, type MediaMaker, type MediaTarget } from './media.ts';
import { encodingsOf, h264Codec, type VideoEncoding } from './video-config.ts';
import type { PublisherOptions } from './options.ts';
import { Sound, TICK_MS as SOUND_TICK_MS, audioCodec } from './sound.ts';

const H264 = 0;
const ENCODER_QUEUE_MAX = 3;
const BITRATE_MIN = 150_000;
const STILL_MS = 400;
/** Pieces of sound, of some 10 ms, that wait for a page that is busy; what comes then is lost. */
const SOUND_BUFFER = 200;
/** Clocks of two tracks that are closer than this are the same clock. */
const SAME_CLOCK_US = 2_000_000;

interface TrackProcessor<T> {
  readonly readable: ReadableStream<T>;
}
type TrackProcessorClass = new <T>(init: { track: MediaStreamTrack; maxBufferSize?: number }) => TrackProcessor<T>;

function processorClass(): TrackProcessorClass | undefined {
  return (globalThis as { MediaStreamTrackProcessor?: TrackProcessorClass }).MediaStreamTrackProcessor;
}

/** Whether this browser can make this stream's media so. */
export async function canEncode(media: MediaStream): Promise<boolean> {
  if (!processorClass()) return false;
  if (media.getVideoTracks().length > 0) {
    if (typeof VideoEncoder !== 'function') return false;
    const config = { codec: 'avc1.42E01F', width: 640, height: 360, avc: { format: 'avc' as const } };
    if (!(await VideoEncoder.isConfigSupported(config).catch(() => null))?.supported) return false;
  }
  if (media.getAudioTracks().length > 0) {
    if (typeof AudioEncoder !== 'function') return false;
    if ((await audioCodec(48_000, 2)) === null) return false;
  }
  return true;
}

interface Encoding {
  number: number;
  encoder: VideoEncoder;
  settings: VideoEncoding;
  /** Frames are left out until the next key frame. */
  awaitsKey: boolean;
}

export class WebCodecsMaker implements MediaMaker {
  readonly path = 'webcodecs';
  readonly #media: MediaStream;
  readonly #options: PublisherOptions;
  readonly #target: MediaTarget;
  readonly #timesliceUs: number;
  readonly #readers: ReadableStreamDefaultReader<unknown>[] = [];
  #encodings: Encoding[] = [];
  #sound: Sound | null = null;
  #soundTimer: ReturnType<typeof setInterval> | null = null;
  #congestion: Congestion | null = null;
  #firstClock: { offset: number; at: number } | null = null;
  #offsets = new Map<number, number>();
  #lastKeyUs = -Infinity;
  #lastFrame: VideoFrame | null = null;
  #lastFrameAt = 0;
  #still: ReturnType<typeof setInterval> | null = null;
  #open = new Set<number>();
  #stopped = false;
  #encoded = 0;
  #dropped = 0;
  #keys = 0;
  #shape = { width: 0, height: 0 };

  constructor(media: MediaStream, options: PublisherOptions, target: MediaTarget) {
    this.#media = media;
    this.#options = options;
    this.#target = target;
    this.#timesliceUs = (options.timesliceMs ?? 1000) * 1000;
  }

  async start(): Promise<void> {
    const Processor = processorClass();
    if (!Processor) throw new Error('this browser has no MediaStreamTrackProcessor');
    const [video] = this.#media.getVideoTracks();
    const [audio] = this.#media.getAudioTracks();
    if (video) {
      this.#open.add(VIDEO);
      void this.#readVideo(new Processor<VideoFrame>({ track: video, maxBufferSize: 2 }), video);
      this.#still = setInterval(() => this.#repeat(), STILL_MS / 2);
    }
    if (audio) {
      this.#open.add(AUDIO);
      void this.#readAudio(new Processor<AudioData>({ track: audio, maxBufferSize: SOUND_BUFFER }), audio);
    }
    await Promise.resolve();
  }

  queued(now: number, queuedMs: number): void {
    const congestion = this.#congestion;
    const bitrate = congestion?.update(now, queuedMs);
    if (bitrate === null || bitrate === undefined) return;
    const most = this.#encodings.reduce((sum, each) => sum + each.settings.bitrate, 0);
    for (const each of this.#encodings) {
      this.#configure(each, Math.max(BITRATE_MIN, (each.settings.bitrate * bitrate) / most));
    }
  }

  figures(): MediaFigures {
    return {
      encodedFrames: this.#encoded,
      droppedFrames: this.#dropped,
      keyFrames: this.#keys,
      ...this.#shape,
      framerate: this.#encodings[0]?.settings.framerate ?? 0,
      targetBitrate: this.#congestion?.bitrate ?? 0,
    };
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#stopTimers(VIDEO);
    this.#stopTimers(AUDIO);
    for (const reader of this.#readers) reader.cancel().catch(() => undefined);
    this.#lastFrame?.close();
    this.#lastFrame = null;
    for (const { encoder } of this.#encodings) {
      if (encoder.state !== 'configured') continue;
      await encoder.flush().catch(() => undefined);
      closeCodec(encoder);
    }
    await this.#sound?.stop();
  }

  async #readVideo(processor: TrackProcessor<VideoFrame>, track: MediaStreamTrack): Promise<void> {
    await this.#read(processor.readable, VIDEO, track, (frame) => {
      try {
        if (this.#encodings.length === 0) this.#beginVideo(frame, track);
        const { codedWidth, codedHeight } = frame;
        if (codedWidth !== this.#shape.width || codedHeight !== this.#shape.height) this.#resize(frame, track);
        this.#encode(frame, frame.timestamp + this.#offsetOf(VIDEO, frame.timestamp));
      } finally {
        this.#lastFrame?.close();
        this.#lastFrame = frame;
        this.#lastFrameAt = performance.now();
      }
    });
  }

  async #readAudio(processor: TrackProcessor<AudioData>, track: MediaStreamTrack): Promise<void> {
    const sound = new Sound(this.#options.audioBitrate ?? 96_000, {
      config: (codec, description) => this.#target.config(AUDIO, 0, codec, bytesOf(description)),
      frame: (chunk, timeUs) => this.#audioOut(chunk, timeUs),
      failed: (reason) => this.#target.failed(reason),
      offsetOf: (timestamp, anew) => {
        if (anew) this.#offsets.delete(AUDIO);
        return this.#offsetOf(AUDIO, timestamp);
      },
    });
    this.#sound = sound;
    this.#soundTimer = setInterval(() => sound.tick(), SOUND_TICK_MS);
    await this.#read(processor.readable, AUDIO, track, async (data) => {
      try {
        await sound.take(data);
      } finally {
        data.close();
      }
    });
  }

  /** Hands on what a track gives until it ends. */
  async #read<T extends { close(): void }>(
    readable: ReadableStream<T>,
    kind: number,
    track: MediaStreamTrack,
    take: (item: T) => void | Promise<void>,
  ): Promise<void> {
    const reader = readable.getReader();
    this.#readers.push(reader);
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        if (this.#stopped) {
          value.close();
          return;
        }
        await take(value);
      }
    } catch (error) {
      if (!this.#stopped) this.#target.failed(`${track.kind}: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (this.#stopped) return;
    this.#open.delete(kind);
    this.#stopTimers(kind);
    this.#target.ended(kind, this.#open.size > 0);
  }

  #stopTimers(kind: number): void {
    const timer = kind === VIDEO ? this.#still : this.#soundTimer;
    if (timer !== null) clearInterval(timer);
  }

  /** What a track's times have to be moved by to be the page's clock. Small numbers: the machine puts the first
   * one where the broadcast begins. */
  #offsetOf(kind: number, timestamp: number): number {
    const known = this.#offsets.get(kind);
    if (known !== undefined) return known;
    let offset = Math.round(performance.now() * 1000) - timestamp;
    const first = this.#firstClock;
    if (!first) this.#firstClock = { offset, at: timestamp };
    else if (Math.abs(first.offset - offset) < SAME_CLOCK_US) offset = first.offset;
    this.#offsets.set(kind, offset);
    return offset;
  }

  #beginVideo(frame: VideoFrame, track: MediaStreamTrack): void {
    const { renditions, videoBitrate: bitrate } = this.#options;
    const framerate = this.#options.framerate ?? Math.round(track.getSettings().frameRate ?? 30);
    const source = { width: frame.codedWidth, height: frame.codedHeight, framerate };
    this.#shape = { width: frame.codedWidth, height: frame.codedHeight };
    const all = encodingsOf(source, { renditions, bitrate });
    const total = all.reduce((sum, each) => sum + each.bitrate, 0);
    this.#congestion = new Congestion(total, BITRATE_MIN * all.length);
    this.#encodings = all.map((settings, number) => {
      const encoder = new VideoEncoder({
        output: (chunk, metadata) => this.#videoOut(number, chunk, metadata),
        error: (error) => this.#target.failed(`the video encoder failed: ${error.message}`),
      });
      const encoding = { number, encoder, settings, awaitsKey: true };
      this.#configure(encoding, settings.bitrate);
      return encoding;
    });
  }

  #configure({ encoder, settings }: Encoding, bitrate: number): void {
    if (encoder.state === 'closed') return;
    encoder.configure({
      codec: h264Codec(settings),
      width: settings.width,
      height: settings.height,
      framerate: settings.framerate,
      bitrate: Math.round(bitrate),
      latencyMode: 'realtime',
      avc: { format: 'avc' },
    });
  }

  /** The picture has another size: a shared window was changed, a phone was turned. */
  #resize(frame: VideoFrame, track: MediaStreamTrack): void {
    const old = this.#encodings;
    this.#encodings = [];
    this.#lastKeyUs = -Infinity;
    for (const { encoder } of old) {
      if (encoder.state === 'configured') {
        encoder.flush().then(
          () => closeCodec(encoder),
          () => undefined,
        );
      }
    }
    this.#beginVideo(frame, track);
  }

  #encode(frame: VideoFrame, timeUs: number): void {
    const isKey = timeUs - this.#lastKeyUs >= this.#timesliceUs - 8000;
    const isBehind = this.#encodings.some(({ encoder }) => encoder.encodeQueueSize >= ENCODER_QUEUE_MAX);
    if (isBehind || this.#congestion?.isHopeless) {
      // Left out before it is coded: nothing that follows misses it.
      this.#dropped += 1;
      return;
    }
    if (isKey) this.#lastKeyUs = timeUs;
    const stamped = new VideoFrame(frame, { timestamp: timeUs });
    for (const { encoder } of this.#encodings) {
      if (encoder.state === 'configured') encoder.encode(stamped, { keyFrame: isKey });
    }
    stamped.close();
  }

  #repeat(): void {
    const frame = this.#lastFrame;
    if (!frame || this.#stopped) return;
    const still = performance.now() - this.#lastFrameAt;
    if (still < STILL_MS) return;
    const timeUs = frame.timestamp + this.#offsetOf(VIDEO, frame.timestamp) + Math.round(still * 1000);
    this.#encode(frame, timeUs);
  }

  #videoOut(number: number, chunk: EncodedVideoChunk, metadata: EncodedVideoChunkMetadata | undefined): void {
    const description = metadata?.decoderConfig?.description;
    if (description) this.#target.config(VIDEO, number, H264, bytesOf(description));
    const data = new ArrayBuffer(chunk.byteLength);
    chunk.copyTo(data);
    const isKey = chunk.type === 'key';
    this.#encoded += number === 0 ? 1 : 0;
    this.#keys += number === 0 && isKey ? 1 : 0;
    this.#target.frame({
      kind: VIDEO,
      number,
      isKey,
      timeUs: chunk.timestamp,
      durationUs: chunk.duration ?? 0,
      unixUs: unixUs(),
      data,
    });
  }

  #audioOut(chunk: EncodedAudioChunk, timeUs: number): void {
    const data = new ArrayBuffer(chunk.byteLength);
    chunk.copyTo(data);
    this.#target.frame({
      kind: AUDIO,
      number: 0,
      isKey: true,
      timeUs,
      durationUs: chunk.duration ?? 0,
      unixUs: unixUs(),
      data,
    });
  }
}

function closeCodec(encoder: VideoEncoder): void {
  if (encoder.state !== 'closed') encoder.close();
}

function bytesOf(source: AllowSharedBufferSource): Uint8Array<ArrayBuffer> {
  const view = ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source);
  return new Uint8Array(view);
}
