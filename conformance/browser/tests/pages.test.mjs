// The pages themselves: names, contrast, keys, layout, weight, errors. The SDK is stood in for, so that every
// state can be shown at once; the program serves everything else, with its real policy.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { launch, open, screenshot } from '../src/browser.mjs';
import { contrastFaults, namelessControls } from '../src/checks.mjs';
import { scratch, up } from '../src/mainstem.mjs';
import { aim, sleep, test, until } from '../src/suite.mjs';

const files = scratch('pages');
const world = await up(files.folder);
const browser = await launch();
const at = (path) => `${world.ready.http}${path}`;
const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 800 };

const STATES = [
  ['playing', 'Live'],
  ['behind', 'Go to live'],
  ['waiting', 'Not live yet'],
  ['auth_failed', 'does not open the stream'],
  ['unsupported', 'cannot play live streams'],
  ['unreachable', 'cannot be reached'],
  ['decode', 'cannot be decoded'],
  ['ended', 'has ended'],
];

test('each_state_of_the_player_is_readable_named_and_without_a_shift', async () => {
  for (const [state, words] of STATES) {
    for (const [scheme, viewport] of [
      ['dark', DESK],
      ['light', PHONE],
    ]) {
      const url = at(`/watch/lv_demo?case=${state}#tok=x`);
      const { page, complaints, close } = await open(browser, url, { standIn: true, viewport, colorScheme: scheme });
      await page.getByText(words).first().waitFor({ timeout: 8000 });
      await sleep(300);
      assert.deepEqual(await namelessControls(page), [], `${state}: controls without a name`);
      assert.deepEqual(await contrastFaults(page), [], `${state}, ${scheme}: contrast`);
      const { shift, width } = await page.evaluate(() => ({
        shift: window.probe.shift,
        width: document.documentElement.scrollWidth,
      }));
      assert.ok(shift < 0.01, `${state}: the layout shifts by ${shift}`);
      assert.ok(width <= viewport.width, `${state}: ${width} px wide on ${viewport.width}`);
      assert.deepEqual(complaints, [], `${state}: console`);
      await screenshot(page, `watch-${state}-${scheme}-${viewport.width}`);
      await close();
    }
  }
});

test('the_player_is_worked_by_keys_alone', async () => {
  const { page, close } = await open(browser, at('/watch/lv_demo?case=playing#tok=x'), { standIn: true });
  const video = (name) => page.evaluate((field) => document.querySelector('video')[field], name);
  await until('the picture', 5000, async () => !(await video('paused')));
  const reached = new Set();
  for (let step = 0; step < 20; step += 1) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      const style = getComputedStyle(element);
      const hasRing = style.outlineStyle !== 'none' && Number.parseFloat(style.outlineWidth) >= 2;
      return element === document.body ? undefined : { id: element.id, hasRing };
    });
    if (focused === undefined) continue;
    assert.ok(focused.hasRing, `#${focused.id} shows no focus`);
    reached.add(focused.id);
  }
  for (const id of ['unmute', 'play', 'mute', 'volume', 'info', 'quality', 'full']) {
    assert.ok(reached.has(id), `Tab does not reach #${id}; it reaches ${[...reached].join(', ')}`);
  }
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('k');
  assert.equal(await video('paused'), true, 'k pauses');
  await page.keyboard.press('Space');
  await until('Space to play', 2000, async () => !(await video('paused')));
  const wasMuted = await video('muted');
  await page.keyboard.press('m');
  assert.equal(await video('muted'), !wasMuted, 'm turns the sound on or off');
  await page.keyboard.press('i');
  await page.getByText('after 212 ms').waitFor();
  await page.keyboard.press('q');
  const checked = page.locator('[role=menuitemradio][aria-checked=true]');
  assert.match(await checked.textContent(), /Auto/);
  assert.ok(await checked.evaluate((item) => item === document.activeElement), 'the chosen quality has the focus');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('#quality').getAttribute('aria-label'), 'Quality: 1080p');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'quality', 'the focus comes back');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('#menu').isVisible(), false);
  await close();
});

test('captions_are_offered_when_there_are_some_and_turned_on_by_a_key', async () => {
  const { page, complaints, close } = await open(browser, at('/watch/lv_demo?case=playing#tok=x'), { standIn: true });
  const button = page.locator('#captions');
  await page.getByText('Live').first().waitFor();
  assert.equal(await button.isVisible(), false, 'nothing to turn on');
  await page.evaluate(() => {
    const track = document.querySelector('video').addTextTrack('captions', 'English', 'en');
    track.addCue(new VTTCue(0, 1e6, 'what is said'));
  });
  await button.waitFor({ state: 'attached' });
  const mode = () => page.evaluate(() => document.querySelector('video').textTracks[0].mode);
  await until('the button', 2000, async () => (await button.getAttribute('hidden')) === null);
  await page.keyboard.press('c');
  assert.deepEqual([await mode(), await button.getAttribute('aria-pressed')], ['showing', 'true']);
  assert.deepEqual(await namelessControls(page), []);
  await screenshot(page, 'watch-captions');
  await page.mouse.move(300, 300);
  await button.click();
  assert.deepEqual([await mode(), await button.getAttribute('aria-pressed')], ['disabled', 'false']);
  assert.deepEqual(complaints, []);
  await close();
});

test('behind_is_said_and_one_click_goes_to_live', async () => {
  const { page, close } = await open(browser, at('/watch/lv_demo?case=behind#tok=x'), { standIn: true });
  await page.getByRole('button', { name: 'Go to live' }).click();
  await page.locator('#live[data-at=edge]').waitFor({ timeout: 2000 });
  await close();
});

