// Where a rendition that is left at once is followed by another one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Groups } from '../src/viewer/groups.ts';

/** Groups of 25 frames of 40 ms; of the third, so many frames are there. */
function played(frames: number): Groups {
  const groups = new Groups();
  for (let n = 0; n < 50 + frames; n++) groups.took(Math.floor(n / 25), n * 40_000, 40_000);
  return groups;
}

test('early in a group it is begun once more, late in it the next one is waited for', () => {
  assert.equal(played(5).isNextSooner(0.4, 0), false);
  assert.equal(played(23).isNextSooner(0.4, 0), true);
});

test('the further what comes is behind, the sooner the next group is there', () => {
  assert.equal(played(9).isNextSooner(0.4, 0), false);
  assert.equal(played(9).isNextSooner(0.4, 300), true);
});

test('what takes the whole path is not brought twice', () => {
  assert.equal(played(14).isNextSooner(1, 0), true);
});

test('as long as no group was seen whole, the present one is begun once more', () => {
  const groups = new Groups();
  for (let n = 0; n < 24; n++) groups.took(7, n * 40_000, 40_000);
  assert.equal(groups.isNextSooner(1, 500), false);
});
