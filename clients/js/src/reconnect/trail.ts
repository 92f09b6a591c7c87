/** Where a reader is on its stream: what to resume after, what it has seen already, and what it will never see. */

/** What cannot be replayed to a client that comes back, as the gateway says it. */
export interface Gap {
  /** `epoch`: the stream began anew. `retention`: what was missed is no longer kept. */
  reason: "epoch" | "retention";
  /** How many events; null when nobody can know. */
  missed: number | null;
  /** The next event is number `resume_seq + 1`. */
  resume_seq: number;
}

/** An event is new; `gap` is what is missing right before it. */
export interface Admitted {
  gap: Gap | null;
}

interface Position {
  epoch: string;
  seq: number;
  offset: number;
}

const CURSOR = /^[\w-]+\.([\w-]+)\.(0|[1-9]\d{0,15})(?:\.([1-9]\d{0,15}))?$/;

/** A cursor's position; undefined for one of a form that a newer gateway may have, good for resuming all the same. */
export function parseCursor(text?: string): Position | undefined {
  const found = CURSOR.exec(text ?? "");
  return found ? { epoch: found[1]!, seq: +found[2]!, offset: +(found[3] ?? 0) } : undefined;
}

/**
 * One reader's way through one stream.
 *
 * Numbers that are left out are no gap: events that mean nothing to a native client are numbered, and never sent. A gap
 * is there when the gateway says so. Another epoch is one, too, unless it begins with a connection for which the gateway
 * has been shown a cursor of the former one, and has said that nothing is missing.
 *
 * A gap is told together with the first event after it. If the connection is lost in between, the gateway says it again,
 * perhaps larger, and the application shall hear of it once.
 */
export class Trail {
  private _last?: Position;
  private _gap: Gap | null = null;
  private _fresh = false; // nothing has come since a connection has begun

  /** @param cursor the position after the last event that was admitted; undefined before the first */
  constructor(public cursor?: string) {
    this._last = parseCursor(cursor);
  }

  /** A connection has begun, and the gateway says what it cannot replay, if anything. */
  announce(gap: Gap | null): void {
    this._gap = gap;
    this._fresh = true;
  }

  /** Take the event that carries this cursor; null when it was taken before. */
  admit(cursor: string): Admitted | null {
    const { _last: last } = this;
    const next = parseCursor(cursor);
    if (this._seen(cursor, next)) return null;
    let { _gap: gap } = this;
    const begun = this._fresh;
    this._gap = null;
    this._fresh = false;
    this.cursor = cursor;
    this._last = next;
    if (last && next) {
      if (last.epoch !== next.epoch) gap ??= begun ? null : { reason: "epoch", missed: null, resume_seq: next.seq - 1 };
      else if (gap && gap.resume_seq <= last.seq) gap = null; // nothing is missing between what was seen and what comes
    }
    return { gap };
  }

  private _seen(text: string, next?: Position): boolean {
    const { _last: last } = this;
    if (!last || !next || last.epoch !== next.epoch) return text === this.cursor;
    return next.seq < last.seq || (next.seq === last.seq && next.offset <= last.offset);
  }
}
