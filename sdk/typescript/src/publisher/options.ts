/** What a publisher is told, and what it tells. */

import type { PublisherCloseReason, StreamError } from '../close.ts';
import type { AssetOptions, DataPlaneOptions } from '../options.ts';

/** One encoding of the picture. */
export interface Rendition {
  /** Lines; the width follows from the picture's shape. */
  height: number;
  /** Bits per second. */
  bitrate: number;
  framerate?: number | undefined;
}

/** How the publishing goes. */
export interface PublisherStats {
  state: PublisherState;
  /** How the media is made. */
  path: 'webcodecs' | 'media-recorder' | 'none';
  protocol: string;
  /** Bits per second that the video encoders are asked for, altogether. */
  targetBitrate: number;
  /** Bits per second that are sent. */
  bitrate: number;
  /** Bytes that wait to be sent. */
  queuedBytes: number;
  encodedFrames: number;
  /** Frames that were left out because the encoder or the path was behind. */
  droppedFrames: number;
  keyFrames: number;
  width: number;
  height: number;
  framerate: number;
  /** Subscriptions of the relay, over all tracks. */
  subscriptions: number;
  reconnects: number;
  bytes: number;
}

/** What a publisher does at the moment. */
export type PublisherState = 'idle' | 'connecting' | 'live' | 'reconnecting' | 'ended' | 'failed';

/** Options of a publisher. */
export interface PublisherOptions extends DataPlaneOptions, AssetOptions {
  /** MIME type for MediaRecorder (default `video/mp4; codecs="avc1.42E01E,mp4a.40.2"`, or what comes nearest). */
  mimeType?: string | undefined;
  /** Distance of key frames, which is the length of a group, in milliseconds (default 1000). */
  timesliceMs?: number | undefined;
  /** Connection or encoder error. Without it, errors are thrown by `publish()`. */
  onError?: ((error: StreamError) => void) | undefined;
  /** Terminal close, once. */
  onClose?: ((reason: PublisherCloseReason, detail: string) => void) | undefined;
  /** The state changed. */
  onState?: ((state: PublisherState) => void) | undefined;
  /** How media is made: frame by frame, by MediaRecorder, or as this browser can (default `auto`). */
  path?: 'auto' | 'webcodecs' | 'media-recorder' | undefined;
  /** Bits per second of the picture (default by its size). */
  videoBitrate?: number | undefined;
  /** Bits per second of the sound (default 96000). */
  audioBitrate?: number | undefined;
  framerate?: number | undefined;
  /** Several encodings of the picture, best first, for viewers to choose from (default one). */
  renditions?: Rendition[] | undefined;
}
