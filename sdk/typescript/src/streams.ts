/**
 * `Streams`: the control plane's client, and the place where viewers and publishers get their settings from.
 *
 * | part | what for |
 * |---|---|
 * | `liveInputs` | make, find and list live inputs; each one mints playback URLs and replaces its stream key |
 * | `signingKeys` | the keys that playback tokens are signed with |
 * | `query`, `mutate` | any other route of the control plane, by its name |
 * | `viewer`, `publisher` | the data plane: `BroadcastViewer` and `BroadcastPublisher` with these settings |
 *
 * The client is stateless: each call is one HTTPS request. Calls of the control plane need `baseUrl`, `apiKey`
 * and, as far as they belong to an organisation, `orgId`; viewers and publishers need none of them.
 */

import type { CertificateHash, DataPlaneOptions } from './options.ts';
import { BroadcastPublisher } from './publisher/publisher.ts';
import type { PublisherOptions } from './publisher/options.ts';
import { call } from './streams-calls.ts';
import { StreamsError } from './streams-errors.ts';
import { LiveInputs } from './streams-inputs.ts';
import { SigningKeys } from './streams-keys.ts';
import { parseRelayUrl } from './streams-urls.ts';
import { BroadcastViewer } from './viewer/viewer.ts';
import type { ViewerOptions } from './viewer/options.ts';

/** Settings; each call and each factory says which of them it needs. */
export interface StreamsOptions {
  /** Origin of the control plane; a slash at its end does no harm. */
  baseUrl?: string | undefined;
  /** API key with `streams:*` scopes. It belongs on servers, not into pages that others open. */
  apiKey?: string | undefined;
  /** Organisation that calls are about. */
  orgId?: string | undefined;
  /** Used instead of `globalThis.fetch`. */
  fetch?: typeof fetch | undefined;
  /** How long a call may take, in milliseconds (default 15000). */
  timeoutMs?: number | undefined;
  /**
   * The relay: `https://host:port`. Without it viewers and publishers ask `apiBase`. A development certificate
   * may be named with it: `https://127.0.0.1:4443#sha256=<hex>`.
   */
  relayUrl?: string | undefined;
  /** Where viewers ask for a stream's relay and catalog; the empty string is the page's own origin. */
  apiBase?: string | undefined;
  /** A playback token for viewers. */
  token?: string | undefined;
  /** Drafts of MoQT that are offered to relays, best first (default all that this package speaks). */
  protocols?: string[] | undefined;
  /** Certificates of the relay to trust beside those that the browser trusts. */
  serverCertificateHash?: CertificateHash | CertificateHash[] | undefined;
}

/** What the helpers of the control plane are given. */
export interface ControlPlane {
  readonly baseUrl: string;
  readonly relayUrl: string | undefined;
  /** A query about the organisation. */
  query(path: string, input: object): Promise<unknown>;
  /** A mutation in the organisation. */
  mutate(path: string, input: object): Promise<unknown>;
}

const TIMEOUT_MS_DEFAULT = 15_000;

/** A client of the control plane, and a factory of viewers and publishers. */
export class Streams {
  /** Live inputs. */
  readonly liveInputs: LiveInputs;
  /** Playback signing keys. */
  readonly signingKeys: SigningKeys;
  readonly #options: StreamsOptions;
  readonly #dataPlane: DataPlaneOptions;

  /** Sends nothing. Throws a `TypeError` when `relayUrl` is not the URL of a relay. */
  constructor(options: StreamsOptions = {}) {
    this.#options = options;
    const relay = options.relayUrl === undefined ? undefined : parseRelayUrl(options.relayUrl);
    this.#dataPlane = dataPlaneOf(options, relay);
    const control: ControlPlane = {
      baseUrl: (options.baseUrl ?? '').replace(/\/+$/, ''),
      relayUrl: relay?.url,
      query: (path, input) => this.query(path, input),
      mutate: (path, input) => this.mutate(path, input),
    };
    this.liveInputs = new LiveInputs(control);
    this.signingKeys = new SigningKeys(control);
  }

  /**
   * Asks a route of the control plane by its name, such as `streams.liveInputs.get`: for routes that have no
   * helper of their own yet. `orgId` is filled in. Gives the data of the answer; throws a `StreamsError`.
   */
  async query(path: string, input: object = {}): Promise<unknown> {
    return this.#call('query', path, input);
  }

  /** The same for routes that change something. */
  async mutate(path: string, input: object = {}): Promise<unknown> {
    return this.#call('mutation', path, input);
  }

  /** A viewer with these settings; what `options` says is stronger. */
  viewer(options: ViewerOptions = {}): BroadcastViewer {
    const fetchImpl = this.#options.fetch === undefined ? {} : { fetchImpl: this.#options.fetch };
    return new BroadcastViewer({ ...this.#dataPlane, ...fetchImpl, ...options });
  }

  /** A publisher with these settings; what `options` says is stronger. */
  publisher(options: PublisherOptions = {}): BroadcastPublisher {
    return new BroadcastPublisher({ ...this.#dataPlane, ...options });
  }

  async #call(kind: 'query' | 'mutation', path: string, input: object): Promise<unknown> {
    const { baseUrl, apiKey, orgId, timeoutMs = TIMEOUT_MS_DEFAULT } = this.#options;
    const missing = (option: string): StreamsError =>
      new StreamsError('MISSING_OPTION', `${path} needs ${option}: new Streams({ ${option}: .. })`, { path });
    if (baseUrl === undefined) throw missing('baseUrl');
    if (orgId === undefined) throw missing('orgId');
    const base = baseUrl.replace(/\/+$/, '');
    // Looked up at each call, so that a page which replaces `fetch` later is heard.
    const fetchNow: typeof fetch = this.#options.fetch ?? ((...request) => globalThis.fetch(...request));
    return call({ baseUrl: base, apiKey, fetch: fetchNow, timeoutMs }, kind, path, { orgId, ...input });
  }
}

/** The data plane's part of the settings: only what was said. */
function dataPlaneOf(
  options: StreamsOptions,
  relay: { url: string; certificateHashes: readonly string[] } | undefined,
): DataPlaneOptions {
  const found: DataPlaneOptions = {};
  const { apiBase, token, serverCertificateHash, protocols } = options;
  if (apiBase !== undefined) found.apiBase = apiBase.replace(/\/+$/, '');
  if (token !== undefined) found.token = token;
  if (protocols !== undefined) found.protocols = protocols;
  if (serverCertificateHash !== undefined) found.serverCertificateHash = serverCertificateHash;
  if (relay !== undefined) {
    found.relayUrl = relay.url;
    if (relay.certificateHashes.length > 0 && serverCertificateHash === undefined) {
      found.serverCertificateHash = [...relay.certificateHashes];
    }
  }
  return found;
}
