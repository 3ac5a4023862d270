// Renditions are chosen by how late chunks come.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Abr, type AbrDecision } from '../src/viewer/abr.ts';

const RENDITIONS = [
  { bitrate: 2_000_000, height: 720 },
  { bitrate: 800_000, height: 480 },
  { bitrate: 300_000, height: 240 },
];
const FRAME_MS = 40;

interface World {
  abr: Abr;
  now: number;
  current: number;
  /** Delay of the path for each chunk. */
  delayMs: number;
  decisions: (AbrDecision & { at: number })[];
}

function world(current = 0): World {
  return { abr: new Abr(), now: 0, current, delayMs: 20, decisions: [] };
}

/** Chunks of the present rendition come for so long, each later than the one before by `growth`. */
function run(state: World, ms: number, growth = 0, best = 0): void {
  const until = state.now + ms;
  while (state.now < until) {
    state.now += FRAME_MS + growth;
    state.delayMs += growth;
    const bytes = ((RENDITIONS[state.current]?.bitrate ?? 0) * FRAME_MS) / 8000;
    state.abr.arrived(state.now, state.now - state.delayMs, bytes);
    const buffer = { ms: Math.max(0, 240 - state.delayMs), targetMs: 220, stalled: state.delayMs > 260 };
    const decision = state.abr.decide(state.now, RENDITIONS, state.current, best, buffer);
    if (decision) {
      state.decisions.push({ ...decision, at: state.now });
      state.current = decision.index;
    }
  }
}

test('a path that brings too little is left at once, for what fits into it', () => {
  const state = world();
  run(state, 5000);
  assert.deepEqual(state.decisions, []);
  // Twice as long as real time: half of 2 Mbit/s arrives.
  run(state, 2000, FRAME_MS);
  const [first] = state.decisions;
  assert.equal(first?.index, 1);
  assert.equal(first?.urgent, true);
  assert.ok((first?.at ?? 0) < 5000 + 800, `decided after ${first?.at} ms`);
});

test('a path that got narrow is left before what was buffered is used up', () => {
  const state = world();
  run(state, 5000);
  // Two fifths of what is needed.
  run(state, 1000, FRAME_MS * 1.5);
  const [first] = state.decisions;
  assert.ok((first?.at ?? Infinity) <= 5000 + 320, `decided after ${first?.at} ms`);
  assert.equal(first?.urgent, true);
  assert.ok(state.abr.capacity < 1_300_000, `${state.abr.capacity}`);
});

test('a key frame that is long under way on a path that got narrow is not waited for', () => {
  const state = world();
  run(state, 5000);
  run(state, 100, FRAME_MS * 1.5);
  const { now } = state;
  let decided: number | null = null;
  // 0.8 Mbit/s come, and no chunk is whole.
  for (let ms = 0; ms <= 400 && decided === null; ms += 50) {
    state.abr.received(now + ms, 1_000_000 + ms * 100);
    const buffer = { ms: 240 - state.delayMs - ms, targetMs: 220, stalled: false };
    if (state.abr.decide(now + ms, RENDITIONS, 0, 0, buffer)) decided = ms;
  }
  assert.ok(decided !== null && decided <= 200, `decided after ${decided} ms`);
});

test('a large key frame that a path takes its time for is no sign of a narrow one', () => {
  const state = world();
  for (let group = 0; group < 20; group++) {
    // 3 Mbit/s: 60 kB take 160 ms, which the small frames after it make good again.
    for (let frame = 0; frame < 25; frame++) {
      const bytes = frame === 0 ? 60_000 : 7500;
      state.delayMs = Math.max(20, state.delayMs + (bytes * 8) / 3000 - FRAME_MS);
      state.now += FRAME_MS;
      state.abr.arrived(state.now + state.delayMs, state.now, bytes);
      const buffer = { ms: Math.max(0, 240 - state.delayMs), targetMs: 220, stalled: false };
      const decision = state.abr.decide(state.now + state.delayMs, RENDITIONS, 0, 0, buffer);
      assert.equal(decision, null, `${group}.${frame}`);
    }
  }
});

test('a hiccup of the path is no sign of a narrow one', () => {
  const state = world();
  for (let n = 0; n < 1000; n++) {
    state.now += FRAME_MS;
    // Three frames wait for the fourth, twice a second.
    const held = n % 12 < 4 ? (3 - (n % 12)) * FRAME_MS : 0;
    state.abr.arrived(state.now + held, state.now, 10_000);
    const buffer = { ms: 220 - held, targetMs: 220, stalled: false };
    assert.equal(state.abr.decide(state.now + held, RENDITIONS, 0, 0, buffer), null, `${n}`);
  }
});

test('an encoder that is slow is not taken for a path that is narrow', () => {
  const state = world();
  run(state, 5000);
  for (let n = 0; n < 200; n++) {
    // Each frame takes the encoder half as long again as it lasts, and the path no longer than ever.
    state.now += FRAME_MS * 1.5;
    state.abr.arrived(state.now, 5000 + n * FRAME_MS, 10_000, state.now - 20);
    const buffer = { ms: 100, targetMs: 220, stalled: false };
    assert.equal(state.abr.decide(state.now, RENDITIONS, 0, 0, buffer), null, `${n}`);
  }
});

test('media that does not come at all is late as well', () => {
  const state = world();
  run(state, 5000);
  // A page that stood still itself hears first what came meanwhile.
  assert.equal(state.abr.decide(state.now + 550, RENDITIONS, 0, 0, { ms: 0, targetMs: 220, stalled: true }), null);
  const decision = state.abr.decide(state.now + 600, RENDITIONS, 0, 0, { ms: 0, targetMs: 220, stalled: true });
  assert.equal(decision?.urgent, true);
  assert.ok((decision?.index ?? 0) > 0);
});

test('calm leads up by one, smoothly, and the best is the end of it', () => {
  const state = world(2);
  run(state, 60_000);
  assert.deepEqual(
    state.decisions.map(({ index, urgent }) => [index, urgent]),
    [
      [1, false],
      [0, false],
    ],
  );
});

test('a step up that failed is tried later and later', () => {
  const state = world(1);
  const ups: number[] = [];
  for (let round = 0; round < 4; round++) {
    const from = state.now;
    state.delayMs = 20;
    while (state.current !== 0 && state.now < from + 200_000) run(state, 200);
    ups.push(state.now - from);
    run(state, 1800);
    run(state, 1500, FRAME_MS);
    assert.ok(state.current > 0, 'stepped down');
    state.current = 1;
    state.abr.reset(state.now);
  }
  assert.ok((ups.at(-1) ?? 0) > (ups[0] ?? 0) * 2, ups.join());
});

test('a bound on the height is kept', () => {
  const state = world(0);
  run(state, 3000, 0, 1);
  assert.equal(state.current, 1);
  run(state, 60_000, 0, 1);
  assert.equal(state.current, 1);
});

test('one rendition needs no decision', () => {
  const abr = new Abr();
  abr.arrived(1000, 0, 100);
  assert.equal(abr.decide(2000, RENDITIONS.slice(0, 1), 0, 0, { ms: 0, targetMs: 220, stalled: true }), null);
});
