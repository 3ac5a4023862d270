// Streams of ours in a player of others: Shaka Player, as it is published, over MoQT draft 16 by the MSF catalog.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launch, open, screenshot, seen } from '../src/browser.mjs';
import { httpsOf, publish, push, scratch, up } from '../src/mainstem.mjs';
import { SHAKA_VERSION, shakaSite } from '../src/shaka.mjs';
import { SECONDS, aim, sleep, test, until } from '../src/suite.mjs';

const X264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p', '-g', '25', '-bf', '0', '-c:a', 'aac'];
const SOURCE = ['-f', 'lavfi', '-i', 'testsrc2=size=640x360:rate=25', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000'];
const CLIP = fileURLToPath(new URL('../../../core/tests/media/h264_aac.mp4', import.meta.url));

const files = scratch('shaka');
const events = join(files.folder, 'events');
const world = await up(files.folder, { more: ['--event-log', events] });
const site = await shakaSite(world.ready.cert_sha256);
const browser = await launch();

/** What the relay wrote down of the player's sessions, the newest last. */
function sessions() {
  const logs = readdirSync(events).filter((name) => name.endsWith('-moqt-16.sqlog')).sort();
  const texts = logs.map((name) => readFileSync(join(events, name), 'utf8'));
  return texts.filter((text) => text.includes(`"implementation":"ShakaPlayer/${SHAKA_VERSION}`));
}

/** The player, once it plays `input`; namespaces and certificate are all that it is told. */
async function watching(input) {
  const token = await world.api.token(input);
  const viewer = await open(browser, site.url);
  const msf = { fingerprintUri: `${site.url}/fingerprint.txt`, namespaces: ['playback', input.lv] };
  const url = `${httpsOf(world.ready.moqt)}/playback/${input.lv}?tok=${token}`;
  const begun = Date.now();
  const refused = await viewer.page.evaluate((options) => window.begin(options), { url, msf });
  assert.equal(refused, null, `${JSON.stringify(refused)}\n${sessions().at(-1)?.slice(-2000)}`);
  await until('the picture', 10_000, async () => (await seen(viewer.page)).frames.length > 5);
  console.log(`shaka: picture ${Date.now() - begun} ms after load()`);
  return viewer;
}

const state = (viewer) =>
  viewer.page.evaluate(() => {
    const video = document.querySelector('video');
    return {
      at: video.currentTime,
      now: Date.now() / 1000,
      size: [video.videoWidth, video.videoHeight],
      sound: video.webkitAudioDecodedByteCount,
      errors: window.errors,
    };
  });

test('an_encoder_is_watched_in_shaka_player_over_draft_16', async () => {
  const input = await world.api.input('rtmp');
  const encoder = push(world, input, SOURCE, X264);
  await until('media', 15_000, async () => (await world.api.get('streams.liveInputs.get', { id: input.id })).status === 'live');
  const viewer = await watching(input);
  await sleep(1000);
  const [from, before] = [(await seen(viewer.page)).frames.length, await state(viewer)];
  await sleep(SECONDS * 1000);
  const [{ frames, longestGapMs }, after] = [await seen(viewer.page, from), await state(viewer)];
  await screenshot(viewer.page, 'shaka');
  const behindMs = Math.round((after.now - after.at) * 1000);
  console.log(`shaka: ${frames.length} frames in ${SECONDS} s, ${behindMs} ms behind the wall clock`);
  aim("longest standstill in another maker's player", longestGapMs, 500);
  assert.deepEqual(after.size, [640, 360]);
  assert.ok(frames.length > SECONDS * 8, `${frames.length} frames in ${SECONDS} s`);
  assert.ok(after.at - before.at > SECONDS * 0.6, `${after.at - before.at} s played in ${SECONDS} s`);
  assert.ok(after.sound > before.sound, 'no sound was decoded');
  assert.deepEqual([after.errors, viewer.complaints], [[], []]);
  assert.equal(sessions().length, 1, 'one session, at draft 16');
  await viewer.close();
  await encoder.stop();
});

test('an_upload_is_watched_in_shaka_player', async () => {
  const input = await world.api.input('fmp4');
  const publisher = publish(world, input, CLIP);
  await sleep(1500);
  const viewer = await watching(input);
  const before = await state(viewer);
  await sleep(4000);
  const after = await state(viewer);
  assert.ok(after.at - before.at > 2, `${after.at - before.at} s played in 4 s`);
  assert.deepEqual([after.errors, viewer.complaints], [[], []]);
  await viewer.close();
  await publisher.stop();
});
