import { Client, type Status } from "stream-gateway";
import { AdminError, type Admin, type Way } from "./admin.js";
import { locate, obstacle, reach, UNKNOWN } from "./gateway.js";
import { snapshotOf, type Snapshot } from "./snapshot.js";

/** How the page stands with the gateway; `text` is for people, and `problem` what they can do something about. */
export interface Standing {
  kind: "connecting" | "live" | "lost" | "draining";
  text: string;
  problem?: string;
}

export interface FeedReader {
  take(snapshot: Snapshot): void;
  tell(standing: Standing): void;
}

const CARRIERS = { websocket: "WebSocket", sse: "server-sent events", ndjson: "lines of JSON", poll: "long polls" };
const LOST = "Connection lost, trying again";

/** Seconds for which the client tries by itself; then the feed is asked for anew, as after a restart. */
const PATIENCE = 15;

/** Seconds between two tries at most: somebody looks at it, and it is one page. */
const LONGEST_WAIT = 5;

/** Reads the console's feed, for as long as the page is open. */
export class Feed {
  /** The data plane's address, once it is known. */
  url: string | null = null;
  /** The feed's own stream, which is nobody's answer. */
  stream: string | null = null;
  private _cursor: string | undefined;
  private _failures = 0;

  constructor(
    private readonly _admin: Admin,
    private readonly _reader: FeedReader,
  ) {}

  /** Never ends. */
  async run(): Promise<never> {
    this._reader.tell({ kind: "connecting", text: "Connecting…" });
    for (;;) {
      const standing = await this._follow();
      const wait = Math.min(LONGEST_WAIT, 2 ** this._failures++) * (0.5 + Math.random() / 2);
      this._reader.tell(standing);
      await pause(wait);
    }
  }

  /** Follow the feed; how the page stands when that has ended. */
  private async _follow(): Promise<Standing> {
    try {
      const way = await this._admin.feed();
      if (way.stream !== this.stream) this._cursor = undefined;
      this.stream = way.stream;
      this.url = await locate();
      if (this.url === null) return { kind: "lost", text: "Not connected", problem: UNKNOWN };
      const reached = await reach(this.url);
      if (reached !== "open") return { kind: "lost", text: "Not connected", problem: obstacle(reached, this.url) };
      await this._read(this.url, way);
      return { kind: "draining", text: "The gateway is stopping" };
    } catch (error) {
      const problem = error instanceof AdminError ? { problem: error.message } : {};
      return { kind: "lost", text: `${LOST}…`, ...problem };
    }
  }

  private async _read(url: string, { stream, token, cursor }: Way): Promise<void> {
    const settings = { patience: PATIENCE, backoffCap: LONGEST_WAIT };
    const client = new Client(url, { token, settings, onStatus: (status) => this._onStatus(status) });
    try {
      const events = client.attach(stream, { after: this._cursor ?? cursor });
      for await (const event of events) {
        this._cursor = events.cursor;
        const snapshot = snapshotOf(event);
        if (!snapshot) continue;
        this._failures = 0;
        this._reader.take(snapshot);
      }
    } finally {
      client.close();
    }
  }

  private _onStatus({ kind, transport, wait = 0 }: Status): void {
    if (kind === "connected") this._reader.tell({ kind: "live", text: `Live over ${CARRIERS[transport]}` });
    else this._reader.tell({ kind: "lost", text: `${LOST}${wait >= 1 ? ` in ${Math.ceil(wait)} s` : ""}…` });
  }
}

/** Wait, but no longer than until the network is back. */
function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, 1000 * seconds);
    addEventListener("online", done);
  });
}
