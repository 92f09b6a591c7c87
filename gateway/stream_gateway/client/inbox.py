"""An inbox: what a socket has brought for one of its streams.

When it is full, because its reader is slow, what comes is let fall, and asked for again when there is room. To stop
reading the socket would hold up the other streams, and the gateway's log is the better buffer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from stream_gateway.client.carrier import Batch, Lost, again
from stream_gateway.client.errors import ClientError
from stream_protocols import commands
from stream_protocols.cursor import Gap
from stream_protocols.events import NativeEvent

_OVERHEAD: Final = 200  # what an event costs beside its text


class Inbox:
    """What has come for one stream and was not read yet; a `Carrier`.

    Args:
        forget: is called when the stream is left, with this.
        limit: bytes that may wait.
    """

    dead = False  # a wait that is cancelled loses nothing
    retry: float | None = None

    def __init__(self, forget: Callable[[Inbox], None], limit: int) -> None:
        self.stream: str | None = None
        self.gap: Gap | None = None
        self._forget = forget
        self._limit = limit
        self._items: deque[tuple[str, NativeEvent | None]] = deque()
        self._size = 0
        self._open = False
        self._ended = False
        self._failed: Lost | ClientError | None = None
        self._left = False
        self._news = trio.Event()

    def begin(self, message: commands.Created | commands.Subscribed) -> None:
        """The reply has come: what follows is this inbox's."""
        self.stream = message.stream
        self.gap = message.gap
        self._open = True
        self._ended = isinstance(message, commands.Subscribed) and message.ended
        if self._left:
            self._forget(self)

    def put(self, cursor: str, event: NativeEvent | None, size: int) -> None:
        """An event has come. Before the reply it belongs to an earlier subscription, and is none of ours."""
        if not self._open:
            return
        if self._size > self._limit:
            self.fail(Lost("reading too slowly; what was let fall is asked for again", after=0.0))
            return
        self._items.append((cursor, event))
        self._size += size + _OVERHEAD
        self._news.set()

    def fail(self, failure: Lost | ClientError) -> None:
        """Nothing more will come; what is there can still be read."""
        self._open = False
        self._failed = self._failed or failure
        self._news.set()

    async def receive(self) -> Batch:
        """Wait for more (see `Carrier`)."""
        if self._ended:
            return Batch(ended=True)
        while not self._items:
            if self._failed is not None:
                raise again(self._failed)
            self._news = trio.Event()
            await self._news.wait()
        batch = Batch(list(self._items))
        self._items.clear()
        self._size = 0
        return batch

    def leave(self) -> None:
        """Unsubscribe, if that means anything yet; else as soon as it does."""
        if not self._left:
            self._left = True
            self._forget(self)
