"""The line: streams of one connection that cannot go on, and who goes first when something opens.

A window that opens lets those whose turn it is go on at once, in the reader's run. A task that drains exists only while
somebody waits for the transport.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from stream_gateway.server.http2.outlet import Http2Outlet
from stream_gateway.server.transport import Transport


class Line:
    """Who waits on a connection.

    Args:
        flush: gives the transport what the connection has to say, if the transport is clear.
        broken: called when the transport is.

    Attributes:
        nursery: where the drain runs; None: the connection is not open.
        drained: set whenever the transport has become clear.
    """

    def __init__(self, transport: Transport, flush: Callable[[], None], broken: Callable[[Exception], None]) -> None:
        self.nursery: trio.Nursery | None = None
        self.drained = trio.Event()
        self._transport = transport
        self._flush = flush
        self._broken = broken
        self._waiting: dict[Http2Outlet, None] = {}
        self._drains = False

    def join(self, outlet: Http2Outlet) -> None:
        """A stream cannot go on: a window is closed, or the transport has unsent bytes."""
        self._waiting[outlet] = None
        if outlet.ready:
            self.drain_soon()

    def leave(self, outlet: Http2Outlet) -> None:
        """It can, or will not."""
        self._waiting.pop(outlet, None)

    def serve(self) -> None:
        """Let those go on who can, after frames have come that may have opened windows."""
        if self._waiting and not self._advance():
            self.drain_soon()

    def _advance(self) -> bool:
        """Let streams go on, a frame each, as long as the transport takes it; True when none is left that could.

        One whose task has something to do takes the others' turn with it: what it writes decides what they may.
        """
        while (outlet := self._first()) is not None:
            if not self._transport.clear():
                return False
            if outlet.proceed():
                self._flush()
                return self._first() is None
            self._waiting[outlet] = self._waiting.pop(outlet)  # behind the others of its urgency
            self._flush()
        return True

    def _first(self) -> Http2Outlet | None:
        """Who could go on: the most urgent (RFC 9218 §10), and of those the one that has waited longest."""
        return next((outlet for outlet in sorted(self._waiting, key=_urgency) if outlet.ready), None)

    def drain_soon(self) -> None:
        """The transport has unsent bytes, or there is more to say than one run should."""
        if not self._drains and self.nursery is not None and not self._transport.closed:
            self._drains = True
            self.nursery.start_soon(self._drain)

    async def _drain(self) -> None:
        try:
            while True:
                await self._transport.flush()
                self._flush()
                self.drained.set()
                if self._transport.clear() and self._advance():
                    return
                await trio.lowlevel.checkpoint()
        except (OSError, trio.ClosedResourceError) as error:
            self._broken(error)
        finally:
            self._drains = False
            self.drained.set()


def _urgency(outlet: Http2Outlet) -> int:
    return outlet.urgency
