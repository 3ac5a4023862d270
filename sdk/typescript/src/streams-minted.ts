/**
 * Playback tokens that were minted in this page, so that a viewer in the same page plays an input by its id
 * alone. They stay in memory, a few hundred at most, and end with the page.
 */

/** A token and its end in seconds since 1970. */
export interface MintedToken {
  readonly token: string;
  readonly expiresAt: number;
}

const TOKENS_MAX = 256;
const tokens = new Map<string, MintedToken>();

/** Keeps a token for viewers of `input` (its `external_input_id`). The newest one counts. */
export function rememberToken(input: string, minted: MintedToken): void {
  tokens.delete(input);
  tokens.set(input, minted);
  const [oldest] = tokens.keys();
  if (tokens.size > TOKENS_MAX && oldest !== undefined) tokens.delete(oldest);
}

/** A token for `input` that has not ended by `nowSeconds`. */
export function mintedToken(input: string, nowSeconds = Date.now() / 1000): string | undefined {
  const minted = tokens.get(input);
  return minted !== undefined && minted.expiresAt > nowSeconds ? minted.token : undefined;
}
