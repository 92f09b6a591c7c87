import { collect, type Batch, type Carrier } from "./carrier.js";
import { foreign } from "./errors.js";
import { pathOf, type Http } from "./http.js";

/** Asks again and again for what comes after a cursor, for where nothing that streams comes through. */
export class PollCarrier implements Carrier {
  gap = null; // it comes with the answer
  private _wait = 0; // the first time for what there is
  private readonly _own = new AbortController();

  /**
   * @param after the cursor to begin after; undefined for the beginning
   * @param patience seconds that the gateway may take when there is nothing
   */
  constructor(
    private readonly _http: Http,
    private readonly _stream: string,
    private _after: string | undefined,
    private readonly _patience: number,
  ) {}

  async receive(): Promise<Batch> {
    const { _after: after, _wait: wait } = this;
    const query = new URLSearchParams({ wait: `${wait}`, ...(after ? { after } : {}) });
    const answer = await this._http.ask(`${pathOf(this._stream)}/events?${query}`, {
      signal: this._own.signal,
      cursor: after,
      wait,
    });
    if (!Array.isArray(answer?.events)) throw foreign("An answer");
    const batch: Batch = { events: [], gap: answer.gap, ended: answer.ended };
    for (const { id, event } of answer.events) collect(batch, id, event);
    this._after = answer.cursor;
    this._wait = this._patience;
    return batch;
  }

  leave(): void {
    this._own.abort();
  }
}
