/** Latency, stalls and the rest of the viewer's statistics in words, and where the picture stands. */

import type { ViewerStats } from '/sdk/sdk.js';
import { duration, element, rate, say } from '../dom.ts';

/** Further behind than this beyond what is aimed at is no longer live, in milliseconds. */
const BEHIND_MS = 1500;

export class Readout {
  readonly #short = element('readout', HTMLElement);
  readonly #panel = element('stats', HTMLElement);
  readonly #button = element('info', HTMLButtonElement);
  readonly #lines = {
    latency: element('s-latency', HTMLElement),
    buffer: element('s-buffer', HTMLElement),
    picture: element('s-picture', HTMLElement),
    bitrate: element('s-bitrate', HTMLElement),
    stalls: element('s-stalls', HTMLElement),
    frames: element('s-frames', HTMLElement),
    join: element('s-join', HTMLElement),
    transport: element('s-transport', HTMLElement),
  };

  #last: [ViewerStats, HTMLVideoElement] | undefined;

  constructor() {
    this.#button.title = 'Statistics';
    this.#button.addEventListener('click', () => this.toggle());
  }

  toggle(): void {
    this.#panel.hidden = !this.#panel.hidden;
    if (this.#last !== undefined) this.show(...this.#last);
    this.#button.setAttribute('aria-expanded', String(!this.#panel.hidden));
  }

  show(stats: ViewerStats, video: HTMLVideoElement): void {
    this.#last = [stats, video];
    const latency = stats.latencyMs === null ? '' : `${duration(Math.max(0, stats.latencyMs))} behind the camera`;
    const stalls = stats.stalls === 0 ? 'none' : `${stats.stalls}, ${duration(stats.stalledMs)} in all`;
    const short = stats.latencyMs === null ? '' : `${(Math.max(0, stats.latencyMs) / 1000).toFixed(1)} s`;
    say(this.#short, stats.stalls === 0 ? short : `${short}${short === '' ? '' : ', '}${count(stats.stalls, 'stall')}`);
    if (this.#panel.hidden) return;
    const speed = stats.playbackRate === 1 ? '' : `, playing at ${stats.playbackRate.toFixed(2)}`;
    say(this.#lines.latency, latency || 'not known');
    say(this.#lines.buffer, `${duration(stats.bufferMs)} of ${duration(stats.targetBufferMs)}${speed}`);
    say(this.#lines.picture, `${video.videoWidth} × ${video.videoHeight} ${stats.rendition}`.trim());
    say(this.#lines.bitrate, stats.bitrate > 0 ? rate(stats.bitrate) : 'nothing');
    say(this.#lines.stalls, stalls);
    say(this.#lines.frames, `${stats.decodedFrames}, ${stats.droppedFrames} dropped`);
    say(this.#lines.join, stats.joinMs === null ? 'not yet' : `after ${duration(stats.joinMs)}`);
    const again = stats.reconnects === 0 ? '' : `, ${count(stats.reconnects, 'reconnect')}`;
    say(this.#lines.transport, `${stats.protocol || stats.transport}${again}`);
  }
}

/** Whether the picture is at the live edge. */
export function placeOf(stats: ViewerStats, video: HTMLVideoElement): 'edge' | 'behind' | 'none' {
  if (stats.decodedFrames === 0 && stats.state !== 'playing') return 'none';
  if (stats.transport === 'vod') return 'none';
  if (video.paused) return 'behind';
  return stats.bufferMs > stats.targetBufferMs + BEHIND_MS ? 'behind' : 'edge';
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
