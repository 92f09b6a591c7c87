"""A stream as its reader sees it: events, each once and in order, whatever happens to connections meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Final, Self

import anyio
import msgspec

from stream_gateway.client.carrier import Batch, Carrier, Lost
from stream_gateway.client.connections import Connections, Status
from stream_gateway.client.errors import ClientError, Incomplete
from stream_protocols.cursor import Gap
from stream_protocols.events import TERMINAL, NativeEvent, Notice, StreamCancelled, StreamFailed, TextDelta
from stream_protocols.reconnect import Patience, Trail

RECONNECT_LEASE: Final = 60.0
"""Seconds for which a generation goes on while its only reader is being reconnected."""


class Asked(msgspec.Struct, frozen=True):
    """What is to be created: a request's body, and the key that makes creating it twice the same as once."""

    request: dict[str, Any]
    key: str


class EventStream:
    """The events of one stream: `async for event in stream`. Made by `Client.stream` and `Client.attach`.

    Nothing happens before the first event is asked for, and all of it happens in the task that asks. Cancelling a read
    loses nothing: the next one goes on where the last event was. One task at a time may read.

    Leaving early (`async with`, `aclose`, or dropping the object) unsubscribes; a stream made here with a lease of 0,
    the default, is cancelled at its provider as well.

    Attributes:
        id: the stream's id, None until the gateway has said it.
        transport: what carries it now: `websocket`, `sse` or `poll`; None before the first connection.
        connects: connections that brought the stream; all but the first are reconnects.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        stream: str | None = None,
        after: str | None = None,
        chunking: str | None = None,
        asked: Asked | None = None,
        forsake: Callable[[str | Asked], None] | None = None,
    ) -> None:
        self.id = stream
        self.transport: str | None = None
        self.connects = 0
        self._connections = connections
        self._chunking = chunking
        self._asked = asked
        self._forsake = forsake
        self._asking = False
        self._trail = Trail(after)
        self._ready: deque[tuple[str | None, NativeEvent]] = deque()
        self._cursor = after
        self._carrier: Carrier | None = None
        self._over = False
        self._reading = False
        self._backoff = connections.backoff()
        self._patience: Patience | None = None

    @property
    def cursor(self) -> str | None:
        """The position after the last event that was given: `attach` goes on from there. None before the first."""
        return self._cursor

    # ---- reading

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> NativeEvent:
        """The next event.

        Raises:
            ClientError: the stream cannot go on; its subclasses say why.
            StopAsyncIteration: after `stream.finished`, `stream.failed` or `stream.cancelled`.
        """
        if self._reading:
            raise RuntimeError("another task is reading this stream; attach to it once more instead")
        self._reading = True
        try:
            while not self._ready and not self._over:
                await self._fill()
        except ClientError:
            self._end()
            raise
        finally:
            self._reading = False
        if not self._ready:
            raise StopAsyncIteration
        cursor, event = self._ready.popleft()
        self._cursor = cursor or self._cursor
        return event

    async def texts(self, choice: int = 0) -> AsyncIterator[str]:
        """The answer's text in pieces.

        Raises:
            Incomplete: the answer is not whole; see `text`.
        """
        said: list[str] = []
        async for event in self:
            if isinstance(event, TextDelta) and event.choice == choice:
                said.append(event.text)
                yield event.text
            elif isinstance(event, Notice) and event.code == "gap":
                raise Incomplete(f"A part of the answer is lost: {event.message}", text="".join(said))
            elif isinstance(event, StreamFailed | StreamCancelled):
                raise Incomplete(_ended(event), text="".join(said), event=event)

    async def text(self, choice: int = 0) -> str:
        """The whole text of the answer.

        Raises:
            Incomplete: the stream failed, was cancelled, or has a gap; what there is of the text is in the exception.
        """
        return "".join([piece async for piece in self.texts(choice)])

    # ---- leaving

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    async def aclose(self) -> None:
        """Leave the stream (see the class); what there is to say to the gateway is said in the background."""
        self.leave()

    def leave(self) -> None:
        """As `aclose`, from code that cannot wait."""
        ended = self._over
        self._end()
        if ended or self._forsake is None:
            return
        if self.id is not None:
            self._forsake(self.id)
        elif self._asked is not None and self._asking:  # it may have begun, and only its id not have come
            self._forsake(self._asked)

    def __del__(self) -> None:
        # `break` leaves an `async for` without telling its iterator; this is how it gets to know.
        if not getattr(self, "_over", True):
            self.leave()

    def _end(self) -> None:
        self._over = True
        if self._carrier is not None:
            self._carrier.leave()
            self._carrier = None

    # ---- connections

    async def _fill(self) -> None:
        """Wait for a batch, from whatever connection it takes."""
        if self._patience is None:
            self._patience = self._connections.patience()
        if self._carrier is not None and self._carrier.dead:
            self._drop()
        transport = self.transport
        try:
            if self._carrier is None:
                self.transport = transport = self._connections.choose()
                await self._connect(transport)
            if self._carrier is not None:
                self._take(await self._carrier.receive())
        except Lost as lost:
            assert transport is not None
            if lost.after is not None:
                self._asking = False  # who asks us to wait has not begun
            self._drop()
            self._connections.failed(transport, lost)
            wait = self._connections.wait(lost, self._backoff, self._patience)
            self._connections.tell(Status("lost", self.id, transport, lost.reason, wait))
            await anyio.sleep(wait)

    async def _connect(self, transport: str) -> None:
        if self.id is None and self._asked is not None:
            self._asking = True
            self.id, self._carrier = await self._connections.create(self._asked.request, self._asked.key, transport)
            self._connections.reached = True
        if self._carrier is None and self.id is not None:
            self._carrier = await self._connections.resume(self.id, self._trail.cursor, self._chunking, transport)
        if self._carrier is None:  # the stream has ended, and all of it was seen
            self._over = True
            return
        self._trail.announce(self._carrier.gap)
        self.connects += 1
        self._connections.tell(Status("connected", self.id, transport))

    def _drop(self) -> None:
        if self._carrier is not None:
            if self._carrier.retry is not None:
                self._backoff.floor = self._carrier.retry
            self._carrier.leave()
            self._carrier = None

    def _take(self, batch: Batch) -> None:
        if batch.gap is not None:
            self._trail.announce(batch.gap)
        fresh = False
        for cursor, event in batch.events:
            admitted = self._trail.admit(cursor)
            if admitted is None:
                self._connections.repeated += 1
                continue
            fresh = True
            if admitted.gap is not None:
                self._ready.append((None, _notice(admitted.gap, cursor)))
            if event is not None:
                self._ready.append((cursor, event))
                self._over = self._over or isinstance(event, TERMINAL)
        if self._over or batch.ended:
            self._end()
        if self._patience is not None:
            self._patience.progress(anyio.current_time())
        if fresh and self.transport is not None:
            self._backoff.progress()
            self._connections.worked(self.transport)


def _notice(gap: Gap, cursor: str) -> Notice:
    """A gap as an event, right before the first one after it."""
    many = "An unknown number of events" if gap.missed is None else f"{gap.missed} events"
    why = "the stream began anew" if gap.reason == "epoch" else "they were no longer kept"
    message = f"{many} before {cursor} cannot be had any more: {why}."
    return Notice("gap", message, {"reason": gap.reason, "missed": gap.missed})


def _ended(event: StreamFailed | StreamCancelled) -> str:
    if isinstance(event, StreamFailed):
        return f"The answer broke off ({event.code}): {event.message}"
    return f"The answer was cancelled ({event.reason}) before it was whole."
