/** When to try again, and when to give up. Times are seconds. */

export const BASE = 0.5;
export const CAP = 30;

/** A server that asks for more is misconfigured, or wants to be rid of us for good, and has a status for that. */
export const MAX_HINT = 300;

/** Seconds that one failure may use up of somebody's patience: a clock that jumps by hours does not use up all of it. */
export const MAX_STEP = 15;

/**
 * Exponential backoff with full jitter: each wait is drawn from zero to a ceiling that doubles with every failure.
 *
 * Full, because clients that lost their connections together must not come back together.
 */
export class Backoff {
  /** Failures since there last was progress. */
  attempts = 0;
  /** Seconds below which no wait may be: what a server said with `retry:` (WHATWG HTML §9.2.6). */
  floor = 0;

  /** @param _chance gives numbers from 0 up to 1, such as `Math.random` */
  constructor(
    private readonly _chance: () => number,
    private readonly _base = BASE,
    private readonly _cap = CAP,
  ) {}

  /** Seconds to wait after one more failure; `hint` is the least that the server has asked for. */
  next(hint?: number): number {
    const ceiling = Math.min(this._cap, this._base * 2 ** this.attempts++);
    return this.least(hint) + this._chance() * ceiling;
  }

  /** What of a wait is not ours to shorten. */
  least(hint = 0): number {
    return Math.min(Math.max(hint, this.floor, 0), MAX_HINT);
  }

  /** Something new has arrived: the next failure is a first one. A connection alone is no progress. */
  progress(): void {
    this.attempts = 0;
  }
}

/** How long failures may go on without progress. */
export class Patience {
  private _spent = 0;

  /**
   * @param limit seconds; `Infinity` for ever
   * @param _since the time now, in the caller's seconds
   */
  constructor(
    public limit: number,
    private _since: number,
  ) {}

  /** All is well again. */
  progress(now: number): void {
    this._spent = 0;
    this._since = now;
  }

  /** Note a failure; whether patience is at its end. */
  failed(now: number): boolean {
    this._spent += Math.min(Math.max(now - this._since, 0), MAX_STEP);
    this._since = now;
    return this._spent >= this.limit;
  }
}
