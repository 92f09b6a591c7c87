import { Lost, Unauthorized } from "./errors.js";
import type { Http } from "./http.js";
import { Inbox } from "./inbox.js";
import type { Settings } from "./settings.js";
import { NOT_HERE, PROTOCOL, Socket, type Failure } from "./socket.js";
import { later, within } from "./time.js";

/** What a `WebSocket` is made with. */
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocket;

/** Seconds in which every socket has opened, or said why not. */
const LONG = 600;


/** The WebSockets of one client: as many as its streams need, and one attempt at a time for all who wait. */
export class Sockets {
  private _sockets: Socket[] = [];
  private _resting?: ReturnType<typeof setTimeout>;

  /** @param lost is told once of each socket that is gone, before its streams are */
  constructor(
    private readonly _http: Http,
    private readonly _Class: WebSocketClass | undefined,
    private readonly _settings: Settings,
    private readonly _lost: (why: Lost) => void,
  ) {}

  /** Start a generation, or find the one that this key has started. */
  create(request: object, key: string, signal: AbortSignal): Promise<Inbox> {
    return this._somewhere(signal, undefined, (socket) => socket.create(request, key, signal));
  }

  /** Go on with a stream after a cursor. */
  resume(stream: string, after: string | undefined, signal: AbortSignal): Promise<Inbox> {
    return this._somewhere(signal, stream, (socket) => socket.subscribe(stream, after, signal));
  }

  /** The machine was asleep, or the network changed. */
  check(): void {
    for (const socket of this._sockets) socket.check();
  }

  /** Close those that carry nothing, when that has lasted for a while. */
  rest(): void {
    clearTimeout(this._resting);
    this._resting = later(this._settings.idle, () => {
      for (const socket of this._sockets) if (!socket.inboxes.size && !socket.coming) socket.end(NOT_HERE);
    });
  }

  /** Close all. */
  close(): void {
    clearTimeout(this._resting);
    for (const socket of this._sockets) socket.end(NOT_HERE);
  }

  private async _somewhere(
    signal: AbortSignal,
    stream: string | undefined,
    use: (socket: Socket) => Promise<Inbox>,
  ): Promise<Inbox> {
    clearTimeout(this._resting);
    this._sockets = this._sockets.filter((socket) => !socket.why);
    let socket = this._sockets.find((socket) => socket.room(stream));
    if (!socket) this._sockets.push((socket = this._dial()));
    socket.coming++;
    try {
      await within(LONG, socket.opened, NOT_HERE, signal);
    } finally {
      socket.coming--;
    }
    return use(socket);
  }

  private _dial(): Socket {
    return new Socket(
      this._settings,
      async () => {
        const token = await this._http.credential();
        const protocols = token ? [PROTOCOL, `stream-gateway.token.${base64url(token)}`] : [PROTOCOL];
        try {
          return new this._Class!(`${this._http.base.replace(/^http/, "ws")}v1/connect`, protocols);
        } catch (error) {
          throw new Lost(`no WebSocket: ${(error as Error).message}`, "transport"); // a page's policy forbids it
        }
      },
      () => this._explain(),
      (why) => {
        if (!(why instanceof Lost)) return;
        this._lost(why);
        why.blame = null; // noted, once for all its streams
      },
    );
  }

  /**
   * Why a handshake failed. Browsers do not tell; the same address, asked by HTTP, does.
   *
   * Whatever else than these two comes, HTTP will meet it again, and explain it better.
   */
  private async _explain(): Promise<Failure> {
    try {
      await this._http.ask("v1/connect");
    } catch (error) {
      if (error instanceof Lost || error instanceof Unauthorized) return error;
    }
    return new Lost("no WebSocket comes through", "transport");
  }
}

const base64url = (token: string): string => btoa(token).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
