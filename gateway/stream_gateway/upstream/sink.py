"""Sinks: where the body of a streaming response goes, piece by piece, without a task in between."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

EXTENSION: Final = "sink"
"""The key in `httpx.Request.extensions` under which a request names its sink."""

SILENCE: Final = "silence"
"""The key under which a request says for how long its response may be silent."""

LINGER: Final = 1.0
"""Seconds in which a response must end once its sink has all it wants."""

Headers = Sequence[tuple[bytes, bytes]]


class Valve(Protocol):
    """What a sink may do to the connection that feeds it."""

    def pause(self) -> None:
        """Read no more: the provider feels the backpressure of TCP, or of its stream's window in HTTP/2."""

    def resume(self) -> None:
        """Read again."""

    def expect_end(self) -> None:
        """Nothing of interest will follow: the response should end now, or be cut off `LINGER` seconds later."""


class Silence:
    """For how long a response may be silent; it may be told otherwise while it is under way.

    Attributes:
        limit: seconds between two reads; None for what the transport was told.
        changed: called when `limit` has changed; set by who watches over it.
    """

    __slots__ = ("changed", "limit")

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self.changed: Callable[[], None] | None = None

    def set(self, limit: float | None) -> None:
        """From now on, silence may be so long."""
        self.limit = limit
        if self.changed is not None:
            self.changed()


class Sink(Protocol):
    """Takes one response's body. Its methods are called from the pump and must not wait."""

    def begin(self, status: int, headers: Headers, valve: Valve) -> bool:
        """The head has arrived. False: not for this sink; the body then stands in the `httpx.Response`."""

    def feed(self, data: bytes) -> None:
        """More of the body."""

    def flush(self) -> None:
        """All that one read brought has been fed: act on it."""

    def end(self) -> None:
        """The body has ended, and properly. After a broken one the request raises instead."""
