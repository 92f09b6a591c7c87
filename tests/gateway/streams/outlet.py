"""An outlet that takes as much as the test lets it."""

import math

import trio

from stream_protocols.chunking import Conditions
from stream_protocols.framing import Framing, identity
from stream_protocols.sse import SseDecoder, SseEvent


class SlowOutlet:
    """Keeps what it takes. It holds its user to the contract: nothing is written before the rest has left.

    Args:
        room: bytes that it takes before a write is cut short.

    Attributes:
        network: what it says of the network.
        crowded: what it took last waits in the kernel, as far as it knows; it looks again when it is flushed.
    """

    def __init__(self, room: float = math.inf, framing: Framing = identity) -> None:
        self.framing = framing
        self.room = room
        self.network = Conditions()
        self.crowded = False
        self.taken = b""
        self.writes: list[bytes] = []
        self.error: Exception | None = None
        self._rest = b""
        self._changed = trio.Event()

    @property
    def rest(self) -> bytes:
        """What was written and not taken yet."""
        return self._rest

    def conditions(self) -> Conditions:
        """See `Outlet`."""
        return self.network

    def clear(self) -> bool:
        """See `Outlet`."""
        return not self._rest and not self.crowded

    def write_now(self, data: bytes) -> bool:
        """See `Outlet`."""
        if self._rest:
            raise AssertionError(f"written {data!r} while {self._rest!r} has not left")
        if self.error is not None:
            raise self.error
        self.writes.append(data)
        self._rest = data
        self._take()
        return not self._rest

    async def flush(self) -> None:
        """See `Outlet`."""
        self.crowded = False
        while self._rest:
            await self._changed.wait()
            if self.error is not None:
                raise self.error

    def allow(self, room: float) -> None:
        """Take `room` bytes more, now or later."""
        self.room += room
        self._take()
        self._wake()

    def fail(self, error: Exception) -> None:
        """From now on raise this; what is waiting is lost."""
        self.error = error
        self._rest = b""
        self._wake()

    def _take(self) -> None:
        size = int(min(self.room, len(self._rest)))
        self.taken += self._rest[:size]
        self._rest = self._rest[size:]
        self.room -= size

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def events(self) -> list[SseEvent]:
        """The whole server-sent events among what was taken."""
        return SseDecoder().feed(self.taken)
