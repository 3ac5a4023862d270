/** Ranges of time, in seconds, as `buffered` gives them. Pure. */

export interface Range {
  start: number;
  end: number;
}

/** Ends that lie closer together than this are the same: codecs round. */
export const JOIN_S = 0.05;

export function rangesOf(buffered: TimeRanges): Range[] {
  return Array.from({ length: buffered.length }, (_, i) => ({ start: buffered.start(i), end: buffered.end(i) }));
}

/** What all of them have. */
export function intersection(all: Range[][]): Range[] {
  const [first, ...rest] = all;
  if (!first) return [];
  return rest.reduce((common, ranges) => {
    const out: Range[] = [];
    for (const a of common) {
      for (const b of ranges) {
        const start = Math.max(a.start, b.start);
        const end = Math.min(a.end, b.end);
        if (end > start) out.push({ start, end });
      }
    }
    return out;
  }, first);
}

/** The range that the time is in, small holes counted as none. */
export function rangeAt(ranges: Range[], time: number): Range | null {
  let found: Range | null = null;
  for (const range of ranges) {
    if (found && range.start <= found.end + JOIN_S) found = { start: found.start, end: range.end };
    else if (!found && range.start <= time + JOIN_S && time <= range.end) found = { ...range };
  }
  return found;
}

/** The first range that begins after the time. */
export function rangeAfter(ranges: Range[], time: number): Range | null {
  return ranges.find((range) => range.start > time) ?? null;
}
