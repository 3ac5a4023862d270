/** The fallback without a hook: the element's own HLS, where it has it (Safari). */

import { StreamError } from '../close.ts';
import type { FallbackPlayer, FallbackSource } from './options.ts';

export class NativeHls implements FallbackPlayer {
  #video: HTMLVideoElement | null = null;

  async play({ video, hlsUrl }: FallbackSource): Promise<void> {
    if (video.canPlayType('application/vnd.apple.mpegurl') === '') {
      throw new StreamError(
        'unsupported',
        'this browser has neither WebTransport nor HLS: use a current Chrome, Edge, Firefox or Safari, or give `fallback` a player',
      );
    }
    this.#video = video;
    video.src = hlsUrl;
    await video.play();
  }

  stop(): void {
    this.#video?.removeAttribute('src');
    this.#video?.load();
    this.#video = null;
  }
}
