import { Client, type EventStream, type Status, type StreamEvent, type Transport } from "stream-gateway";
import { compare, Seen, type Verdict } from "./compare.js";
import { Timeline } from "./timeline.js";

/** Seconds for which the gateway goes on with an answer whose only reader has been cut off. */
export const LEASE = 60;

export type State = "running" | "cut" | "ended";

export interface Request {
  model: string;
  prompt: string;
  chunking: string;
}

/** One answer in the playground: read over whatever transport, cut and resumed as often as one likes. */
export class Run {
  readonly timeline = new Timeline();
  state: State = "running";
  /** What became of it, in a sentence. */
  note = "";
  /** Of the stream. */
  id: string | undefined;
  cursor: string | undefined;
  transport: Transport | undefined;
  /** Connections that have brought something of it. */
  connections = 0;
  verdict: Verdict | null = null;
  private readonly _seen = new Seen();
  private readonly _start = performance.now();
  private _client: Client | null = null;

  /**
   * @param url the data plane's address
   * @param token what the data plane wants to see, if anything
   * @param changed is called with everything that happens, and with the error that ends it
   */
  constructor(
    private readonly _url: string,
    private readonly _token: string,
    private readonly _request: Request,
    private readonly _changed: (error?: unknown) => void,
  ) {}

  /** Ask. */
  start(transport: Transport): void {
    const { model, prompt, chunking } = this._request;
    const request = { model, messages: [{ role: "user", content: prompt }], lease: LEASE, ...(chunking && { chunking }) };
    void this._read(this._open(transport).stream(request));
  }

  /** Take the connection away; the gateway sees a client that is gone. */
  cut(): void {
    if (this.state !== "running" || !this.id) return;
    this.state = "cut";
    this.note = `Cut. The gateway goes on for ${LEASE} s without you, and keeps what you miss.`;
    this.timeline.mark(this._now(), "cut");
    this._client?.close();
    this._changed();
  }

  /** Come back, over the same transport or over another one, after the last event that was seen. */
  resume(transport: Transport): void {
    if (this.state !== "cut") return;
    this.state = "running";
    this.note = "";
    void this._read(this._open(transport).attach(this.id!, this.cursor ? { after: this.cursor } : {}));
    this._changed();
  }

  /** End the answer at its provider. */
  async stop(): Promise<void> {
    const client = new Client(this._url, { token: this._token });
    if (this.id) await client.cancel(this.id).catch(this._changed);
    client.close();
    if (this.state === "cut") this.resume(this.transport!); // to see its end
  }

  /** Leave it to its lease. */
  leave(): void {
    this._client?.close();
  }

  private _open(transport: Transport): Client {
    this.transport = transport;
    this._client = new Client(this._url, {
      token: () => this._token || undefined,
      transports: [transport],
      onStatus: (status) => this._onStatus(status),
    });
    return this._client;
  }

  private async _read(stream: EventStream): Promise<void> {
    const client = this._client!;
    try {
      for await (const event of stream) {
        this.id = stream.id;
        this.cursor = stream.cursor;
        this._seen.add(stream.cursor ?? "");
        this._take(event);
        this._changed();
      }
      client.close();
      if (this.state === "running") this._end("Nothing more is left of it.");
      await this._check();
    } catch (error) {
      if (client !== this._client || this.state === "cut") return; // that was us
      this._end((error as Error).message);
      this._changed(error);
      client.close();
    }
  }

  private _take(event: StreamEvent): void {
    if (event.type === "text.delta") this.timeline.chunk(this._now(), event.text, this.cursor ?? "");
    else if (event.type === "notice") this.note = event.message;
    else if (event.type === "stream.finished") this._end("The answer is whole.");
    else if (event.type === "stream.failed") this._end(`It failed: ${event.message}`);
    else if (event.type === "stream.cancelled") this._end(`It was ended (${event.reason}).`);
  }

  private _end(note: string): void {
    this.state = "ended";
    this.note = note;
    this.timeline.mark(this._now(), "ended");
  }

  /** Read the whole log once more, by another way, and compare. */
  private async _check(): Promise<void> {
    const client = new Client(this._url, { token: () => this._token || undefined, transports: ["poll"] });
    let log = "";
    try {
      for await (const event of client.attach(this.id!)) if (event.type === "text.delta") log += event.text;
      this.verdict = compare(this.timeline.text, log, this._seen.twice);
    } catch {
      // It may have been forgotten by now; then there is nothing to compare with.
    } finally {
      client.close();
    }
    this._changed();
  }

  private _onStatus({ kind, stream, reason = "" }: Status): void {
    if (this.state === "cut") return;
    this.id = stream ?? this.id;
    if (kind === "connected") this.timeline.mark(this._now(), this.connections++ ? "resumed" : "connected");
    else this.timeline.mark(this._now(), "lost", reason);
    this._changed();
  }

  private _now(): number {
    return (performance.now() - this._start) / 1000;
  }
}
