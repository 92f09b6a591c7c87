/** Whether what was seen is what the gateway's log has. */

export interface Verdict {
  lost: number;
  twice: number;
  total: number;
  same: boolean;
}

/** Cursors of one reading, and how many of them came a second time. Memory is one entry for each event. */
export class Seen {
  twice = 0;
  private readonly _cursors = new Set<string>();

  add(cursor: string): void {
    if (this._cursors.has(cursor)) this.twice++;
    this._cursors.add(cursor);
  }
}

/**
 * Compare texts.
 *
 * @param twice events that came a second time
 */
export function compare(seen: string, log: string, twice: number): Verdict {
  const lost = seen === log ? 0 : Math.max(log.length - common(seen, log), 0);
  return { lost, twice, total: log.length, same: seen === log && twice === 0 };
}

/** How much of the log's beginning and end there is in what was seen. */
function common(seen: string, log: string): number {
  const most = Math.min(seen.length, log.length);
  let head = 0;
  while (head < most && seen[head] === log[head]) head++;
  let tail = 0;
  while (tail < most - head && seen[seen.length - 1 - tail] === log[log.length - 1 - tail]) tail++;
  return head + tail;
}
