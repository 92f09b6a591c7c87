import type { Batch, Carrier, Item } from "./carrier.js";
import { Lost } from "./errors.js";
import type { Gap } from "./reconnect/index.js";

const OVERHEAD = 200; // what an event costs beside its text

/**
 * What a socket has brought for one of its streams, and was not read yet.
 *
 * When it is full, because its reader is slow, what comes is let fall, and asked for again when there is room: to stop
 * reading the socket would hold up the other streams, and the gateway's log is the better buffer.
 */
export class Inbox implements Carrier {
  gap: Gap | null = null;
  private _items: Item[] = [];
  private _size = 0;
  private _open = false;
  private _ended = false;
  private _failure?: unknown;
  private _left = false;
  private _news?: () => void;

  /**
   * @param forget is called when the stream is left, with this
   * @param limit characters that may wait
   */
  constructor(
    private readonly _forget: (inbox: Inbox) => void,
    private readonly _limit: number,
    public stream?: string,
  ) {}

  /** The reply has come: what follows is this inbox's. */
  begin(reply: { stream: string; gap?: Gap | null; ended?: boolean }): void {
    this.stream = reply.stream;
    this.gap = reply.gap ?? null;
    this._ended = reply.ended ?? false;
    this._open = true;
    if (this._left) this._forget(this);
  }

  /** An event has come. Before the reply it belongs to an earlier subscription, and is none of ours. */
  put(item: Item, size: number): void {
    if (!this._open) return;
    if (this._size > this._limit) {
      this.fail(new Lost("reading too slowly", "network", 0));
      return;
    }
    this._items.push(item);
    this._size += size + OVERHEAD;
    this._news?.();
  }

  /** Nothing more will come; what is there can still be read. */
  fail(failure: unknown): void {
    this._open = false;
    this._failure ??= failure;
    this._news?.();
  }

  async receive(): Promise<Batch> {
    while (!this._items.length) {
      if (this._ended) return { events: [], ended: true };
      if (this._failure) throw this._failure;
      await new Promise<void>((resolve) => (this._news = resolve));
    }
    const events = this._items;
    this._items = [];
    this._size = 0;
    return { events };
  }

  /** Unsubscribe, if that means anything yet; else as soon as it does. */
  leave(): void {
    if (this._left) return;
    this._left = true;
    this.fail(new Lost("left"));
    this._forget(this);
  }
}
