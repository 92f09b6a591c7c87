"""A subscription: a live cursor on a log, and the outlet through which its client is reached.

It is in one of two modes. *Live*: it has seen all there is, and the appender itself writes each new piece
to the outlet, without a task switch. *Lagging*: the outlet took less than it was given; the subscription's
own task then drains the log from the cursor, in larger pieces, and goes live again when it has caught up.
There is no queue: what a client has not seen yet is in the log, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import trio

from stream_protocols.framing import Framing
from stream_protocols.render import Renderer, rest_of, uncovered

if TYPE_CHECKING:
    from stream_gateway.streams.stream import Stream

DRAIN_BYTES: Final = 65_536
"""How much a lagging subscription takes from the log at once: bounds what is rendered and not yet written."""


class Outlet(Protocol):
    """Where a subscription writes: one response body or socket, with its own framing."""

    framing: Framing

    def write_now(self, data: bytes) -> bool:
        """Write without waiting. False when some is left over; then nothing more until `flush` returned."""

    async def flush(self) -> None:
        """Wait until all that was written has left."""


class Subscription:
    """A cursor on `stream`; use it as a context manager, and `run` it.

    Args:
        stream: what to follow.
        after: number of the last record the client has seen whole.
        offset: characters of the next record it has seen as well.
    """

    __slots__ = (
        "_closing",
        "_offset",
        "_outlet",
        "_renderer",
        "_scope",
        "_stream",
        "_wakeup",
        "last_write",
        "position",
    )

    def __init__(self, stream: Stream, renderer: Renderer, outlet: Outlet, *, after: int = 0, offset: int = 0) -> None:
        self.position = after
        self.last_write = trio.current_time()
        self._offset = offset
        self._stream = stream
        self._renderer = renderer
        self._outlet = outlet
        self._wakeup: trio.Event | None = None
        self._scope: trio.CancelScope | None = None
        self._closing: str | None = None

    def __enter__(self) -> Subscription:
        self._stream.attach(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stream.detach(self)

    async def run(self) -> str | None:
        """Deliver until the stream has ended and its last byte was written.

        Returns:
            None at the end of the stream, or why the gateway ended the subscription (see `close`).

        Raises:
            What the outlet raises: the client is unreachable. After that, and after cancellation, a part of
            a frame may have been written: the connection is of no further use.
        """
        with trio.CancelScope() as self._scope:
            while self._closing is None:
                await self._catch_up()
                if self._stream.log.sealed:
                    return None
                await self._be_live()
        return self._closing

    def push(self) -> None:
        """Write what is new, now, without waiting: the appender calls this on live subscriptions only."""
        stream = self._stream
        data = stream.rendered(self._renderer, self._outlet.framing, self.position)
        self.position = stream.log.head
        if not self._write(data) or stream.log.sealed:
            self._wake()

    def keep_alive(self) -> None:
        """Say between two events that we are still here, if the client is one that listens right now."""
        if (
            self._wakeup is not None
            and not self._wakeup.is_set()
            and not self._write(self._outlet.framing(self._renderer.keepalive))
        ):
            self._wake()

    def _write(self, data: bytes) -> bool:
        if not data:
            return True
        self.last_write = trio.current_time()
        try:
            return self._outlet.write_now(data)
        except OSError:
            return False  # the task meets the same error where it can be handled

    def _wake(self) -> None:
        """From live to lagging: the task takes over."""
        if self._wakeup is not None:
            self._stream.lags(self)
            self._wakeup.set()

    def close(self, reason: str) -> None:
        """End the subscription from outside, even in the middle of a write."""
        if self._closing is None:
            self._closing = reason
            if self._scope is not None:
                self._scope.cancel()

    async def _be_live(self) -> None:
        self._wakeup = trio.Event()
        self._stream.follows(self)
        try:
            await self._wakeup.wait()
        finally:
            self._stream.lags(self)
            self._wakeup = None

    async def _catch_up(self) -> None:
        """Drain the log from the cursor. When this returns, nothing is left, and nobody else has run since."""
        log = self._stream.log
        while True:
            await self._outlet.flush()
            if self.position >= log.head:
                return
            data = self._next_piece()
            self._write(self._outlet.framing(data) if data else b"")
            await trio.lowlevel.checkpoint()

    def _next_piece(self) -> bytes:
        log, first = self._stream.log, self.position + 1
        records = log.read(self.position, DRAIN_BYTES)
        records = uncovered(log.record(self.position), records)
        if self._offset:
            records[0] = rest_of(records[0], self._offset)
            self._offset = 0
        self.position += len(records)
        self._stream.moved()
        return self._renderer.render(first, records)
