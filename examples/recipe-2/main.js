// RTMP event to thousands of viewers, the viewer's part: play with a token that a server minted.

import { Streams } from '/sdk/sdk.js';
import { log, settings } from '../settings.js';

const videoEl = document.querySelector('video');
const tokenFromUrl = settings.token;

const dataPlane = new Streams({ apiBase: '', relayUrl: settings.relay, token: tokenFromUrl });
const viewer = dataPlane.viewer({ onStarted: () => log('live') });
viewer.attach(videoEl);
await viewer.play(settings.input);
log('latency', Math.round(viewer.stats().latencyMs ?? 0), 'ms');
