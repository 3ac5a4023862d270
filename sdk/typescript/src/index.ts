/** Mainstem in the page: `BroadcastViewer`, `BroadcastPublisher`, `Streams` and the catalog's types. */

export { BroadcastViewer } from './viewer/viewer.ts';
export { BroadcastPublisher } from './publisher/publisher.ts';
export { StreamError } from './close.ts';
export type { PublisherCloseReason, StreamErrorReason, ViewerCloseReason } from './close.ts';
export type { AssetOptions, CertificateHash, DataPlaneOptions } from './options.ts';
export type {
  FallbackPlayer,
  FallbackSource,
  Quality,
  ViewerOptions,
  ViewerState,
  ViewerStats,
} from './viewer/options.ts';
export type { PublisherOptions, PublisherState, PublisherStats, Rendition } from './publisher/options.ts';
