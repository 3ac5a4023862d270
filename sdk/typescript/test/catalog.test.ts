import assert from 'node:assert/strict';
import { test } from 'node:test';
import { audioTrack, mseType, parseCatalog, videoTrack } from '../src/catalog.ts';

const TEXT = `{
  "version": 1,
  "live": true,
  "tracks": [
    { "name": "video/360p", "kind": "video", "codec": "avc1.42E01F", "width": 640, "height": 360, "bitrate": 800000 },
    { "name": "video/720p", "kind": "video", "codec": "avc1.42E01F", "width": 1280, "height": 720, "bitrate": 2500000 },
    { "name": "audio", "kind": "audio", "codec": "opus", "sampleRate": 48000, "channels": 2, "later": [1] },
    { "name": "captions", "kind": "text", "codec": "wvtt" }
  ]
}`;

test('the catalog of the reference is read, from text, bytes and an object', () => {
  const catalog = parseCatalog(TEXT);
  assert.equal(catalog.live, true);
  assert.deepEqual(catalog.tracks.map((track) => track.name), ['video/360p', 'video/720p', 'audio']);
  assert.deepEqual(catalog.tracks[2], { name: 'audio', kind: 'audio', codec: 'opus', sampleRate: 48000, channels: 2 });
  assert.deepEqual(parseCatalog(new TextEncoder().encode(TEXT)), catalog);
  assert.deepEqual(parseCatalog(JSON.parse(TEXT)), catalog);
});

test('the best rendition of each kind is found', () => {
  const catalog = parseCatalog(TEXT);
  assert.equal(videoTrack(catalog)?.name, 'video/720p');
  assert.equal(audioTrack(catalog)?.name, 'audio');
  assert.equal(videoTrack({ version: 1, live: false, tracks: [] }), undefined);
});

test('a media source is told what it needs', () => {
  assert.equal(mseType({ kind: 'video', codec: 'avc1.42E01F' }), 'video/mp4; codecs="avc1.42E01F"');
  assert.equal(mseType({ kind: 'audio', codec: 'opus' }), 'audio/mp4; codecs="opus"');
});

test('what is no catalog is refused, and says why', () => {
  const track = { name: 'v', kind: 'video', codec: 'avc1.42E01F' };
  const wrong: [unknown, RegExp][] = [
    ['{', /JSON/],
    ['[]', /an object/],
    [{ version: 2, tracks: [] }, /version 1/],
    [{ version: 1 }, /a list/],
    [{ tracks: [{ kind: 'video', codec: 'x' }] }, /name/],
    [{ tracks: [{ ...track, codec: 'avc1"; evil' }] }, /codec/],
    [{ tracks: [track, track] }, /twice/],
    [{ tracks: Array.from({ length: 257 }, (_, index) => ({ ...track, name: `v${index}` })) }, /at most 256/],
  ];
  for (const [value, message] of wrong) {
    assert.throws(() => parseCatalog(value as object), message);
  }
});
