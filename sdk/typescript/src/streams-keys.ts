/** Playback signing keys: `streams.signingKeys`. */

import { Row, rows } from './streams-rows.ts';
import type { ControlPlane } from './streams.ts';

/** How tokens are signed: Ed25519, or RSA with SHA-256. */
export type SigningAlgorithm = 'Ed25519' | 'RS256';

/** A signing key's public half. */
export interface SigningKeyData {
  /** Also the `kid` in the header of each token that it signed. */
  readonly id: string;
  /** How it signs. */
  readonly alg: SigningAlgorithm;
  /** What its tokens permit. */
  readonly use: 'playback';
  /** The public key: PEM, SubjectPublicKeyInfo. */
  readonly publicKeyPem: string;
  /** Tokens of an inactive key are refused. */
  readonly status: 'active' | 'inactive';
  /** ISO 8601. */
  readonly createdAt: string;
}

/** A signing key. */
export type SigningKey = SigningKeyData;

/** `streams.signingKeys`: makes, lists and ends playback signing keys. Its calls throw a `StreamsError`. */
export class SigningKeys {
  readonly #control: ControlPlane;

  /** @internal */
  constructor(control: ControlPlane) {
    this.#control = control;
  }

  /** Makes a key; tokens are signed with it from now on. */
  async create(options: { alg?: SigningAlgorithm; use?: 'playback'; label?: string } = {}): Promise<SigningKey> {
    const { alg = 'Ed25519', use = 'playback', label } = options;
    const input = { alg, use, ...(label === undefined ? {} : { label }) };
    return keyOf(new Row(await this.#control.mutate('streams.signingKeys.create', input), 'signing key'));
  }

  /** The organisation's keys, newest first. */
  async list(): Promise<SigningKey[]> {
    return rows(await this.#control.query('streams.signingKeys.list', {}), 'signing keys').map(keyOf);
  }

  /** Takes a key out of use: tokens that it signed are refused from now on, and their viewers end. */
  async deactivate(options: { id: string }): Promise<SigningKey> {
    const row = await this.#control.mutate('streams.signingKeys.deactivate', { id: options.id });
    return keyOf(new Row(row, 'signing key'));
  }
}

function keyOf(row: Row): SigningKey {
  return {
    id: row.text('id'),
    alg: row.text('alg') as SigningAlgorithm,
    use: 'playback',
    publicKeyPem: row.text('publicKeyPem'),
    status: row.text('status') as 'active' | 'inactive',
    createdAt: row.optionalText('createdAt') ?? '',
  };
}
