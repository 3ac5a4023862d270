/**
 * The player page, `/watch/<id>#tok=<token>`.
 *
 * | view of the stage | when |
 * |---|---|
 * | `loading` | nothing has been shown yet |
 * | `playing`, `buffering`, `paused` | there is a picture |
 * | `message` | a card says what is the matter |
 *
 * Settings in the query: `muted=1`, `autoplay=0`, `quality=<rendition>`, `title=<text>`, `protocols=moqt-18`.
 */

import { BroadcastViewer } from '/sdk/sdk.js';
import type { StreamError, ViewerCloseReason, ViewerState } from '/sdk/sdk.js';
import { Card } from '../card.ts';
import { element, rate, say } from '../dom.ts';
import { protocolsOf, readLink } from '../link.ts';
import { Controls } from './controls.ts';
import { QualityMenu } from './menu.ts';
import { message, type Trouble } from './messages.ts';
import { Readout, placeOf } from './readout.ts';

const TICK_MS = 250;
/** How long a lost connection may be looked for before the page says so. */
const UNREACHABLE_AFTER_MS = 4000;
/** A page whose clock misses so many milliseconds stood still. */
const FROZEN_MS = 2000;
/** How long what came meanwhile may still arrive. */
const REJOIN_MS = 2000;
/** Pause before the page begins anew what its viewer has given up. */
const AGAIN_AFTER_MS = 5000;

