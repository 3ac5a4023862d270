/**
 * The sound of a stream: pieces of a track in, coded frames out, at their times for as long as it lasts.
 *
 * | what comes | what is done |
 * |---|---|
 * | pieces | encoded, with {@link SoundClock} between the device's clock and the encoder's count |
 * | another rate or number of channels, another clock | the encoder begins anew |
 * | nothing, for `QUIET_TICKS` | silence, so that those who watch need not wait for the sound |
 *
 * Times in microseconds: of the track's clock where nothing is said, else of the page's.
 */

import { SoundClock } from './sound-clock.ts';

const OPUS = 1;
const AAC = 2;
const CHANNELS_MAX = 2;
export const TICK_MS = 50;
/** A page that was busy first takes what has come meanwhile. */
const QUIET_TICKS = 3;
/** Silence ends so long before now: what is on its way has its place. */
const QUIET_LEAD_US = 60_000;
const SILENCE_SAMPLES_MAX = 4800;
/** Pieces that wait for the encoder; beyond it they are lost, and silence later. */
const QUEUE_MAX = 300;

export interface SoundTarget {
  /** Codec as `ms_config` numbers them. */
  config(codec: number, description: AllowSharedBufferSource): void;
  /** `timeUs` of the page's clock. */
  frame(chunk: EncodedAudioChunk, timeUs: number): void;
  failed(reason: string): void;
  /** What the track's times have to be moved by to be the page's; `anew` when its clock is another one now. */
  offsetOf(timestamp: number, anew: boolean): number;
}

/** The codec that this browser can encode sound with. */
export async function audioCodec(sampleRate: number, numberOfChannels: number): Promise<string | null> {
  for (const codec of ['opus', 'mp4a.40.2']) {
    const support = await AudioEncoder.isConfigSupported({ codec, sampleRate, numberOfChannels }).catch(() => null);
    if (support?.supported) return codec;
  }
  return null;
}

interface Format {
  sampleRate: number;
  numberOfChannels: number;
}

export class Sound {
  readonly #bitrate: number;
  readonly #target: SoundTarget;
  #encoder: AudioEncoder | null = null;
  #clock: SoundClock | null = null;
  #format: Format = { sampleRate: 0, numberOfChannels: 0 };
  /** How long after its end the last piece was here, by the page's clock. */
  #delayUs = 0;
  #taken = 0;
  #takenBefore = 0;
  #quietTicks = 0;
  #isBeginning = false;
  #stopped = false;

  constructor(bitrate: number, target: SoundTarget) {
    this.#bitrate = bitrate;
    this.#target = target;
  }

