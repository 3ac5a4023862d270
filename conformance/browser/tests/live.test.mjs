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

/** A page that sends the camera with the counter, live. `pick` makes the choices on it. */
async function sends(input, { query = '', pick = async () => {}, ...more } = {}) {
  const publisher = await open(browser, `${pages}/publish/${input.lv}?camera=counter${query}#sk=${input.key}`, more);
  await pick(publisher.page);
  await publisher.page.locator('#go:not([disabled])').click();
  await publisher.page.locator('#pill[data-state=live]').waitFor({ timeout: 15_000 });
  return publisher;
}

/** A page that watches, with the picture there. */
async function watches(input, token, { query = '', ...more } = {}) {
  const viewer = await open(browser, `${pages}/watch/${input.lv}${query}#tok=${token}`, more);
  await until('the picture', 20_000, async () => (await seen(viewer.page)).frames.length > 5);
  return viewer;
}

const height = (viewer) => viewer.page.evaluate(() => window.probe.frames.at(-1)?.height);

test('a_camera_is_seen_in_another_page_and_by_the_command_within_its_latency_also_while_the_microphone_pauses', async () => {
  const input = await world.api.input();
  const token = await world.api.token(input);
  const publisher = await sends(input, { pick: (page) => page.locator('#size').selectOption('360') });
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
  const paused = (await seen(viewer.page)).frames.length;
  await publisher.page.evaluate(() => window.probe.sound.suspend());
  await sleep(1500);
  await publisher.page.evaluate(() => window.probe.sound.resume());
  await sleep(1000);
  aim('longest standstill while the microphone pauses', (await seen(viewer.page, paused)).longestGapMs, 300);
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
  const publisher = await sends(input);
  await until('the picture', 20_000, async () => (await seen(viewer.page)).frames.length > 10);
  assert.equal(await viewer.page.locator('#card').isVisible(), false);
  assert.deepEqual(viewer.complaints, []);
  await viewer.close();
  await publisher.close();
});

test('older_drafts_carry_the_picture_and_a_smaller_rendition_is_chosen_by_hand', async () => {
  const input = await world.api.input();
  const token = await world.api.token(input);
  const pick = async (page) => {
    await page.locator('#size').selectOption('540');
    await page.locator('#ladder').check();
  };
  const publisher = await sends(input, { query: '&lines=540&protocols=moqt-18', pick });
  const [by18, by16] = await Promise.all(
    ['moqt-18', 'moqt-16'].map((protocol) => watches(input, token, { query: `?protocols=${protocol}` })),
  );
  await by18.page.keyboard.press('i');
  await by16.page.keyboard.press('i');
  await by18.page.locator('#s-transport', { hasText: /^moqt-18/ }).waitFor();
  await by16.page.locator('#s-transport', { hasText: /^moqt-16/ }).waitFor();
  await publisher.page.locator('#f-transport', { hasText: /^moqt-18/ }).waitFor();
  const from = (await seen(by16.page)).frames.length;

  await by18.page.keyboard.press('q');
  await by18.page.getByRole('menuitemradio', { name: /^360p/ }).click();
  await until('the smaller rendition', 10_000, async () => (await height(by18)) === 360);
  assert.equal(await by18.page.locator('#quality').getAttribute('aria-label'), 'Quality: 360p');
  const small = (await seen(by18.page)).frames.length;
  await sleep(1500);
  const { frames, ages } = await seen(by18.page, small);
  assert.ok(frames.length > 10 && frames.every((frame) => frame.height === 360), 'what was chosen is kept');
  assert.ok(ages.length > frames.length * 0.8, `${ages.length} of ${frames.length} small frames show their counter`);
  await screenshot(by18.page, 'live-smaller-rendition');
  await by18.page.keyboard.press('q');
  await by18.page.getByRole('menuitemradio', { name: /^540p/ }).click();
  await until('the larger rendition', 10_000, async () => (await height(by18)) === 540);

  const other = await seen(by16.page, from);
  assert.ok(other.frames.length > 40 && other.ages.length > other.frames.length * 0.8, `${other.frames.length} frames at draft 16`);
  assert.deepEqual([...publisher.complaints, ...by18.complaints, ...by16.complaints], []);
  for (const each of [by18, by16, publisher]) await each.close();
});

test('a_page_publishes_at_draft_16_and_a_camera_that_is_unplugged_ends_the_broadcast_and_says_so', async () => {
  const input = await world.api.input();
  const publisher = await sends(input, { query: '&protocols=moqt-16' });
  const viewer = await watches(input, await world.api.token(input));
  await publisher.page.locator('#f-transport', { hasText: /^moqt-16/ }).waitFor();
  // A device that goes away ends its track, and says so.
  await publisher.page.evaluate(() => {
    const [track] = window.probe.camera.getVideoTracks();
    track.stop();
    track.dispatchEvent(new Event('ended'));
  });
  await publisher.page.getByText('is gone, so the broadcast has ended').waitFor();
  await publisher.page.locator('#pill[data-state=idle]').waitFor();
  await viewer.page.getByText(/has ended|Not live yet/).first().waitFor({ timeout: 15_000 });
  await screenshot(publisher.page, 'live-camera-gone');
  assert.deepEqual([...publisher.complaints, ...viewer.complaints], []);
  await publisher.close();
  await viewer.close();
});

