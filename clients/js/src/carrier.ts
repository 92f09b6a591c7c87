import { foreign } from "./errors.js";
import type { StreamEvent } from "./events.js";
import { parseCursor, type Gap } from "./reconnect/index.js";

/** An event, and the cursor after it. */
export interface Item {
  id: string;
  event: StreamEvent;
}

/** What came at once: events, what is missing before them, and whether nothing follows. */
export interface Batch {
  events: Item[];
  gap?: Gap | null;
  ended?: boolean;
}

/** One connection's worth of one stream. When it is lost another one goes on after the same cursor. */
export interface Carrier {
  /** What the gateway cannot replay, when it says so at the beginning. */
  gap: Gap | null;
  /** Seconds that the gateway wants us to wait before we come back (SSE's `retry:`), if it has said so. */
  retry?: number;
  /**
   * Wait for more; possibly nothing but a sign of life.
   *
   * @throws Lost: come back. ClientError: do not.
   */
  receive(): Promise<Batch>;
  /** Give it up; a `receive` that waits throws. May be called twice. */
  leave(): void;
}

/**
 * An event out of a text, with whatever the gateway has put around it.
 *
 * @throws NotAGateway: it is no JSON.
 */
export function parse(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    throw foreign(text.slice(0, 80));
  }
}

/** An event, if it is one. */
export function checked(event: any): any {
  if (typeof event?.type != "string") throw foreign("An event");
  return event;
}

/** Add an event to a batch; one that has no cursor and speaks of a gap is none, but says what is missing. */
export function collect(batch: Batch, id: string | undefined, event: any): void {
  if (id) batch.events.push({ id, event: checked(event) });
  else if (event?.type !== "notice") throw foreign("An event without an id"); // nothing could be resumed
  else if (event.code === "gap") batch.gap = gapOf(event.data);
}

function gapOf(data: any): Gap | null {
  const position = parseCursor(data?.resumes_after);
  return position ? { reason: data.reason, missed: data.missed ?? null, resume_seq: position.seq } : null;
}
