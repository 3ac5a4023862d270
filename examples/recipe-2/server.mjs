// RTMP event to thousands of viewers, the server's part: make an input for the encoder, mint tokens for viewers.
//
//   BASE_URL=http://127.0.0.1:8080 API_KEY=tqs_live_.. ORG_ID=org_.. node server.mjs
//
// Prints one line of JSON: where the encoder pushes, with which key, and a token for a viewer.

import { Streams } from '@mainstem/sdk';

const streams = new Streams({
  baseUrl: process.env.BASE_URL,
  apiKey: process.env.API_KEY,
  orgId: process.env.ORG_ID,
});

const { input } = await streams.liveInputs.create({
  name: 'Keynote 2026', ingest: 'rtmp',
});
const { streamKey } = await input.rotateStreamKey(); // fresh key for the event

// In your app server, behind your own auth:
async function playbackForViewer() {
  const inp = await streams.liveInputs.get({ id: input.id });
  const { token } = await inp.signedPlaybackUrl({ ttlSeconds: 900 });
  return token; // 15-minute token; the client fetches another before it ends
}

console.log(JSON.stringify({ input: input.external_input_id, streamKey, token: await playbackForViewer() }));