test('a_broadcast_of_an_own_page_goes_on_without_its_sound_and_is_finished_when_all_tracks_ended', async () => {
  const input = await world.api.input();
  const own = await open(browser, `${pages}/publish/${input.lv}?camera=counter`);
  await own.page.evaluate(
    async ({ lv, key, relayUrl }) => {
      const { BroadcastPublisher } = await import('/sdk/sdk.js');
      const media = window.probe.counterStream();
      const told = (window.told = { media, errors: [], closed: undefined });
      const publisher = (window.told.publisher = new BroadcastPublisher({
        relayUrl,
        onError: (error) => told.errors.push(error.message),
        onClose: (reason) => (told.closed = reason),
      }));
      const where = await fetch(`/streams/resolve/${lv}`, { headers: { authorization: `Bearer ${key}` } });
      await publisher.publish(lv, key, media, (await where.json()).namespace);
    },
    { lv: input.lv, key: input.key, relayUrl: relay },
  );
  const viewer = await watches(input, await world.api.token(input));
  await own.page.evaluate(() => window.told.media.getAudioTracks()[0].stop());
  await sleep(500);
  const from = (await seen(viewer.page)).frames.length;
  await until('the picture without its sound', 10_000, async () => (await seen(viewer.page)).frames.length > from + 30);
  assert.equal(await own.page.evaluate(() => window.told.closed), undefined);
  await own.page.evaluate(() => window.told.media.getVideoTracks()[0].stop());
  await until('the close', 5000, () => own.page.evaluate(() => window.told.closed));
  const { closed, errors, state } = await own.page.evaluate(() => ({ ...window.told, media: 0, state: window.told.publisher.state, publisher: 0 }));
  assert.deepEqual({ closed, errors, state }, { closed: 'finished', errors: [], state: 'ended' });
  await viewer.page.getByRole('heading', { name: 'The stream has ended' }).waitFor({ timeout: 15_000 });
  assert.deepEqual([...own.complaints, ...viewer.complaints], []);
  await own.close();
  await viewer.close();
});

test('a_shared_screen_is_watched', async () => {
  const input = await world.api.input();
  const publisher = await open(browser, `${pages}/publish/${input.lv}#sk=${input.key}`);
  await publisher.page.locator('#go:not([disabled])').waitFor();
  // The screen is given to a page only on a person's wish; this browser gives a made-up one without asking.
  await publisher.page.locator('h1').click();
  await publisher.page.locator('#camera').selectOption('screen');
  await until('the screen', 10_000, () =>
    publisher.page.evaluate(() => {
      const preview = document.querySelector('#preview');
      const [picture] = preview.srcObject?.getVideoTracks() ?? [];
      return picture?.getSettings().displaySurface === 'monitor' && !preview.classList.contains('mirrored');
    }),
  );
  await publisher.page.locator('#go:not([disabled])').click();
  await publisher.page.locator('#pill[data-state=live]').waitFor({ timeout: 15_000 });
  const viewer = await watches(input, await world.api.token(input));
  const size = () => viewer.page.evaluate(() => [document.querySelector('video').videoWidth, document.querySelector('video').videoHeight]);
  assert.deepEqual(await size(), [1280, 720]);
  await screenshot(viewer.page, 'live-screen');
  assert.deepEqual([...publisher.complaints, ...viewer.complaints], []);
  await viewer.close();
  await publisher.close();
});

test('a_browser_without_webtransport_is_told_so_and_a_fallback_is_handed_the_stream', async () => {
  const input = await world.api.input();
  const token = await world.api.token(input);
  const before = () => {
    delete window.WebTransport;
    // What a browser with an HLS player of its own would do with a playlist is not the question here.
    HTMLMediaElement.prototype.canPlayType = () => '';
  };
  const { page, complaints, close } = await open(browser, `${pages}/watch/${input.lv}#tok=${token}`, { before });
  await page.getByRole('heading', { name: 'This browser cannot play live streams' }).waitFor({ timeout: 10_000 });
  assert.equal(await page.locator('#card-code').textContent(), 'unsupported');
  await screenshot(page, 'live-unsupported');
  const told = await page.evaluate(
    async ({ lv, tok }) => {
      const { BroadcastViewer } = await import('/sdk/sdk.js');
      const found = { states: [] };
      const fallback = {
        play: async ({ id, video, hlsUrl, token: given }) => {
          Object.assign(found, { id, hlsUrl, given: given === tok, hasVideo: video instanceof HTMLVideoElement });
        },
        stop: () => (found.stopped = true),
      };
      const viewer = new BroadcastViewer({
        apiBase: '',
        token: tok,
        fallback,
        onStarted: () => (found.started = true),
        onState: (state) => found.states.push(state),
        onClose: (reason) => (found.closed = reason),
      }).attach(document.createElement('video'));
      await viewer.play(lv);
      found.transport = viewer.stats().transport;
      viewer.stop();
      return found;
    },
    { lv: input.lv, tok: token },
  );
  assert.deepEqual(told, {
    id: input.lv,
    hlsUrl: `/playback/${input.lv}/index.m3u8?tok=${encodeURIComponent(token)}`,
    given: true,
    hasVideo: true,
    started: true,
    states: ['connecting', 'playing', 'idle'],
    transport: 'fallback',
    stopped: true,
    closed: 'closed_by_caller',
  });
  assert.deepEqual(complaints, []);
  await close();
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
