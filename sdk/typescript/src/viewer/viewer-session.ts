/**
 * The connection of a viewer: opens sessions, comes back after a loss, follows a relay that goes away,
 * renews the token.
 *
 * | state | means | left by |
 * |---|---|---|
 * | connecting | no session yet | it opens: on; it fails: a pause, and again |
 * | on | the machine has its session | it is lost, the relay goes away, the token ends, silence |
 * | off | over, with a reason | - |
 *
 * A relay that died says nothing, and a browser waits half a minute before it believes so: after
 * `SILENCE_MS` without a byte of media a second session is tried beside the first. What the tracks go on
 * from is the machine's business.
 */

import type { ViewerCloseReason } from '../close.ts';
import { StreamError, asStreamError } from '../close.ts';
import { movedUrl, sessionUrl } from '../session/address.ts';
import { Backoff } from '../session/backoff.ts';
import type { Channel } from '../session/channel.ts';
import { hashesOf, openChannel } from '../session/channel.ts';
import type { ChunkMessage, MachineEvent, SessionMessage, TransportMessage } from '../session/messages.ts';
import { expiryOf, renewInMs } from '../session/token.ts';
import type { ViewerOptions } from './options.ts';

const RETRY = { firstMs: 100, maxMs: 2000 };
/** How long a stream that is not there is waited for between two questions. */
const RETRY_WAITING = { firstMs: 400, maxMs: 2000 };
const MOVE_RETRY_MS = 200;
const SILENCE_MS = 1000;
const SILENCE_MS_MAX = 16_000;
const TOKEN_LEAD_MS = 15_000;
/** A picture that was gone for longer begins anew at the live edge. */
const OUTAGE_MS = 2500;

export interface ViewerSessionEvents {
  chunk(chunk: ChunkMessage): void;
  event(event: MachineEvent): void;
  transport(message: TransportMessage): void;
  /** `waiting`: the stream is not there. */
  state(state: 'connecting' | 'connected' | 'waiting' | 'reconnecting'): void;
  closed(reason: ViewerCloseReason, detail: string): void;
}

export interface ViewerTarget {
  id: string;
  relayUrl: string;
  hashes: ViewerOptions['serverCertificateHash'];
}

export class ViewerSession {
  readonly #options: ViewerOptions;
  readonly #target: ViewerTarget;
  readonly #events: ViewerSessionEvents;
  readonly #backoff = new Backoff(RETRY, Math.random);
  readonly #waiting = new Backoff(RETRY_WAITING, Math.random);
  #channel: Channel | null = null;
  #token: string | undefined;
  #url = '';
  #session = 0;
  #timers = new Set<ReturnType<typeof setTimeout>>();
  #renewal: ReturnType<typeof setTimeout> | null = null;
  #tokenTried = false;
  #off = false;
  #live = false;
  #moving = false;
  /** When the last chunk, and the last byte of anything, came. */
  #chunkAt = 0;
  #heardAt = 0;
  #received = 0;
  #silenceMs = SILENCE_MS;
  #lostAt = 0;
  protocol = '';
  reconnects = 0;

  constructor(options: ViewerOptions, target: ViewerTarget, events: ViewerSessionEvents) {
    this.#options = options;
    this.#target = target;
    this.#events = events;
    this.#token = options.token;
  }