class Player {
  readonly #link = readLink(location);
  readonly #video = element('video', HTMLVideoElement);
  readonly #stage = element('stage', HTMLElement);
  readonly #card = new Card();
  readonly #readout = new Readout();
  readonly #menu = new QualityMenu((name) => this.#chooseQuality(name));
  readonly #controls = new Controls(this.#video, {
    play: () => this.#resume(),
    pause: () => this.#video.pause(),
    live: () => this.#goLive(),
    quality: () => this.#menu.toggle(),
    statistics: () => this.#readout.toggle(),
  });
  #viewer: BroadcastViewer | undefined;
  #quality = this.#link.settings.get('quality') ?? 'auto';
  #unreachableTimer = 0;
  #tickedAt = performance.now();
  #rejoinUntil = 0;
  /** Whether an error was shown that names its cause. */
  #isTold = false;
  /** Raised when the present viewer is given up: what it says later is not heard. */
  #round = 0;

  begin(): void {
    const title = this.#link.settings.get('title') ?? this.#link.id;
    say(element('title', HTMLElement), title);
    document.title = `${title} – Mainstem`;
    document.body.classList.toggle('framed', window.top !== window.self);
    setInterval(() => this.#tick(), TICK_MS);
    this.#controls.showPlace('none');
    this.#menu.fill([{ value: 'auto', label: 'Auto', detail: '' }], 'auto');
    if (this.#link.settings.get('autoplay') === '0') {
      this.#view('paused');
      this.#controls.offerPlay(true);
    } else {
      this.#start();
    }
  }

  /** Begins anew, with a viewer of its own. */
  #start(): void {
    const trouble = this.#obstacle();
    if (trouble !== undefined) return this.#fail(trouble);
    const round = (this.#round += 1);
    const heard = <T extends unknown[]>(run: (...said: T) => void) => (...said: T): void => {
      if (round === this.#round) run(...said);
    };
    clearTimeout(this.#unreachableTimer);
    this.#viewer?.stop();
    this.#isTold = false;
    this.#card.hide();
    this.#view('loading');
    // Sound without a gesture is held back by browsers: the picture comes first.
    const isGesture = navigator.userActivation?.hasBeenActive ?? false;
    this.#video.muted = this.#link.settings.get('muted') === '1' || !isGesture;
    const viewer = new BroadcastViewer({
      apiBase: '',
      token: this.#link.token,
      quality: this.#quality,
      protocols: protocolsOf(this.#link),
      onStarted: heard(() => this.#onStarted()),
      onState: heard((state) => this.#onState(state)),
      onError: heard((error) => this.#onError(error)),
      onClose: heard((reason) => this.#onClose(reason)),
    });
    this.#viewer = viewer.attach(this.#video);
    viewer.play(this.#link.id).catch(heard((error) => this.#onError(error)));
  }

  /** What keeps the page from trying at all. */
  #obstacle(): Trouble | undefined {
    if (this.#link.id === '') return 'no_id';
    if (this.#link.token === undefined && this.#link.id.startsWith('lv_')) return 'no_token';
    if (!window.isSecureContext) return 'insecure';
    return undefined;
  }

  #resume(): void {
    if (this.#viewer === undefined) return this.#start();
    this.#video.play().catch(() => this.#controls.offerPlay(true));
  }

  #goLive(): void {
    this.#viewer?.seekToLive();
    if (this.#video.paused) this.#resume();
  }

  #chooseQuality(name: string): void {
    this.#quality = name;
    if (this.#viewer !== undefined) this.#viewer.quality = name;
    this.#fillMenu();
  }

  #onStarted(): void {
    this.#card.hide();
    this.#card.announce('The stream plays');
    this.#controls.offerSound(this.#video.muted && this.#link.settings.get('muted') !== '1');
  }

  #onState(state: ViewerState): void {
    clearTimeout(this.#unreachableTimer);
    switch (state) {
      case 'connecting':
      case 'reconnecting':
        this.#view(this.#video.videoWidth > 0 ? 'buffering' : 'loading');
        this.#unreachableTimer = window.setTimeout(() => this.#fail('unreachable'), UNREACHABLE_AFTER_MS);
        break;
      case 'waiting':
        this.#fail('waiting');
        break;
      case 'buffering':
      case 'playing':
      case 'paused':
        this.#card.hide();
        this.#view(state);
        break;
      default:
        break;
    }
  }

  #onError(error: unknown): void {
    const reason = (error as StreamError | undefined)?.reason;
    console.warn('playback:', error instanceof Error ? error.message : error);
    this.#isTold = reason === 'auth_failed' || reason === 'unsupported' || reason === 'decode';
    if (reason === 'auth_failed' || reason === 'unsupported' || reason === 'decode') this.#fail(reason);
    else if (this.#viewer?.state === 'failed' || this.#viewer?.state === 'idle') this.#fail('unreachable');
  }

  #onClose(reason: ViewerCloseReason): void {
    if (reason === 'complete') this.#fail('ended');
    else if (reason === 'auth_failed') this.#fail('auth_failed');
    // Of an error that was told, the close says less.
    else if (reason === 'network' && !this.#isTold) this.#fail('unreachable');
  }

  /** Shows what is the matter. */
  #fail(trouble: Trouble): void {
    clearTimeout(this.#unreachableTimer);
    // The viewer looks for its relay by itself until it has given up; then the page does.
    const isGivenUp = this.#viewer?.state === 'failed' || this.#viewer?.state === 'idle';
    if (trouble === 'unreachable' && isGivenUp) {
      this.#unreachableTimer = window.setTimeout(() => this.#start(), AGAIN_AFTER_MS);
    }
    this.#view('message');
    this.#controls.showPlace('none');
    this.#card.show(message(trouble, () => this.#start()));
  }

  #view(view: string): void {
    this.#stage.dataset['view'] = view;
  }

  #tick(): void {
    if (this.#viewer === undefined || this.#stage.dataset['view'] === 'message') return;
    const stats = this.#viewer.stats();
    const place = placeOf(stats, this.#video);
    this.#readout.show(stats, this.#video);
    this.#controls.showPlace(place);
    this.#rejoin(place);
    // A picture that waits for a gesture says nothing by itself.
    if (this.#video.paused && this.#video.readyState >= 3) this.#controls.offerPlay(true);
    this.#fillMenu();
  }

  /** A tab that stood still goes back to the live edge at once, and not by playing a little faster. */
  #rejoin(place: string): void {
    const now = performance.now();
    if (now - this.#tickedAt > FROZEN_MS) this.#rejoinUntil = now + REJOIN_MS;
    this.#tickedAt = now;
    if (now > this.#rejoinUntil || place !== 'behind' || this.#video.paused) return;
    this.#viewer?.seekToLive();
  }

  #fillMenu(): void {
    const viewer = this.#viewer;
    if (viewer === undefined) return;
    const shown = viewer.qualities.find((each) => each.name === viewer.stats().rendition)?.label ?? '';
    const auto = { value: 'auto', label: 'Auto', detail: viewer.quality === 'auto' ? shown : '' };
    const choices = viewer.qualities.map((each) => ({
      value: each.name,
      label: each.label,
      detail: each.bitrate > 0 ? rate(each.bitrate) : '',
    }));
    this.#menu.fill([auto, ...choices], viewer.quality);
  }
}

new Player().begin();