  /** A piece of the track's; it is closed by the caller. */
  async take(data: AudioData): Promise<void> {
    const { sampleRate, numberOfFrames, timestamp } = data;
    const numberOfChannels = Math.min(CHANNELS_MAX, data.numberOfChannels);
    this.#taken += 1;
    this.#delayUs = performance.now() * 1000 - timestamp - (numberOfFrames * 1e6) / sampleRate;
    const { sampleRate: rate, numberOfChannels: channels } = this.#format;
    if (!this.#encoder || rate !== sampleRate || channels !== numberOfChannels) {
      await this.#begin({ sampleRate, numberOfChannels }, timestamp, false);
    }
    if ((this.#encoder?.encodeQueueSize ?? 0) > QUEUE_MAX) return;
    let at = this.#clock?.endUs ?? timestamp;
    const step = this.#clock?.take(timestamp, numberOfFrames);
    if (!step) return;
    if (step.restart) {
      await this.#begin(this.#format, timestamp, true);
      this.#clock?.take(timestamp, numberOfFrames);
      at = timestamp;
    }
    this.#silence(at, step.silence);
    at += (step.silence * 1e6) / sampleRate;
    if (step.skip >= numberOfFrames) return;
    if (step.silence === 0 && step.skip === 0 && step.stretch === 0 && numberOfChannels === data.numberOfChannels) {
      this.#encode(data);
      return;
    }
    const shaped = reshaped(data, { at, numberOfChannels, skip: step.skip, stretch: step.stretch });
    this.#encode(shaped);
    shaped.close();
  }

  /** Called every `TICK_MS`. */
  tick(): void {
    const isQuiet = this.#taken === this.#takenBefore && !this.#isBeginning;
    this.#takenBefore = this.#taken;
    this.#quietTicks = isQuiet ? this.#quietTicks + 1 : 0;
    const at = this.#clock?.endUs ?? null;
    if (this.#quietTicks < QUIET_TICKS || at === null) return;
    const now = performance.now() * 1000 - this.#delayUs;
    this.#silence(at, this.#clock?.makeUp(now - QUIET_LEAD_US) ?? 0);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const encoder = this.#encoder;
    this.#encoder = null;
    this.#clock = null;
    await finished(encoder);
  }

  async #begin(format: Format, timestamp: number, anew: boolean): Promise<void> {
    this.#isBeginning = true;
    try {
      await finished(this.#encoder);
      const { sampleRate, numberOfChannels } = format;
      const codec = await audioCodec(sampleRate, numberOfChannels);
      if (codec === null) throw new Error(`no encoder for sound at ${sampleRate} Hz`);
      if (this.#stopped) return;
      const offset = this.#target.offsetOf(timestamp, anew);
      const encoder = new AudioEncoder({
        output: (chunk, metadata) => {
          const description = metadata?.decoderConfig?.description;
          if (description) this.#target.config(codec === 'opus' ? OPUS : AAC, description);
          this.#target.frame(chunk, chunk.timestamp + offset);
        },
        error: (error) => this.#target.failed(`the audio encoder failed: ${error.message}`),
      });
      encoder.configure({ codec, sampleRate, numberOfChannels, bitrate: this.#bitrate });
      this.#encoder = encoder;
      this.#format = format;
      this.#clock = new SoundClock(sampleRate);
    } finally {
      this.#isBeginning = false;
    }
  }

  #silence(from: number, samples: number): void {
    const { sampleRate, numberOfChannels } = this.#format;
    for (let done = 0; done < samples; done += SILENCE_SAMPLES_MAX) {
      const numberOfFrames = Math.min(SILENCE_SAMPLES_MAX, samples - done);
      const data = new AudioData({
        format: 'f32-planar',
        sampleRate,
        numberOfChannels,
        numberOfFrames,
        timestamp: Math.round(from + (done * 1e6) / sampleRate),
        data: new Float32Array(numberOfFrames * numberOfChannels),
      });
      this.#encode(data);
      data.close();
    }
  }

  #encode(data: AudioData): void {
    if (this.#encoder?.state === 'configured') this.#encoder.encode(data);
  }
}

/** A piece without its beginning, a little longer or shorter, at the time at which it is to stand. */
function reshaped(
  data: AudioData,
  to: { at: number; numberOfChannels: number; skip: number; stretch: number },
): AudioData {
  const { at, numberOfChannels, skip, stretch } = to;
  const left = data.numberOfFrames - skip;
  const numberOfFrames = left + stretch;
  const planes = new Float32Array(numberOfFrames * numberOfChannels);
  const plane = new Float32Array(left);
  for (let planeIndex = 0; planeIndex < numberOfChannels; planeIndex++) {
    data.copyTo(plane, { planeIndex, frameOffset: skip, frameCount: left, format: 'f32-planar' });
    stretchInto(planes.subarray(planeIndex * numberOfFrames, (planeIndex + 1) * numberOfFrames), plane);
  }
  const { sampleRate } = data;
  return new AudioData({
    format: 'f32-planar',
    sampleRate,
    numberOfChannels,
    numberOfFrames,
    timestamp: Math.round(at),
    data: planes,
  });
}

/** Straight lines between the samples: for one in hundreds more or less, that is enough. */
export function stretchInto(out: Float32Array, samples: Float32Array): void {
  if (out.length === samples.length) {
    out.set(samples);
    return;
  }
  const step = out.length > 1 ? (samples.length - 1) / (out.length - 1) : 0;
  for (let n = 0; n < out.length; n++) {
    const before = Math.floor(n * step);
    const part = n * step - before;
    const first = samples[before] ?? 0;
    out[n] = first + ((samples[before + 1] ?? first) - first) * part;
  }
}

async function finished(encoder: AudioEncoder | null): Promise<void> {
  if (encoder?.state === 'configured') await encoder.flush().catch(() => undefined);
  if (encoder && encoder.state !== 'closed') encoder.close();
}
