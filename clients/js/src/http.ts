import {
  ClientError,
  CursorExpired,
  Lost,
  NotAGateway,
  Refused,
  StreamNotFound,
  Unauthorized,
  WrongUrl,
} from "./errors.js";
import { onStatus } from "./reconnect/index.js";
import type { Settings } from "./settings.js";
import { within } from "./time.js";

/** A token, or a function that gives the one that is good now; it is asked for each connection. */
export type Token = string | (() => string | undefined | Promise<string | undefined>);

/** Of a request. */
export interface Asking {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  keepalive?: boolean;
  signal?: AbortSignal;
  /** Seconds that the server may take beside the usual ones. */
  wait?: number;
  /** The cursor that is to be gone on after. */
  cursor?: string;
}

/** A response as soon as there is its head; `abort` ends it. */
export interface Exchange {
  response: Response;
  abort: () => void;
}

const DENIED = /^(unauthorized|forbidden|40[137])$/;
const TRANSIENT = /^(overloaded|internal_error)$/;
const EXPIRED = /^cursor_e/; // cursor_expired, cursor_epoch_mismatch

/** Where a stream is. */
export const pathOf = (stream: string): string => `v1/streams/${encodeURIComponent(stream)}`;

/** HTTP exchanges with one gateway. */
export class Http {
  /** @param base the gateway's address, ending in a slash */
  constructor(
    readonly base: string,
    private readonly _token: Token | undefined,
    private readonly _fetch: typeof globalThis.fetch,
    private readonly _settings: Settings,
  ) {}

  /** The token that is good now; undefined when none is needed. */
  async credential(): Promise<string | undefined> {
    return typeof this._token == "function" ? await this._token() : this._token;
  }

  /**
   * Send a request, and return the response as soon as there is the head of one that is no refusal. From then on it is
   * the caller who ends it.
   *
   * @throws Lost: come back. ClientError: do not.
   */
  async open(path: string, { signal, wait = 0, cursor, ...init }: Asking = {}): Promise<Exchange> {
    const own = new AbortController();
    const abort = () => own.abort();
    const seconds = this._settings.connectTimeout + wait;
    try {
      const late = new Lost(`no answer within ${seconds} s`, "early");
      const response = await within(seconds, this._send(path, init, own.signal), late, signal);
      if (!response.ok) throw await this._refusal(response, cursor);
      return { response, abort };
    } catch (error) {
      abort();
      throw error;
    }
  }

  /** Send a request, and return the whole JSON that comes back (see `open`). */
  async ask(path: string, asking: Asking = {}): Promise<any> {
    const { response, abort } = await this.open(path, asking);
    try {
      const late = new Lost("the answer had no end", "early");
      return await within(this._settings.connectTimeout, response.json(), late, asking.signal);
    } catch (error) {
      if (error instanceof SyntaxError) throw this.stranger(response);
      throw error instanceof Lost ? error : new Lost(`the answer broke off: ${told(error)}`, "early");
    } finally {
      abort();
    }
  }

  /** Somebody else has answered. */
  stranger(response: Response): NotAGateway {
    const { url, status } = response;
    return new NotAGateway(`${url} answered ${status}, and not as a Stream Gateway does; check the address.`);
  }

  private async _send(path: string, init: Asking, signal: AbortSignal): Promise<Response> {
    const token = await this.credential();
    const headers = token ? { ...init.headers, Authorization: `Bearer ${token}` } : init.headers;
    const { _fetch: fetch } = this; // browsers' own refuses to be called as somebody's method
    try {
      return await fetch(this.base + path, { ...init, headers, signal, cache: "no-store", redirect: "manual" });
    } catch (error) {
      throw new Lost(`cannot connect: ${told(error)}`);
    }
  }

  /** What a response means that is not the one that was asked for. */
  private async _refusal(response: Response, cursor?: string): Promise<ClientError | Lost> {
    const { status, headers, url } = response;
    if (response.type === "opaqueredirect" || (status >= 300 && status < 400)) {
      const where = headers.get("location") ?? "elsewhere";
      return new WrongUrl(`${url} leads to ${where}; give the client that address.`);
    }
    const body = await within(2, response.json(), 0).catch(() => null);
    const { code, message = status } = body?.error ?? {};
    const verdict = onStatus(status, headers.get("retry-after"));
    if (verdict.comeBack) return new Lost(`the gateway answered: ${message}`, "network", verdict.after);
    if (DENIED.test(`${status}`)) return refusal(`${status}`, message);
    if (typeof code != "string") return this.stranger(response);
    if (code === "not_found") {
      return new WrongUrl(`The gateway has nothing at ${url}; give the client its address without a path.`);
    }
    return refusal(code, message, cursor, status);
  }
}

/** What the gateway's own error means. */
export function refusal(code: string, message: string, cursor?: string, status?: number): ClientError | Lost {
  if (DENIED.test(code)) return new Unauthorized(`The gateway refuses: ${message}`);
  if (TRANSIENT.test(code)) return new Lost(`the gateway answered: ${message}`);
  if (EXPIRED.test(code) || (code === "unknown_stream" && cursor)) {
    return new CursorExpired(`The stream cannot go on after ${cursor}: ${message}`, code, status);
  }
  return new (code === "unknown_stream" ? StreamNotFound : Refused)(message, code, status);
}

/** An error's own words, and those of what caused it, which Node hides. */
export function told(error: unknown): string {
  const { message, cause } = error as Error & { cause?: Error & { code?: string } };
  return cause ? `${message} (${cause.message || cause.code})` : message;
}
