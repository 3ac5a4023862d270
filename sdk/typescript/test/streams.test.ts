import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StreamsError } from '../src/streams-errors.ts';
import { mintedToken, rememberToken } from '../src/streams-minted.ts';
import { parsePlaybackUrl, parseRelayUrl, playbackUrl } from '../src/streams-urls.ts';
import { Streams } from '../src/streams.ts';

const ROW = {
  id: 'li_1',
  external_input_id: 'lv_1',
  name: 'Live Demo',
  status: 'idle',
  ingest: 'fmp4',
  createdAt: '2026-01-02T03:04:05.678Z',
};
const MINTED = { token: 'eyJ.a.b', kid: 'rk_live_1', alg: 'EdDSA', expires_at: 1_900_000_000, input: 'lv_1' };

interface Asked {
  method: string;
  path: string;
  input: Record<string, unknown>;
  headers: Record<string, string>;
}

/** A control plane that answers in turn, and remembers what it was asked. */
function control(...answers: { status?: number; body: unknown; headers?: Record<string, string> }[]): {
  asked: Asked[];
  fetch: typeof fetch;
} {
  const asked: Asked[] = [];
  const fake = async (request: RequestInfo | URL, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(String(request));
    const text = init.body === undefined ? url.searchParams.get('input') : String(init.body);
    asked.push({
      method: init.method ?? 'GET',
      path: url.pathname,
      input: JSON.parse(text ?? 'null'),
      headers: init.headers as Record<string, string>,
    });
    const answer = answers[asked.length - 1];
    if (answer === undefined) throw new TypeError('fetch failed');
    const body = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body);
    return new Response(body, { status: answer.status ?? 200, headers: answer.headers ?? {} });
  };
  return { asked, fetch: fake as typeof fetch };
}

const good = (data: unknown) => ({ body: { result: { data } } });
const bad = (status: number, code: string, headers = {}) => ({
  status,
  headers,
  body: { error: { message: `because of ${code}`, code: -1, data: { code, httpStatus: status, path: 'x' } } },
});

function streams(fake: { fetch: typeof fetch }, more = {}): Streams {
  return new Streams({ baseUrl: 'https://control.test/', apiKey: 'tqs_live_k', orgId: 'org_1', ...fake, ...more });
}

test('create posts the contract and gives the input and its key', async () => {
  const fake = control(good({ ...ROW, stream_key_cleartext: 'sk_live_s' }));
  const { input, streamKey } = await streams(fake).liveInputs.create({ name: 'Live Demo' });
  assert.deepEqual(fake.asked[0]?.input, { orgId: 'org_1', name: 'Live Demo', ingest: 'fmp4' });
  assert.equal(fake.asked[0]?.method, 'POST');
  assert.equal(fake.asked[0]?.path, '/api/trpc/streams.liveInputs.create');
  assert.equal(fake.asked[0]?.headers['authorization'], 'Bearer tqs_live_k');
  assert.equal(streamKey, 'sk_live_s');
  assert.deepEqual(JSON.parse(JSON.stringify(input)), ROW);
});

test('get and list are queries with the defaults of the reference', async () => {
  const fake = control(good(ROW), good([ROW, ROW]));
  const client = streams(fake);
  assert.equal((await client.liveInputs.get({ id: 'li_1' })).external_input_id, 'lv_1');
  assert.equal((await client.liveInputs.list()).length, 2);
  assert.deepEqual(
    fake.asked.map((each) => [each.method, each.input]),
    [
      ['GET', { orgId: 'org_1', id: 'li_1' }],
      ['GET', { orgId: 'org_1', page: 1, perPage: 50 }],
    ],
  );
});

test('methods of an input work when they are handed on alone', async () => {
  const fake = control(good(ROW), good({ ...MINTED, url: 'moq://relay.test/playback/lv_1?tok=eyJ.a.b' }), {
    ...good({ ...ROW, stream_key_cleartext: 'sk_live_t' }),
  });
  const { signedPlaybackUrl, rotateStreamKey } = await streams(fake).liveInputs.get({ id: 'li_1' });
  const signed = await signedPlaybackUrl({ ttlSeconds: 900 });
  assert.deepEqual(signed, {
    url: 'moq://relay.test/playback/lv_1?tok=eyJ.a.b',
    token: 'eyJ.a.b',
    kid: 'rk_live_1',
    alg: 'EdDSA',
    expiresAt: 1_900_000_000,
  });
  assert.deepEqual(fake.asked[1]?.input, { orgId: 'org_1', id: 'li_1', ttlSeconds: 900 });
  assert.deepEqual(await rotateStreamKey(), { streamKey: 'sk_live_t' });
});

test('a relay that was named stands in the playback url', async () => {
  const fake = control(good(ROW), good({ ...MINTED, url: 'moq://other.test/playback/lv_1?tok=x' }));
  const client = streams(fake, { relayUrl: 'https://relay.test:4443/' });
  const input = await client.liveInputs.get({ id: 'li_1' });
  assert.equal((await input.signedPlaybackUrl()).url, 'moq://relay.test:4443/playback/lv_1?tok=eyJ.a.b');
  assert.deepEqual(fake.asked[1]?.input, { orgId: 'org_1', id: 'li_1' });
});

