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

export { audioTrack, mseType, parseCatalog, videoTrack } from './catalog.ts';
export type { Catalog, CatalogTrack } from './catalog.ts';
export { Streams } from './streams.ts';
export type { StreamsOptions } from './streams.ts';
export { StreamsError } from './streams-errors.ts';
export type { StreamsErrorCode, StreamsErrorDetails } from './streams-errors.ts';
export { LiveInput } from './streams-inputs.ts';
export type {
  FreshStreamKey,
  IngestKind,
  LiveInputData,
  LiveInputs,
  LiveInputStatus,
  SignedPlaybackUrl,
} from './streams-inputs.ts';
export type { SigningAlgorithm, SigningKey, SigningKeyData, SigningKeys } from './streams-keys.ts';
export { parsePlaybackUrl, parseRelayUrl, playbackUrl } from './streams-urls.ts';
export type { RelayAddress } from './streams-urls.ts';
