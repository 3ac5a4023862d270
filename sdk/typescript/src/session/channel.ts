/** A way to a session: a Worker, or this thread where a Worker cannot be had. */

import type { AssetOptions, CertificateHash, DataPlaneOptions } from '../options.ts';
import { StreamError } from '../close.ts';
import { compile } from '../engine/engine.ts';
import type { PageMessage, SessionMessage, StartMessage } from './messages.ts';
import { Session } from './session.ts';

const WORKER_START_MS_MAX = 5000;
/** Drafts that the machine speaks, best first. */
const PROTOCOLS = ['moqt-22', 'moqt-18', 'moqt-16'];

/** Where this file was loaded from; the others of the package are beside it. */
const HERE = import.meta.url;

export interface Channel {
  send(message: PageMessage, transfer?: Transferable[]): void;
  /** Ends the session, and the Worker once it had time to say so. */
  end(reason: string): void;
}

/** Whether this browser has what sessions need. */
export function canRunSessions(options: AssetOptions): boolean {
  return typeof WebAssembly === 'object' && (options.webTransport ?? globalThis.WebTransport) !== undefined;
}

/** Starts a machine. Resolves when it takes messages. */
export async function openChannel(
  options: AssetOptions & DataPlaneOptions,
  fetchImpl: typeof fetch,
  start: { role: StartMessage['role']; config: Record<string, unknown>; hashes: ArrayBuffer[] },
  onMessage: (message: SessionMessage) => void,
): Promise<Channel> {
  const url = String(options.wasmUrl ?? new URL('./mainstem.wasm', HERE));
  let module: WebAssembly.Module;
  try {
    module = await compile(url, fetchImpl);
  } catch (error) {
    throw new StreamError('network', `cannot load ${url}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const message: StartMessage = { t: 'start', module, protocols: offered(options.protocols), ...start };
  if (options.worker !== false && !options.webTransport && typeof Worker === 'function') {
    const channel = await inWorker(options, message, onMessage);
    if (channel) return channel;
  }
  return onThisThread(options, message, onMessage);
}

/** `null` when the Worker does not start: its file is missing, of another origin, or forbidden. */
function inWorker(
  options: AssetOptions,
  start: StartMessage,
  onMessage: (message: SessionMessage) => void,
): Promise<Channel | null> {
  let worker: Worker;
  try {
    const url = options.workerUrl ?? new URL('./session.worker.js', HERE);
    worker = new Worker(url, { type: 'module', name: 'mainstem-session' });
  } catch {
    return Promise.resolve(null);
  }
  return new Promise((resolve) => {
    const giveUp = (): void => {
      clearTimeout(timer);
      worker.terminate();
      resolve(null);
    };
    const timer = setTimeout(giveUp, WORKER_START_MS_MAX);
    worker.onerror = giveUp;
    worker.onmessage = (event: MessageEvent<SessionMessage>) => {
      clearTimeout(timer);
      worker.onerror = (fault) => onMessage({ t: 'failed', reason: fault.message });
      worker.onmessage = (next: MessageEvent<SessionMessage>) => onMessage(next.data);
      resolve({
        send: (message, transfer = []) => worker.postMessage(message, transfer),
        end: (reason) => {
          worker.onmessage = null;
          worker.postMessage({ t: 'close', reason } satisfies PageMessage);
          setTimeout(() => worker.terminate(), 1000);
        },
      });
      onMessage(event.data);
    };
    worker.postMessage(start);
  });
}

function onThisThread(
  options: AssetOptions,
  start: StartMessage,
  onMessage: (message: SessionMessage) => void,
): Promise<Channel> {
  return new Promise((resolve) => {
    let ended = false;
    const session = new Session((message) => {
      // As a Worker would: never inside a call of the owner's.
      queueMicrotask(() => {
        if (ended) return;
        if (message.t === 'ready' || message.t === 'failed') resolve(channel);
        onMessage(message);
      });
    }, options.webTransport ?? WebTransport);
    const channel: Channel = {
      send: (message) => session.handle(message),
      end: (reason) => {
        ended = true;
        session.handle({ t: 'close', reason });
      },
    };
    session.handle(start);
  });
}

/** What is offered: no draft that the machine does not speak, and none twice, which browsers refuse. */
function offered(wanted: string[] | undefined): string[] {
  if (wanted === undefined || wanted.length === 0) return PROTOCOLS;
  const known = [...new Set(wanted)].filter((protocol) => PROTOCOLS.includes(protocol));
  if (known.length > 0) return known;
  throw new StreamError('unsupported', `protocols: expected some of ${PROTOCOLS.join(', ')}, not ${wanted.join(', ')}`);
}

/** Certificate hashes as the transport takes them. */
export function hashesOf(given: CertificateHash | CertificateHash[] | undefined): ArrayBuffer[] {
  if (given === undefined) return [];
  const all = Array.isArray(given) ? given : [given];
  return all.map((hash) => {
    const bytes = typeof hash === 'string' ? bytesOfText(hash) : new Uint8Array(hash).slice();
    if (bytes.byteLength !== 32) {
      throw new StreamError('unsupported', 'serverCertificateHash: expected a SHA-256, as hex, base64 or 32 bytes');
    }
    return bytes.buffer as ArrayBuffer;
  });
}

function bytesOfText(text: string): Uint8Array {
  const hex = text.replaceAll(':', '').trim();
  if (/^[0-9a-f]{64}$/i.test(hex)) {
    return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  }
  try {
    const binary = atob(text.trim().replaceAll('-', '+').replaceAll('_', '/'));
    return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}
