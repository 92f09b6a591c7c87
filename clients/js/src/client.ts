import { Connections, type Statistics, type Status } from "./connections.js";
import { Lost, WrongUrl } from "./errors.js";
import { Http, pathOf, type Token } from "./http.js";
import { recall } from "./memory.js";
import { DEFAULTS, TRANSPORTS, type Settings, type Transport } from "./settings.js";
import type { WebSocketClass } from "./sockets.js";
import { EventStream, type StreamOptions } from "./stream.js";
import { sleep } from "./time.js";

/** Seconds for which a generation goes on while its only reader is being reconnected. */
const RECONNECT_LEASE = 60;

/** What is to be generated: the fields of a chat completion, and a lease. */
export interface StreamRequest {
  model: string;
  messages: readonly object[];
  /**
   * How long the generation goes on after the stream was left: 0 (the default), seconds, or `"finish"`. When connections
   * are lost a generation with a lease of 0 goes on for a minute, in which this client comes back.
   */
  lease?: number | "finish";
  [field: string]: unknown;
}

/** What a client may be told. */
export interface ClientOptions {
  /** The gateway's token, or a function that gives the one that is good now; it is asked for each connection. */
  token?: Token;
  /** Which may be used, best first; of `websocket`, `sse`, `ndjson` and `poll`. */
  transports?: readonly Transport[];
  /** Times and limits. */
  settings?: Partial<Settings>;
  /** Is called with every change of a stream's connection. */
  onStatus?: (status: Status) => void;
  /** Instead of the global one, which Node 20 does not have: that of the package `ws`, say. */
  WebSocket?: WebSocketClass;
  /** Instead of the global one. */
  fetch?: typeof globalThis.fetch;
}

/** Talks to a gateway: streams over whatever comes through, which lost connections do not end. */
export class Client {
  private readonly _connections: Connections;

  /**
   * @param url such as `https://gateway.example`; in a page it may be relative, and is the page's own without one
   * @throws WrongUrl: it is no http(s) or ws(s) address
   * @throws RangeError: there is no WebSocket where nothing else is allowed
   */
  constructor(url: string | URL = "/", options: ClientOptions = {}) {
    const { token, transports = TRANSPORTS, onStatus } = options;
    const settings = { ...DEFAULTS, ...options.settings };
    const Class = options.WebSocket ?? globalThis.WebSocket;
    const usable = transports.filter((name) => name !== "websocket" || Class);
    if (!usable.length) throw new RangeError("there is no WebSocket here; give the client one");
    const fetch = options.fetch ?? globalThis.fetch;
    const http = new Http(parseUrl(url), token, fetch, settings);
    this._connections = new Connections(http, settings, usable, Class, onStatus);
  }

  /** Generate. Returns at once; the request is made when the first event is asked for. */
  stream(request: StreamRequest, { signal, remember }: StreamOptions = {}): EventStream {
    const { lease = 0 } = request;
    const kept = { request: { ...request, lease: lease || RECONNECT_LEASE }, key: uuid() };
    const forsake = lease === 0 ? (stream: string) => void this._forsake(stream) : undefined;
    return new EventStream(this._connections, kept, signal, remember, forsake);
  }

  /** Follow a stream that exists, from its beginning or from after a cursor. Leaving it leaves it running. */
  attach(id: string, { after, signal, remember }: StreamOptions & { after?: string } = {}): EventStream {
    return new EventStream(this._connections, { id, cursor: after }, signal, remember);
  }

  /**
   * The stream that was remembered under this name before the page went away; null when there is none, or it was read to
   * its end. It goes on after the last event that was given, or from its beginning with `whole`.
   */
  recall(name: string, { whole, signal }: { whole?: boolean; signal?: AbortSignal } = {}): EventStream | null {
    const kept = recall(name);
    if (!kept) return null;
    if (whole) delete kept.cursor;
    return new EventStream(this._connections, kept, signal, name);
  }

  /**
   * End a generation at its provider. What was said stays readable; a stream that has ended stays as it is.
   *
   * @throws StreamNotFound: there is none. ClientError: the gateway cannot be reached, or refuses.
   */
  async cancel(id: string): Promise<void> {
    const { _connections: connections } = this;
    const backoff = connections.backoff();
    const patience = connections.patience();
    for (;;) {
      try {
        // A page may be gone before the answer comes.
        await connections.http.ask(pathOf(id), { method: "DELETE", keepalive: true });
        return;
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
        await sleep(connections.wait(error, backoff, patience), connections.woken);
      }
    }
  }

  /** What has happened so far. */
  get statistics(): Readonly<Statistics> {
    return this._connections.statistics;
  }

  /** Leave all streams, and close all connections. */
  close(): void {
    this._connections.close();
  }

  private async _forsake(stream: string): Promise<void> {
    await this.cancel(stream).catch(() => undefined); // its lease ends it
  }
}

/** A gateway's address as users write it, ending in a slash. */
function parseUrl(given: string | URL): string {
  let url: URL;
  try {
    url = new URL(given, globalThis.location?.href);
  } catch {
    url = new URL("no:");
  }
  const scheme = /^(?:http|ws)(s?):$/.exec(url.protocol);
  if (!scheme) throw new WrongUrl(`"${given}" is no address; expected something like http://127.0.0.1:8080.`);
  return `http${scheme[1]}://${url.host}${url.pathname.replace(/\/*$/, "/")}`;
}

/** As good as `crypto.randomUUID`, which pages without TLS do not have. */
const uuid = (): string => crypto.getRandomValues(new Uint32Array(4)).join("-");
