/** `BroadcastViewer`: plays a stream into a `<video>` element. */

import type { Quality, ViewerOptions, ViewerStats, ViewerState } from './options.ts';

export class BroadcastViewer {
  readonly #options: ViewerOptions;
  #video: HTMLVideoElement | null = null;

  constructor(options: ViewerOptions = {}) {
    this.#options = options;
  }

  /** The element that the stream is shown in. */
  attach(video: HTMLVideoElement): this {
    this.#video = video;
    return this;
  }

  /** Resolves and plays: `lv_..` live over MoQT, `pb_..` on demand over HTTPS. */
  async play(id: string): Promise<void> {
    void id;
    void this.#options;
    void this.#video;
    throw new Error('not playing yet');
  }

  /** Ends every subscription and the media source. */
  stop(): void {}

  /** Jumps to the newest picture. */
  seekToLive(): void {}

  get state(): ViewerState {
    return 'idle';
  }

  /** The renditions, best first. */
  get qualities(): Quality[] {
    return [];
  }

  /** `auto`, or the name of a rendition. */
  get quality(): string {
    return 'auto';
  }
  set quality(name: string) {
    void name;
  }

  stats(): ViewerStats {
    throw new Error('not playing yet');
  }
}
