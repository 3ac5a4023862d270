// Chromium, its pages, and what they said. Any error on a page's console fails the test that opened it.

import { chromium } from 'playwright-core';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { witnesses } from './suite.mjs';

const HERE = fileURLToPath(new URL('..', import.meta.url));
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const PROBE = join(HERE, 'fixtures', 'probe.js');
export const STAND_IN = join(HERE, 'fixtures', 'stand-in.js');
export const ARTEFACTS = process.env.MAINSTEM_BROWSER_ARTEFACTS ?? join(ROOT, 'target', 'browser-artefacts');

const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
];

/** What the browser itself says about connections that end by a test's design. */
const EXPECTED = [/Failed to establish a connection/, /net::ERR_/, /Failed to load resource/];

export async function launch() {
  const executablePath = process.env.MAINSTEM_CHROMIUM ?? '/usr/bin/chromium';
  return chromium.launch({ executablePath, headless: true, args: ARGUMENTS });
}

/** A page of its own context, with the probe in it, and with `before`, a function that runs before its scripts. `complaints` are errors that nobody expects. */
export async function open(browser, url, { allows = [], standIn = false, before, ...context } = {}) {
  const own = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...context });
  await own.addInitScript({ path: PROBE });
  if (before !== undefined) await own.addInitScript(before);
  const page = await own.newPage();
  const complaints = [];
  const said = [];
  page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
  const witness = async (test) => {
    if (page.isClosed()) return;
    console.log(`--- ${page.url().replace(/[?#].*/, '')} said:\n${said.slice(-30).join('\n')}`);
    await screenshot(page, `failed-${test}-${witnesses.indexOf(witness)}`);
  };
  witnesses.push(witness);
  const expected = [...allows];
  page.on('console', (message) => {
    if (message.type() !== 'error') return;
    if (!expected.some((each) => each.test(message.text()))) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`));
  if (standIn) {
    const body = readFileSync(STAND_IN, 'utf8');
    await page.route('**/sdk/sdk.js', (route) => route.fulfill({ contentType: 'text/javascript', body }));
  }
  await page.goto(url);
  return { page, complaints, close: () => own.close() };
}

/** Errors of a connection that a test breaks by design. */
export const CONNECTION_ERRORS = EXPECTED;

export async function screenshot(page, name) {
  mkdirSync(ARTEFACTS, { recursive: true });
  await page.screenshot({ path: join(ARTEFACTS, `${name}.png`) });
}

/** What the probe saw of a page's picture, from its frame `from` on. */
export async function seen(page, from = 0) {
  const found = await page.evaluate((start) => {
    const { probe } = window;
    return { frames: probe.frames.slice(start), playedAt: probe.playedAt(), shift: probe.shift, now: performance.now() };
  }, from);
  const times = found.frames.map((frame) => frame.at);
  const gaps = times.slice(1).map((at, index) => at - times[index]);
  if (times.length > 0) gaps.push(found.now - times.at(-1));
  return {
    ...found,
    ages: found.frames.map((frame) => frame.age).filter((age) => age !== undefined),
    longestGapMs: Math.max(0, ...gaps),
    firstFrameMs: times.length > 0 && found.playedAt !== undefined ? times[0] - found.playedAt : undefined,
  };
}
