/** Encoder configurations: sizes, levels and rates. Pure. */

import type { Rendition } from './options.ts';

export interface VideoEncoding {
  width: number;
  height: number;
  bitrate: number;
  framerate: number;
}

/** Macroblocks per second and per frame that a level of H.264 allows (ISO/IEC 14496-10, table A-1). */
const LEVELS: [level: number, perSecond: number, perFrame: number][] = [
  [0x1e, 40_500, 1620],
  [0x1f, 108_000, 3600],
  [0x20, 216_000, 5120],
  [0x28, 245_760, 8192],
  [0x2a, 522_240, 8704],
  [0x32, 589_824, 22_080],
  [0x33, 983_040, 36_864],
  [0x34, 2_073_600, 36_864],
];

/** `avc1.42E0LL`: constrained baseline, with the least level that such a picture fits in. */
export function h264Codec({ width, height, framerate }: VideoEncoding): string {
  const blocks = Math.ceil(width / 16) * Math.ceil(height / 16);
  const fits = LEVELS.find(([, perSecond, perFrame]) => blocks <= perFrame && blocks * framerate <= perSecond);
  const level = fits?.[0] ?? 0x34;
  return `avc1.42E0${level.toString(16).toUpperCase()}`;
}

/** Bits per second that suit a picture. */
export function bitrateFor(width: number, height: number, framerate: number): number {
  const bits = width * height * Math.min(framerate, 60) * 0.09;
  return Math.round(Math.min(8_000_000, Math.max(250_000, bits)) / 10_000) * 10_000;
}

/** The encodings of a picture of this size, best first. Sizes are even, and none is larger than the picture. */
export function encodingsOf(
  source: { width: number; height: number; framerate: number },
  wanted: { renditions: Rendition[] | undefined; bitrate: number | undefined },
): VideoEncoding[] {
  const even = (size: number): number => Math.max(2, Math.round(size / 2) * 2);
  const whole = { width: even(source.width), height: even(source.height), framerate: source.framerate };
  const { renditions } = wanted;
  if (!renditions || renditions.length === 0) {
    const bitrate = wanted.bitrate ?? bitrateFor(whole.width, whole.height, whole.framerate);
    return [{ ...whole, bitrate }];
  }
  const encodings = renditions.map((rendition) => {
    const height = even(Math.min(rendition.height, whole.height));
    const width = even((whole.width * height) / whole.height);
    const framerate = Math.min(rendition.framerate ?? whole.framerate, whole.framerate);
    return { width, height, framerate, bitrate: rendition.bitrate };
  });
  return encodings.sort((a, b) => b.bitrate - a.bitrate);
}
