"""A subscription that has a task of its own: one stream on one response body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from stream_gateway.streams.follower import DRAIN_BYTES, Follower, Outlet
from stream_protocols.chunking import Chunker
from stream_protocols.render import Renderer

if TYPE_CHECKING:
    from stream_gateway.streams.stream import Stream


Welcome = Callable[[], Awaitable[int]]
"""Waits until an outlet wants something; returns how many bytes it can take."""


class Subscription(Follower):
    """A live cursor on a stream; use it as a context manager, and `run` it.

    Args:
        welcome: asked before each piece for a lagging client; None: the outlet takes pieces of any size.
    """

    __slots__ = ("_closing", "_scope", "_wakeup", "_welcome")

    def __init__(
        self,
        stream: Stream,
        renderer: Renderer,
        outlet: Outlet,
        *,
        after: int = 0,
        offset: int = 0,
        welcome: Welcome | None = None,
        chunker: Chunker | None = None,
    ) -> None:
        super().__init__(stream, renderer, outlet, after=after, offset=offset, chunker=chunker)
        self._welcome = welcome
        self._wakeup: trio.Event | None = None
        self._scope: trio.CancelScope | None = None
        self._closing: str | None = None

    def __enter__(self) -> Subscription:
        self.stream.attach(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stream.detach(self)

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
                if self.stream.log.sealed:
                    return None
                self._wakeup = trio.Event()
                self.go_live()
                await self._wakeup.wait()
        return self._closing

    def wake(self) -> None:
        """The task takes over from the appender."""
        if self._wakeup is not None:
            self._wakeup.set()

    def close(self, reason: str) -> None:
        """End the subscription from outside, even in the middle of a write."""
        if self._closing is None:
            self._closing = reason
            if self._scope is not None:
                self._scope.cancel()

    async def _catch_up(self) -> None:
        """Drain the log. When this returns, nothing is left, and nobody else has run since."""
        while True:
            if self.broken is not None:
                raise self.broken
            await self.outlet.flush()
            if self.caught_up:
                return
            room = DRAIN_BYTES if self._welcome is None else await self._welcome()
            self.write(self.next_piece(room))
            await trio.lowlevel.checkpoint()