test('a_link_without_its_token_says_so', async () => {
  const { page, close } = await open(browser, at('/watch/lv_demo'), { standIn: true });
  await page.getByRole('heading', { name: 'The link is not complete' }).waitFor();
  await close();
});

test('the_player_fills_a_frame_of_another_site_and_the_publisher_refuses_one', async () => {
  const frames = createServer((request, response) => {
    const path = request.url === '/watch' ? '/watch/lv_demo?case=playing#tok=x' : '/publish/lv_demo';
    response.setHeader('content-type', 'text/html');
    response.end(`<title>x</title><iframe width=640 height=360 allow="autoplay; fullscreen" src="${at(path)}"></iframe>`);
  });
  await new Promise((resolve) => frames.listen(0, '127.0.0.1', resolve));
  const site = `http://localhost:${frames.address().port}`;
  const { page, close } = await open(browser, `${site}/watch`, { standIn: true });
  const stage = page.frameLocator('iframe').locator('#stage');
  await stage.waitFor();
  const box = await stage.boundingBox();
  assert.deepEqual([box.width, box.height], [640, 360]);
  await screenshot(page, 'watch-framed');
  await close();
  const refused = await open(browser, `${site}/publish`, { standIn: true, allows: [/frame-ancestors|Framing/] });
  await sleep(500);
  assert.equal(await refused.page.frameLocator('iframe').locator('#go').count(), 0);
  await refused.close();
  frames.close();
});

test('the_page_to_go_live_from_shows_devices_and_level_and_keeps_the_key_to_itself', async () => {
  for (const [scheme, viewport] of [
    ['light', DESK],
    ['dark', PHONE],
  ]) {
    const url = at('/publish/lv_demo?case=live#sk=sk_live_secret');
    const { page, complaints, close } = await open(browser, url, { standIn: true, viewport, colorScheme: scheme });
    const asked = [];
    await page.route('**/streams/resolve/**', (route) => {
      asked.push(route.request());
      return route.fulfill({ json: { namespace: 'stream/o/lv_demo', relayUrl: 'https://127.0.0.1:1' } });
    });
    await page.locator('#go:not([disabled])').waitFor();
    assert.equal(new URL(page.url()).hash, '', 'the key leaves the address');
    assert.ok((await page.locator('#camera option').count()) >= 2, 'a camera and the screen');
    await until('the microphone to be seen', 8000, async () => {
      await page.mouse.click(10, 10);
      return (await page.locator('#level').getAttribute('aria-valuenow')) !== '0';
    });
    assert.deepEqual(await namelessControls(page), []);
    assert.deepEqual(await contrastFaults(page), [], scheme);
    await page.getByRole('button', { name: 'Go live' }).click();
    await page.locator('#pill[data-state=live]').waitFor();
    await until('figures', 3000, async () => (await page.locator('#f-time').textContent()) === '00:01');
    assert.deepEqual(await contrastFaults(page), [], `${scheme}, live`);
    await screenshot(page, `publish-live-${scheme}-${viewport.width}`);
    assert.equal(asked[0]?.headers()['authorization'], 'Bearer sk_live_secret');
    assert.ok(!asked.some((request) => request.url().includes('sk_live')), 'no URL holds the key');
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.locator('#pill[data-state=idle]').waitFor();
    assert.ok((await page.evaluate(() => window.probe.shift)) < 0.01);
    assert.deepEqual(complaints, []);
    await close();
  }
});

test('a_wrong_stream_key_is_refused_by_the_control_plane_and_said', async () => {
  const input = await world.api.input();
  const allows = [/403/];
  const { page, close } = await open(browser, at(`/publish/${input.lv}`), { standIn: true, allows });
  await page.locator('#go:not([disabled])').waitFor();
  await page.getByRole('button', { name: 'Go live' }).click();
  await page.getByText('Enter the stream key').waitFor();
  await page.getByLabel('Stream key').fill('sk_live_wrong');
  await page.getByRole('button', { name: 'Go live' }).click();
  await page.getByText('auth_failed').waitFor();
  await close();
});

test('what_a_page_loads_is_small_and_comes_with_a_policy', async () => {
  const weight = async (path) => {
    const answer = await fetch(at(path), { headers: { 'accept-encoding': 'gzip' } });
    assert.equal(answer.status, 200, path);
    assert.equal(answer.headers.get('content-encoding'), 'gzip', path);
    return answer.headers.get('content-length') === null ? 0 : Number(answer.headers.get('content-length'));
  };
  const page = ['/watch/lv_demo', '/sdk/watch.js', '/sdk/page.css', '/sdk/sdk.js', '/sdk/session.worker.js'];
  const sizes = await Promise.all(page.map(weight));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const module = await weight('/sdk/mainstem.wasm');
  console.log(`figure: player page ${(total / 1024).toFixed(1)} kB gzip`);
  assert.ok(total > 0 && total <= 100 * 1024, `${total} bytes`);
  aim('WebAssembly module, gzip', module / 1024, 250, 'kB');
  const policy = (await fetch(at('/watch/lv_demo'))).headers.get('content-security-policy');
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, new RegExp(`connect-src 'self' ${world.ready.moqt.replace('moqt:', 'https:')};`));
});

test('the_program_logs_no_key_and_no_token', async () => {
  await fetch(at('/watch/lv_demo?tok=eyJ-a-secret'));
  await sleep(200);
  assert.ok(!world.process.stderr.includes('eyJ-a-secret') && !world.process.stderr.includes('sk_live_'));
  await browser.close();
  await world.process.stop();
  files.end();
});
