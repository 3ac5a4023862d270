// A very small test runner: tests in the order in which they stand, one result line as cargo prints it, so that
// whoever counts cargo's tests counts these. What a test measured is printed with it.

const tests = [];
/** Asked what they saw when a test fails. */
export const witnesses = [];

/** A claim, and what shows it. */
export function test(name, run) {
  tests.push({ name, run });
}

/** Runs what was declared, as far as the filter takes it; the exit code. */
export async function runTests(filter = '') {
  const wanted = tests.filter((each) => each.name.includes(filter));
  let failed = 0;
  for (const { name, run } of wanted) {
    const begun = Date.now();
    try {
      await withLimit(run(), name);
      console.log(`test ${name} ... ok (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed += 1;
      for (const tell of witnesses) await tell(name).catch(() => {});
      console.log(`test ${name} ... FAILED (${((Date.now() - begun) / 1000).toFixed(1)} s)\n${error?.stack ?? error}`);
    }
  }
  const word = failed === 0 && wanted.length > 0 ? 'ok' : 'FAILED';
  console.log(`\nbrowser tests: ${word}. ${wanted.length - failed} passed; ${failed} failed`);
  return word === 'ok' ? 0 : 1;
}

const LIMIT_MS = 240_000;

async function withLimit(work, name) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${name} took longer than ${LIMIT_MS / 1000} s`)), LIMIT_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until there is an answer that is neither `undefined` nor `false`. */
export async function until(what, limitMs, ask) {
  const begun = Date.now();
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false && answer !== null) return answer;
    if (Date.now() - begun > limitMs) throw new Error(`waited ${limitMs} ms in vain for ${what}`);
    await sleep(50);
  }
}

/** The value below which that part of the values lies. */
export function quantile(values, part) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
}

/** How long a long run takes, in seconds: short in the gate, `MAINSTEM_BROWSER_SECONDS` for the real figure. */
export const SECONDS = Number(process.env.MAINSTEM_BROWSER_SECONDS ?? 15);

/**
 * Holds a figure against what is aimed at. It is printed either way, and fails the test only far beyond: a shared
 * machine's clock proves little. `MAINSTEM_BROWSER_SLACK=1` takes the aim at its word.
 */
export function aim(what, measured, most, unit = 'ms') {
  const verdict = measured <= most ? 'within' : 'warning: above';
  console.log(`figure: ${what} ${Math.round(measured)} ${unit} (${verdict} the ${most} ${unit} aimed at)`);
  if (!(measured <= most * SLACK)) throw new Error(`${what}: ${measured} ${unit}, expected at most ${most * SLACK} ${unit}`);
}

const SLACK = Number(process.env.MAINSTEM_BROWSER_SLACK ?? 5);
