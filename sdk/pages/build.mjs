// Builds what `sdk/web` embeds: the SDK's two scripts, the pages and their scripts, all minified, into
// `sdk/web/assets`, or into the folder that is named.
//
//   node build.mjs [DIR]
//
// The output is the same on every machine: it is committed, and a suite refuses a difference.

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const sdk = join(here, '..', 'typescript');
const outdir = resolve(process.argv[2] ?? join(here, '..', 'web', 'assets'));
const { build } = createRequire(join(sdk, 'package.json'))('esbuild');

mkdirSync(outdir, { recursive: true });
execFileSync(process.execPath, [join(sdk, 'build.mjs'), '--js', outdir], { cwd: sdk, stdio: 'inherit' });
await build({
  absWorkingDir: here,
  bundle: true,
  format: 'esm',
  target: ['es2022'],
  charset: 'utf8',
  legalComments: 'none',
  logLevel: 'warning',
  minify: true,
  // The SDK is one file for all pages, and for those of others.
  external: ['/sdk/sdk.js'],
  entryPoints: { watch: 'src/watch/main.ts', publish: 'src/publish/main.ts', page: 'page.css' },
  outdir,
});
for (const name of ['watch.html', 'publish.html']) {
  // Line breaks stand between attributes and blocks only: to the browser they are nothing.
  const html = readFileSync(join(here, name), 'utf8').replace(/\n\s+/g, '\n');
  writeFileSync(join(outdir, name), html);
}
copyFileSync(join(here, 'icon.svg'), join(outdir, 'icon.svg'));
