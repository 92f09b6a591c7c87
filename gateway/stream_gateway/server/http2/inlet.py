"""The incoming half of a stream: DATA that has come and was not read yet."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from stream_gateway.server.http2.connection import Http2Connection


class Http2Inlet:
    """What a client has sent on one stream. The windows open again as it is taken, so they bound what waits here.

    Attributes:
        ended: the client will send no more.
    """

    __slots__ = ("_arrived", "_connection", "_id", "_parts", "_unacknowledged", "ended")

    def __init__(self, connection: Http2Connection, stream_id: int) -> None:
        self.ended = False
        self._connection = connection
        self._id = stream_id
        self._parts: collections.deque[bytes] = collections.deque()
        self._unacknowledged = 0  # with padding, which counts as well (RFC 9113 §6.9.1)
        self._arrived: trio.Event | None = None

    def feed(self, data: bytes, cost: int) -> None:
        """A DATA frame came; `cost` is what it took off the windows."""
        if data:
            self._unacknowledged += cost
            self._parts.append(data)
            self._wake()
        elif cost:
            self._connection.acknowledge(self._id, cost)  # of this frame alone: what waits to be read was not

    def end(self) -> None:
        """The last one came."""
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()

    async def take(self) -> bytes:
        """All that has come; wait for more if that is nothing. Empty at the end."""
        while not self._parts and not self.ended:
            self._arrived = trio.Event()
            await self._arrived.wait()
        data = b"".join(self._parts)
        self._parts.clear()
        self.acknowledge()
        return data

    def acknowledge(self) -> None:
        """Open the windows by what was read, or will not be."""
        if self._unacknowledged:
            self._connection.acknowledge(self._id, self._unacknowledged)
            self._unacknowledged = 0
