/**
 * The catalog of a stream: which tracks it has. It stands in band on the `.catalog` track of a live stream, and
 * as `catalog.json` beside a recording.
 *
 * What is read is bounded and checked: a track without a name or kind, or a list that is too long, is an error.
 * Fields and kinds that we do not know are left out, so that catalogs may grow.
 */

/** Most tracks that a catalog may name. */
const TRACKS_MAX = 256;
/** Longest catalog that is read, in characters. */
const LENGTH_MAX = 1024 * 1024;

/** One track. */
export interface CatalogTrack {
  /** Such as `video/720p` or `audio`. */
  name: string;
  /** What it carries. */
  kind: 'video' | 'audio';
  /** RFC 6381, such as `avc1.42E01F` or `opus`. */
  codec: string;
  /** Pixels. */
  width?: number;
  /** Pixels. */
  height?: number;
  /** Bits a second. */
  bitrate?: number;
  /** Samples a second, of each channel. */
  sampleRate?: number;
  /** 2 for stereo. */
  channels?: number;
  /** The CMAF init segment in base64, where the catalog carries it. */
  initData?: string;
}

/** What a stream consists of. */
export interface Catalog {
  /** Of the format: 1. */
  version: number;
  /** Whether more is to come. */
  live: boolean;
  /** In the publisher's order; each name stands once. */
  tracks: CatalogTrack[];
}

/**
 * Reads a catalog: JSON text, its bytes, or what `JSON.parse` made of it. Throws a `TypeError` that says what was
 * expected.
 */
export function parseCatalog(json: string | Uint8Array | object): Catalog {
  const root = json instanceof Uint8Array || typeof json === 'string' ? parse(json) : json;
  if (!isRecord(root)) throw bad('expected an object');
  const version = root['version'] ?? 1;
  if (version !== 1) throw bad(`expected version 1, got ${JSON.stringify(version)}`);
  const tracks = root['tracks'];
  if (!Array.isArray(tracks)) throw bad('expected tracks to be a list');
  if (tracks.length > TRACKS_MAX) throw bad(`expected at most ${TRACKS_MAX} tracks, got ${tracks.length}`);
  const known = tracks.map(trackOf).filter((track) => track !== undefined);
  if (new Set(known.map((track) => track.name)).size < known.length) throw bad('a track is named twice');
  return { version: 1, live: root['live'] === true, tracks: known };
}

/** The MIME type for `MediaSource.addSourceBuffer`: `video/mp4; codecs="avc1.42E01F"`. */
export function mseType(track: Pick<CatalogTrack, 'kind' | 'codec'>): string {
  return `${track.kind}/mp4; codecs="${track.codec}"`;
}

/** The video rendition with most pixels, and of those the one with most bits; `undefined` without video. */
export function videoTrack(catalog: Catalog): CatalogTrack | undefined {
  return best(catalog, 'video', (track) => (track.width ?? 0) * (track.height ?? 0));
}

/** The audio track with most channels, and of those the one with most bits; `undefined` without audio. */
export function audioTrack(catalog: Catalog): CatalogTrack | undefined {
  return best(catalog, 'audio', (track) => track.channels ?? 0);
}

/** The first of those that have most. */
function best(
  catalog: Catalog,
  kind: CatalogTrack['kind'],
  size: (track: CatalogTrack) => number,
): CatalogTrack | undefined {
  let found: CatalogTrack | undefined;
  for (const track of catalog.tracks.filter((each) => each.kind === kind)) {
    const more = found === undefined ? 1 : size(track) - size(found) || (track.bitrate ?? 0) - (found.bitrate ?? 0);
    if (more > 0) found = track;
  }
  return found;
}

function trackOf(value: unknown): CatalogTrack | undefined {
  if (!isRecord(value)) throw bad('expected a track to be an object');
  const { name, kind, codec } = value;
  if (typeof name !== 'string' || name === '') throw bad("expected a track's name to be a string");
  if (typeof kind !== 'string') throw bad("expected a track's kind to be a string");
  if (kind !== 'video' && kind !== 'audio') return undefined;
  if (typeof codec !== 'string' || !/^[\w.,+-]+$/.test(codec)) {
    throw bad("expected a track's codec to be one of RFC 6381");
  }
  const track: CatalogTrack = { name, kind, codec };
  for (const field of ['width', 'height', 'bitrate', 'sampleRate', 'channels'] as const) {
    const number = value[field];
    if (typeof number === 'number' && Number.isFinite(number) && number >= 0) track[field] = number;
  }
  const init = value['initData'];
  if (typeof init === 'string') track.initData = init;
  return track;
}

function parse(json: string | Uint8Array): unknown {
  if (json.length > LENGTH_MAX) throw bad(`expected at most ${LENGTH_MAX} bytes, got ${json.length}`);
  try {
    return JSON.parse(typeof json === 'string' ? json : new TextDecoder().decode(json));
  } catch {
    throw bad('expected JSON');
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function bad(what: string): TypeError {
  return new TypeError(`catalog: ${what}`);
}
