import { openBody, type BodyCarrier } from "./body.js";
import type { Carrier } from "./carrier.js";
import { foreign, Lost, Unreachable } from "./errors.js";
import type { Http } from "./http.js";
import { PollCarrier } from "./poll.js";
import { Backoff, Ladder, Patience, Rhythm } from "./reconnect/index.js";
import type { Settings, Transport } from "./settings.js";
import { Sockets, type WebSocketClass } from "./sockets.js";
import { now } from "./time.js";
import { offline, onWake } from "./wake.js";

/** What has become of a stream's connection, for whoever wants to show it. */
export interface Status {
  kind: "connected" | "lost";
  /** The stream's id, undefined while it has none. */
  stream?: string;
  transport: Transport;
  /** Of a loss: why, and the seconds until the next try. */
  reason?: string;
  wait?: number;
}

/** What a client has been through. */
export interface Statistics {
  /** Connections that brought a stream, by transport. */
  connects: { [name in Transport]?: number };
  /** How often one was lost, or did not come about. */
  losses: number;
  /** Events that came twice, and were given once. */
  repeated: number;
}

/** Makes carriers for streams, and keeps what they learn: which transport works, and how silent a living link is. */
export class Connections {
  readonly statistics: Statistics = { connects: {}, losses: 0, repeated: 0 };
  /** Whether the gateway ever was reached. */
  private _reached = false;
  /** Aborted and replaced when waiting may be over sooner than was thought. */
  private _wake = new AbortController();
  private readonly _ladder: Ladder<Transport>;
  private readonly _rhythm: Rhythm;
  private readonly _sockets: Sockets;
  private readonly _bodies = new Set<BodyCarrier>();
  private readonly _open = new AbortController();

  constructor(
    readonly http: Http,
    private readonly _settings: Settings,
    transports: readonly Transport[],
    Class: WebSocketClass | undefined,
    private readonly _onStatus?: (status: Status) => void,
  ) {
    this._ladder = new Ladder(transports, _settings.retryBetter);
    this._rhythm = new Rhythm(_settings.silence);
    this._sockets = new Sockets(http, Class, _settings, (why) => this.failed("websocket", why));
    onWake((network) => this._check(network), this._open.signal);
  }

  /** End all that is under way. */
  close(): void {
    this._open.abort(new Error("the client is closed"));
    this._sockets.close();
  }

  /** Aborted when it is closed, or by the signal. */
  until(signal?: AbortSignal): AbortSignal {
    const { signal: open } = this._open;
    return signal ? AbortSignal.any([open, signal]) : open;
  }

  // ---- making connections

  /** The transport to take now. */
  choose(): Transport {
    return this._ladder.choose(now());
  }

  /**
   * Start a generation, or find the one that the key has started; its id, and what brings it if that comes along.
   *
   * @throws Lost: come back. ClientError: do not.
   */
  async create(request: object, key: string, transport: Transport, signal: AbortSignal): Promise<[string, Carrier?]> {
    if (transport === "websocket") {
      const inbox = await this._sockets.create(request, key, signal);
      return [inbox.stream!, inbox];
    }
    const created = await this.http.ask("v1/streams", {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      body: JSON.stringify(request),
      signal,
    });
    if (typeof created?.id != "string") throw foreign("What answered");
    return [created.id];
  }

  /**
   * Go on with a stream; null when it has ended, and nothing is left.
   *
   * @throws Lost: come back. ClientError: do not.
   */
  async resume(
    stream: string,
    cursor: string | undefined,
    transport: Transport,
    signal: AbortSignal,
  ): Promise<Carrier | null> {
    if (transport === "websocket") return this._sockets.resume(stream, cursor, signal);
    if (transport === "poll") return new PollCarrier(this.http, stream, cursor, this._settings.pollWait);
    const body = await openBody(this.http, transport, stream, cursor, this._rhythm, signal);
    if (body) this._bodies.add(body);
    return body;
  }

  /** A stream has let go of what brought it. */
  release(carrier: Carrier): void {
    carrier.leave();
    this._bodies.delete(carrier as BodyCarrier);
    this._sockets.rest();
  }

  /** The machine was asleep, a page came back, or the network changed: who waits tries, who is silent is asked. */
  private _check(network: boolean): void {
    this._sockets.check();
    if (!offline()) for (const body of this._bodies) body.check(network ? 0 : this._settings.probe);
    this._wake.abort();
    this._wake = new AbortController();
  }

  // ---- how they fare

  /** For one stream. */
  backoff(): Backoff {
    return new Backoff(Math.random, this._settings.backoffBase, this._settings.backoffCap);
  }

  /** For one stream. A gateway that was never reached is most often a wrong address. */
  patience(): Patience {
    return new Patience(this._reached ? this._settings.patience : this._settings.firstPatience, now());
  }

  /** Aborted when the browser says that trying again is worth while. */
  get woken(): AbortSignal {
    return this._wake.signal;
  }

  /**
   * Seconds to wait after a loss.
   *
   * @throws Unreachable: it has gone on for too long.
   */
  wait(lost: Lost, backoff: Backoff, patience: Patience): number {
    this.statistics.losses++;
    if (this._reached) patience.limit = this._settings.patience;
    const wait = backoff.next(lost.after);
    if (offline()) patience.progress(now()); // nobody's fault, and the browser will say when it is over
    if (!patience.failed(now())) return wait;
    const { base } = this.http;
    const page = globalThis.document ? ", and this page in its cors.origins" : "";
    const ask = this._reached ? "" : ` Is the address right, the gateway running${page}?`;
    throw new Unreachable(`${base} cannot be reached (tried ${backoff.attempts} times): ${lost.message}.${ask}`);
  }

  /** Something new has come over a transport. */
  worked(transport: Transport): void {
    this._reached = true;
    this._ladder.worked(transport);
  }

  /** A connection was lost, or did not come about. */
  failed(transport: Transport, { blame }: Lost): void {
    if (blame) this._ladder.failed(transport, blame, now());
  }

  /** Count, and let whoever wants to know hear of it. */
  tell(status: Status): void {
    if (status.kind === "connected") {
      this._reached = true;
      const { connects } = this.statistics;
      connects[status.transport] = (connects[status.transport] ?? 0) + 1;
    }
    this._onStatus?.(status);
  }
}
