/**
 * The page to go live from, `/publish/<id>`.
 *
 * | state | what can be done |
 * |---|---|
 * | idle | pick devices, enter the stream key, go live |
 * | trying | stop; what is picked is fixed |
 * | live | stop |
 *
 * The stream key comes from the form or from the fragment (`#sk=<key>`), which is taken out of the address at
 * once. It is sent in a header to the control plane and over QUIC to the relay, and stored nowhere.
 */

import { BroadcastPublisher } from '/sdk/sdk.js';
import type { PublisherCloseReason, PublisherState, StreamError } from '/sdk/sdk.js';
import { Card } from '../card.ts';
import { element, rate, say } from '../dom.ts';
import { protocolsOf, readLink } from '../link.ts';
import { DeviceError, Devices, type DeviceTrouble } from './devices.ts';
import { Meter } from './meter.ts';
import { ResolveError, resolve } from './resolve.ts';

const TICK_MS = 500;
const BITRATES: Record<number, number> = { 360: 800_000, 540: 1_500_000, 720: 2_500_000, 1080: 4_500_000 };
const SMALL = { height: 360, bitrate: 600_000 };

const DEVICE_WORDS: Record<DeviceTrouble, [title: string, text: string]> = {
  denied: [
    'No permission for camera and microphone',
    'Allow them for this page, by the camera sign in the address bar or in the browser’s settings.',
  ],
  missing: ['No camera was found', 'Connect a camera, or pick the screen instead.'],
  busy: ['The camera is in use', 'Another program holds it. Close that program, or pick another camera.'],
  insecure: ['This page was not opened safely', 'Browsers give cameras to https:// pages only.'],
  failed: ['The camera did not start', 'Pick another one, or try again.'],
};

const CLOSE_WORDS: Record<PublisherCloseReason, string> = {
  auth_failed: 'The stream key was refused (auth_failed). Check it, or make a new one.',
  network: 'The connection to the relay was lost. Check it and go live again.',
  finished: '',
  closed_by_caller: '',
};

