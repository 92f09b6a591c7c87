/** Whether to come back after a refusal or a close, and what the server asks for first. */

/** Come back or not; `after` are the seconds that the server wants us to wait at least, if it said so. */
export interface Verdict {
  comeBack: boolean;
  after?: number;
}

// The statuses below 500 that another try may change (RFC 9110 §15.5.9, §15.5.20; RFC 8470; RFC 6585), and those from
// 500 on but the ones that say what the server will never do, or that a network wants a login (RFC 6585 §6).
const TRANSIENT = /^(408|421|425|429|5(?!01|05|06|08|10|11)\d\d)$/;

// The standard's close codes after which to come back; ours go by their range.
const COME_BACK = /^(100[156]|101[1-4]|4[0-4]\d\d)$/;

/**
 * What an HTTP status asks of a client that wanted a stream and got this instead.
 *
 * @param retryAfter the response's header of this name, if it has it. A date is not understood: it means something
 *   beside the response's own `Date` only, which browsers hide from pages of another origin.
 */
export function onStatus(status: number, retryAfter?: string | null): Verdict {
  return verdict(TRANSIENT.test(`${status}`), /^\s*(\d{1,9})\s*$/.exec(retryAfter ?? ""));
}

/** What a WebSocket's close code asks; a reason may hold `retry-after=SECONDS`. */
export function onClose(code: number, reason = ""): Verdict {
  return verdict(COME_BACK.test(`${code}`), /retry-after=(\d{1,9}(?:\.\d{1,9})?)/.exec(reason));
}

const verdict = (comeBack: boolean, seconds: RegExpExecArray | null): Verdict =>
  comeBack && seconds ? { comeBack, after: +seconds[1]! } : { comeBack };
