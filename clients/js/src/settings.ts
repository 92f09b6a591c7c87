import { BASE, CAP, RETRY_BETTER, UNTAUGHT } from "./reconnect/index.js";

/**
 * What brings a stream: one socket for many of them; a response for each, as server-sent events or as lines of JSON;
 * or a request for each piece of news.
 */
export type Transport = "websocket" | "sse" | "ndjson" | "poll";

/** Best first. Where server-sent events are held back, lines of JSON are, too: they are there to be asked for. */
export const TRANSPORTS: readonly Transport[] = ["websocket", "sse", "poll"];

/** Times in seconds; the defaults are good for the open internet. */
export interface Settings {
  /** For a connection, its handshake, and the head of an answer. */
  connectTimeout: number;
  /** How long the gateway may be out of reach while it never was reached: most often its address is wrong. */
  firstPatience: number;
  /** How long it may be out of reach; `Infinity` for ever. Time in which the browser knows it is offline is free. */
  patience: number;
  /** The ceilings of random waits between tries. */
  backoffBase: number;
  backoffCap: number;
  /** After which a response is dead while no keepalive was seen yet; then their rhythm decides. */
  silence: number;
  /** Silence after which a WebSocket is asked whether it lives; after as long again it is dead. */
  probe: number;
  /** How long a long poll waits for news. */
  pollWait: number;
  /** Until a better transport that was given up is tried again. */
  retryBetter: number;
  /** Until a WebSocket that carries nothing is closed. */
  idle: number;
  /** Characters that wait on our side of a WebSocket for a slow reader; what is beyond it is asked for later. */
  inbox: number;
}

export const DEFAULTS: Settings = {
  connectTimeout: 10,
  firstPatience: 5,
  patience: 120,
  backoffBase: BASE,
  backoffCap: CAP,
  silence: UNTAUGHT,
  probe: 10,
  pollWait: 25,
  retryBetter: RETRY_BETTER,
  idle: 10,
  inbox: 1_048_576,
};
