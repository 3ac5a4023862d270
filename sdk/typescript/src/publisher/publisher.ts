/** `BroadcastPublisher`: sends a `MediaStream` to a live input. */

import type { PublisherOptions, PublisherState, PublisherStats } from './options.ts';

export class BroadcastPublisher {
  readonly #options: PublisherOptions;

  constructor(options: PublisherOptions = {}) {
    this.#options = options;
  }

  /** Connects to `/publish/<input>?sk=<streamKey>`, announces the stream and sends `media`. */
  async publish(input: string, streamKey: string, media: MediaStream, namespace: string): Promise<void> {
    void [input, streamKey, media, namespace, this.#options];
    throw new Error('not publishing yet');
  }

  /** Ends the tracks and the session. */
  stop(): void {}

  get state(): PublisherState {
    return 'idle';
  }

  stats(): PublisherStats {
    throw new Error('not publishing yet');
  }
}
