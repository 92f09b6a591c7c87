import type { Blame } from "./reconnect/index.js";
import type { Ending } from "./events.js";

/** What a client cannot mend by coming back: one class each, one sentence for people. */
export class ClientError extends Error {}

/** The address is none, or leads elsewhere. */
export class WrongUrl extends ClientError {}

/** Nobody answers at the address, or has not for longer than our patience. */
export class Unreachable extends ClientError {}

/** Somebody answers who is no Stream Gateway. */
export class NotAGateway extends ClientError {}

/** The token is missing, wrong, or not good for this. */
export class Unauthorized extends ClientError {}

/** The gateway understood and said no. */
export class Refused extends ClientError {
  /**
   * @param code for machines, such as `model_not_found`
   * @param status the HTTP status; undefined when it was said on a WebSocket
   */
  constructor(
    message: string,
    readonly code: string,
    readonly status?: number,
  ) {
    super(message);
  }
}

/** There is no such stream, or none any longer. */
export class StreamNotFound extends Refused {}

/** The stream cannot go on after this cursor: what followed is not kept any more, or nothing of the stream is. */
export class CursorExpired extends Refused {}

/** An answer that was asked for as one text is not whole. */
export class Incomplete extends ClientError {
  /**
   * @param text what there is of it
   * @param event how the stream ended; undefined when a part is missing in between
   */
  constructor(
    why: string,
    readonly text: string,
    readonly event?: Ending,
  ) {
    super(`The answer is not whole: ${why}`);
  }
}

const CLASSES = {
  ClientError,
  WrongUrl,
  Unreachable,
  NotAGateway,
  Unauthorized,
  Refused,
  StreamNotFound,
  CursorExpired,
  Incomplete,
};
// By hand, because a minifier shortens the names of classes.
for (const [name, { prototype }] of Object.entries(CLASSES)) prototype.name = name;

/** A connection is gone, or did not come about; trying again may help. Users never meet it. */
export class Lost {
  /**
   * @param message why, in words that can follow a colon
   * @param blame what that says of the transport; null if somebody else has taken note of it already
   * @param after seconds that the server asks to wait at least
   */
  constructor(
    readonly message: string,
    public blame: Blame | null = "network",
    readonly after?: number,
  ) {}
}

/** What came is not what a gateway says. */
export const foreign = (what: string): NotAGateway => new NotAGateway(`${what} is none of a Stream Gateway.`);
