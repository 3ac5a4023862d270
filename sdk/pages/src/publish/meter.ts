/** The microphone's level, so that nobody goes live silent without knowing. */

import { element } from '../dom.ts';

/** What the bar's left end means, in decibels of full scale. */
const FLOOR_DB = -60;
const HOT_DB = -6;
/** What is left of the bar a frame later. */
const FALL = 0.93;
/** How often those who hear the page may ask for the value. */
const ARIA_EVERY_MS = 1000;

export class Meter {
  readonly #level = element('level', HTMLElement);
  readonly #bar = element('level-bar', HTMLElement);
  #context: AudioContext | undefined;
  #source: MediaStreamAudioSourceNode | undefined;
  #frame = 0;

  /** Follows the stream's sound; one without sound shows an empty bar. */
  follow(stream: MediaStream): void {
    this.stop();
    const [track] = stream.getAudioTracks();
    this.#level.hidden = track === undefined;
    if (track === undefined) return;
    const context = (this.#context ??= new AudioContext());
    // Held back until the first gesture; the meter then moves by itself.
    if (context.state === 'suspended') {
      document.addEventListener('pointerdown', () => void context.resume(), { once: true });
      void context.resume();
    }
    const analyser = new AnalyserNode(context, { fftSize: 1024 });
    this.#source = new MediaStreamAudioSourceNode(context, { mediaStream: new MediaStream([track]) });
    this.#source.connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let spokenAt = 0;
    let shown = 0;
    let peak = 0;
    const draw = (now: number): void => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      const level = Math.min(1, Math.max(0, 1 - (10 * Math.log10(power + 1e-10)) / FLOOR_DB));
      // Up at once, down slowly: a short sound is seen.
      shown = Math.max(level, shown * FALL);
      peak = Math.max(peak, level);
      this.#bar.style.transform = `scaleX(${shown.toFixed(3)})`;
      this.#level.dataset['hot'] = String(shown > 1 - HOT_DB / FLOOR_DB);
      if (now - spokenAt > ARIA_EVERY_MS) {
        spokenAt = now;
        this.#level.setAttribute('aria-valuenow', String(Math.round(peak * 100)));
        peak = 0;
      }
      this.#frame = requestAnimationFrame(draw);
    };
    this.#frame = requestAnimationFrame(draw);
  }

  stop(): void {
    cancelAnimationFrame(this.#frame);
    this.#source?.disconnect();
    this.#source = undefined;
  }
}
