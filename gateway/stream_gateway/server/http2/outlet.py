"""The outgoing half of a stream: DATA frames as far as the windows allow (RFC 9113 §5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from h2.errors import ErrorCodes

from stream_gateway.server.http2.limits import SMALL_DATA
from stream_gateway.streams.follower import DRAIN_BYTES
from stream_protocols.chunking import Conditions
from stream_protocols.framing import Framing, identity

if TYPE_CHECKING:
    from stream_gateway.server.http2.connection import Http2Connection

DEFAULT_URGENCY: Final = 3
"""Of a request that does not say (RFC 9218 §4.1); 0 goes first, 7 last."""


class Http2Outlet:
    """Where one stream writes (see `Outlet`). A window that is closed makes its follower lag, and nothing else.

    It keeps no more than what is left over of one piece. While it does, or while the connection's transport has
    unsent bytes, `flush` has it stand in the connection's line.

    Attributes:
        urgency: who goes first when several wait (RFC 9218).
        finished: the end of the stream has been sent.
    """

    __slots__ = (
        "_connection",
        "_progress",
        "_rest",
        "_wakeup",
        "_wants_window",
        "finished",
        "framing",
        "id",
        "urgency",
    )

    def __init__(self, connection: Http2Connection, stream_id: int, urgency: int) -> None:
        self.framing: Framing = identity
        self.id = stream_id
        self.urgency = urgency
        self.finished = False
        self._connection = connection
        self._rest: memoryview | None = None
        self._wants_window = False
        self._progress = 0  # bytes sent
        self._wakeup = trio.Event()

    # ---- writing

    def conditions(self) -> Conditions:
        """What the network to the client shows."""
        return self._connection.conditions()

    def clear(self) -> bool:
        """Whether nothing of ours, and nothing of the connection's, is left over."""
        return self._rest is None and self._connection.clear()

    def write_now(self, data: bytes) -> bool:
        """Write as much as the windows take; False when some is left over, which `flush` will write.

        Raises:
            OSError: the client has reset the stream.
        """
        if self._rest is not None:
            raise RuntimeError("write_now while an earlier write is not flushed")
        window = self._connection.window(self.id)
        if len(data) <= window and len(data) <= self._connection.max_frame:
            self._connection.send_data(self.id, data)
            return True
        self._rest = memoryview(data)
        while self._connection.clear() and self._send_frame():
            pass
        return self._rest is None

    def _send_frame(self) -> bool:
        """Send one frame of the rest; False when there is no rest or no window any more."""
        if self._rest is None:
            return False
        size = min(self._connection.window(self.id), self._connection.max_frame, len(self._rest))
        if size <= 0:
            return False
        # Honest clients answer frames with WINDOW_UPDATE; crumbs that a window leaves earn none (see `Guard.refund`).
        earns = size >= SMALL_DATA or size == len(self._rest)
        self._connection.send_data(self.id, bytes(self._rest[:size]), earns=earns)
        self._progress += size
        self._rest = self._rest[size:] if size < len(self._rest) else None
        return True

    # ---- waiting

    @property
    def ready(self) -> bool:
        """Whether it could go on if the transport were clear."""
        return (self._rest is None and not self._wants_window) or self._connection.window(self.id) > 0

    def proceed(self) -> bool:
        """It is this one's turn: send a frame of the rest. True when none is left, and the task goes on."""
        self._send_frame()
        if self._rest is not None:
            return False
        self._connection.line.leave(self)
        self._wakeup.set()
        return True

    async def flush(self) -> None:
        """Wait until nothing is left over, here and on the transport.

        Raises:
            OSError: the stream or the connection is broken; TimeoutError: a closed window stayed closed for the
            transport's `write_timeout`.
        """
        while not self.clear():
            await self._stand_in_line()

    async def welcome(self) -> int:
        """Wait until the windows are open; how many bytes they, and the connection, take at once."""
        self._wants_window = True
        try:
            while (window := self._connection.window(self.id)) <= 0 or not self.clear():
                await self._stand_in_line()
        finally:
            self._wants_window = False
        return min(window, DRAIN_BYTES)

    async def _stand_in_line(self) -> None:
        self._wakeup = trio.Event()
        self._connection.line.join(self)
        progress = self._progress
        timeout = self._connection.transport.write_timeout
        try:
            with trio.move_on_after(timeout) as scope:
                await self._wakeup.wait()
        finally:
            self._connection.line.leave(self)
        if scope.cancelled_caught and progress == self._progress and self._connection.window(self.id) <= 0:
            # A transport that stands still has a timeout of its own.
            raise TimeoutError(f"the client opened no window for {timeout:g} seconds")

    # ---- the end

    async def finish(self) -> None:
        """Send what is left over, and the end of the stream, for which no window is needed.

        Raises:
            OSError: as `flush`.
        """
        await self.flush()
        self._connection.end_stream(self.id)
        self.finished = True

    def finish_now(self, data: bytes) -> bool:
        """Send a last piece and the end in one frame, if it leaves whole; False, and nothing sent, if not."""
        if not self.clear() or len(data) > min(self._connection.window(self.id), self._connection.max_frame):
            return False
        self._connection.send_data(self.id, data, end=True)
        self.finished = True
        return True

    def reset(self, code: ErrorCodes) -> None:
        """Cut the stream off (RFC 9113 §6.4); what is left over is dropped."""
        self._rest = None
        self.finished = True
        self._connection.reset_stream(self.id, code)
