/** Addresses of sessions. */

import { StreamError } from '../close.ts';

/** `https://relay/playback/<id>?tok=..` of a relay given by its origin; `moqt://` stands for the same. */
export function sessionUrl(relayUrl: string, path: string, query: Record<string, string | undefined>): string {
  let url: URL;
  try {
    url = new URL(relayUrl.replace(/^(moqt|moq|quic):\/\//i, 'https://'));
  } catch {
    throw new StreamError('network', 'relayUrl: expected an origin such as https://relay.example.org:4443');
  }
  if (url.protocol !== 'https:') {
    throw new StreamError('network', `relayUrl: expected https, found ${url.protocol.slice(0, -1)}`);
  }
  url.pathname = path;
  url.search = '';
  url.hash = '';
  for (const [key, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(key, value);
  return url.href;
}

/**
 * Where a relay that goes away sends a session. An empty address is the same place; one without a path
 * keeps the path, which says what the session is about. The query holds the permission and stays.
 */
export function movedUrl(from: string, to: string): string {
  if (to === '') return from;
  const old = new URL(from);
  const moved = new URL(to.replace(/^(moqt|moq):\/\//i, 'https://'));
  if (moved.pathname === '' || moved.pathname === '/') moved.pathname = old.pathname;
  if (moved.search === '') moved.search = old.search;
  return moved.href;
}