  async start(): Promise<void> {
    if (this.#token === undefined && this.#options.getToken) await this.#fetchToken();
    const { id, hashes } = this.#target;
    const config: Record<string, unknown> = { namespace: `playback/${id}`, grease: randomSeed() };
    const { quality } = this.#options;
    if (quality !== undefined && quality !== 'auto') config['video'] = quality;
    const start = { role: 'viewer' as const, config, hashes: hashesOf(hashes) };
    const fetchImpl = this.#options.fetchImpl ?? globalThis.fetch.bind(globalThis);
    const channel = await openChannel(this.#options, fetchImpl, start, (message) => this.#take(message));
    if (this.#off) {
      channel.end('closed by caller');
      return;
    }
    this.#channel = channel;
    this.#url = this.#address();
    this.#events.state('connecting');
    this.#connect();
    this.#scheduleRenewal();
    globalThis.addEventListener?.('online', this.#networkChanged);
  }

  command(command: Record<string, unknown>): void {
    this.#channel?.send({ t: 'command', command });
  }

  consumed(bytes: number): void {
    this.#channel?.send({ t: 'consumed', bytes });
  }

  pause(paused: boolean): void {
    this.#channel?.send({ t: 'pause', paused });
  }

  /** Looks whether media still comes; called some times per second while the picture plays. */
  watch(now: number): void {
    if (!this.#live || this.#moving || this.#off || this.#chunkAt === 0) return;
    if (now - Math.max(this.#chunkAt, this.#heardAt) < this.#silenceMs) return;
    this.#silenceMs = Math.min(SILENCE_MS_MAX, this.#silenceMs * 4);
    this.#chunkAt = now;
    this.#move();
  }

  stop(reason: string): void {
    this.#off = true;
    globalThis.removeEventListener?.('online', this.#networkChanged);
    for (const timer of this.#timers) clearTimeout(timer);
    if (this.#renewal !== null) clearTimeout(this.#renewal);
    this.#channel?.end(reason);
    this.#channel = null;
  }

  #address(): string {
    const path = `/playback/${encodeURIComponent(this.#target.id)}`;
    return sessionUrl(this.#target.relayUrl, path, { tok: this.#token });
  }

  #connect(): void {
    if (this.#off) return;
    this.#session += 1;
    this.#channel?.send({ t: 'connect', session: this.#session, url: this.#url });
  }

  #take(message: SessionMessage): void {
    if (this.#off) return;
    switch (message.t) {
      case 'ready':
        break;
      case 'open':
        this.protocol = message.protocol;
        break;
      case 'chunk':
        this.#chunkAt = performance.now();
        this.#silenceMs = SILENCE_MS;
        this.#live = true;
        this.#events.chunk(message);
        break;
      case 'transport':
        // A path that brings too little is slow, not silent.
        if (message.received !== this.#received) this.#heardAt = performance.now();
        this.#received = message.received;
        this.#events.transport(message);
        break;
      case 'event':
        this.#takeEvent(message.event);
        break;
      case 'failed':
        this.#close('network', `the session's program failed: ${message.reason}`);
        break;
    }
  }

  #takeEvent(event: MachineEvent): void {
    switch (event.type) {
      case 'catalog':
        this.#backoff.succeeded();
        this.#waiting.succeeded();
        this.#tokenTried = false;
        if (this.#lostAt > 0) this.reconnects += 1;
        this.#lostAt = 0;
        this.#events.state('connected');
        break;
      case 'unavailable':
        this.#unavailable(event.reason);
        return;
      case 'trackEnded':
        if (event.reason.startsWith('auth_failed')) {
          this.#refused(event.reason);
          return;
        }
        break;
      case 'goaway':
        this.#moving = true;
        this.#follow(event.uri);
        return;
      case 'moveFailed':
        this.#after(MOVE_RETRY_MS, () => this.#follow(''));
        return;
      case 'moved':
        this.#moving = false;
        this.#chunkAt = performance.now();
        this.reconnects += 1;
        break;
      case 'closed':
        this.#closed(event);
        return;
      default:
    }
    this.#events.event(event);
  }

  #closed(event: { by: string; code: number; reason: string }): void {
    this.#moving = false;
    this.#live = false;
    if (event.reason.startsWith('auth_failed')) {
      this.#refused(event.reason);
      return;
    }
    // The end of this side's own making: the next attempt is under way.
    if (event.by === 'local') return;
    if (this.#lostAt === 0) this.#lostAt = performance.now();
    const max = this.#options.reconnectAttemptsMax;
    if (max !== undefined && this.#backoff.failures >= max) {
      this.#close('network', event.reason);
      return;
    }
    this.#events.state(this.protocol === '' ? 'connecting' : 'reconnecting');
    this.#after(this.#backoff.next(), () => this.#again());
  }

  /** The stream is not there, or not yet: a session of its own for each question. */
  #unavailable(reason: string): void {
    if (reason.startsWith('auth_failed')) {
      this.#refused(reason);
      return;
    }
    this.#live = false;
    if (this.#lostAt === 0) this.#lostAt = performance.now();
    this.#events.state('waiting');
    this.command({ type: 'close', reason: 'not available' });
    this.#after(this.#waiting.next(), () => this.#again());
  }

  #again(): void {
    if (performance.now() - this.#lostAt > OUTAGE_MS) this.command({ type: 'live' });
    this.#connect();
  }

  /** The token was refused: a fresh one is tried once. */
  #refused(reason: string): void {
    if (!this.#options.getToken || this.#tokenTried) {
      this.#close('auth_failed', reason);
      return;
    }
    this.#tokenTried = true;
    if (this.#lostAt === 0) this.#lostAt = performance.now();
    this.#events.state('reconnecting');
    this.command({ type: 'close', reason: 'token refused' });
    this.#fetchToken().then(
      () => {
        if (this.#off) return;
        this.#url = this.#address();
        this.#scheduleRenewal();
        this.#again();
      },
      (error: unknown) => this.#close('auth_failed', asStreamError(error).message),
    );
  }

  async #fetchToken(): Promise<void> {
    const { getToken } = this.#options;
    if (!getToken) return;
    try {
      this.#token = await getToken();
    } catch (error) {
      throw new StreamError('auth_failed', `getToken: ${asStreamError(error).message}`);
    }
  }

  #scheduleRenewal(): void {
    if (this.#renewal !== null) clearTimeout(this.#renewal);
    this.#renewal = null;
    if (!this.#options.getToken || this.#token === undefined) return;
    const expiry = expiryOf(this.#token);
    if (expiry === null) return;
    // A timer cannot wait for more than 24 days.
    const wait = Math.min(renewInMs(expiry, Date.now(), TOKEN_LEAD_MS), 2 ** 30);
    this.#renewal = setTimeout(() => void this.#renew(), wait);
  }

  async #renew(): Promise<void> {
    try {
      await this.#fetchToken();
    } catch {
      // The present one lasts a little longer: once more before its end, and again when it is refused.
      this.#renewal = setTimeout(() => void this.#renew(), 2000);
      return;
    }
    if (this.#off) return;
    this.#url = this.#address();
    this.#scheduleRenewal();
    this.#move();
  }

  /** A second session beside this one. */
  #move(): void {
    this.command({ type: 'renew' });
  }

  #follow(uri: string): void {
    if (this.#off) return;
    try {
      this.#url = movedUrl(this.#url, uri);
    } catch {
      // An address that is none: the same place.
    }
    this.#connect();
  }

  readonly #networkChanged = (): void => {
    if (this.#live && !this.#moving) this.#move();
  };

  #after(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#off) run();
    }, ms);
    this.#timers.add(timer);
  }

  #close(reason: ViewerCloseReason, detail: string): void {
    if (this.#off) return;
    this.stop(reason);
    this.#events.closed(reason, detail);
  }
}

function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
