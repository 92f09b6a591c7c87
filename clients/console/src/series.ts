import type { Snapshot } from "./snapshot.js";

/** Seconds of the past that are kept, and shown at most. */
export const KEPT = 600;

/** Seconds without a snapshot after which a line is broken: nobody knows what was in between. */
const BREAK = 3.5;

/** Seconds that charts show: few at first, so that a line is seen to grow. */
const SPANS = [60, 120, 300, KEPT];

type Value = number | null;

/** What charts show. */
export const COLUMNS = {
  events: (s: Snapshot): Value => s.events,
  merged: (s: Snapshot): Value => s.merged,
  running: (s: Snapshot): Value => s.running,
  lagging: (s: Snapshot): Value => s.lagging,
  paused: (s: Snapshot): Value => s.paused,
  first50: (s: Snapshot): Value => s.first_token.p50,
  first90: (s: Snapshot): Value => s.first_token.p90,
  first99: (s: Snapshot): Value => s.first_token.p99,
  between50: (s: Snapshot): Value => s.between_chunks.p50,
  between90: (s: Snapshot): Value => s.between_chunks.p90,
  between99: (s: Snapshot): Value => s.between_chunks.p99,
} as const;

export type Column = keyof typeof COLUMNS;

const NAMES = Object.keys(COLUMNS) as Column[];

/** The numbers of the last ten minutes, in columns. What comes twice, or late, is left out. */
export class Series {
  readonly times: number[] = [];
  readonly columns = Object.fromEntries(NAMES.map((name) => [name, []])) as unknown as Record<Column, Value[]>;

  /** Take a snapshot; false: it is no news. */
  push(snapshot: Snapshot): boolean {
    const last = this.times.at(-1);
    if (last !== undefined && snapshot.time <= last) return false;
    if (last !== undefined && snapshot.time - last > BREAK) this._append((last + snapshot.time) / 2, () => null);
    this._append(snapshot.time, (name) => COLUMNS[name](snapshot));
    this._forget(snapshot.time - KEPT);
    return true;
  }

  /** From when to when a chart shows it. */
  window(): [number, number] {
    const [first, last] = [this.times[0], this.times.at(-1)];
    if (first === undefined || last === undefined) return [0, SPANS[0]!];
    return [last - (SPANS.find((span) => span > last - first) ?? KEPT), last];
  }

  private _append(time: number, value: (name: Column) => Value): void {
    this.times.push(time);
    for (const name of NAMES) this.columns[name].push(value(name));
  }

  private _forget(before: number): void {
    const old = this.times.findIndex((time) => time >= before);
    if (old <= 0) return;
    this.times.splice(0, old);
    for (const name of NAMES) this.columns[name].splice(0, old);
  }
}
