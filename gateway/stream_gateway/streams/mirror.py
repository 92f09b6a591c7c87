"""A mirror: a stream that another node produces, as an ordinary stream here.

Its producer reads from the engine, once for all its readers on this node. It knows no provider, appends what its owner
has stored, and ends when the owner's terminal record has come. Readers, their pace, chunking and resuming are as with
any stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog
import trio

from stream_gateway.engines import codec
from stream_gateway.engines.engine import Batch, Engine
from stream_gateway.streams.room import LAGGED
from stream_gateway.streams.stream import MOVED, Stream
from stream_protocols.errors import IllegalTransition

if TYPE_CHECKING:
    from stream_gateway.streams.ownership import Ownership

_log = structlog.get_logger()

DAMAGED: Final = "What is stored of this answer cannot be read; the gateway's log says more."

LINGER: Final = 5.0
"""Seconds for which a mirror stays when nobody reads it: clients come back."""


class Mirror:
    """Fills `stream` with what is stored of it.

    Attributes:
        grown: set when there is more, or never will be.
        missed: heartbeats in a row for which the engine has not known the stream.
    """

    def __init__(self, stream: Stream, engine: Engine, ownership: Ownership) -> None:
        self.grown = trio.Event()
        self.missed = 0
        self._stream = stream
        self._engine = engine
        self._ownership = ownership
        self._change = trio.Event()

    def cancel(self, reason: str) -> None:
        """Ask the stream's owner to end it."""
        self._ownership.cancel(self._stream.id, reason)

    async def run(self) -> None:
        """Until the stream has ended, has moved, or nobody has read it for a while."""
        stream = self._stream
        self._ownership.watched(stream)
        try:
            with stream.scope:
                while not stream.over:
                    await stream.flowing()
                    self._change = trio.Event()
                    self._engine.watch(stream.id, stream.log.head, self._feed)
                    await self._change.wait()
                    self._engine.unwatch(stream.id)
        finally:
            self._engine.unwatch(stream.id)
            self._ownership.left(stream)
            if not stream.over:
                stream.abandon()
            stream.mirror = None
            self._grow()

    def _feed(self, batches: Sequence[Batch]) -> None:
        """More has been stored. Called by the engine, which knows nothing of what may be wrong with it."""
        stream = self._stream
        for batch in batches:
            if stream.over:
                break
            if batch.epoch != stream.log.epoch and batch.epoch not in stream.log.lives:
                stream.abandon(MOVED)
            elif batch.first > stream.log.head + 1:  # this node was slower than its owner's log is long
                stream.abandon(LAGGED)
            else:
                self._append(batch)
        self._grow()
        if stream.over or stream.paused:
            self._change.set()

    def _grow(self) -> None:
        self.grown.set()
        self.grown = trio.Event()

    def _append(self, batch: Batch) -> None:
        stream = self._stream
        try:
            stream.append(codec.decode(batch, stream.log.head))
        except (codec.Damaged, IllegalTransition) as error:
            _log.error("storage_damaged", stream=stream.id, error=str(error))
            stream.fail("storage_damaged", DAMAGED)
