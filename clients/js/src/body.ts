import type { Batch, Carrier } from "./carrier.js";
import { Lost } from "./errors.js";
import { pathOf, told, type Exchange, type Http } from "./http.js";
import { JsonLines, Lines, ServerSentEvents, type Format } from "./lines.js";
import { Silence, type Rhythm } from "./reconnect/index.js";
import { now, within } from "./time.js";

/** A response that brings one stream, as server-sent events or as lines of JSON. */
export class BodyCarrier implements Carrier {
  gap = null; // it comes as the first event
  private readonly _lines = new Lines();
  private readonly _silence: Silence;
  private readonly _reader: ReadableStreamDefaultReader<Uint8Array>;
  private readonly _cut = new AbortController();
  private _heard = false;

  constructor(
    private readonly _exchange: Exchange,
    private readonly _format: Format,
    rhythm: Rhythm,
  ) {
    this._silence = new Silence(rhythm, now());
    this._reader = _exchange.response.body!.getReader();
  }

  get retry(): number | undefined {
    return this._format.retry;
  }

  async receive(): Promise<Batch> {
    const bytes = await this._read();
    const batch: Batch = { events: [] };
    let keepalive = false;
    for (const line of this._lines.feed(bytes)) keepalive = this._format.line(line, batch);
    this._silence.heard(now(), keepalive && !batch.events.length);
    this._heard = true;
    return batch;
  }

  private async _read(): Promise<Uint8Array> {
    // Nothing at all, not even a keepalive: most often a proxy that collects what should stream.
    const left = this._silence.left(now());
    const silent = new Lost(`silent for ${left.toFixed(1)} s`, this._heard ? "network" : "transport");
    const blame = this._heard ? "network" : "early";
    const piece = this._reader.read().catch((error: unknown) => {
      throw new Lost(told(error), blame);
    });
    const { done, value } = await within(left, piece, silent, this._cut.signal);
    if (done) throw new Lost("the response ended early", blame);
    return value;
  }

  /** The machine was asleep, or the network changed: give up on a response that cannot be asked whether it lives. */
  check(quiet: number): void {
    if (this._silence.lasting(now()) < quiet) return;
    this._heard = true; // and the transport is not to blame
    this._cut.abort();
  }

  leave(): void {
    this._exchange.abort();
  }
}

/**
 * Ask for a stream's events after a cursor; null when it has ended, and nothing is left.
 *
 * @throws Lost: come back. ClientError: do not.
 */
export async function openBody(
  http: Http,
  kind: "sse" | "ndjson",
  stream: string,
  cursor: string | undefined,
  rhythm: Rhythm,
  signal: AbortSignal,
): Promise<BodyCarrier | null> {
  const format: Format = kind === "sse" ? new ServerSentEvents() : new JsonLines();
  // In the query, where it costs a page of another origin no preflight.
  const query = cursor ? `?after=${encodeURIComponent(cursor)}` : "";
  const exchange = await http.open(`${pathOf(stream)}/events${query}`, { headers: { Accept: format.type }, signal, cursor });
  const { response } = exchange;
  if (response.status !== 204 && response.headers.get("content-type")?.startsWith(format.type)) {
    rhythm.announce(response.headers.get("stream-keepalive"));
    return new BodyCarrier(exchange, format, rhythm);
  }
  exchange.abort();
  if (response.status === 204) return null;
  throw http.stranger(response);
}
