/** What a publisher is told, and what it tells. */

import type { PublisherCloseReason, StreamError } from '../close.ts';
import type { AssetOptions, DataPlaneOptions } from '../options.ts';

/** One encoding of the picture. */
export interface Rendition {
  /** Lines; the width follows from the picture's shape. */
  height: number;
  /** Bits per second. */
  bitrate: number;
  /** Frames per second (default the camera's). */
  framerate?: number | undefined;
}

/** How the publishing goes. */
export interface PublisherStats {
  /** What it does at the moment. */
  state: PublisherState;
  /** How the media is made. */
  path: 'webcodecs' | 'media-recorder' | 'none';
  /** Negotiated protocol: `moqt-22`; empty before there is one. */
  protocol: string;
  /** Bits per second that the video encoders are asked for, altogether. */
  targetBitrate: number;
  /** Bits per second that are sent. */
  bitrate: number;
  /** Bytes that wait to be sent. */
  queuedBytes: number;
  /** Frames of the picture that were encoded, over all renditions. */
  encodedFrames: number;
  /** Frames that were left out because the encoder or the path was behind. */
  droppedFrames: number;
  /** How many of the encoded frames are key frames. */
  keyFrames: number;
  /** Of the best rendition, in pixels. */
  width: number;
  /** Of the best rendition, in pixels. */
  height: number;
  /** Of the best rendition, in frames per second, as the encoder is asked. */
  framerate: number;
  /** Subscriptions of the relay, over all tracks. */
  subscriptions: number;
  /** Sessions after the first. */
  reconnects: number;
  /** Bytes that were sent in this session. */
  bytes: number;
}

/**
 * What a publisher does at the moment: `connecting` until the relay has taken the stream, `reconnecting` while a lost
 * session is replaced, `ended` after `stop()` or the end of all tracks, `failed` with an error.
 */
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
  /** Frames per second that are encoded (default the track's). */
  framerate?: number | undefined;
  /** Several encodings of the picture, best first, for viewers to choose from (default one). */
  renditions?: Rendition[] | undefined;
}
