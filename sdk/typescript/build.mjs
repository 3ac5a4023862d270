// Builds the package: `dist/sdk.js`, `dist/session.worker.js`, their types and `dist/mainstem.wasm`.
//
//   node build.mjs                everything; the wasm is built by cargo unless MAINSTEM_WASM names a file
//   node build.mjs --js DIR       the two minified scripts alone, into DIR
//   node build.mjs --tests        the unit tests, into dist/test
//
// The scripts are the same on every machine: one esbuild, pinned, no paths, no times.

import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
process.chdir(here);

const common = {
  bundle: true,
  format: 'esm',
  target: ['es2022'],
  charset: 'utf8',
  legalComments: 'none',
  logLevel: 'warning',
};

async function scripts(outdir, minify) {
  mkdirSync(outdir, { recursive: true });
  await build({ ...common, minify, entryPoints: { sdk: 'src/index.ts' }, outdir });
  await build({ ...common, minify, entryPoints: { 'session.worker': 'src/session/worker.ts' }, outdir });
}

function wasm() {
  const named = process.env.MAINSTEM_WASM;
  if (named) return named;
  const root = join(here, '..', '..');
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  const args = ['build', '--profile=wasm', '--target=wasm32-unknown-unknown', '--package=mainstem-wasm'];
  execFileSync('cargo', args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...shortPaths() } });
  return join(target, 'wasm32-unknown-unknown', 'wasm', 'mainstem_wasm.wasm');
}

/** Leaves out of the module where on this machine crates lie, as `sdk/web/build.rs` does. */
function shortPaths() {
  const sources = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'registry', 'src');
  const registries = existsSync(sources) ? readdirSync(sources).sort() : [];
  const flags = registries.map((name) => `--remap-path-prefix=${join(sources, name)}=crates`);
  return { CARGO_ENCODED_RUSTFLAGS: flags.join('\x1f') };
}

const [mode, dir] = process.argv.slice(2);
if (mode === '--tests') {
  rmSync('dist/test', { recursive: true, force: true });
  const tests = readdirSync('test').filter((name) => name.endsWith('.test.ts'));
  const entryPoints = tests.map((name) => `test/${name}`);
  await build({ ...common, platform: 'node', sourcemap: 'inline', entryPoints, outdir: 'dist/test' });
} else if (mode === '--js') {
  await scripts(dir ?? 'dist', true);
} else {
  await scripts('dist', false);
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc'], { stdio: 'inherit' });
  copyFileSync(wasm(), 'dist/mainstem.wasm');
}
