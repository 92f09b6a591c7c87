/** Which transport to take: the best one that works, and now and then whether a better one works again. */

/** Connections in a row that end before anything came, and then the transport is to blame and not the network. */
export const EARLY_LIMIT = 3;

/** Seconds until a better transport is tried again, the first time and at most; they double with each vain try. */
export const RETRY_BETTER = 60;
export const MAX_RETRY_BETTER = 1800;

/**
 * What a failure says of the transport.
 *
 * - `network`: nothing; the peer cannot be reached at all, or the connection was good before
 * - `early`: perhaps something; the connection ended, or stayed silent, before anything came
 * - `transport`: it is refused here, by a proxy or by a server that does not have it
 */
export type Blame = "network" | "early" | "transport";

/** The transports of one client, best first; all its streams share what they learn. */
export class Ladder<Rung extends string> {
  private _at = 0;
  private _early = 0;
  private readonly _first: number;
  private _since = 0; // when the better one was last given up, or tried
  private _trying = false;

  /** @param _rungs the names of the transports, best first; at least one */
  constructor(
    private readonly _rungs: readonly Rung[],
    private _pause = RETRY_BETTER,
  ) {
    this._first = _pause;
  }

  /** The transport that is taken while nothing else is tried. */
  get current(): Rung {
    return this._rungs[this._at]!;
  }

  /**
   * The transport for a connection that is to be made now.
   *
   * When the time has come, one caller gets a better one to try, while the others keep to the one that works.
   */
  choose(now: number): Rung {
    if (!this._at) return this.current;
    this._since = Math.min(this._since, now);
    if (now - this._since < this._pause) return this.current;
    this._since = now;
    this._trying = true;
    return this._rungs[this._at - 1]!;
  }

  /** Something came over this transport. */
  worked(rung: Rung): void {
    const place = this._rungs.indexOf(rung);
    if (place < this._at) {
      this._at = place;
      this._pause = this._first;
      this._trying = false;
    }
    if (place === this._at) this._early = 0;
  }

  /** A connection over this transport failed; perhaps it is another's turn now. */
  failed(rung: Rung, blame: Blame, now: number): void {
    const place = this._rungs.indexOf(rung);
    if (place < this._at) {
      if (!this._trying) return;
      this._trying = false;
      this._since = now;
      this._pause = Math.min(this._pause * 2, MAX_RETRY_BETTER);
    } else if (place === this._at && blame !== "network") {
      this._early++;
      if (place + 1 === this._rungs.length || (blame === "early" && this._early < EARLY_LIMIT)) return;
      this._at++;
      this._early = 0;
      this._since = now;
    }
  }
}
