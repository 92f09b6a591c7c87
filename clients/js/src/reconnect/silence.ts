/**
 * Links that are dead without saying so: a cable pulled, a network changed, a proxy that forgot us.
 *
 * Nothing tells a reader; it can only know how long a living link is silent at most. On HTTP the gateway sends
 * keepalives, whose rhythm it announces, and which is learned where it does not (`Rhythm`, `Silence`). On a WebSocket,
 * where pings are answered below us, we ask (`Probe`). Times are seconds.
 */

/** Silence before a link is dead when nothing is known yet: three of the gateway's default intervals. */
export const UNTAUGHT = 45;

/** A link is dead after two intervals and a second: one keepalive may be late, two are not. */
export const FACTOR = 2;
export const SLACK = 1;

/** Longer between two keepalives is not a rhythm but a machine that slept. */
export const MAX_INTERVAL = 120;

/** Who announces more is believed to be silent that long and no longer; a dead link is found out some day. */
export const MAX_ANNOUNCED = 3600;

const FORGET = 0.9; // of what was learned, with each keepalive that came sooner

/** How long a server is silent at most, as it announces and as its keepalives teach; one for all links to it. */
export class Rhythm {
  private _announced = 0; // 0: nothing is known
  private _learned = 0;

  constructor(private readonly _untaught = UNTAUGHT) {}

  /** Seconds of silence after which a link is dead. */
  get allowed(): number {
    const interval = Math.max(this._announced, this._learned); // what holds keepalives up on the way counts, too
    return interval ? FACTOR * interval + SLACK : this._untaught;
  }

  /** The header `Stream-Keepalive` of a response; one that is missing or no number of seconds says nothing. */
  announce(text: string | null): void {
    if (/^\d{1,9}(\.\d{1,9})?$/.test(text!) && +text!) this._announced = Math.min(+text!, MAX_ANNOUNCED);
  }

  /**
   * A keepalive came after so many seconds of silence.
   *
   * The longest counts, and fades: keepalives that were held up come in bunches, and those are no rhythm either.
   */
  learn(silence: number): void {
    if (silence >= 0 && silence <= MAX_INTERVAL) this._learned = Math.max(silence, this._learned * FORGET);
  }
}

/** Listens to one link, from now on. */
export class Silence {
  constructor(
    private readonly _rhythm: Rhythm,
    private _last: number,
  ) {}

  /** Bytes came; `keepalive`: nothing but one of those. */
  heard(now: number, keepalive = false): void {
    if (keepalive) this._rhythm.learn(now - this._last);
    this._last = now;
  }

  /** Seconds of silence until the link is dead; 0 when it is. */
  left(now: number): number {
    this._last = Math.min(this._last, now); // a clock that was set back must not grant a link hours
    return Math.max(this._last + this._rhythm.allowed - now, 0);
  }

  /** Seconds for which nothing has come. */
  lasting(now: number): number {
    return now - this._last;
  }
}

/** What `Probe.look` found: all is well, send a ping, or the ping was not answered. */
export type Look = "wait" | "ask" | "dead";

/** Asks a link that has been silent whether it lives. */
export class Probe {
  private _asked?: number;

  /** @param _after silence before it is asked, and then again until it is dead */
  constructor(
    private _after: number,
    private _last: number,
  ) {}

  /** Anything came. */
  heard(now: number): void {
    this._last = now;
    this._asked = undefined;
  }

  /** When to look. */
  due(): number {
    return (this._asked ?? this._last) + this._after;
  }

  /** Whether to wait, to ask, or to give the link up. After a jump of the clock it is asked first, like any. */
  look(now: number): Look {
    this._last = Math.min(this._last, now);
    if (this._asked === undefined) {
      if (now < this.due()) return "wait";
      this._asked = now;
      return "ask";
    }
    this._asked = Math.min(this._asked, now);
    return now < this.due() ? "wait" : "dead";
  }
}
