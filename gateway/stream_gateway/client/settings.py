"""What a client may be told; the defaults are good for the open internet."""

from typing import Final

import msgspec

from stream_protocols.reconnect import backoff, ladder, silence

WEBSOCKET: Final = "websocket"
SSE: Final = "sse"
POLL: Final = "poll"
TRANSPORTS: Final = (WEBSOCKET, SSE, POLL)
"""Best first: one socket for many streams; one response for each stream; one request for each piece of news."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds.

    Attributes:
        connect_timeout: for a connection, its handshake, and the head of an answer.
        patience: how long the gateway may be out of reach; None for ever.
        first_patience: the same as `patience` while the gateway never was reached: most often its address is wrong.
        backoff_base, backoff_cap: the ceilings of random waits between tries.
        silence: after which a response is dead while neither a header nor a keepalive has told their rhythm.
        probe: silence after which a WebSocket is asked whether it lives; after as long again it is dead.
        poll_wait: how long a long poll waits for news.
        retry_better: until a better transport that was given up is tried again.
        inbox_bytes: text that waits on our side of a WebSocket for a slow reader; what is beyond it is asked for later.
    """

    connect_timeout: float = 10.0
    first_patience: float = 5.0
    patience: float | None = 120.0
    backoff_base: float = backoff.BASE
    backoff_cap: float = backoff.CAP
    silence: float = silence.UNTAUGHT
    probe: float = 10.0
    poll_wait: float = 25.0
    retry_better: float = ladder.RETRY_BETTER
    inbox_bytes: int = 1_048_576
