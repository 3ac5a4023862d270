/** What of a catalog this browser can play, and in which order it is offered. */

import type { CatalogEventTrack, MachineEvent } from '../session/messages.ts';
import type { SinkTrack } from '../mse/sink.ts';
import type { Quality } from './options.ts';

export interface PlayableTrack extends SinkTrack {
  id: number;
  kind: 'video' | 'audio';
  width: number;
  height: number;
  bitrate: number;
  label: string;
  /** Whether the init segment is here: it may come in the track itself. */
  hasInit: boolean;
}

export type CatalogEvent = Extract<MachineEvent, { type: 'catalog' }>;

export function playableTracks(catalog: CatalogEvent, canPlay: (type: string) => boolean): PlayableTrack[] {
  const tracks: PlayableTrack[] = [];
  for (const track of catalog.tracks) {
    if ((track.kind !== 'video' && track.kind !== 'audio') || track.packaging !== 'cmaf') continue;
    const type = `${track.kind}/mp4; codecs="${track.codec}"`;
    if (!canPlay(type)) continue;
    const init = track.initData === undefined ? new Uint8Array() : bytesOfBase64(track.initData);
    tracks.push({
      id: track.id,
      name: track.name,
      kind: track.kind,
      type,
      init,
      hasInit: init.byteLength > 0,
      width: track.width ?? 0,
      height: track.height ?? 0,
      bitrate: track.bitrate ?? 0,
      label: labelOf(track),
    });
  }
  return tracks;
}

/** The renditions of the picture, best first. */
export function renditionsOf(tracks: PlayableTrack[]): PlayableTrack[] {
  const rank = (track: PlayableTrack): number => track.bitrate || track.height * track.width;
  return tracks.filter((track) => track.kind === 'video').sort((a, b) => rank(b) - rank(a));
}

export function qualityOf(track: PlayableTrack): Quality {
  const { name, label, width, height, bitrate } = track;
  return { name, label, width, height, bitrate };
}

/** The best rendition that is not taller than `maxHeight` (0: no bound). */
export function bestIndex(renditions: { height: number }[], maxHeight: number): number {
  if (maxHeight <= 0) return 0;
  const found = renditions.findIndex((rendition) => rendition.height <= maxHeight);
  return found < 0 ? Math.max(0, renditions.length - 1) : found;
}

function labelOf(track: CatalogEventTrack): string {
  if (track.label !== undefined && track.label !== '') return track.label;
  return track.height !== undefined && track.height > 0 ? `${track.height}p` : track.name;
}

function bytesOfBase64(text: string): Uint8Array {
  try {
    const binary = atob(text);
    return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}
