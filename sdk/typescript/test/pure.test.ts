// The small rules: ranges, addresses, tokens, encodings, congestion, pauses.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { intersection, rangeAfter, rangeAt } from '../src/mse/ranges.ts';
import { Congestion } from '../src/publisher/congestion.ts';
import { bitrateFor, encodingsOf, h264Codec } from '../src/publisher/video-config.ts';
import { movedUrl, sessionUrl } from '../src/session/address.ts';
import { Backoff } from '../src/session/backoff.ts';
import { hashesOf } from '../src/session/channel.ts';
import { expiryOf, renewInMs } from '../src/session/token.ts';
import { bestIndex, playableTracks, renditionsOf, type CatalogEvent } from '../src/viewer/tracks.ts';

test('what can be played is what both kinds have', () => {
  const video = [{ start: 0, end: 4 }, { start: 5, end: 9 }];
  const audio = [{ start: 1, end: 6 }];
  assert.deepEqual(intersection([video, audio]), [{ start: 1, end: 4 }, { start: 5, end: 6 }]);
  assert.deepEqual(intersection([]), []);
});

test('holes that players cross by themselves are none', () => {
  const ranges = [{ start: 0, end: 2 }, { start: 2.03, end: 3 }, { start: 5, end: 6 }];
  assert.deepEqual(rangeAt(ranges, 1), { start: 0, end: 3 });
  assert.equal(rangeAt(ranges, 4), null);
  assert.deepEqual(rangeAfter(ranges, 3), { start: 5, end: 6 });
});

test('addresses of sessions keep the path and the permission when a relay sends them on', () => {
  const url = sessionUrl('moqt://relay.example:4443', '/playback/lv_1', { tok: 'a.b', none: undefined });
  assert.equal(url, 'https://relay.example:4443/playback/lv_1?tok=a.b');
  assert.equal(movedUrl(url, ''), url);
  assert.equal(movedUrl(url, 'moqt://other:1'), 'https://other:1/playback/lv_1?tok=a.b');
  assert.equal(movedUrl(url, 'https://other:1/x?tok=c'), 'https://other:1/x?tok=c');
  assert.throws(() => sessionUrl('http://relay', '/', {}), /https/);
});

test('tokens are renewed well before they end', () => {
  const token = `x.${btoa(JSON.stringify({ exp: 1000 }))}.y`;
  assert.equal(expiryOf(token), 1000);
  assert.equal(expiryOf('no token'), null);
  assert.equal(renewInMs(1000, 0, 15_000), 900_000);
  assert.equal(renewInMs(1000, 970_000, 15_000), 15_000);
  assert.equal(renewInMs(1000, 2_000_000, 15_000), 0);
});

test('certificate hashes are read in every form', () => {
  const bytes = Uint8Array.from({ length: 32 }, (_, i) => i);
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const forms = [hex, hex.match(/../g)?.join(':') ?? '', btoa(String.fromCharCode(...bytes)), bytes, bytes.buffer];
  for (const form of forms) assert.deepEqual(new Uint8Array(hashesOf(form)[0] ?? new ArrayBuffer(0)), bytes);
  assert.throws(() => hashesOf('abc'), /SHA-256/);
});

test('codec strings name the least level that a picture fits in', () => {
  const at = (width: number, height: number, framerate: number): string =>
    h264Codec({ width, height, framerate, bitrate: 0 });
  assert.equal(at(640, 360, 30), 'avc1.42E01E');
  assert.equal(at(1280, 720, 30), 'avc1.42E01F');
  assert.equal(at(1920, 1080, 30), 'avc1.42E028');
  assert.equal(at(1920, 1080, 60), 'avc1.42E02A');
});

test('encodings are even, no larger than the picture, and best first', () => {
  const source = { width: 1280, height: 720, framerate: 30 };
  const renditions = [{ height: 361, bitrate: 500_000 }, { height: 1080, bitrate: 2_000_000 }];
  assert.deepEqual(encodingsOf(source, { renditions, bitrate: undefined }), [
    { width: 1280, height: 720, framerate: 30, bitrate: 2_000_000 },
    { width: 644, height: 362, framerate: 30, bitrate: 500_000 },
  ]);
  assert.ok(bitrateFor(1280, 720, 30) > 1_500_000);
});

test('encoders spend less while what they made waits, and more again later', () => {
  const congestion = new Congestion(1_000_000, 150_000);
  assert.equal(congestion.update(0, 400), 700_000);
  assert.equal(congestion.update(200, 400), null, 'the queue is given time to drain');
  assert.equal(congestion.update(1400, 400), 490_000);
  for (let now = 2000; now < 60_000; now += 200) congestion.update(now, 0);
  assert.equal(congestion.bitrate, 1_000_000);
  for (let now = 60_000; now < 120_000; now += 200) congestion.update(now, 2000);
  assert.equal(congestion.bitrate, 150_000);
  assert.equal(congestion.isHopeless, true);
});

test('pauses grow to a cap and begin small again', () => {
  const backoff = new Backoff({ firstMs: 100, maxMs: 1000 }, () => 0.5);
  assert.deepEqual([1, 2, 3, 4, 5].map(() => backoff.next()), [100, 200, 400, 800, 1000]);
  backoff.succeeded();
  assert.equal(backoff.next(), 100);
});

test('renditions are ordered best first, and what cannot be played is left out', () => {
  const track = (name: string, height: number, bitrate: number, codec = 'avc1.42E01E') => ({
    id: height,
    name,
    kind: 'video',
    codec,
    packaging: 'cmaf',
    height,
    width: height * 2,
    bitrate,
    initData: btoa('init'),
  });
  const catalog: CatalogEvent = {
    type: 'catalog',
    live: true,
    complete: false,
    tracks: [
      track('video/180p', 180, 200_000),
      track('video/360p', 360, 900_000),
      track('video/h', 720, 2_000_000, 'hvc1'),
      { ...track('loc', 90, 1), packaging: 'loc' },
    ],
  };
  const playable = playableTracks(catalog, (type) => !type.includes('hvc1'));
  const renditions = renditionsOf(playable);
  assert.deepEqual(renditions.map(({ name }) => name), ['video/360p', 'video/180p']);
  assert.equal(renditions[0]?.label, '360p');
  assert.equal(bestIndex(renditions, 0), 0);
  assert.equal(bestIndex(renditions, 200), 1);
  assert.equal(bestIndex(renditions, 90), 1);
});
