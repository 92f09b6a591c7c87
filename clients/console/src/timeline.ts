/** What happened in one answer, and when: its chunks, and what became of its connections. */

/** Chunks that are kept; older ones only count. */
export const KEPT = 4000;

/** Marks of connections that are kept. */
const MARKS = 200;

/** `at` in seconds since the request; `gap` since the chunk before on the same connection, null for its first. */
export interface Chunk {
  number: number;
  at: number;
  gap: number | null;
  size: number;
  text: string;
  cursor: string;
}

export type Turn = "connected" | "cut" | "lost" | "resumed" | "ended";

export interface Mark {
  at: number;
  turn: Turn;
  note: string;
}

export interface Summary {
  chunks: number;
  characters: number;
  first: number | null;
  p50: number | null;
  p99: number | null;
  longest: number | null;
}

/** The record of one answer. Bounded, however long it is. */
export class Timeline {
  readonly chunks: Chunk[] = [];
  readonly marks: Mark[] = [];
  text = "";
  /** Seconds from the request to the last thing that happened. */
  span = 0;
  private _count = 0;
  private _first: number | null = null;
  private _before: number | null = null; // when the last chunk of this connection came
  private readonly _gaps: number[] = [];

  /** A piece of text has come. */
  chunk(at: number, text: string, cursor: string): Chunk {
    const gap = this._before === null ? null : at - this._before;
    const chunk = { number: ++this._count, at, gap, size: text.length, text, cursor };
    this._before = this.span = at;
    this._first ??= at;
    this.text += text;
    push(this.chunks, chunk, KEPT);
    if (gap !== null) push(this._gaps, gap, KEPT);
    return chunk;
  }

  /** A connection was made or lost, or the answer has ended. */
  mark(at: number, turn: Turn, note = ""): Mark {
    const mark = { at, turn, note };
    this.span = at;
    this._before = null;
    push(this.marks, mark, MARKS);
    return mark;
  }

  summary(): Summary {
    const gaps = [...this._gaps].sort((one, other) => one - other);
    return {
      chunks: this._count,
      characters: this.text.length,
      first: this._first,
      p50: quantile(gaps, 0.5),
      p99: quantile(gaps, 0.99),
      longest: gaps.at(-1) ?? null,
    };
  }
}

function push<Item>(items: Item[], item: Item, most: number): void {
  items.push(item);
  if (items.length > most) items.shift();
}

/** The value that this share of sorted ones do not exceed. */
export function quantile(sorted: readonly number[], share: number): number | null {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null;
}

/** Seconds that a time line of this length shows: a round number, so that it does not creep. */
export function extent(span: number): number {
  return [2, 5, 10, 20, 30, 60, 120, 300, 600].find((size) => size >= span * 1.02) ?? Math.ceil(span / 600) * 600;
}

/** How high a chunk stands, from 0 to 1: by the logarithm of its size, as sizes go from 1 to thousands. */
export const height = (size: number): number => Math.min(1, 0.15 + 0.85 * (Math.log2(Math.max(1, size)) / 12));
