/**
 * Cameras, microphones and the screen: the pickers, and the `MediaStream` that they give.
 *
 * A device that goes away is told (`onLost`); a page that may not use any says what to do.
 */

import { element } from '../dom.ts';

/** Picks that are no devices. */
const SCREEN = 'screen';
const NONE = 'none';

export type DeviceTrouble = 'denied' | 'missing' | 'busy' | 'insecure' | 'failed';

/** Why there is no stream. */
export class DeviceError extends Error {
  readonly trouble: DeviceTrouble;

  constructor(trouble: DeviceTrouble, message: string) {
    super(message);
    this.name = 'DeviceError';
    this.trouble = trouble;
  }
}

export class Devices {
  readonly #camera = element('camera', HTMLSelectElement);
  readonly #microphone = element('microphone', HTMLSelectElement);
  readonly #size = element('size', HTMLSelectElement);
  #stream: MediaStream | undefined;
  readonly #onLost: (what: string) => void;

  constructor(onChange: () => void, onLost: (what: string) => void) {
    this.#onLost = onLost;
    for (const picker of [this.#camera, this.#microphone, this.#size]) picker.addEventListener('change', onChange);
    navigator.mediaDevices?.addEventListener('devicechange', () => void this.#list());
    this.#fill(this.#camera, [], [['', 'Camera']]);
    this.#fill(this.#microphone, [], [['', 'Microphone']]);
  }

  get height(): number {
    return Number(this.#size.value);
  }

  get isScreen(): boolean {
    return this.#camera.value === SCREEN;
  }

  /** Opens what is picked, and ends what was open. */
  async open(): Promise<MediaStream> {
    if (navigator.mediaDevices === undefined) {
      throw new DeviceError('insecure', 'cameras are given to https:// pages only');
    }
    const height = this.height;
    const size = { height: { ideal: height }, width: { ideal: Math.round((height * 16) / 9) }, frameRate: { ideal: 30 } };
    try {
      const stream = new MediaStream();
      const picture = this.isScreen ? await screen(size) : await this.#devices(size);
      for (const track of picture.getTracks()) stream.addTrack(track);
      if (this.isScreen && this.#microphone.value !== NONE && stream.getAudioTracks().length === 0) {
        const sound = await navigator.mediaDevices.getUserMedia({ audio: this.#wanted(this.#microphone) });
        for (const track of sound.getTracks()) stream.addTrack(track);
      }
      this.close();
      this.#stream = stream;
      for (const track of stream.getTracks()) {
        track.addEventListener('ended', () => {
          if (this.#stream === stream) this.#onLost(track.label || track.kind);
        });
      }
      await this.#list();
      return stream;
    } catch (error) {
      throw deviceError(error);
    }
  }

  /** Lets go of every device. */
  close(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    for (const track of stream?.getTracks() ?? []) track.stop();
  }

  async #devices(size: MediaTrackConstraints): Promise<MediaStream> {
    const camera = this.#wanted(this.#camera);
    const microphone = this.#wanted(this.#microphone);
    const video = camera === false ? false : { ...size, ...(camera === true ? {} : camera) };
    try {
      return await navigator.mediaDevices.getUserMedia({ video, audio: microphone });
    } catch (error) {
      // Many machines have a camera and no microphone: half is better than nothing.
      const isMissing = error instanceof DOMException && error.name === 'NotFoundError';
      if (!isMissing || microphone === false || video === false) throw error;
      const picture = await navigator.mediaDevices.getUserMedia({ video });
      this.#microphone.value = NONE;
      return picture;
    }
  }

  #wanted(picker: HTMLSelectElement): MediaTrackConstraints | boolean {
    if (picker.value === NONE) return false;
    return picker.value === '' ? true : { deviceId: { exact: picker.value } };
  }

  /** Names are known only after a permission was given. */
  async #list(): Promise<void> {
    const devices = await navigator.mediaDevices.enumerateDevices();
    const known = (kind: MediaDeviceKind): MediaDeviceInfo[] =>
      devices.filter((each) => each.kind === kind && each.deviceId !== '');
    const hasScreen = 'getDisplayMedia' in navigator.mediaDevices;
    this.#fill(this.#camera, known('videoinput'), hasScreen ? [[SCREEN, 'Screen or window']] : []);
    this.#fill(this.#microphone, known('audioinput'), [[NONE, 'No sound']]);
    this.#pickOpen();
  }

  /** The pickers show what is open, whatever was asked for. */
  #pickOpen(): void {
    const pick = (picker: HTMLSelectElement, track: MediaStreamTrack | undefined): void => {
      const id = track?.getSettings().deviceId;
      if (id !== undefined && [...picker.options].some((option) => option.value === id)) picker.value = id;
    };
    if (!this.isScreen) pick(this.#camera, this.#stream?.getVideoTracks()[0]);
    pick(this.#microphone, this.#stream?.getAudioTracks()[0]);
  }

  #fill(picker: HTMLSelectElement, devices: MediaDeviceInfo[], more: [value: string, label: string][]): void {
    const kept = picker.value;
    const names = devices.map((each, index): [string, string] => [
      each.deviceId,
      each.label || `${each.kind === 'videoinput' ? 'Camera' : 'Microphone'} ${index + 1}`,
    ]);
    picker.replaceChildren(...[...names, ...more].map(([value, label]) => new Option(label, value)));
    if ([...picker.options].some((option) => option.value === kept)) picker.value = kept;
  }
}

function screen(size: MediaTrackConstraints): Promise<MediaStream> {
  return navigator.mediaDevices.getDisplayMedia({ video: size, audio: true });
}

function deviceError(error: unknown): Error {
  const name = error instanceof DOMException ? error.name : '';
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return new DeviceError('denied', 'the browser was told not to give camera and microphone to this page');
    case 'NotFoundError':
    case 'OverconstrainedError':
      return new DeviceError('missing', 'no camera or microphone of that kind was found');
    case 'NotReadableError':
    case 'AbortError':
      return new DeviceError('busy', 'the camera or microphone is used by another program');
    default:
      return error instanceof DeviceError ? error : new DeviceError('failed', String(error));
  }
}
