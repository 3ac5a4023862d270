/** Entry of `session.worker.js`: one session per Worker, driven by messages. */

export {};
