// Go live from the browser, watch with a signed URL: create input, publish a webcam, watch.

import { Streams } from '/sdk/sdk.js';
import { log, settings } from '../settings.js';

// 1. Create a live input.
const streams = new Streams({
  baseUrl: settings.api,
  apiKey: settings.key,
  orgId: settings.org,
});
const { input, streamKey } = await streams.liveInputs.create({
  name: 'Live Demo', ingest: 'fmp4',
});
log('input', input.external_input_id);

// 2. Publish a webcam over MoQT.
const dataPlane = new Streams({ relayUrl: settings.relay });
const pub = dataPlane.publisher({ timesliceMs: 1000 });
const cam = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
await pub.publish(
  input.external_input_id,
  streamKey,
  cam,
  `stream/${settings.org}/${input.external_input_id}`,
);
log('published');

// 3. Mint a signed playback URL for viewers.
const { url } = await input.signedPlaybackUrl({ ttlSeconds: 3600 });
log('url', url.replace(/tok=.*/, 'tok=..'));

// 4. Play it into a <video>.
const viewerStreams = new Streams({ apiBase: '', relayUrl: settings.relay });
const viewer = viewerStreams.viewer({
  onStarted: () => log('live'),
  onError: (e) => log('playback error', e.message),
});
viewer.attach(document.querySelector('video'));
await viewer.play(input.external_input_id); // lv_.. : live over MoQT

// 5. Tear down.
const stop = document.querySelector('#stop');
stop.disabled = false;
stop.addEventListener('click', () => {
  pub.stop();
  viewer.stop();
  log('torn down');
});