class Page {
  readonly #link = readLink(location);
  readonly #stage = element('stage', HTMLElement);
  readonly #preview = element('preview', HTMLVideoElement);
  readonly #form = element('form', HTMLFormElement);
  readonly #sources = element('sources', HTMLFieldSetElement);
  readonly #key = element('key', HTMLInputElement);
  readonly #ladder = element('ladder', HTMLInputElement);
  readonly #go = element('go', HTMLButtonElement);
  readonly #error = element('error', HTMLElement);
  readonly #pill = element('pill', HTMLElement);
  readonly #pillText = element('pill-text', HTMLElement);
  readonly #card = new Card();
  readonly #meter = new Meter();
  readonly #devices = new Devices(
    () => void this.#openDevices(),
    (what) => this.#onLost(what),
  );
  #media: MediaStream | undefined;
  #publisher: BroadcastPublisher | undefined;
  #liveSince = 0;
  /** Raised by each try and each stop: what an earlier one says is not heard. */
  #round = 0;

  begin(): void {
    say(element('title', HTMLElement), `Go live on ${this.#link.id}`);
    document.title = `Go live on ${this.#link.id} – Mainstem`;
    if (this.#link.streamKey !== undefined) {
      this.#key.value = this.#link.streamKey;
      // Neither the history nor a screen that is shown shall hold the key.
      history.replaceState(null, '', location.pathname + location.search);
    }
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#publisher === undefined) void this.#goLive();
      else this.#stop();
    });
    window.addEventListener('pagehide', () => this.#stop());
    window.addEventListener('beforeunload', (event) => {
      if (this.#publisher !== undefined) event.preventDefault();
    });
    setInterval(() => this.#tick(), TICK_MS);
    void this.#openDevices();
  }

  async #openDevices(): Promise<void> {
    this.#go.disabled = true;
    this.#stage.dataset['view'] = 'loading';
    try {
      this.#media = await this.#devices.open();
      this.#preview.srcObject = this.#media;
      this.#preview.classList.toggle('mirrored', !this.#devices.isScreen);
      this.#meter.follow(this.#media);
      this.#card.hide();
      this.#stage.dataset['view'] = 'preview';
      this.#go.disabled = false;
    } catch (error) {
      const trouble = error instanceof DeviceError ? error.trouble : 'failed';
      const [title, text] = DEVICE_WORDS[trouble];
      this.#stage.dataset['view'] = 'message';
      this.#card.show({ title, text, action: { label: 'Try again', run: () => void this.#openDevices() } });
    }
  }

  async #goLive(): Promise<void> {
    const media = this.#media;
    const key = this.#key.value.trim();
    if (media === undefined) return;
    if (key === '') {
      this.#complain('Enter the stream key of this input.');
      this.#key.focus();
      return;
    }
    this.#complain('');
    this.#show('trying', 'Connecting');
    const round = (this.#round += 1);
    try {
      const where = await resolve(this.#link.id, key);
      if (round !== this.#round) return;
      const publisher = this.#made(where.relayUrl, where.serverCertificateHashes, round);
      this.#publisher = publisher;
      await publisher.publish(this.#link.id, key, media, where.namespace);
    } catch (error) {
      if (round !== this.#round) return;
      const isRefused = (error as ResolveError | StreamError).reason === 'auth_failed';
      const said = error instanceof Error ? error.message : String(error);
      this.#end(isRefused ? CLOSE_WORDS.auth_failed : `Going live failed: ${said}.`);
    }
  }

  #made(relayUrl: string | undefined, hashes: string[], round: number): BroadcastPublisher {
    const height = this.#devices.height;
    const top = { height, bitrate: BITRATES[height] ?? 2_500_000 };
    const isLadder = this.#ladder.checked && height > SMALL.height;
    const heard = <T>(run: (said: T) => void) => (said: T): void => {
      if (round === this.#round) run(said);
    };
    return new BroadcastPublisher({
      apiBase: '',
      relayUrl,
      serverCertificateHash: hashes,
      protocols: protocolsOf(this.#link),
      renditions: isLadder ? [top, SMALL] : [top],
      onState: heard((state: PublisherState) => this.#onState(state)),
      onError: heard((error: StreamError) => console.warn('publishing:', error.message)),
      onClose: heard((reason: PublisherCloseReason) => this.#end(CLOSE_WORDS[reason])),
    });
  }

  #stop(): void {
    this.#publisher?.stop();
    this.#end('');
  }

  /** Not live any more, and why. */
  #end(complaint: string): void {
    this.#round += 1;
    this.#publisher?.stop();
    this.#publisher = undefined;
    this.#liveSince = 0;
    this.#show('idle', 'Not live');
    this.#complain(complaint);
  }

  #onState(state: PublisherState): void {
    if (state === 'live') {
      this.#liveSince ||= performance.now();
      this.#show('live', 'Live');
    } else if (state === 'reconnecting' || state === 'connecting') {
      this.#show('trying', state === 'connecting' ? 'Connecting' : 'Reconnecting');
    }
  }

  #onLost(what: string): void {
    const wasLive = this.#publisher !== undefined;
    this.#stop();
    this.#complain(`${what} is gone${wasLive ? ', so the broadcast has ended' : ''}. Pick another one.`);
    this.#go.disabled = true;
  }

  #show(state: 'idle' | 'trying' | 'live', words: string): void {
    const isBusy = state !== 'idle';
    this.#pill.dataset['state'] = state;
    say(this.#pillText, words);
    this.#card.announce(words);
    this.#sources.disabled = isBusy;
    this.#go.dataset['live'] = String(isBusy);
    say(this.#go, isBusy ? 'Stop' : 'Go live');
  }

  #complain(text: string): void {
    say(this.#error, text);
  }

  #tick(): void {
    const publisher = this.#publisher;
    if (publisher === undefined || this.#liveSince === 0) return;
    const stats = publisher.stats();
    const seconds = Math.floor((performance.now() - this.#liveSince) / 1000);
    const figures: [id: string, text: string][] = [
      ['f-time', clock(seconds)],
      ['f-bitrate', `${rate(stats.bitrate)} of ${rate(stats.targetBitrate)}`],
      ['f-picture', `${stats.width} × ${stats.height}, ${Math.round(stats.framerate)} fps`],
      ['f-queue', `${Math.round(stats.queuedBytes / 1024)} kB`],
      ['f-frames', `${stats.encodedFrames}, ${stats.droppedFrames} left out`],
      ['f-transport', stats.protocol || '–'],
    ];
    for (const [id, text] of figures) say(element(id, HTMLElement), text);
  }
}

/** Hours, minutes, seconds. */
function clock(seconds: number): string {
  const two = (number: number): string => String(number).padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return hours > 0 ? `${hours}:${rest}` : rest;
}

new Page().begin();
