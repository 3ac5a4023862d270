/**
 * Media by `MediaRecorder`: fragments of MP4, one for each group of pictures.
 *
 * A recorder closes a fragment only when the next key frame comes, so the distance of key frames is the
 * delay; without `videoKeyFrameIntervalDuration` nothing would come before the end. Blobs are handed on
 * in order and uncut: where boxes begin is read by the machine.
 */

import { AUDIO, VIDEO } from '../engine/engine.ts';
import type { MediaFigures, MediaMaker, MediaTarget } from './media.ts';
import type { PublisherOptions } from './options.ts';

/** What seed 000 names; browsers that cannot make AAC take the next ones. */
const MIME_TYPES = [
  'video/mp4; codecs="avc1.42E01E,mp4a.40.2"',
  'video/mp4; codecs="avc1.42E01F,opus"',
  'video/mp4; codecs="avc1.42E01F"',
  'video/mp4',
];
const AUDIO_TYPES = ['audio/mp4; codecs="mp4a.40.2"', 'audio/mp4; codecs="opus"', 'audio/mp4'];
const SLICE_MS_MAX = 250;

/** The type to record with; `null` when this browser cannot make fragmented MP4. */
export function recorderType(media: MediaStream, wanted: string | undefined): string | null {
  if (typeof MediaRecorder !== 'function') return null;
  const types = media.getVideoTracks().length > 0 ? MIME_TYPES : AUDIO_TYPES;
  const all = wanted === undefined ? types : [wanted, ...types];
  return all.find((type) => /^(video|audio)\/mp4/.test(type) && MediaRecorder.isTypeSupported(type)) ?? null;
}

export class RecorderMaker implements MediaMaker {
  readonly path = 'media-recorder';
  readonly #media: MediaStream;
  readonly #options: PublisherOptions;
  readonly #target: MediaTarget;
  readonly #type: string;
  #recorder: MediaRecorder | null = null;
  #order: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(media: MediaStream, type: string, options: PublisherOptions, target: MediaTarget) {
    this.#media = media;
    this.#type = type;
    this.#options = options;
    this.#target = target;
  }

  async start(): Promise<void> {
    const timesliceMs = this.#options.timesliceMs ?? 1000;
    const options: MediaRecorderOptions & { videoKeyFrameIntervalDuration: number } = {
      mimeType: this.#type,
      videoKeyFrameIntervalDuration: timesliceMs,
    };
    const { videoBitrate, audioBitrate } = this.#options;
    if (videoBitrate !== undefined) options.videoBitsPerSecond = videoBitrate;
    if (audioBitrate !== undefined) options.audioBitsPerSecond = audioBitrate;
    const recorder = new MediaRecorder(this.#media, options);
    this.#recorder = recorder;
    recorder.ondataavailable = (event) => this.#take(event.data);
    recorder.onerror = (event) => {
      const { error } = event as ErrorEvent & { error?: DOMException };
      this.#target.failed(`the recorder failed: ${error?.message ?? 'no reason given'}`);
    };
    recorder.onstop = () => {
      // A recorder stops by itself when all tracks have ended.
      if (!this.#stopped) void this.#order.then(() => this.#target.ended(this.#firstKind(), false));
    };
    recorder.start(Math.min(timesliceMs, SLICE_MS_MAX));
    await Promise.resolve();
  }

  /** A recorder's bitrate cannot be changed. */
  queued(): void {}

  figures(): MediaFigures {
    const settings = this.#media.getVideoTracks()[0]?.getSettings();
    return {
      encodedFrames: 0,
      droppedFrames: 0,
      keyFrames: 0,
      width: settings?.width ?? 0,
      height: settings?.height ?? 0,
      framerate: settings?.frameRate ?? 0,
      targetBitrate: this.#recorder?.videoBitsPerSecond ?? 0,
    };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const recorder = this.#recorder;
    if (recorder && recorder.state !== 'inactive') {
      const stopped = new Promise((resolve) => recorder.addEventListener('stop', resolve, { once: true }));
      recorder.stop();
      await stopped;
    }
    await this.#order;
  }

  #take(blob: Blob): void {
    if (blob.size === 0) return;
    this.#order = this.#order.then(async () => this.#target.recorded(await blob.arrayBuffer()));
  }

  #firstKind(): number {
    return this.#media.getVideoTracks().length > 0 ? VIDEO : AUDIO;
  }
}
