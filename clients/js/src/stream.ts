import type { Batch, Carrier, Item } from "./carrier.js";
import type { Connections } from "./connections.js";
import { ClientError, Incomplete, Lost } from "./errors.js";
import { isEnding, type StreamEvent } from "./events.js";
import { keep, type Kept } from "./memory.js";
import { Trail, type Backoff, type Gap, type Patience } from "./reconnect/index.js";
import type { Transport } from "./settings.js";
import { now, sleep } from "./time.js";

const DONE = { done: true, value: undefined } as const;

/** How a stream is to be read. */
export interface StreamOptions {
  /** Ends reading, as leaving does; a read that waits then throws the signal's reason. */
  signal?: AbortSignal;
  /** A name under which the stream's place is kept in `sessionStorage`, for `Client.recall` after a reload. */
  remember?: string;
}

/**
 * The events of one stream, each once and in order, whatever happens to connections meanwhile:
 * `for await (const event of stream)`. Made by `Client.stream`, `Client.attach` and `Client.recall`.
 *
 * Nothing happens before the first event is asked for. Leaving early (`break`, `leave`, a signal) unsubscribes, and
 * forgets what was remembered; a stream that was made here with a lease of 0, the default, is cancelled at its provider
 * as well. A page that goes away does not leave.
 */
export class EventStream implements AsyncIterableIterator<StreamEvent> {
  /** The stream's id, undefined until the gateway has said it. */
  id?: string;
  /** The position after the last event that was given: `Client.attach` goes on from there. Undefined before the first. */
  cursor?: string;
  /** What carries it now; undefined before the first connection. */
  transport?: Transport;
  /** Connections that brought the stream; all but the first are reconnects. */
  connects = 0;
  private readonly _until: AbortSignal;
  private readonly _trail: Trail;
  private readonly _backoff: Backoff;
  private _patience?: Patience;
  private _carrier: Carrier | null = null;
  private _ready: Partial<Item>[] = [];
  private _over = false;
  private _reading = false;
  private readonly _left = new AbortController();

  /**
   * @param kept what is to be asked, or where to go on
   * @param remember the name under which its place is kept
   * @param forsake cancels the stream when it is left
   */
  constructor(
    private readonly _connections: Connections,
    private readonly _kept: Kept,
    signal?: AbortSignal,
    private readonly _remember?: string,
    private readonly _forsake?: (stream: string) => void,
  ) {
    this.id = _kept.id;
    this.cursor = _kept.cursor;
    this._trail = new Trail(_kept.cursor);
    this._backoff = _connections.backoff();
    keep(_remember, _kept);
    this._until = _connections.until(signal);
    this._until.addEventListener("abort", this.leave);
  }

  // ---- reading

  [Symbol.asyncIterator](): this {
    return this;
  }

  /**
   * The next event.
   *
   * @throws ClientError: the stream cannot go on; its subclasses say why.
   */
  async next(): Promise<IteratorResult<StreamEvent, undefined>> {
    if (this._reading) throw new Error("it is being read already; attach to it once more");
    this._reading = true;
    try {
      while (!this._ready.length && !this._over) await this._fill();
    } catch (error) {
      if (error instanceof ClientError) keep(this._remember, null);
      this._end();
      throw error;
    } finally {
      this._reading = false;
    }
    this._until.throwIfAborted();
    const { id, event } = this._ready.shift() ?? {};
    if (!event) return DONE;
    if (id) this.cursor = id;
    keep(this._remember, isEnding(event) ? null : { id: this.id, cursor: this.cursor });
    return { done: false, value: event };
  }

  /** Leave the stream; called by `break`. */
  async return(): Promise<IteratorResult<StreamEvent, undefined>> {
    this.leave();
    return DONE;
  }

  /**
   * The answer's text in pieces.
   *
   * @throws Incomplete: the answer is not whole; see `text`.
   */
  async *texts(choice = 0): AsyncGenerator<string, void, undefined> {
    let text = "";
    for await (const event of this) {
      if (event.type === "text.delta" && (event.choice ?? 0) === choice) {
        text += event.text;
        yield event.text;
      } else if (event.type === "notice" && event.code === "gap") {
        throw new Incomplete(event.message, text);
      } else if (event.type === "stream.failed") {
        throw new Incomplete(event.message, text, event);
      } else if (event.type === "stream.cancelled") {
        throw new Incomplete(`cancelled (${event.reason})`, text, event);
      }
    }
  }

