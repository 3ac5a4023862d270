/** Live inputs: `streams.liveInputs`. */

import { rememberToken } from './streams-minted.ts';
import { playbackUrl } from './streams-urls.ts';
import { Row, rows } from './streams-rows.ts';
import type { ControlPlane } from './streams.ts';

/** The protocol that an input takes. */
export type IngestKind = 'fmp4' | 'whip' | 'rtmp' | 'srt';

/** Whether media arrives. */
export type LiveInputStatus = 'idle' | 'live' | 'errored';

/** What the control plane knows about an input, at the time of the answer. */
export interface LiveInputData {
  /** `li_..`: its row. */
  readonly id: string;
  /** `lv_..`: its name in publish and playback URLs. */
  readonly external_input_id: string;
  /** What it was called when it was made. */
  readonly name: string;
  /** Whether media arrives. */
  readonly status: LiveInputStatus;
  /** The protocol that it takes. */
  readonly ingest: IngestKind;
  /** ISO 8601. */
  readonly createdAt: string;
}

/** A permission to watch, as a URL. */
export interface SignedPlaybackUrl {
  /** `moq://<relay>/playback/<external_input_id>?tok=<token>` */
  readonly url: string;
  /** The token alone, for a page that knows the input. */
  readonly token: string;
  /** The signing key's id. */
  readonly kid: string;
  /** How the token is signed: `Ed25519` or `RS256`. */
  readonly alg: string;
  /** When it ends, in seconds since 1970. */
  readonly expiresAt: number;
}

/** A stream key in clear: it is never shown again. */
export interface FreshStreamKey {
  /** `sk_live_..` */
  readonly streamKey: string;
}

/** A live input: what is known about it, and what can be done with it. */
export class LiveInput implements LiveInputData {
  /** `li_..`: its row. */
  readonly id: string;
  /** `lv_..`: its name in publish and playback URLs. */
  readonly external_input_id: string;
  /** What it was called when it was made. */
  readonly name: string;
  /** Whether media arrived when the control plane answered. */
  readonly status: LiveInputStatus;
  /** The protocol that it takes. */
  readonly ingest: IngestKind;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly #control: ControlPlane;

  /** @internal */
  constructor(control: ControlPlane, row: Row) {
    this.#control = control;
    this.id = row.text('id');
    this.external_input_id = row.text('external_input_id');
    this.name = row.text('name');
    this.status = row.text('status') as LiveInputStatus;
    this.ingest = (row.optionalText('ingest') ?? 'fmp4') as IngestKind;
    this.createdAt = row.optionalText('createdAt') ?? '';
    // Bound, so that they can be handed on alone.
    this.signedPlaybackUrl = this.signedPlaybackUrl.bind(this);
    this.rotateStreamKey = this.rotateStreamKey.bind(this);
  }

  /**
   * Mints a signed playback URL. The server keeps `ttlSeconds` between 30 s and 24 h; it is an hour when left
   * out. Throws a `StreamsError`.
   */
  async signedPlaybackUrl(options: { ttlSeconds?: number } = {}): Promise<SignedPlaybackUrl> {
    const { ttlSeconds } = options;
    const input = { id: this.id, ...(ttlSeconds === undefined ? {} : { ttlSeconds }) };
    const row = new Row(await this.#control.mutate('streams.liveInputs.mintPlaybackToken', input), 'token');
    const token = row.text('token');
    const expiresAt = row.integer('expires_at');
    rememberToken(this.external_input_id, { token, expiresAt });
    const relay = this.#control.relayUrl;
    const url =
      relay === undefined ? row.optionalText('url') : playbackUrl(relay, row.text('input'), token);
    return {
      url: url ?? playbackUrl(this.#control.baseUrl, row.text('input'), token),
      token,
      kid: row.text('kid'),
      alg: row.text('alg'),
      expiresAt,
    };
  }

  /** Replaces the stream key; the old one ends now, or `graceSeconds` later. Throws a `StreamsError`. */
  async rotateStreamKey(options: { graceSeconds?: number } = {}): Promise<FreshStreamKey> {
    const { graceSeconds } = options;
    const input = { id: this.id, ...(graceSeconds === undefined ? {} : { graceSeconds }) };
    const row = new Row(await this.#control.mutate('streams.liveInputs.rotateStreamKey', input), 'input');
    return { streamKey: row.text('stream_key_cleartext') };
  }

  /** What is known, without what can be done. */
  toJSON(): LiveInputData {
    const { id, external_input_id, name, status, ingest, createdAt } = this;
    return { id, external_input_id, name, status, ingest, createdAt };
  }
}

/** `streams.liveInputs`: makes, finds and lists live inputs. Its calls throw a `StreamsError`. */
export class LiveInputs {
  readonly #control: ControlPlane;

  /** @internal */
  constructor(control: ControlPlane) {
    this.#control = control;
  }

  /** Makes an input. Keep `streamKey` at once: only its hash is stored. */
  async create(options: { name: string; ingest?: IngestKind }): Promise<{ input: LiveInput } & FreshStreamKey> {
    const { name, ingest = 'fmp4' } = options;
    const row = new Row(await this.#control.mutate('streams.liveInputs.create', { name, ingest }), 'input');
    return { input: new LiveInput(this.#control, row), streamKey: row.text('stream_key_cleartext') };
  }

  /** An input by either of its ids: `li_..` or `lv_..`. */
  async get(options: { id: string }): Promise<LiveInput> {
    const row = await this.#control.query('streams.liveInputs.get', { id: options.id });
    return new LiveInput(this.#control, new Row(row, 'input'));
  }

  /** A page of inputs, newest first. `page` counts from 1 (the default); `perPage` is 50 when left out. */
  async list(options: { page?: number; perPage?: number } = {}): Promise<LiveInput[]> {
    const { page = 1, perPage = 50 } = options;
    const list = await this.#control.query('streams.liveInputs.list', { page, perPage });
    return rows(list, 'inputs').map((row) => new LiveInput(this.#control, row));
  }
}
