// A site that serves the examples, and the SDK as a site of one's own would: from its own origin.
//
// With `MAINSTEM_BROWSER_SDK` naming a folder, `/sdk/` and the pages come from there, and everything else from the
// control plane: so that pages can be worked on without building the program each time. (Answering in the
// browser's place would not do: Chromium then no longer knows that the page is of this machine, and keeps it from
// connecting to a relay here.)

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const EXAMPLES = fileURLToPath(new URL('../../../examples', import.meta.url));
const SDK = process.env.MAINSTEM_BROWSER_SDK;
const TYPES = {
  '.css': 'text/css',
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

/** The examples at `<url>/recipe-1/` and so on. */
export function site(control) {
  return serve(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://site');
    if (pathname.startsWith('/sdk/')) return pass(control, request, response);
    const file = normalize(join(EXAMPLES, pathname));
    if (!file.startsWith(EXAMPLES)) throw new Error('outside of the examples');
    send(response, file);
  });
}

/** Where the pages of a control plane are opened. */
export async function pagesOf(control) {
  if (SDK === undefined) return control;
  return (await serve((request, response) => pass(control, request, response))).url;
}

/** From the folder, or from the control plane. */
async function pass(control, request, response) {
  const { pathname } = new URL(request.url, 'http://site');
  const page = /^\/(watch|publish)\//.exec(pathname)?.[1];
  const from = await fetch(control + request.url, { headers: { ...request.headers, host: '', 'accept-encoding': '' } });
  for (const name of ['content-type', 'content-security-policy', 'permissions-policy']) {
    if (from.headers.has(name)) response.setHeader(name, from.headers.get(name));
  }
  if (SDK !== undefined && page !== undefined) return send(response, join(SDK, `${page}.html`));
  if (SDK !== undefined && pathname.startsWith('/sdk/')) return send(response, join(SDK, pathname.slice('/sdk/'.length)));
  response.writeHead(from.status);
  response.end(Buffer.from(await from.arrayBuffer()));
}

function send(response, file) {
  const body = readFileSync(file);
  response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'text/plain' });
  response.end(body);
}

async function serve(answer) {
  const server = createServer((request, response) => {
    Promise.resolve()
      .then(() => answer(request, response))
      .catch(() => response.writeHead(404).end());
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
