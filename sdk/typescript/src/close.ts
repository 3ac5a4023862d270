/** Why a viewing or a broadcast is over, and the error that carries it. */

/** Why a viewer closed. */
export type ViewerCloseReason = 'complete' | 'auth_failed' | 'network' | 'closed_by_caller';

/** Why a publisher closed. */
export type PublisherCloseReason = 'finished' | 'auth_failed' | 'network' | 'closed_by_caller';

/** Any of them, and `decode` for media that this browser cannot play or encode. */
export type StreamErrorReason = ViewerCloseReason | PublisherCloseReason | 'decode' | 'unsupported';

/** What `onError` gets, and what `play()` and `publish()` throw. Its message holds no secret. */
export class StreamError extends Error {
  /** What kind of fault it is, for programs. */
  readonly reason: StreamErrorReason;

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
