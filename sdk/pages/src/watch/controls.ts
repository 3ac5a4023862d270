/**
 * The player's controls: play, sound, the way to live, captions, full screen, and the keys for them.
 *
 * The element is the truth: buttons show what its events say. Controls fade while the picture moves and nobody
 * touches anything; they stay for the keyboard's focus.
 */

import { element, say, show } from '../dom.ts';

/** What the controls ask of the player. */
export interface Asked {
  play(): void;
  pause(): void;
  live(): void;
  quality(): void;
  statistics(): void;
}

const QUIET_AFTER_MS = 3000;
const VOLUME_STEP = 0.05;
const KEPT = 'mainstem.volume';

export class Controls {
  readonly #video: HTMLVideoElement;
  readonly #asked: Asked;
  readonly #stage = element('stage', HTMLElement);
  readonly #play = element('play', HTMLButtonElement);
  readonly #bigPlay = element('big-play', HTMLButtonElement);
  readonly #mute = element('mute', HTMLButtonElement);
  readonly #unmute = element('unmute', HTMLButtonElement);
  readonly #volume = element('volume', HTMLInputElement);
  readonly #captions = element('captions', HTMLButtonElement);
  readonly #full = element('full', HTMLButtonElement);
  readonly #live = element('live', HTMLButtonElement);
  readonly #liveText = element('live-text', HTMLElement);
  #quietTimer = 0;

