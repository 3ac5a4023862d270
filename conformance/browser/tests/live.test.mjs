// A camera in one page, the picture in another, and the same stream in `mainstem watch` at once.

import assert from 'node:assert/strict';
import { launch, open, screenshot, seen } from '../src/browser.mjs';
import { demo, httpsOf, scratch, up, watch } from '../src/mainstem.mjs';
import { pagesOf, site } from '../src/site.mjs';
import { SECONDS, aim, quantile, sleep, test, until } from '../src/suite.mjs';

const FIRST_FRAME_MS = 500;
const GLASS_TO_GLASS_MS = 300;
const STALL_MS = 500;

const files = scratch('live');
const world = await up(files.folder);
const pages = await pagesOf(world.ready.http);
const browser = await launch();
const relay = `${httpsOf(world.ready.moqt)}#sha256=${world.ready.cert_sha256}`;

test('recipe_1_runs_as_it_is_written', async () => {
  const examples = await site(world.ready.http);
  const settings = new URLSearchParams({
    api: world.ready.http,
    key: world.api.key,
    org: world.api.org,
    relay,
  });
  const { page, complaints, close } = await open(browser, `${examples.url}/recipe-1/index.html#${settings}`);
  await page.locator('#log li', { hasText: /^live$/ }).waitFor({ timeout: 20_000 });
  await sleep(3000);
  const { frames } = await seen(page);
  assert.ok(frames.length > 30, `${frames.length} frames in three seconds`);
  await screenshot(page, 'recipe-1');
  await page.locator('#stop:not([disabled])').click();
  await page.getByText('torn down').waitFor();
  const before = (await seen(page)).frames.length;
  await sleep(700);
  assert.ok((await seen(page)).frames.length - before < 5, 'the picture stands after the end');
  assert.deepEqual(complaints, []);
  await close();
  examples.close();
});

test('a_camera_is_seen_in_another_page_and_by_the_command_within_its_latency', async () => {
  const input = await world.api.input();
  const token = await world.api.token(input);
  const publisher = await open(browser, `${pages}/publish/${input.lv}?camera=counter#sk=${input.key}`);
  await publisher.page.locator('#size').selectOption('360');
  await publisher.page.locator('#go:not([disabled])').click();
  await publisher.page.locator('#pill[data-state=live]').waitFor({ timeout: 15_000 });
  await sleep(1500);

  const command = watch(world, input, token, 8);
  const viewer = await open(browser, `${pages}/watch/${input.lv}#tok=${token}`);
  await until('the picture', 15_000, async () => (await seen(viewer.page)).frames.length > 0);
  const { firstFrameMs } = await seen(viewer.page);
  // The first second is for the buffer to find its size.
  await sleep(2000);
  const from = (await seen(viewer.page)).frames.length;
  await sleep(SECONDS * 1000);
  const { ages, longestGapMs, frames, shift } = await seen(viewer.page, from);
  await viewer.page.keyboard.press('i');
  await sleep(400);
  await screenshot(viewer.page, 'live-watch');
  await screenshot(publisher.page, 'live-publish');
  const [p50, p95] = [quantile(ages, 0.5), quantile(ages, 0.95)];
  console.log(
    `live: first frame ${Math.round(firstFrameMs)} ms after play(), glass to glass p50 ${p50} ms, p95 ${p95} ms over ` +
      `${SECONDS} s, ${frames.length} frames, longest standstill ${Math.round(longestGapMs)} ms`,
  );
  console.log(`live: ${(await viewer.page.locator('#stats').innerText()).replaceAll(/\n+/g, ' ')}`);
  const report = await command.report();
  console.log(`live: the command got ${JSON.stringify(report.tracks ?? report).slice(0, 300)}`);
  assert.equal(report.gaps, 0, 'the command misses frames');
  assert.ok(ages.length > frames.length * 0.9, `${ages.length} of ${frames.length} frames show their counter`);
  aim('first frame after play()', firstFrameMs, FIRST_FRAME_MS);
  aim('glass to glass p50', p50, GLASS_TO_GLASS_MS);
  aim('longest standstill of a camera', longestGapMs, STALL_MS);
  assert.ok(frames.length > SECONDS * 5, `${frames.length} frames in ${SECONDS} s`);
  assert.ok(shift < 0.01, `the layout shifts by ${shift}`);
  assert.match(await viewer.page.locator('#live').textContent(), /Live/);
  assert.deepEqual([...viewer.complaints, ...publisher.complaints], []);

  await publisher.page.getByRole('button', { name: 'Stop' }).click();
  await viewer.page.getByText(/has ended|Not live yet/).first().waitFor({ timeout: 15_000 });
  await viewer.close();
  await publisher.close();
});

test('a_page_that_was_opened_too_early_begins_by_itself', async () => {
  const input = await world.api.input();
  const viewer = await open(browser, `${pages}/watch/${input.lv}#tok=${await world.api.token(input)}`);
  await viewer.page.getByRole('heading', { name: 'Not live yet' }).waitFor({ timeout: 15_000 });
  await screenshot(viewer.page, 'live-not-yet');
  const publisher = await open(browser, `${pages}/publish/${input.lv}?camera=counter#sk=${input.key}`);
  await publisher.page.locator('#go:not([disabled])').click();
  await until('the picture', 20_000, async () => (await seen(viewer.page)).frames.length > 10);
  assert.equal(await viewer.page.locator('#card').isVisible(), false);
  assert.deepEqual(viewer.complaints, []);
  await viewer.close();
  await publisher.close();
});

test('the_link_that_the_demo_prints_opens_a_live_stream', async () => {
  const { process, link } = await demo(files.folder);
  const { page, complaints, close } = await open(browser, link);
  await until('the picture', 15_000, async () => (await seen(page)).frames.length > 25);
  assert.match(await page.locator('#live').textContent(), /Live/);
  await screenshot(page, 'demo');
  assert.deepEqual(complaints, []);
  await close();
  await process.stop();
});

test('everything_ends_in_order', async () => {
  await browser.close();
  assert.equal((await world.process.stop()).code, 0);
  files.end();
});
