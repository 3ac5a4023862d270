/** When a playback token ends. Its claims are read for their time alone; the relay verifies them. */

/** Unix seconds of the `exp` claim; `null` when the text is no token, or has no end. */
export function expiryOf(token: string): number | null {
  const body = token.split('.')[1];
  if (body === undefined) return null;
  try {
    const json = atob(body.replaceAll('-', '+').replaceAll('_', '/'));
    const claims = JSON.parse(json) as { exp?: unknown };
    return typeof claims.exp === 'number' ? claims.exp : null;
  } catch {
    return null;
  }
}

/**
 * How long to wait before a fresh token is asked for: at nine tenths of what is left, and at least
 * `leadMs` before the end where that is possible.
 */
export function renewInMs(expiryS: number, nowMs: number, leadMs: number): number {
  const left = expiryS * 1000 - nowMs;
  return Math.max(0, Math.min(left * 0.9, Math.max(left - leadMs, left * 0.5)));
}
