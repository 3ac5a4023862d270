/**
 * URLs of relays and of signed playback.
 *
 * | URL | names |
 * |---|---|
 * | `https://relay.example:4443` | a relay, also written `moq://` and `moqt://` |
 * | `https://127.0.0.1:4443#sha256=<hex>` | one whose certificate is known by its hash (`,` between several) |
 * | `moq://relay.example/playback/<input>?tok=<token>` | a permission to watch |
 */

/** Schemes that mean a relay. */
const RELAY_SCHEMES = /^(?:moqt?|https?|quic):\/\//i;
const HASH_IN_URL = /#sha256=([0-9a-f:,]+)$/i;

/** A relay, and how its certificate is known. */
export interface RelayAddress {
  /** `https://host:port`, without a slash at the end. */
  readonly url: string;
  /** SHA-256 of certificates that are accepted, in hex; none when the browser's own judgement counts. */
  readonly certificateHashes: readonly string[];
}

/** Reads a relay's URL. Throws a `TypeError` that says what was expected. */
export function parseRelayUrl(text: string): RelayAddress {
  const hashes = HASH_IN_URL.exec(text)?.[1]?.split(',') ?? [];
  const plain = text.replace(/#.*$/, '').replace(/\/+$/, '');
  const url = URL.canParse(httpsOf(plain)) ? new URL(httpsOf(plain)) : undefined;
  if (!RELAY_SCHEMES.test(plain) || url === undefined || url.host === '') {
    throw new TypeError(`relayUrl: expected https://host:port of a relay, got ${JSON.stringify(plain)}`);
  }
  const path = url.pathname.replace(/\/+$/, '');
  return { url: `https://${url.host}${path}`, certificateHashes: hashes.map(hashOf) };
}

/** The signed playback URL of an input at a relay. */
export function playbackUrl(relayUrl: string, input: string, token: string): string {
  const { host } = new URL(httpsOf(relayUrl.replace(/#.*$/, '')));
  return `moq://${host}/playback/${encodeURIComponent(input)}?tok=${encodeURIComponent(token)}`;
}

/** What a signed playback URL says; `undefined` when it is not one. */
export function parsePlaybackUrl(
  text: string,
): { relayUrl: string; input: string; token: string | undefined } | undefined {
  if (!RELAY_SCHEMES.test(text) || !URL.canParse(httpsOf(text))) return undefined;
  const url = new URL(httpsOf(text));
  const input = /^\/playback\/([^/]+)\/?$/.exec(url.pathname)?.[1];
  if (input === undefined) return undefined;
  const token = url.searchParams.get('tok') ?? undefined;
  return { relayUrl: `https://${url.host}`, input: decodeURIComponent(input), token };
}

/** 64 hexadecimal digits, lower case, whatever stood between them. */
function hashOf(text: string): string {
  const hex = text.replaceAll(':', '').toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(hex)) {
    throw new TypeError('relayUrl: expected 64 hexadecimal digits after #sha256=');
  }
  return hex;
}

/** The URL parser knows hosts and ports of https only. */
function httpsOf(url: string): string {
  return url.replace(RELAY_SCHEMES, 'https://');
}
