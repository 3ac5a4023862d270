// Shaka Player, an MoQT client of other makers, as a site of its own: its experimental build is the one that knows MoQT
// and MSF catalogs.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('..', import.meta.url));
const PACKAGE = join(HERE, 'node_modules/shaka-player');

/** As the player tells it, too: `v5.2.12`. */
export const SHAKA_VERSION = `v${JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')).version}`;

/** A page with the player; `fingerprint` is the relay's certificate hash, in hex. */
export async function shakaSite(fingerprint) {
  const files = {
    '/': ['text/html', readFileSync(join(HERE, 'fixtures/shaka.html'))],
    '/shaka.js': ['text/javascript', readFileSync(join(PACKAGE, 'dist/shaka-player.experimental.js'))],
    '/fingerprint.txt': ['text/plain', fingerprint],
    '/favicon.ico': ['image/x-icon', ''],
  };
  const server = createServer((request, response) => {
    const [type, body] = files[new URL(request.url, 'http://site').pathname] ?? [];
    response.writeHead(type === undefined ? 404 : 200, { 'content-type': type ?? 'text/plain' });
    response.end(body ?? '');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
