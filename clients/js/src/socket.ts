import { checked, parse } from "./carrier.js";
import { foreign, Lost, type ClientError } from "./errors.js";
import { isEnding } from "./events.js";
import { refusal } from "./http.js";
import { Inbox } from "./inbox.js";
import { onClose, Probe, type Blame } from "./reconnect/index.js";
import type { Settings } from "./settings.js";
import { later, now, within } from "./time.js";

/** On one socket; the gateway's default limit is a little higher. For more there is another socket. */
export const STREAMS = 250;

/** Commands at once, and milliseconds for each: below what a gateway takes by default (`sockets.commands_per_second`). */
const BURST = 200;
const PACE = 11;

/** Seconds for a reply, while the socket lives: commands wait for their turn. */
const REPLY_TIMEOUT = 30;

/** Seconds for the answer to a ping when a machine has just woken up, or its network changed. */
const WAKE_TIMEOUT = 4;

export const PROTOCOL = "stream-gateway.v1+json";

/** What is left here, or does not fit: the next try, if there is one, goes to another socket. */
export const NOT_HERE = new Lost("full", null);

/** Why a socket is of no use. */
export type Failure = Lost | ClientError;

type Command = Record<string, unknown> & { type: string; after?: string };

/** One WebSocket to a gateway, with many streams on it. */
export class Socket {
  /** By stream. */
  readonly inboxes = new Map<string, Inbox>();
  /** How many streams have been asked for and are not in `inboxes` yet. */
  coming = 0;
  limit = STREAMS;
  /** What became of it; undefined while it is open, or opening. */
  why?: Failure;
  /** Resolved when it is open, rejected with `why` when it will not be. */
  readonly opened: Promise<void>;
  private _ws?: WebSocket;
  private _blame: Blame = "early"; // until something has come
  private _number = 0;
  private readonly _replies = new Map<number, (message: any) => void>();
  private _due = 0; // when the next command may go, in milliseconds
  private _probe?: Probe; // from when it is open
  private _watch?: ReturnType<typeof setTimeout>;
  private _settle!: (why?: Failure) => void;

  /**
   * @param open makes the browser's socket
   * @param explain is asked why one that did not open did not: browsers say nothing
   * @param lost is told what became of it, before its streams are
   */
  constructor(
    private readonly _settings: Settings,
    open: () => Promise<WebSocket>,
    private readonly _explain: () => Promise<Failure>,
    private readonly _lost: (why: Failure) => void,
  ) {
    this.opened = new Promise((resolve, reject) => (this._settle = (why) => (why ? reject(why) : resolve())));
    this.opened.catch(() => undefined); // whoever waits hears of it
    this._watch = later(_settings.connectTimeout, () => void this._refused());
    open().then(
      (ws) => this._attend(ws),
      (error: Failure) => this.end(error),
    );
  }

  /** Whether one more stream may come here, perhaps one of this id: a stream is on a socket once. */
  room(stream = ""): boolean {
    return !this.why && !this.inboxes.has(stream) && this.inboxes.size + this.coming < this.limit;
  }

  /** Start a generation, or find the one that this key has started. */
  create(request: object, key: string, signal: AbortSignal): Promise<Inbox> {
    const inbox = this._inbox();
    this.coming++;
    return this._ask({ type: "stream.create", request, key }, inbox, signal, (reply) => {
      this.coming--;
      if (reply?.type === "stream.created") {
        this.inboxes.set(reply.stream, inbox);
        inbox.begin(reply);
      }
    });
  }

  /** Go on with a stream. */
  subscribe(stream: string, after: string | undefined, signal: AbortSignal): Promise<Inbox> {
    if (this.inboxes.has(stream)) return Promise.reject(NOT_HERE); // somebody else was first
    const inbox = this._inbox(stream);
    this.inboxes.set(stream, inbox);
    return this._ask({ type: "stream.subscribe", stream, after }, inbox, signal, (reply) => {
      if (reply?.type === "stream.subscribed") inbox.begin(reply);
      else if (this.inboxes.get(stream) === inbox) this.inboxes.delete(stream);
    });
  }

  private _inbox(stream?: string): Inbox {
    return new Inbox((inbox) => this._forget(inbox), this._settings.inbox, stream);
  }

