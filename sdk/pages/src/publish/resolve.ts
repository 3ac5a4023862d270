/** Asks the control plane where a stream key may publish. The key travels in a header, never in a URL. */

export interface Resolved {
  namespace: string;
  relayUrl: string | undefined;
  serverCertificateHashes: string[];
}

/** Why a key leads nowhere. */
export class ResolveError extends Error {
  /** `auth_failed` or `network`. */
  readonly reason: 'auth_failed' | 'network';

  constructor(reason: 'auth_failed' | 'network', message: string) {
    super(message);
    this.name = 'ResolveError';
    this.reason = reason;
  }
}

export async function resolve(id: string, streamKey: string): Promise<Resolved> {
  const request = fetch(`/streams/resolve/${encodeURIComponent(id)}`, {
    headers: { authorization: `Bearer ${streamKey}` },
    signal: AbortSignal.timeout(10_000),
  });
  const response = await request.catch(() => undefined);
  if (response === undefined) throw new ResolveError('network', 'the control plane cannot be reached');
  const body = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  if (!response.ok) {
    const said = typeof body['message'] === 'string' ? body['message'] : `status ${response.status}`;
    throw new ResolveError(response.status < 500 ? 'auth_failed' : 'network', said);
  }
  const { namespace, relayUrl, serverCertificateHashes } = body;
  if (typeof namespace !== 'string') throw new ResolveError('network', 'the control plane named no namespace');
  return {
    namespace,
    relayUrl: typeof relayUrl === 'string' ? relayUrl : undefined,
    serverCertificateHashes: Array.isArray(serverCertificateHashes) ? serverCertificateHashes.map(String) : [],
  };
}
