/**
 * One call to the control plane: a query or a mutation over HTTPS, plain JSON, no batching.
 *
 * A query is `GET <base>/api/trpc/<path>?input=<json>`, a mutation `POST` with the JSON as its body. A good
 * answer is `{"result":{"data":..}}`, a bad one `{"error":{"message":..,"data":{"code":..}}}`.
 *
 * What is tried again: a query that found no server or a server that is busy, twice; a mutation only when the
 * server said that it refused before doing anything (429). A wait longer than `RETRY_WAIT_MS_MAX` is the
 * caller's to make: it gets the error with `retryAfterSeconds`.
 */

import { StreamsError } from './streams-errors.ts';

/** Tries after the first. */
const RETRIES_MAX = 2;
const RETRY_WAIT_MS = 250;
const RETRY_WAIT_MS_MAX = 5_000;
/** Longest answer that is read, in characters. */
const ANSWER_LENGTH_MAX = 8 * 1024 * 1024;
const BUSY = new Set([429, 502, 503, 504]);

/** How calls are made. */
export interface CallOptions {
  baseUrl: string;
  apiKey: string | undefined;
  fetch: typeof fetch;
  timeoutMs: number;
}

export type CallKind = 'query' | 'mutation';

/** Calls `path`; gives the data of the answer. */
export async function call(options: CallOptions, kind: CallKind, path: string, input: object): Promise<unknown> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await once(options, kind, path, input);
    } catch (error) {
      const wait = error instanceof StreamsError ? retryWaitMs(error, kind, attempt) : undefined;
      if (wait === undefined) throw error;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

/** How long to wait before another try; `undefined` when there is none. */
function retryWaitMs(error: StreamsError, kind: CallKind, attempt: number): number | undefined {
  if (attempt >= RETRIES_MAX) return undefined;
  const isRefusedUndone = error.status === 429;
  const isSafeToRepeat = kind === 'query' && (error.code === 'NETWORK' || BUSY.has(error.status));
  if (!isRefusedUndone && !isSafeToRepeat) return undefined;
  const asked = error.retryAfterSeconds === undefined ? 0 : error.retryAfterSeconds * 1000;
  const wait = Math.max(asked, RETRY_WAIT_MS * 2 ** attempt);
  return wait <= RETRY_WAIT_MS_MAX ? wait : undefined;
}

async function once(options: CallOptions, kind: CallKind, path: string, input: object): Promise<unknown> {
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (options.apiKey !== undefined) headers['authorization'] = `Bearer ${options.apiKey}`;
  const url = `${options.baseUrl}/api/trpc/${path}`;
  const json = JSON.stringify(input);
  const signal = AbortSignal.timeout(options.timeoutMs);
  let response: Response;
  let text: string;
  try {
    response =
      kind === 'query'
        ? await options.fetch(`${url}?input=${encodeURIComponent(json)}`, { headers, signal })
        : await options.fetch(url, { method: 'POST', headers, body: json, signal });
    text = await response.text();
  } catch (cause) {
    const isLate = cause instanceof Error && cause.name === 'TimeoutError';
    throw isLate
      ? new StreamsError('TIMEOUT', `no answer within ${options.timeoutMs} ms`, { path, cause })
      : new StreamsError('NETWORK', `cannot reach the control plane at ${options.baseUrl}`, { path, cause });
  }
  return dataOf(response, text, path);
}

/** The data of a good answer; throws what a bad one says. */
function dataOf(response: Response, text: string, path: string): unknown {
  const status = response.status;
  const answer = parse(text);
  const error = field(answer, 'error');
  if (error !== undefined && error !== null) {
    const code = field(field(error, 'data'), 'code');
    const message = field(error, 'message');
    throw new StreamsError(
      typeof code === 'string' ? code : statusCode(status),
      typeof message === 'string' ? message : `the control plane refused with status ${status}`,
      details(response, path),
    );
  }
  const data = field(field(answer, 'result'), 'data');
  if (response.ok && data !== undefined) return data;
  const message = `expected an answer of a control plane, got status ${status} without one`;
  throw new StreamsError(response.ok ? 'BAD_RESPONSE' : statusCode(status), message, details(response, path));
}

function details(response: Response, path: string): { status: number; path: string; retryAfterSeconds?: number } {
  const retryAfter = response.headers.get('retry-after');
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter);
  const base = { status: response.status, path };
  return Number.isFinite(seconds) && seconds >= 0 ? { ...base, retryAfterSeconds: seconds } : base;
}

function parse(text: string): unknown {
  if (text.length > ANSWER_LENGTH_MAX) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/** What a proxy between us and the control plane means by its status. */
function statusCode(status: number): string {
  switch (status) {
    case 401:
      return 'UNAUTHORIZED';
    case 403:
      return 'FORBIDDEN';
    case 404:
      return 'NOT_FOUND';
    case 413:
      return 'PAYLOAD_TOO_LARGE';
    case 429:
      return 'TOO_MANY_REQUESTS';
    default:
      return status >= 500 ? 'INTERNAL_SERVER_ERROR' : 'BAD_RESPONSE';
  }
}