  /** Say a command, and wait for its reply; `adopt` is called with it before anything that comes after it. */
  private async _ask(
    command: Command,
    inbox: Inbox,
    signal: AbortSignal,
    adopt: (reply: any) => void,
  ): Promise<Inbox> {
    if (this.why) throw this.why;
    const ref = ++this._number;
    const answered = new Promise<any>((resolve) => {
      this._replies.set(ref, (reply) => {
        adopt(reply);
        resolve(reply);
      });
    });
    this._say({ ...command, ref });
    const late = new Lost(`no answer within ${REPLY_TIMEOUT} s`);
    try {
      const reply = await within(REPLY_TIMEOUT, answered, late, signal);
      if (!reply) throw this.why;
      if (reply.code === "too_many_requests") {
        this.limit = 0; // the gateway has a lower one than we thought
        throw NOT_HERE;
      }
      if (reply.type === "error") throw refusal(reply.code, reply.message, command.after);
      // A newer gateway may push what we do not know, but not answer with it. Servers that echo do.
      if (!/^stream.*d$/.test(reply.type)) throw foreign("A reply");
      return inbox;
    } catch (error) {
      inbox.leave();
      if (error === late) this.end(late); // what is asked again is asked elsewhere
      throw error;
    }
  }

  /** A stream is left; if it is on this socket, the gateway hears of it. */
  private _forget(inbox: Inbox): void {
    const { stream } = inbox;
    if (!stream || this.inboxes.get(stream) !== inbox) return;
    this.inboxes.delete(stream);
    if (!this.why) this._say({ type: "stream.unsubscribe", stream });
  }

  // ---- the connection

  private _attend(ws: WebSocket): void {
    this._ws = ws;
    ws.onopen = () => {
      if (ws.protocol !== PROTOCOL) {
        this.end(new Lost("another protocol", "transport"));
        return;
      }
      this._attention(this._settings.probe, now());
      this._settle();
    };
    ws.onmessage = ({ data }) => {
      this._blame = "network";
      this._probe!.heard(now());
      try {
        this._take(parse(String(data)), data.length);
      } catch (error) {
        this.end(error as Failure);
      }
    };
    ws.onerror = () => undefined; // the close that follows says as much
    ws.onclose = ({ code, reason }) => void (this._probe ? this._closed(code, reason) : this._refused());
    if (this.why) this.end(this.why);
  }

  private async _refused(): Promise<void> {
    const { _ws: ws } = this;
    clearTimeout(this._watch);
    if (ws) ws.onopen = ws.onclose = null;
    ws?.close();
    this.end(await this._explain());
  }

  private _closed(code: number, reason: string): void {
    const { comeBack, after } = onClose(code, reason);
    const said = `closed with ${code} ${reason}`.trim();
    const denied = code === 4501 || code === 4503;
    this.end(comeBack ? new Lost(said, this._blame, after) : refusal(denied ? "forbidden" : "closed", said));
  }

  private _take(message: any, size: number): void {
    const { type, ref, stream, id, event } = message ?? {};
    if (type === "event") {
      this.inboxes.get(stream)?.put({ id, event: checked(event) }, size);
      if (isEnding(event)) this.inboxes.delete(stream); // and with it the subscription
    } else if (type === "stream.unsubscribed") {
      const inbox = this.inboxes.get(stream);
      this.inboxes.delete(stream);
      inbox?.fail(new Lost(`the gateway let go: ${message.message}`));
    } else if (this._replies.has(ref)) {
      const reply = this._replies.get(ref)!;
      this._replies.delete(ref);
      reply(message);
    }
  }

  /** Ask a silent socket whether it lives, give up one that does not, and close one that nobody needs. */
  private _look(): void {
    const time = now();
    const probe = this._probe!;
    const look = probe.look(time);
    if (look === "dead") {
      this.end(new Lost("the socket does not answer", this._blame));
      return;
    }
    if (look === "ask") this._say({ type: "ping" });
    clearTimeout(this._watch);
    this._watch = later(Math.max(probe.due() - time, 0.01), () => this._look());
  }

  private _attention(probe: number, heard: number): void {
    this._probe = new Probe(probe, heard);
    this._look();
  }

  /** The machine was asleep, or the network changed: ask at once, and stay attentive. */
  check(): void {
    if (!this.why && this._probe) this._attention(WAKE_TIMEOUT, now() - WAKE_TIMEOUT);
  }

  /** It is over: tell everybody who waits. */
  end(why: Failure): void {
    const { _ws: ws } = this;
    if (ws) {
      ws.onopen = ws.onmessage = ws.onclose = null;
      ws.close();
    }
    clearTimeout(this._watch);
    if (this.why) return;
    this.why = why;
    this._lost(why);
    this._settle(why);
    for (const inbox of this.inboxes.values()) inbox.fail(why);
    this.inboxes.clear();
    for (const reply of this._replies.values()) reply(undefined);
    this._replies.clear();
  }

  // ---- writing

  /** Send a command, when that does not offend the gateway. */
  private _say(command: Command): void {
    const time = performance.now();
    this._due = Math.max(this._due + PACE, time - BURST * PACE);
    const send = () => this._ws!.send(JSON.stringify(command));
    if (this._due > time) setTimeout(send, this._due - time);
    else send();
  }
}
