/** Why a viewing or a broadcast is over, and the error that carries it. */

/**
 * Why a viewer closed: the stream ended (`complete`), the token is refused, ended or withdrawn (`auth_failed`), the
 * relay cannot be reached (`network`), or `stop()` was called (`closed_by_caller`).
 */
export type ViewerCloseReason = 'complete' | 'auth_failed' | 'network' | 'closed_by_caller';

/**
 * Why a publisher closed: the tracks of its stream ended (`finished`), the stream key is refused (`auth_failed`), the
 * relay cannot be reached (`network`), or `stop()` was called (`closed_by_caller`).
 */
export type PublisherCloseReason = 'finished' | 'auth_failed' | 'network' | 'closed_by_caller';

/**
 * What went wrong: a close reason; `decode` for media that this browser cannot play, `unsupported` for what it cannot do
 * at all.
 */
export type StreamErrorReason = ViewerCloseReason | PublisherCloseReason | 'decode' | 'unsupported';

/** What `onError` gets, and what `play()` and `publish()` throw. Its message holds no secret. */
export class StreamError extends Error {
  /** What kind of fault it is, for programs. */
  readonly reason: StreamErrorReason;

  /** An error of this kind; `message` is for people. */
  constructor(reason: StreamErrorReason, message: string) {
    super(message);
    this.name = 'StreamError';
    this.reason = reason;
  }
}

/** Anything that was thrown, as a `StreamError`. */
export function asStreamError(thrown: unknown, reason: StreamErrorReason = 'network'): StreamError {
  if (thrown instanceof StreamError) return thrown;
  return new StreamError(reason, thrown instanceof Error ? thrown.message : String(thrown));
}
