/**
 * Tells how the viewing goes: a small JSON object now and then, and a last one at the end. No address, no
 * token and no name is in it; `session` is a number of this viewing alone.
 */

import type { ViewerStats } from './options.ts';

const INTERVAL_MS = 10_000;

export interface BeaconOptions {
  url: string;
  intervalMs: number | undefined;
  id: string;
  stats: () => ViewerStats;
}

export class Beacon {
  readonly #options: BeaconOptions;
  readonly #session = crypto.randomUUID?.() ?? String(Math.random()).slice(2);
  readonly #timer: ReturnType<typeof setInterval>;
  #sequence = 0;
  #over = false;

  constructor(options: BeaconOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#send(false, ''), options.intervalMs ?? INTERVAL_MS);
    globalThis.addEventListener?.('pagehide', this.#hidden);
  }

  end(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#timer);
    globalThis.removeEventListener?.('pagehide', this.#hidden);
    this.#send(true, reason);
  }

  readonly #hidden = (): void => this.#send(false, '');

  #send(final: boolean, reason: string): void {
    const { url, id, stats } = this.#options;
    const body = JSON.stringify({
      version: 1,
      session: this.#session,
      sequence: this.#sequence++,
      input: id,
      final,
      ...(reason === '' ? {} : { reason }),
      ...rounded(stats()),
    });
    // Plain text needs no question to the server beforehand.
    if (!navigator.sendBeacon?.(url, new Blob([body], { type: 'text/plain' }))) {
      fetch(url, { method: 'POST', body, keepalive: true, mode: 'no-cors' }).catch(() => undefined);
    }
  }
}

function rounded(stats: ViewerStats): Record<string, unknown> {
  const entries = Object.entries(stats).map(([key, value]) => [
    key,
    typeof value === 'number' && key !== 'playbackRate' ? Math.round(value) : value,
  ]);
  return Object.fromEntries(entries) as Record<string, unknown>;
}