test('signing keys are made, listed and taken out of use', async () => {
  const row = { id: 'rk_live_1', alg: 'Ed25519', use: 'playback', publicKeyPem: 'PEM', status: 'active', createdAt: '' };
  const fake = control(good(row), good([row]), good({ ...row, status: 'inactive' }));
  const { signingKeys } = streams(fake);
  assert.deepEqual(await signingKeys.create(), row);
  assert.deepEqual(fake.asked[0]?.input, { orgId: 'org_1', alg: 'Ed25519', use: 'playback' });
  assert.equal((await signingKeys.list())[0]?.id, 'rk_live_1');
  assert.equal((await signingKeys.deactivate({ id: 'rk_live_1' })).status, 'inactive');
});

test('a refusal keeps the server\'s code and message', async () => {
  const fake = control(bad(404, 'NOT_FOUND'));
  await assert.rejects(streams(fake).liveInputs.get({ id: 'li_9' }), (error: unknown) => {
    assert.ok(error instanceof StreamsError);
    assert.equal(error.code, 'NOT_FOUND');
    assert.equal(error.status, 404);
    assert.equal(error.message, 'because of NOT_FOUND');
    assert.equal(error.path, 'streams.liveInputs.get');
    return true;
  });
});

test('a query is tried again when the server is busy, a mutation only when nothing was done', async () => {
  const busy = control(bad(503, 'INTERNAL_SERVER_ERROR'), good([]));
  assert.deepEqual(await streams(busy).liveInputs.list(), []);
  const limited = control(bad(429, 'TOO_MANY_REQUESTS', { 'retry-after': '0' }), good({ ...ROW, stream_key_cleartext: 's' }));
  await streams(limited).liveInputs.create({ name: 'x' });
  assert.equal(limited.asked.length, 2);
  const broken = control(bad(503, 'INTERNAL_SERVER_ERROR'), good({}));
  await assert.rejects(streams(broken).liveInputs.create({ name: 'x' }));
  assert.equal(broken.asked.length, 1);
  const late = control(bad(429, 'TOO_MANY_REQUESTS', { 'retry-after': '60' }), good([]));
  await assert.rejects(streams(late).liveInputs.list(), { code: 'TOO_MANY_REQUESTS', retryAfterSeconds: 60 });
});

test('what is no answer of a control plane is said to be none', async () => {
  const page = control({ body: '<html>' });
  await assert.rejects(streams(page).signingKeys.list(), { code: 'BAD_RESPONSE' });
  const proxy = control({ status: 502, body: '<html>' }, { status: 502, body: '' }, { status: 401, body: '' });
  await assert.rejects(streams(proxy).signingKeys.list(), { code: 'UNAUTHORIZED', status: 401 });
  const cut = control(good({ ...ROW, id: 7 }));
  await assert.rejects(streams(cut).liveInputs.get({ id: 'x' }), { code: 'BAD_RESPONSE' });
  const nobody = control();
  await assert.rejects(streams(nobody).liveInputs.create({ name: 'x' }), { code: 'NETWORK' });
});

test('what is missing is named before anything is sent', async () => {
  const fake = control(good([]));
  await assert.rejects(new Streams({ relayUrl: 'https://r.test', ...fake }).liveInputs.list(), {
    code: 'MISSING_OPTION',
    message: /baseUrl/,
  });
  await assert.rejects(new Streams({ baseUrl: 'https://c.test', ...fake }).signingKeys.list(), { message: /orgId/ });
  assert.equal(fake.asked.length, 0);
});

test('a relay is read from every scheme, with the hash of its certificate', () => {
  const hash = 'ab'.repeat(32);
  assert.deepEqual(parseRelayUrl('moqt://relay.test:4443'), { url: 'https://relay.test:4443', certificateHashes: [] });
  assert.deepEqual(parseRelayUrl(`https://[::1]:4443/#sha256=${hash.toUpperCase()}`), {
    url: 'https://[::1]:4443',
    certificateHashes: [hash],
  });
  for (const wrong of ['', 'relay.test', 'ftp://relay.test', 'https://r.test#sha256=abcd']) {
    assert.throws(() => parseRelayUrl(wrong), TypeError, wrong);
  }
});

test('a playback url survives a round trip', () => {
  const url = playbackUrl('https://relay.test:4443', 'lv_1', 'a.b-_c');
  assert.deepEqual(parsePlaybackUrl(url), { relayUrl: 'https://relay.test:4443', input: 'lv_1', token: 'a.b-_c' });
  assert.equal(parsePlaybackUrl('lv_1'), undefined);
  assert.equal(parsePlaybackUrl('https://relay.test/elsewhere/lv_1'), undefined);
});

test('a token that was minted here plays until it ends', () => {
  rememberToken('lv_7', { token: 'a', expiresAt: 100 });
  rememberToken('lv_7', { token: 'b', expiresAt: 200 });
  assert.equal(mintedToken('lv_7', 150), 'b');
  assert.equal(mintedToken('lv_7', 200), undefined);
  assert.equal(mintedToken('lv_8', 0), undefined);
  for (let index = 0; index < 300; index += 1) rememberToken(`lv_x${index}`, { token: 't', expiresAt: 200 });
  assert.equal(mintedToken('lv_7', 150), undefined);
});
