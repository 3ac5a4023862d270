/** What the page and its session say to each other, in a Worker or on the page's own thread. */

/** A track of a catalog, as the machine tells it. */
export interface CatalogEventTrack {
  id: number;
  name: string;
  kind: string;
  codec: string;
  packaging: string;
  width?: number;
  height?: number;
  frameRate?: number;
  sampleRate?: number;
  channels?: number;
  bitrate?: number;
  language?: string;
  label?: string;
  altGroup?: number;
  initData?: string;
}

/** News of the machine. */
export type MachineEvent =
  | { type: 'catalog'; live: boolean; complete: boolean; generatedAt?: number; tracks: CatalogEventTrack[] }
  | { type: 'gap'; track: number }
  | { type: 'trackEnded'; track: number; reason: string }
  | { type: 'badMedia'; track: number; reason: string }
  | { type: 'unavailable'; reason: string }
  | { type: 'goaway'; uri: string; session?: number }
  | { type: 'moveFailed'; reason: string }
  | { type: 'moved' }
  | { type: 'switched'; from: number; to: number }
  | { type: 'switchFailed'; track: number; reason: string }
  | { type: 'closed'; by: 'transport' | 'local' | 'peer'; code: number; reason: string; session?: number }
  | { type: 'announced'; session: number }
  | { type: 'refused'; session: number; reason: string }
  | { type: 'drained' }
  | { type: 'tracks'; names: string[] }
  | { type: 'fault'; reason: string };

/** A chunk, or an init segment, of a track. Times in microseconds. */
export interface ChunkMessage {
  t: 'chunk';
  track: number;
  group: number;
  object: number;
  /** Presentation time. */
  time: number;
  duration: number;
  /** Unix time at which the producer had it; 0 when not known. */
  produced: number;
  /** When its last byte was here, in Unix milliseconds. */
  arrived: number;
  independent: boolean;
  init: boolean;
  data: ArrayBuffer;
}

/** How the transport does; told some times per second. */
export interface TransportMessage {
  t: 'transport';
  /** Bytes that came and went since the session began. */
  received: number;
  sent: number;
  /** Bytes that wait to be handed to the transport, and for how long the oldest does, in milliseconds. */
  queued: number;
  queuedMs: number;
  subscriptions: number;
}

/** From the session to the page. */
export type SessionMessage =
  | { t: 'ready' }
  | { t: 'failed'; reason: string }
  | { t: 'open'; session: number; protocol: string }
  | { t: 'event'; event: MachineEvent }
  | TransportMessage
  | ChunkMessage;

/** What a session is to be. */
export interface StartMessage {
  t: 'start';
  role: 'viewer' | 'publisher';
  config: Record<string, unknown>;
  module: WebAssembly.Module;
  hashes: ArrayBuffer[];
  /** Drafts that are offered, in order. */
  protocols: string[];
}

/** From the page to the session. */
export type PageMessage =
  | StartMessage
  | { t: 'connect'; session: number; url: string }
  | { t: 'command'; command: Record<string, unknown> }
  | { t: 'pause'; paused: boolean }
  | { t: 'consumed'; bytes: number }
  | { t: 'config'; kind: number; number: number; codec: number; unixUs: number; record: ArrayBuffer }
  | {
      t: 'frame';
      kind: number;
      number: number;
      isKey: boolean;
      timeUs: number;
      durationUs: number;
      unixUs: number;
      data: ArrayBuffer;
    }
  | { t: 'recorded'; unixUs: number; data: ArrayBuffer }
  | { t: 'close'; reason: string };
