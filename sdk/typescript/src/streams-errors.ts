/**
 * What a call to the control plane fails with.
 *
 * | code | when |
 * |---|---|
 * | the server's word, such as `NOT_FOUND`, `UNAUTHORIZED`, `TOO_MANY_REQUESTS` | it refused the call |
 * | `NETWORK` | it could not be reached |
 * | `TIMEOUT` | it did not answer in time (its own time-out has the same word) |
 * | `BAD_RESPONSE` | the answer is not one of a control plane |
 * | `MISSING_OPTION` | `Streams` was made without what the call needs |
 */
export type StreamsErrorCode =
  | 'PARSE_ERROR'
  | 'BAD_REQUEST'
  | 'UNAUTHORIZED'
  | 'PAYMENT_REQUIRED'
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  | 'METHOD_NOT_SUPPORTED'
  | 'TIMEOUT'
  | 'CONFLICT'
  | 'PRECONDITION_FAILED'
  | 'PAYLOAD_TOO_LARGE'
  | 'UNPROCESSABLE_CONTENT'
  | 'PRECONDITION_REQUIRED'
  | 'TOO_MANY_REQUESTS'
  | 'INTERNAL_SERVER_ERROR'
  | 'NETWORK'
  | 'BAD_RESPONSE'
  | 'MISSING_OPTION'
  // A newer server may know more words.
  | (string & {});

/** More about a failure than its message. */
export interface StreamsErrorDetails {
  /** HTTP status; 0 when there was no answer. */
  status?: number;
  /** The procedure that was called. */
  path?: string;
  /** How long the server asks to wait, in seconds. */
  retryAfterSeconds?: number;
  /** What was thrown below, when something was. */
  cause?: unknown;
}

/** A call to the control plane that failed. Its message holds no credential. */
export class StreamsError extends Error {
  /** Why, for programs. */
  readonly code: StreamsErrorCode;
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** The procedure that was called, such as `streams.liveInputs.get`. */
  readonly path: string;
  /** How long the server asks to wait, in seconds. */
  readonly retryAfterSeconds: number | undefined;

  /** An error of this kind; `message` is for people. */
  constructor(code: StreamsErrorCode, message: string, details: StreamsErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'StreamsError';
    this.code = code;
    this.status = details.status ?? 0;
    this.path = details.path ?? '';
    this.retryAfterSeconds = details.retryAfterSeconds;
  }
}
