// An encoder's stream in the player, and what may go wrong: a frozen tab, a relay that restarts, links that do not
// permit, a road that gets narrow.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CONNECTION_ERRORS, launch, open, screenshot, seen } from '../src/browser.mjs';
import { authority, edge, httpsOf, publish, push, scratch, up } from '../src/mainstem.mjs';
import { pagesOf, site } from '../src/site.mjs';
import { SECONDS, aim, sleep, test, until } from '../src/suite.mjs';

const FFMPEG = process.env.MAINSTEM_FFMPEG ?? 'ffmpeg';
const CLIP = process.env.MAINSTEM_CLIP;
/** A second of key frames, and frames that are cheap to encode. */
const X264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p', '-g', '25', '-bf', '0'];
const SOURCE = ['-f', 'lavfi', '-i', 'testsrc2=size=640x360:rate=25', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000'];

const files = scratch('faults');
const world = await up(files.folder);
const pages = await pagesOf(world.ready.http);
const browser = await launch();

/** A viewer of an input by a link, with the picture there. */
async function viewerOf(input, token, more = {}) {
  const viewer = await open(browser, `${pages}/watch/${input.lv}#tok=${token}`, more);
  await until('the picture', 20_000, async () => (await seen(viewer.page)).frames.length > 5);
  return viewer;
}

const count = async (viewer) => (await seen(viewer.page)).frames.length;

// A token is valid for half a minute at least: this one is watched to its end while the others run.
const expiring = await world.api.input('rtmp');
const expiringToken = await world.api.token(expiring, 30);
const expiresAt = Date.now() + 30_000;

test('an_encoder_is_watched_without_a_stall_and_a_frozen_tab_comes_back_to_live', async () => {
  const input = await world.api.input('rtmp');
  const source = CLIP === undefined ? SOURCE : ['-stream_loop', '-1', '-i', CLIP];
  const encode = CLIP === undefined ? [...X264, '-c:a', 'aac'] : ['-c:v', 'copy', '-c:a', 'aac', '-ac', '2'];
  const encoder = push(world, input, source, encode);
  const viewer = await viewerOf(input, await world.api.token(input));
  await sleep(2000);
  const from = await count(viewer);
  await sleep(SECONDS * 1000);
  const { frames, longestGapMs } = await seen(viewer.page, from);
  await screenshot(viewer.page, 'rtmp');
  console.log(`rtmp: ${frames.length} frames in ${SECONDS} s`);
  aim('longest standstill of an encoder', longestGapMs, 500);
  assert.ok(frames.length > SECONDS * 8, `${frames.length} frames in ${SECONDS} s`);

  const session = await viewer.page.context().newCDPSession(viewer.page);
  await session.send('Page.setWebLifecycleState', { state: 'frozen' });
  // The page's thread stands still as well, whatever the browser makes of a frozen page that is in front.
  const standing = viewer.page.evaluate(() => {
    const end = performance.now() + 5000;
    while (performance.now() < end);
  });
  await standing;
  await session.send('Page.setWebLifecycleState', { state: 'active' });
  const woke = Date.now();
  await viewer.page.keyboard.press('i');
  const after = await count(viewer);
  await until('the picture after the freeze', 15_000, async () => (await count(viewer)) > after + 10);
  await until('the live edge', 15_000, async () => (await viewer.page.locator('#live').getAttribute('data-at')) === 'edge').catch(
    async (error) => {
      throw new Error(`${error.message}: ${await viewer.page.locator('#stats').innerText()}`);
    },
  );
  aim('back at the live edge after a freeze', Date.now() - woke, 3000);
  assert.deepEqual(viewer.complaints, []);
  await viewer.close();
  await encoder.stop();
});

/** Recipe 2's server, run by node with the package as an application would have it. */
function recipe2() {
  const root = fileURLToPath(new URL('../../..', import.meta.url));
  const sdk = `${files.folder}/app/node_modules/@mainstem/sdk`;
  mkdirSync(sdk, { recursive: true });
  copyFileSync(`${root}/sdk/web/assets/sdk.js`, `${sdk}/sdk.js`);
  writeFileSync(`${sdk}/package.json`, JSON.stringify({ name: '@mainstem/sdk', type: 'module', exports: './sdk.js' }));
  copyFileSync(`${root}/examples/recipe-2/server.mjs`, `${files.folder}/app/server.mjs`);
  const { base, key, org } = world.api;
  const env = { ...process.env, BASE_URL: base, API_KEY: key, ORG_ID: org };
  const said = execFileSync(process.execPath, [`${files.folder}/app/server.mjs`], { env, encoding: 'utf8' });
  const { input, streamKey, token } = JSON.parse(said);
  return { lv: input, key: streamKey, token };
}

test('recipe_2_runs_as_it_is_written_and_its_picture_comes_back_when_a_relay_restarts', async () => {
  const input = recipe2();
  const encoder = push(world, input, SOURCE, [...X264, '-b:v', '600k', '-c:a', 'aac']);
  const first = await edge(world);
  const relay = `${httpsOf(first.ready.moqt)}#sha256=${first.ready.cert_sha256}`;
  const settings = new URLSearchParams({ relay, input: input.lv, token: input.token });
  const examples = await site(world.ready.http);
  const url = `${examples.url}/recipe-2/index.html#${settings}`;
  const viewer = await open(browser, url, { allows: CONNECTION_ERRORS });
  await until('the picture', 20_000, async () => (await count(viewer)) > 30);
  assert.match(await viewer.page.locator('#log').textContent(), /live/);
  await first.process.stop('SIGKILL');
  const second = await edge(world, { moqt: authority(first.ready.moqt) });
  const back = Date.now();
  const before = await count(viewer);
  await until('the picture after the restart', 30_000, async () => (await count(viewer)) > before + 15);
  aim('picture back after a relay restarted', Date.now() - back, 3000);
  assert.deepEqual(viewer.complaints, []);
  await viewer.close();
  examples.close();
  await second.process.stop();
  await encoder.stop();
});

test('links_that_do_not_permit_say_auth_failed', async () => {
  const [input, other] = [await world.api.input('rtmp'), await world.api.input('rtmp')];
  const token = await world.api.token(input);
  const [head, claims, signature] = token.split('.');
  const turned = signature.startsWith('A') ? `B${signature.slice(1)}` : `A${signature.slice(1)}`;
  const cases = {
    forged: `${head}.${claims}.${turned}`,
    foreign: await world.api.token(other),
    nonsense: 'not-a-token',
  };
  for (const [name, wrong] of Object.entries(cases)) {
    const viewer = await open(browser, `${pages}/watch/${input.lv}#tok=${wrong}`, { allows: CONNECTION_ERRORS });
    await viewer.page.getByRole('heading', { name: 'This link does not open the stream' }).waitFor({ timeout: 15_000 });
    assert.equal(await viewer.page.locator('#card-code').textContent(), 'auth_failed', name);
    await screenshot(viewer.page, `auth-${name}`);
    assert.deepEqual(viewer.complaints, [], name);
    await viewer.close();
  }
});

test('a_token_that_ends_while_it_is_watched_says_auth_failed', async () => {
  const encoder = push(world, expiring, SOURCE, [...X264, '-b:v', '600k', '-c:a', 'aac']);
  const left = () => expiresAt - Date.now();
  const token = left() > 8000 ? expiringToken : await world.api.token(expiring, 30);
  const viewer = await viewerOf(expiring, token, { allows: CONNECTION_ERRORS });
  await viewer.page.getByRole('heading', { name: 'This link does not open the stream' }).waitFor({ timeout: 60_000 });
  assert.equal(await viewer.page.locator('#card-code').textContent(), 'auth_failed');
  await viewer.close();
  await encoder.stop();
});

test('a_narrow_road_brings_a_smaller_picture_and_a_wide_one_the_large_one_back', async () => {
  const input = await world.api.input();
  const token = await world.api.token(input);
  const file = `${files.folder}/two.mp4`;
  const two = ['-map', '0:v', '-map', '0:v', '-map', '1:a', '-s:v:0', '1280x720', '-b:v:0', '2500k', '-maxrate:v:0', '2500k'];
  two.push('-bufsize:v:0', '1250k', '-s:v:1', '320x180', '-b:v:1', '300k', '-maxrate:v:1', '300k', '-bufsize:v:1', '150k');
  const args = ['-hide_banner', '-loglevel', 'error', '-y', ...SOURCE, '-t', '12', ...two, ...X264, '-c:a', 'aac'];
  execFileSync(FFMPEG, [...args, '-movflags', 'frag_every_frame+empty_moov+default_base_moof', file], { stdio: 'inherit' });
  const publisher = publish(world, input, file);
  const viewer = await viewerOf(input, token);
  const height = () => viewer.page.evaluate(() => window.probe.frames.at(-1)?.height);
  await until('the large picture', 20_000, async () => (await height()) === 720);
  await sleep(3000);
  const from = await count(viewer);
  // What the relay sends, and nothing else, has 40 % of the large picture's bits.
  const port = authority(world.ready.moqt).split(':')[1];
  const road = (...change) => execFileSync('tc', change, { stdio: 'inherit' });
  road('qdisc', 'add', 'dev', 'lo', 'root', 'handle', '1:', 'htb', 'default', '1');
  try {
    road('class', 'add', 'dev', 'lo', 'parent', '1:', 'classid', '1:1', 'htb', 'rate', '10gbit', 'quantum', '60000');
    road('class', 'add', 'dev', 'lo', 'parent', '1:', 'classid', '1:2', 'htb', 'rate', '1000kbit', 'burst', '8k');
    road('qdisc', 'add', 'dev', 'lo', 'parent', '1:2', 'handle', '20:', 'tbf', 'rate', '1000kbit', 'burst', '16kb', 'latency', '200ms');
    const fromRelay = ['match', 'ip', 'protocol', '17', '0xff', 'match', 'ip', 'sport', port, '0xffff'];
    road('filter', 'add', 'dev', 'lo', 'parent', '1:', 'protocol', 'ip', 'u32', ...fromRelay, 'flowid', '1:2');
    await until('the smaller picture', 20_000, async () => (await height()) === 180);
    await sleep(3000);
    const { longestGapMs } = await seen(viewer.page, from);
    aim('longest standstill while the road got narrow', longestGapMs, 500);
  } finally {
    road('qdisc', 'del', 'dev', 'lo', 'root');
  }
  await until('the large picture again', 45_000, async () => (await height()) === 720);
  await screenshot(viewer.page, 'abr');
  assert.deepEqual(viewer.complaints, []);
  await viewer.close();
  await publisher.stop();
});

test('everything_ends_in_order', async () => {
  await browser.close();
  assert.equal((await world.process.stop()).code, 0);
  files.end();
});
