/** Where a stream is: by what the owner said, or by asking the control plane. */

import { StreamError, asStreamError } from '../close.ts';
import type { CertificateHash } from '../options.ts';
import { parseRelayUrl } from '../streams-urls.ts';
import type { ViewerOptions } from './options.ts';

const RELAY_PORT = 4443;

export interface Resolved {
  relayUrl: string;
  hashes: CertificateHash | CertificateHash[] | undefined;
}

interface Reply {
  relayUrl?: string;
  serverCertificateHashes?: string[];
}

/**
 * The relay of a live input. Without `relayUrl`, `GET <apiBase>/streams/resolve/<id>` is asked, whose
 * `relayUrl` and `serverCertificateHashes` are used where it gives them; else the relay stands on the same host.
 */
export async function resolveRelay(id: string, options: ViewerOptions, token: string | undefined): Promise<Resolved> {
  const { relayUrl, serverCertificateHash: hashes } = options;
  if (relayUrl !== undefined && relayUrl !== '') return relayOf(relayUrl, hashes);
  if (options.apiBase === undefined) {
    throw new StreamError('network', 'no relay is known: set relayUrl, or apiBase to ask for it');
  }
  const base = options.apiBase.replace(/\/$/, '');
  const fetchImpl = options.fetchImpl ?? globalThis.fetch.bind(globalThis);
  const query = token === undefined ? '' : `?tok=${encodeURIComponent(token)}`;
  let response: Response;
  try {
    response = await fetchImpl(`${base}/streams/resolve/${encodeURIComponent(id)}${query}`);
  } catch (error) {
    throw new StreamError('network', `cannot reach ${base || 'this origin'}: ${String(error)}`);
  }
  // An input that does not exist is as good as one that the token does not open.
  if (response.status === 401 || response.status === 403 || response.status === 404) {
    throw new StreamError('auth_failed', 'auth_failed: the playback token was refused');
  }
  if (!response.ok) throw new StreamError('network', `no stream ${id}: status ${response.status}`);
  const reply = (await response.json()) as Reply;
  const host = new URL(base || '/', globalThis.location?.href).hostname;
  return {
    relayUrl: reply.relayUrl ?? `https://${host}:${RELAY_PORT}`,
    hashes: hashes ?? reply.serverCertificateHashes,
  };
}

/** A relay by its address, which may name its certificate: `https://127.0.0.1:4443#sha256=<hex>`. */
export function relayOf(relayUrl: string, hashes: Resolved['hashes']): Resolved {
  try {
    const { url, certificateHashes } = parseRelayUrl(relayUrl);
    return { relayUrl: url, hashes: hashes ?? [...certificateHashes] };
  } catch (error) {
    throw asStreamError(error);
  }
}
