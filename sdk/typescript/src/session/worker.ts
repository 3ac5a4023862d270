/** Entry of `session.worker.js`: one session per Worker, driven by messages. */

import type { PageMessage } from './messages.ts';
import { Session } from './session.ts';

interface WorkerScope {
  onmessage: ((event: MessageEvent<PageMessage>) => void) | null;
  postMessage(message: unknown, transfer: Transferable[]): void;
}

const scope = globalThis as unknown as WorkerScope;
const session = new Session((message, transfer) => scope.postMessage(message, transfer), WebTransport);
scope.onmessage = (event) => session.handle(event.data);
