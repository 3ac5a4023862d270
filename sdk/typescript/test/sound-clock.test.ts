// Sound stays at its time, whatever the device and the page do.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SoundClock, type SoundStep } from '../src/publisher/sound-clock.ts';

const RATE = 48_000;
const PIECE = 480;
const PIECE_US = 10_000;

/** The same numbers each time. */
function noise(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Sum {
  /** Samples that an encoder was given. */
  given: number;
  silence: number;
  skip: number;
  stretch: number;
  restarts: number;
}

function add(sum: Sum, samples: number, step: SoundStep): void {
  sum.given += step.silence + samples - step.skip + step.stretch;
  sum.silence += step.silence;
  sum.skip += step.skip;
  sum.stretch += Math.abs(step.stretch);
  sum.restarts += step.restart ? 1 : 0;
}

const empty = (): Sum => ({ given: 0, silence: 0, skip: 0, stretch: 0, restarts: 0 });
const ms = (us: number): number => Math.round(us / 1000);

test('sound that comes as it should is left as it is', () => {
  const clock = new SoundClock(RATE);
  const sum = empty();
  const random = noise(1);
  for (let n = 0; n < 60_000; n++) add(sum, PIECE, clock.take(5_000_000 + n * PIECE_US + random() * 7000, PIECE));
  assert.deepEqual(sum, { given: 60_000 * PIECE, silence: 0, skip: 0, stretch: 0, restarts: 0 });
});

test('what is lost is made good by as much silence', () => {
  const clock = new SoundClock(RATE);
  const sum = empty();
  const random = noise(2);
  let worst = 0;
  let since = 0;
  for (let n = 0; n < 60_000; n++) {
    // Twice in a hundred pieces, up to 12 of them never come.
    if (random() < 0.002) {
      n += 1 + Math.floor(random() * 12);
      since = n;
    }
    add(sum, PIECE, clock.take(n * PIECE_US + random() * 3000, PIECE));
    // Once it had a window to be sure.
    if (n - since > 60) worst = Math.max(worst, Math.abs((clock.endUs ?? 0) - (n + 1) * PIECE_US));
  }
  assert.ok(sum.silence > 100 * PIECE, `${sum.silence}`);
  assert.ok(worst < 50_000, `${ms(worst)} ms away`);
  assert.equal(sum.restarts, 0);
});

test('a long hole is filled at once', () => {
  const clock = new SoundClock(RATE);
  clock.take(0, PIECE);
  const step = clock.take(PIECE_US + 1_500_000, PIECE);
  assert.deepEqual(step, { restart: false, silence: 72_000, skip: 0, stretch: 0 });
  assert.equal(clock.endUs, 2 * PIECE_US + 1_500_000);
});

for (const parts of [200, -200, 1500, -1500]) {
  test(`a device that is off by ${parts} millionths stays at its time for hours, without a hole`, () => {
    const clock = new SoundClock(RATE);
    const sum = empty();
    const random = noise(3);
    let worst = 0;
    let time = 0;
    for (let n = 0; n < 2 * 360_000; n++) {
      time = n * PIECE_US * (1 + parts / 1e6);
      add(sum, PIECE, clock.take(time + random() * 4000, PIECE));
      worst = Math.max(worst, Math.abs((clock.endUs ?? 0) - time - PIECE_US));
    }
    assert.ok(worst < 20_000, `${ms(worst)} ms away`);
    assert.equal(sum.silence + sum.skip, 0);
    assert.ok(sum.stretch > 0);
    assert.ok(Math.abs((sum.given * 1e6) / RATE - time) < 20_000);
  });
}

test('pieces that were seen late, and come all, are not silenced', () => {
  const clock = new SoundClock(RATE);
  const sum = empty();
  for (let n = 0; n < 1000; n++) {
    // A thread that was held up for 200 ms gives what it has when it goes on.
    const held = n % 100 >= 50 && n % 100 < 70 ? (70 - (n % 100)) * PIECE_US : 0;
    add(sum, PIECE, clock.take(n * PIECE_US + held, PIECE));
  }
  assert.equal(sum.silence + sum.skip, 0);
});

test('silence that was made up is taken off what comes in its place', () => {
  const clock = new SoundClock(RATE);
  clock.take(0, PIECE);
  assert.equal(clock.makeUp(100_000), 9 * PIECE);
  // What was on its way all the time: 50 to 130 ms.
  const steps = [5, 6, 7, 8, 9, 10, 11, 12].map((n) => clock.take(n * PIECE_US, PIECE));
  assert.deepEqual(steps.map((step) => step.skip), [480, 480, 480, 480, 480, 0, 0, 0]);
  assert.equal(clock.endUs, 130_000);
});

test('silence goes on for as long as nothing comes, and no piece of it twice', () => {
  const clock = new SoundClock(RATE);
  assert.equal(clock.makeUp(1_000_000), 0);
  clock.take(0, PIECE);
  let given = PIECE;
  for (let now = 200_000; now <= 60_000_000; now += 100_000) given += clock.makeUp(now);
  assert.equal(given, 60 * RATE);
  assert.equal(clock.makeUp(1_000_000_000), 0);
});

test('sound that is given twice is left out once', () => {
  const clock = new SoundClock(RATE);
  const sum = empty();
  for (let n = 0; n < 100; n++) add(sum, PIECE, clock.take(n * PIECE_US, PIECE));
  for (let n = 90; n < 400; n++) add(sum, PIECE, clock.take(n * PIECE_US, PIECE));
  assert.equal(sum.skip, 10 * PIECE);
  assert.equal(clock.endUs, 400 * PIECE_US);
});

test('another clock begins anew', () => {
  const clock = new SoundClock(RATE);
  clock.take(0, PIECE);
  assert.equal(clock.take(3_600_000_000, PIECE).restart, true);
  assert.equal(clock.endUs, 3_600_010_000);
  assert.equal(clock.take(3_600_010_000, PIECE).restart, false);
  assert.equal(clock.take(0, PIECE).restart, true);
});
