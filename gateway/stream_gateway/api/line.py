"""The line between a reader, where the gateway runs, and the task that reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import anyio
import anyio.lowlevel

from stream_gateway.api.chunk import Batch, Chunk, Deliver
from stream_gateway.api.errors import GatewayStopped, GenerationFailed, ReaderLagged
from stream_gateway.api.home import Home
from stream_gateway.api.homes import Homes
from stream_gateway.api.reader import Reader
from stream_gateway.gateway import Gateway
from stream_protocols.events import TERMINAL, StreamFinished

Open = Callable[[Gateway, Deliver], Reader]
"""Begins to read, where the gateway runs."""

_ONE_READER: Final = "another task is reading this stream; `attach` gives it a stream of its own"


class Line:
    """Carries one batch at a time, and only when it was asked for.

    It is apart from `ChunkStream`, so that what still refers to it, a callback or a traceback, keeps no stream alive.

    Attributes:
        cursor: the position after the last chunk that was taken.
    """

    def __init__(self, homes: Homes, open_reader: Open) -> None:
        self.cursor: str | None = None
        self._home: Home | None = None
        self._homes = homes
        self._open = open_reader
        self._reader: Reader | None = None
        self._ready: deque[Chunk] = deque()
        self._error: Exception | None = None
        self._opened = self._asked = self._over = self._left = False
        self._news: anyio.Event | None = None
        self._taking = False

    async def next(self) -> Chunk | None:
        """The next chunk of an answer; None when it is whole and all was given, but for the mark of its end.

        Raises:
            GenerationFailed: it will not be whole. Others: as `take`.
        """
        return _whole(await self.take())

    async def take(self) -> Chunk | None:
        """The next chunk, whatever it says: the end and failures, too; None after that.

        Raises:
            Exception: why there is none.
        """
        if self._taking:
            raise RuntimeError(_ONE_READER)
        self._taking = True
        try:
            chunk = await self._receive()
        finally:
            self._taking = False
        if chunk is not None:
            self._ready.popleft()
            self.cursor = chunk.cursor
        return chunk

    async def begun(self) -> None:
        """Wait until `next` has something to give.

        Raises:
            As `next`.
        """
        _whole(await self._receive())

    async def _receive(self) -> Chunk | None:
        """Wait for the next chunk, and leave it there; None when there is none. Cancelled, it loses nothing."""
        while not (self._ready or self._over or self._left or self._error):
            await self._fill()
        chunk = self._ready[0] if self._ready else None
        if chunk is None or isinstance(chunk.event, TERMINAL):
            await self.close()
        if chunk is None and self._error is not None:
            raise ReaderLagged(self.cursor) if isinstance(self._error, ReaderLagged) else self._error
        return chunk

    async def _fill(self) -> None:
        if self._home is None:
            self._home = self._homes.here()
            self._home.enter()
            self._home.guests.add(self)
        if not self._opened:
            core = await self._home.running()
            if self._left:
                return
            self._opened = self._asked = True
            self._home.call(self._begin, core)
        elif not self._asked:
            self._asked = True
            self._home.call(self._want)
        if self._asked:
            self._news = anyio.Event()
            await self._news.wait()
        else:
            await anyio.lowlevel.checkpoint()

    # ---- where the gateway runs

    def _begin(self, core: Gateway) -> None:
        try:
            self._reader = self._open(core, self._deliver)
        except Exception as error:
            self._deliver(error)
        else:
            self._reader.want()

    def _want(self) -> None:
        if self._reader is not None:
            self._reader.want()

    def _deliver(self, batch: Batch) -> None:
        assert self._home is not None
        self._home.reply(self._put, batch)

    def _leave_there(self) -> None:
        if self._reader is not None:
            self._reader.leave()
            self._reader = None

    # ---- where it is read

    def _put(self, batch: Batch) -> None:
        self._asked = False
        if batch is None:
            self._over = True
        elif isinstance(batch, Exception):
            self._error = batch
        else:
            self._ready.extend(batch)
        self._tell()

    def stopped(self) -> None:
        """See `Guest`."""
        if not self._left and not self._over and self._error is None:
            self._error = GatewayStopped("The gateway stopped before the stream was read to its end.")
        self._tell()

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()

    def leave(self) -> None:
        """Read no more."""
        if not self._left:
            self._left = True
            if self._home is not None:
                self._home.call(self._leave_there)
                self._home.release()
            self._tell()

    async def close(self) -> None:
        """The same; if the gateway stops because nobody uses it any more, wait until nothing is left of it."""
        self.leave()
        if self._home is not None:
            await self._home.stopped()

    def drop(self) -> None:
        """Give nothing any more, not even what has come."""
        self._ready.clear()
        self.leave()

    def abandon(self) -> None:
        """The same from a finalizer: in whatever thread, in the midst of whatever."""
        if self._home is not None and not self._left:
            self._home.soon(self.leave)


def _whole(chunk: Chunk | None) -> Chunk | None:
    if chunk is not None and isinstance(chunk.event, TERMINAL) and not isinstance(chunk.event, StreamFinished):
        raise GenerationFailed(chunk.event, chunk)
    return chunk
