// One of picture and sound does not hold the other for ever.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lanes } from '../src/viewer/lanes.ts';

const BOTH = ['video', 'audio'];

/** Both come for `seconds`, the sound `lagMs(now)` late; what is given up is written down. */
function run(lanes: Lanes, from: number, seconds: number, lagMs: (now: number) => number | null): string[] {
  const told: string[] = [];
  for (let now = from; now < from + seconds * 1000; now += 50) {
    if (lanes.took('video', now, now * 1000)) told.push('video is back');
    const lag = lagMs(now);
    if (lag !== null && lanes.took('audio', now, (now - lag) * 1000)) told.push(`audio is back at ${now}`);
    const played = BOTH.filter((kind) => !lanes.isAbsent(kind));
    if (lanes.giveUp(now, played)) told.push(`without ${BOTH.filter((kind) => lanes.isAbsent(kind)).join()} at ${now}`);
  }
  return told;
}

test('a kind that stops is done without, and taken back when it comes', () => {
  const lanes = new Lanes();
  lanes.begin(0);
  const told = run(lanes, 0, 20, (now) => (now > 5000 && now < 15_000 ? null : 0));
  assert.deepEqual(told, ['without audio at 7050', 'audio is back at 15000']);
});

test('sound that falls behind for good does not hold the picture, and is taken back when it is near', () => {
  const lanes = new Lanes();
  lanes.begin(0);
  const told = run(lanes, 0, 60, (now) => (now < 40_000 ? now / 10 : 500));
  assert.deepEqual(told, ['without audio at 30050', 'audio is back at 40000']);
});

test('an encoder that sends its sound two seconds late keeps it', () => {
  const lanes = new Lanes();
  lanes.begin(0);
  assert.deepEqual(run(lanes, 0, 60, () => 2000), []);
});

test('an outage of both gives none up', () => {
  const lanes = new Lanes();
  lanes.begin(0);
  run(lanes, 0, 5, () => 0);
  for (let now = 5000; now < 20_000; now += 50) assert.equal(lanes.giveUp(now, BOTH), false);
});

test('a kind that plays alone is never given up', () => {
  const lanes = new Lanes();
  lanes.begin(0);
  run(lanes, 0, 5, () => 0);
  assert.equal(lanes.giveUp(30_000, ['video']), false);
});
