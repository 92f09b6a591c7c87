/**
 * The browser and Node client of Stream Gateway: reconnects, resumes, and changes transports by itself.
 *
 * @packageDocumentation
 */

export { Client } from "./client.js";
export type { ClientOptions, StreamRequest } from "./client.js";
export type { Statistics, Status } from "./connections.js";
export {
  ClientError,
  CursorExpired,
  Incomplete,
  NotAGateway,
  Refused,
  StreamNotFound,
  Unauthorized,
  Unreachable,
  WrongUrl,
} from "./errors.js";
export type { Ending, StreamEvent } from "./events.js";
export type { Token } from "./http.js";
export type { Settings, Transport } from "./settings.js";
export type { WebSocketClass } from "./sockets.js";
export type { EventStream, StreamOptions } from "./stream.js";