  constructor(video: HTMLVideoElement, asked: Asked) {
    this.#video = video;
    this.#asked = asked;
    this.#listenToButtons();
    this.#listenToElement();
    document.addEventListener('keydown', (event) => this.#onKey(event));
    for (const kind of ['pointermove', 'pointerdown', 'focusin', 'keydown']) {
      this.#stage.addEventListener(kind, () => this.#wake());
    }
    video.volume = keptVolume();
    this.#showVolume();
    this.#showPlaying();
    this.#wake();
  }

  /** Where the picture is: `edge`, `behind`, or nowhere yet. */
  showPlace(place: 'edge' | 'behind' | 'none'): void {
    this.#live.dataset['at'] = place;
    this.#live.disabled = place !== 'behind';
    say(this.#liveText, place === 'behind' ? 'Go to live' : 'Live');
  }

  /** A sound that the browser holds back until it is asked for. */
  offerSound(isHeldBack: boolean): void {
    this.#unmute.hidden = !isHeldBack;
  }

  /** A picture that the browser does not start by itself. */
  offerPlay(isHeldBack: boolean): void {
    this.#bigPlay.hidden = !isHeldBack;
  }

  #listenToButtons(): void {
    const toggle = (): void => (this.#video.paused ? this.#asked.play() : this.#asked.pause());
    this.#play.addEventListener('click', toggle);
    this.#bigPlay.addEventListener('click', () => this.#asked.play());
    this.#video.addEventListener('click', toggle);
    this.#video.addEventListener('dblclick', () => this.#toggleFull());
    this.#mute.addEventListener('click', () => this.#toggleSound());
    this.#unmute.addEventListener('click', () => this.#setSound(true));
    this.#live.addEventListener('click', () => this.#asked.live());
    this.#full.addEventListener('click', () => this.#toggleFull());
    this.#captions.addEventListener('click', () => this.#toggleCaptions());
    this.#volume.addEventListener('input', () => this.#setVolume(Number(this.#volume.value) / 100));
    this.#full.hidden = !document.fullscreenEnabled && !('webkitEnterFullscreen' in this.#video);
  }

  #listenToElement(): void {
    const video = this.#video;
    video.addEventListener('volumechange', () => this.#showVolume());
    for (const kind of ['play', 'pause', 'playing', 'ended', 'emptied']) {
      // A new source makes the element forget events that it has not sent: sound is looked at as well.
      video.addEventListener(kind, () => {
        this.#showPlaying();
        this.#showVolume();
      });
    }
    video.textTracks.addEventListener('addtrack', () => this.#showCaptions());
    video.textTracks.addEventListener('removetrack', () => this.#showCaptions());
    document.addEventListener('fullscreenchange', () => {
      const isFull = document.fullscreenElement !== null;
      name(this.#full, isFull ? 'Leave full screen' : 'Full screen');
      show(this.#full, isFull ? 'small' : 'full');
    });
    name(this.#full, 'Full screen');
  }

  #showPlaying(): void {
    const isPaused = this.#video.paused;
    name(this.#play, isPaused ? 'Play' : 'Pause');
    show(this.#play, isPaused ? 'play' : 'pause');
    if (!isPaused) this.offerPlay(false);
    this.#wake();
  }

  #showVolume(): void {
    const { muted, volume } = this.#video;
    const isSilent = muted || volume === 0;
    name(this.#mute, isSilent ? 'Unmute' : 'Mute');
    show(this.#mute, isSilent ? 'muted' : 'sound');
    const percent = Math.round((muted ? 0 : volume) * 100);
    this.#volume.value = String(percent);
    this.#volume.setAttribute('aria-valuetext', muted ? 'muted' : `${percent} %`);
    if (!isSilent) this.offerSound(false);
  }

  #showCaptions(): void {
    const tracks = [...this.#video.textTracks];
    this.#captions.hidden = tracks.length === 0;
    this.#captions.setAttribute('aria-pressed', String(tracks.some((track) => track.mode === 'showing')));
  }

  #toggleCaptions(): void {
    const tracks = [...this.#video.textTracks];
    const isShown = tracks.some((track) => track.mode === 'showing');
    for (const [index, track] of tracks.entries()) track.mode = !isShown && index === 0 ? 'showing' : 'disabled';
    this.#showCaptions();
  }

  #toggleSound(): void {
    this.#setSound(this.#video.muted || this.#video.volume === 0);
  }

  #setSound(isOn: boolean): void {
    this.#video.muted = !isOn;
    if (isOn && this.#video.volume === 0) this.#video.volume = 0.5;
  }

  #setVolume(volume: number): void {
    this.#video.volume = Math.min(1, Math.max(0, volume));
    this.#video.muted = this.#video.volume === 0;
    keepVolume(this.#video.volume);
  }

  #toggleFull(): void {
    if (document.fullscreenElement !== null) void document.exitFullscreen();
    else if (document.fullscreenEnabled) void this.#stage.requestFullscreen().catch(() => {});
    else (this.#video as unknown as { webkitEnterFullscreen?: () => void }).webkitEnterFullscreen?.();
  }

  #onKey(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target : null;
    const isOwnKey = target?.closest('input, select, textarea, button, [role="menu"]') !== null;
    // A focused button means Space for itself, a slider its arrows.
    if (isOwnKey && (event.key === ' ' || event.key.startsWith('Arrow') || event.key === 'Enter')) return;
    const actions: Record<string, () => void> = {
      ' ': () => this.#play.click(),
      k: () => this.#play.click(),
      m: () => this.#toggleSound(),
      f: () => this.#toggleFull(),
      l: () => this.#asked.live(),
      q: () => this.#asked.quality(),
      i: () => this.#asked.statistics(),
      c: () => this.#toggleCaptions(),
      ArrowUp: () => this.#setVolume(this.#video.volume + VOLUME_STEP),
      ArrowDown: () => this.#setVolume(this.#video.volume - VOLUME_STEP),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
    this.#wake();
  }

  #wake(): void {
    this.#stage.classList.remove('quiet');
    clearTimeout(this.#quietTimer);
    this.#quietTimer = window.setTimeout(() => {
      const isBusy = this.#video.paused || this.#stage.querySelector('[aria-expanded="true"]') !== null;
      if (!isBusy) this.#stage.classList.add('quiet');
    }, QUIET_AFTER_MS);
  }
}

function name(button: HTMLButtonElement, text: string): void {
  button.setAttribute('aria-label', text);
  button.title = text;
}

/** Framed pages may have no storage. */
function keptVolume(): number {
  try {
    const kept = Number(localStorage.getItem(KEPT) ?? '1');
    return kept > 0 && kept <= 1 ? kept : 1;
  } catch {
    return 1;
  }
}

function keepVolume(volume: number): void {
  try {
    localStorage.setItem(KEPT, String(volume));
  } catch {
    // Without storage the next page begins loud again.
  }
}
