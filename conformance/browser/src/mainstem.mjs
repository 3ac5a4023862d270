// The program under test: `mainstem up`, `mainstem relay`, `mainstem watch`, and calls to the control plane.

import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './suite.mjs';

const PROGRAM = process.env.MAINSTEM_BIN ?? 'mainstem';
const FFMPEG = process.env.MAINSTEM_FFMPEG ?? 'ffmpeg';
const LOGS = process.env.MAINSTEM_KEEP_LOGS;
const MESH_SECRET = 'bWVzaC1zZWNyZXQtb2YtdGhlLWJyb3dzZXItc3VpdGU=';

/** A folder for one test's files. */
export function scratch(name) {
  const folder = mkdtempSync(join(tmpdir(), `mainstem-${name}-`));
  return { folder, end: () => rmSync(folder, { recursive: true, force: true }) };
}

/** What a failed test left open would go on in a network that nobody sees any more. */
const started = new Set();
process.on('exit', () => started.forEach((each) => each.isRunning && each.child.kill('SIGKILL')));

/** A started program; its error output goes into a log. */
export class Running {
  constructor(command, args, { name, folder, env = {} }) {
    this.name = name;
    this.stdout = '';
    this.stderr = '';
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    const logs = LOGS ?? folder;
    mkdirSync(logs, { recursive: true });
    const log = createWriteStream(join(logs, `${name}-${this.child.pid}.log`));
    this.child.stdout.on('data', (data) => (this.stdout += data));
    this.child.stderr.on('data', (data) => {
      this.stderr = (this.stderr + data).slice(-20_000);
      log.write(data);
    });
    this.ended = new Promise((resolve) => {
      this.child.on('error', (error) => resolve({ code: -1, error }));
      this.child.on('close', (code, signal) => resolve({ code, signal }));
    });
    this.isRunning = true;
    void this.ended.then(() => (this.isRunning = false));
    started.add(this);
  }

  async stop(signal = 'SIGINT') {
    if (this.isRunning) this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 5000);
    const end = await this.ended;
    clearTimeout(timer);
    return end;
  }

  /** The line of JSON that it prints when it serves. */
  async ready() {
    return until(`${this.name} to be ready`, 30_000, () => {
      if (!this.isRunning) throw new Error(`${this.name} ended before it was ready:\n${this.stderr.slice(-3000)}`);
      const line = this.stdout.split('\n').find((each) => each.startsWith('{') && each.endsWith('}'));
      return line === undefined ? undefined : JSON.parse(line);
    });
  }
}

/** `mainstem up` on free ports. */
export async function up(folder, { http = '127.0.0.1:0', moqt = '127.0.0.1:0', rtmp = '127.0.0.1:0', more = [] } = {}) {
  writeFileSync(join(folder, 'mesh.secret'), MESH_SECRET);
  writeFileSync(join(folder, 'control.secret'), 'control-secret-of-the-browser-suite');
  const args = ['up', '--ready-json', '--http', http, '--moqt', moqt, '--rtmp', rtmp];
  args.push('--data-dir', join(folder, 'data'), '--mesh-secret-file', join(folder, 'mesh.secret'));
  args.push('--control-secret-file', join(folder, 'control.secret'), ...more);
  const process = new Running(PROGRAM, args, { name: 'up', folder });
  const ready = await process.ready();
  return { process, ready, folder, api: ready.api_key && new Api(ready.http, ready.org, ready.api_key) };
}

/** `mainstem relay` as an edge of `origin`. */
export async function edge(origin, { moqt = '127.0.0.1:0' } = {}) {
  const { folder, ready: from } = origin;
  const args = ['relay', '--ready-json', '--moqt', moqt, '--upstream', from.moqt, '--upstream-insecure'];
  args.push('--mesh-secret-file', join(folder, 'mesh.secret'), '--data-dir', join(folder, 'edge'));
  args.push('--control', from.http, '--control-secret-file', join(folder, 'control.secret'));
  const process = new Running(PROGRAM, args, { name: 'edge', folder });
  return { process, ready: await process.ready(), folder };
}

export const httpsOf = (moqt) => moqt.replace(/^moqt:/, 'https:').replace(/\/$/, '');
export const authority = (url) => new URL(url.replace(/^\w+:/, 'http:')).host;

/** The control plane, called without the SDK. */
export class Api {
  constructor(base, org, key) {
    Object.assign(this, { base, org, key });
  }

  async get(procedure, input) {
    const query = encodeURIComponent(JSON.stringify({ orgId: this.org, ...input }));
    return this.#call(`${procedure}?input=${query}`, {});
  }

  async post(procedure, input) {
    return this.#call(procedure, { method: 'POST', body: JSON.stringify({ orgId: this.org, ...input }) });
  }

  async #call(path, request) {
    const headers = { authorization: `Bearer ${this.key}`, 'content-type': 'application/json' };
    const response = await fetch(`${this.base}/api/trpc/${path}`, { ...request, headers });
    const body = await response.json();
    if (body.error) throw new Error(`${path.replace(/[?].*/, '')}: ${body.error.message}`);
    return body.result.data;
  }

  async input(ingest = 'fmp4') {
    const row = await this.post('streams.liveInputs.create', { name: 'browser suite', ingest });
    return { id: row.id, lv: row.external_input_id, key: row.stream_key_cleartext };
  }

  async token(input, ttlSeconds = 3600) {
    return (await this.post('streams.liveInputs.mintPlaybackToken', { id: input.id, ttlSeconds })).token;
  }
}

/** ffmpeg pushing over RTMP in its own time; `input` are its input arguments. */
export function push(world, input, source, encode = ['-c', 'copy']) {
  const url = `${world.ready.rtmp}/${input.lv}?sk=${input.key}`;
  const args = ['-hide_banner', '-nostats', '-loglevel', 'warning', '-re', ...source, ...encode, '-f', 'flv', url];
  return new Running(FFMPEG, args, { name: 'ffmpeg', folder: world.folder });
}

/** `mainstem publish` of fragmented MP4. */
export function publish(world, input, file) {
  const url = `${world.ready.moqt}/publish/${input.lv}?sk=${input.key}`;
  const args = ['publish', url, file, '--loop', '--cert-sha256', world.ready.cert_sha256];
  return new Running(PROGRAM, args, { name: 'publish', folder: world.folder });
}

/** `mainstem demo`, and the link that it prints. */
export async function demo(folder) {
  const process = new Running(PROGRAM, ['demo', '--output', join(folder, 'demo.mp4')], { name: 'demo', folder });
  const link = await until('the link of the demo', 30_000, () => /http:\/\/\S+\/watch\/\S+/.exec(process.stderr)?.[0]);
  return { process, link };
}

/** `mainstem watch`; `report()` is what it prints at its end. */
export function watch(world, input, token, seconds) {
  const url = `${world.ready.moqt}/playback/${input.lv}?tok=${token}`;
  const args = ['watch', url, '--cert-sha256', world.ready.cert_sha256, '--seconds', String(seconds), '--json'];
  const process = new Running(PROGRAM, args, { name: 'watch', folder: world.folder });
  process.report = async () => {
    const end = await process.ended;
    if (end.code !== 0) throw new Error(`watch ended with ${end.code}: ${process.stderr.slice(-1000)}`);
    return JSON.parse(process.stdout.slice(process.stdout.indexOf('{')));
  };
  return process;
}
