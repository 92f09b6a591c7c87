"""WebSocket close codes: one table, and ranges that tell a client whether to come back.

    1000-1015   RFC 6455 §7.4.1 and the IANA registry; each has its own answer, in the table
    4000-4499   ours: come back, and resume from the last cursor
    4500-4999   ours: stop, the same request would be refused again; 4100 + the HTTP status that says the same

A client that meets one of our codes it does not know goes by the range. So a code added later is obeyed by
clients that are older than it.
"""

from enum import IntEnum
from typing import Final, NamedTuple

MAX_REASON_BYTES: Final = 123
"""A control frame carries 125 bytes, two of which are the code (RFC 6455 §5.5)."""


class CloseCode(IntEnum):
    """Every code that we send or expect to meet; `CLOSINGS` says what each one means."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MISSING_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    DRAINING = 1012
    OVERLOADED = 1013
    BAD_GATEWAY = 1014
    TLS_FAILED = 1015

    LAGGED = 4000
    SLOW = 4001
    NO_PONG = 4002
    UPSTREAM_TIMEOUT = 4003

    BAD_REQUEST = 4500
    UNAUTHORIZED = 4501
    FORBIDDEN = 4503
    NOT_FOUND = 4504
    CURSOR_GONE = 4510
    LIMIT_EXCEEDED = 4529


class Closing(NamedTuple):
    """What a code means, short enough for a close frame, and whether the client should come back."""

    meaning: str
    reconnect: bool


_COME_BACK: Final = True
_STOP: Final = False

CLOSINGS: Final[dict[int, Closing]] = {
    CloseCode.NORMAL: Closing("done", _STOP),
    CloseCode.GOING_AWAY: Closing("the peer is going away", _COME_BACK),
    CloseCode.PROTOCOL_ERROR: Closing("a frame broke the WebSocket protocol", _STOP),
    CloseCode.UNSUPPORTED_DATA: Closing("a message of a kind that is not accepted here", _STOP),
    # 1005, 1006 and 1015 never travel: they are how an implementation reports a close that had no code.
    CloseCode.NO_STATUS: Closing("closed without a code", _COME_BACK),
    CloseCode.ABNORMAL: Closing("the connection broke", _COME_BACK),
    CloseCode.INVALID_PAYLOAD: Closing("a text message was not UTF-8", _STOP),
    CloseCode.POLICY_VIOLATION: Closing("refused by policy", _STOP),
    CloseCode.MESSAGE_TOO_BIG: Closing("a message was larger than the limit", _STOP),
    CloseCode.MISSING_EXTENSION: Closing("a required extension was not negotiated", _STOP),
    CloseCode.INTERNAL_ERROR: Closing("an error inside the gateway", _COME_BACK),
    CloseCode.DRAINING: Closing("the gateway is restarting; resume from the last cursor", _COME_BACK),
    CloseCode.OVERLOADED: Closing("the gateway is at its limit; come back later", _COME_BACK),
    CloseCode.BAD_GATEWAY: Closing("the provider failed", _COME_BACK),
    # Coming back cannot mend a certificate.
    CloseCode.TLS_FAILED: Closing("the TLS handshake failed", _STOP),
    CloseCode.LAGGED: Closing("too far behind; resume from the last cursor", _COME_BACK),
    CloseCode.SLOW: Closing("no progress in time; resume from the last cursor", _COME_BACK),
    CloseCode.NO_PONG: Closing("no pong in time; resume from the last cursor", _COME_BACK),
    CloseCode.UPSTREAM_TIMEOUT: Closing("the provider was silent for too long", _COME_BACK),
    CloseCode.BAD_REQUEST: Closing("the request is malformed", _STOP),
    CloseCode.UNAUTHORIZED: Closing("no valid credentials", _STOP),
    CloseCode.FORBIDDEN: Closing("not allowed", _STOP),
    CloseCode.NOT_FOUND: Closing("no such stream, model or path", _STOP),
    CloseCode.CURSOR_GONE: Closing("the cursor can no longer be resumed; subscribe without it", _STOP),
    CloseCode.LIMIT_EXCEEDED: Closing("over a limit of this client", _STOP),
}


def should_reconnect(code: int) -> bool:
    """Tell whether a client that was closed with `code` should come back by itself, with backoff and jitter.

    Below 4000 an unknown code means stop: nobody said that coming back helps, and retrying all the same is
    what reconnect storms are made of.
    """
    if 4000 <= code <= 4999:
        return code < 4500
    closing = CLOSINGS.get(code)
    return closing is not None and closing.reconnect