  /**
   * The whole text of the answer.
   *
   * @throws Incomplete: the stream failed, was cancelled, or has a gap; what there is of the text is in the exception.
   */
  async text(choice = 0): Promise<string> {
    let text = "";
    for await (const piece of this.texts(choice)) text += piece;
    return text;
  }

  // ---- leaving

  /** Leave the stream (see the class); what there is to say to the gateway is said in the background. */
  leave = (): void => {
    if (this._over) return;
    this._ready = [];
    this._end();
    keep(this._remember, null);
    if (this.id) this._forsake?.(this.id);
  };

  private _end(): void {
    this._over = true;
    this._left.abort();
    this._until.removeEventListener("abort", this.leave);
    this._drop();
  }

  // ---- connections

  /** Wait for a batch, from whatever connection it takes. */
  private async _fill(): Promise<void> {
    const { _connections: connections, _backoff: backoff } = this;
    this._until.throwIfAborted();
    this._patience ??= connections.patience();
    let { transport } = this;
    try {
      if (!this._carrier) {
        this.transport = transport = connections.choose();
        await this._connect(transport);
      }
      if (this._carrier) this._take(await this._carrier.receive());
    } catch (error) {
      if (this._over) return; // it was left meanwhile
      if (!(error instanceof Lost)) throw error;
      this._drop();
      connections.failed(transport!, error);
      const wait = connections.wait(error, backoff, this._patience);
      connections.tell({ kind: "lost", stream: this.id, transport: transport!, reason: error.message, wait });
      await this._pause(wait, backoff.least(error.after));
    }
  }

  /** Wait, but no longer than what the server has asked for when the browser says that the network is back. */
  private async _pause(wait: number, least: number): Promise<void> {
    const { signal } = this._left;
    const { woken } = this._connections;
    await sleep(least, signal);
    await sleep(wait - least, AbortSignal.any([signal, woken]));
  }

  private async _connect(transport: Transport): Promise<void> {
    const { _connections: connections, _kept: kept, _left: left } = this;
    let carrier: Carrier | null | undefined;
    if (!this.id) {
      [this.id, carrier] = await connections.create(kept.request!, kept.key!, transport, left.signal);
      keep(this._remember, { id: this.id });
    }
    carrier ??= await connections.resume(this.id, this._trail.cursor, transport, left.signal);
    if (this._over) {
      carrier?.leave();
      return;
    }
    if (!carrier) {
      this._finish(); // the stream has ended, and all of it was seen
      return;
    }
    this._carrier = carrier;
    this._trail.announce(carrier.gap);
    this.connects++;
    connections.tell({ kind: "connected", stream: this.id, transport });
  }

  private _drop(): void {
    const { _carrier: carrier } = this;
    if (!carrier) return;
    this._backoff.floor = carrier.retry ?? this._backoff.floor;
    this._connections.release(carrier);
    this._carrier = null;
  }

  private _take({ events, gap, ended }: Batch): void {
    if (gap) this._trail.announce(gap);
    let fresh = false;
    for (const item of events) {
      const admitted = this._trail.admit(item.id);
      if (!admitted) {
        this._connections.statistics.repeated++;
        continue;
      }
      fresh = true;
      if (admitted.gap) this._ready.push({ event: notice(admitted.gap, item.id) });
      this._ready.push(item);
      ended ||= isEnding(item.event);
    }
    this._patience?.progress(now());
    if (fresh) {
      this._backoff.progress();
      this._connections.worked(this.transport!);
    }
    if (ended) this._finish();
  }

  private _finish(): void {
    this._end();
    if (!this._ready.length) keep(this._remember, null);
  }
}

/** A gap as an event, right before the first one after it. */
function notice({ reason, missed }: Gap, cursor: string): StreamEvent {
  const why = reason === "epoch" ? "the stream began anew" : "they were no longer kept";
  const message = `${missed ?? "Some"} events before ${cursor} are lost: ${why}.`;
  return { type: "notice", code: "gap", message, data: { reason, missed } };
}
