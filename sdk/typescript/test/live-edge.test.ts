// The live edge controller keeps the buffer near its target.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LiveEdge } from '../src/viewer/live-edge.ts';

const OPTIONS = { targetMs: 220, maxBehindMs: 3000, catchUpRate: 1.08 };

/** Plays `seconds` with media that arrives as fast as it plays. */
function play(edge: LiveEdge, bufferMs: number, seconds: number, from = 0): { bufferMs: number; rates: number[] } {
  const rates: number[] = [];
  for (let now = from; now < from + seconds * 1000; now += 50) {
    const { rate, jumpToMs } = edge.update({ now, bufferMs, playing: true });
    rates.push(rate);
    bufferMs = jumpToMs ?? bufferMs + 50 * (1 - rate);
  }
  return { bufferMs, rates };
}

test('what is behind is caught up with gently, and not overtaken', () => {
  const edge = new LiveEdge(OPTIONS);
  const { bufferMs, rates } = play(edge, 700, 30);
  assert.ok(Math.abs(bufferMs - 220) < 70, `${bufferMs}`);
  assert.ok(Math.max(...rates) <= 1.08);
  assert.ok(Math.min(...rates) >= 1);
});

test('what is far behind is jumped over', () => {
  const edge = new LiveEdge(OPTIONS);
  const { jumpToMs, rate } = edge.update({ now: 0, bufferMs: 5000, playing: true });
  assert.equal(jumpToMs, 220);
  assert.equal(rate, 1);
});

test('a buffer that runs dry slows playback down', () => {
  const edge = new LiveEdge(OPTIONS);
  assert.ok(edge.update({ now: 0, bufferMs: 40, playing: true }).rate < 1);
});

test('a burst does not count as a buffer', () => {
  const edge = new LiveEdge(OPTIONS);
  const rates = [...Array(40).keys()].map(
    (n) => edge.update({ now: n * 50, bufferMs: n % 4 === 0 ? 600 : 230, playing: true }).rate,
  );
  assert.ok(rates.slice(2).every((rate) => rate === 1), rates.join());
});

test('a stall raises the target, and calm lowers it again', () => {
  const edge = new LiveEdge(OPTIONS);
  edge.stalled(0);
  edge.stalled(100);
  assert.equal(edge.targetMs, 520);
  play(edge, 520, 300);
  assert.equal(edge.targetMs, 220);
});

test('nothing is decided while the playhead is held', () => {
  const edge = new LiveEdge(OPTIONS);
  assert.deepEqual(edge.update({ now: 0, bufferMs: 9000, playing: false }), { rate: 1, jumpToMs: null });
});
