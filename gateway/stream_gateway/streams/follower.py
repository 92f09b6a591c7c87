"""A follower: a position on a stream, the renderer for its kind of client, and the outlet that reaches it.

It is in one of two modes. *Live*: it has seen all there is, and the appender itself writes each new piece
to the outlet, without a task switch. *Lagging*: the outlet took less than it was given, or nothing; its
driver then drains the log from the position, in larger pieces, and makes it live again when it has caught up.
There is no queue: what a client has not seen yet is in the log, and nowhere else.

What drives a follower is for the subclass to say: a task of its own (`Subscription`), or the one writer of a
connection that many followers share.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Final, Protocol

import structlog
import trio

from stream_gateway.streams.chunking import Chunking
from stream_gateway.streams.log import cost
from stream_protocols.chunking import Chunker, Conditions
from stream_protocols.chunking.plan import weight
from stream_protocols.framing import Framing
from stream_protocols.render import Renderer, rest_of, uncovered

if TYPE_CHECKING:
    from stream_gateway.streams.stream import Stream

_log = structlog.get_logger()

_GLANCE: Final = 31
"""One record in 32 is where the chunker of a client that keeps up is asked anew whether events leave as they are."""

DRAIN_BYTES: Final = 65_536
"""How much a lagging follower takes from the log at once: bounds what is rendered and not yet written."""


class Outlet(Protocol):
    """Where a follower writes: a response body or a socket, with its framing."""

    framing: Framing

    def conditions(self) -> Conditions:
        """What the network to the client shows."""

    def clear(self) -> bool:
        """Whether all that was written has left, so that `write_now` may be called."""

    def write_now(self, data: bytes) -> bool:
        """Write without waiting. False when some is left over; then nothing more until it has left."""

    async def flush(self) -> None:
        """Wait until all that was written has left."""


class Follower(abc.ABC):
    """A position on `stream` (see the module).

    Args:
        stream: what to follow.
        after: number of the last record the client has seen whole.
        offset: characters of the next record it has seen as well.
        chunker: decides what leaves as one chunk, where the renderer lets it; None: events leave as they are.

    Attributes:
        position: number of the last record handed to the outlet.
        held_up: seconds for which this follower has kept the producer waiting since it last had caught up.
        last_write: when something was last written, in Trio's time.
        direct: whether events leave as they are while the client keeps up, as its chunker last said.
        broken: what went wrong while the appender wrote; the driver has to raise it.
    """

    __slots__ = (
        "_chunking",
        "_offset",
        "broken",
        "direct",
        "held_up",
        "last_write",
        "live",
        "outlet",
        "position",
        "renderer",
        "stream",
    )

    def __init__(
        self,
        stream: Stream,
        renderer: Renderer,
        outlet: Outlet,
        *,
        after: int = 0,
        offset: int = 0,
        chunker: Chunker | None = None,
    ) -> None:
        self.stream = stream
        self.renderer = renderer
        self.outlet = outlet
        self.position = after
        self.live = False
        self.held_up = 0.0
        self.last_write = trio.current_time()
        self.broken: Exception | None = None
        self._offset = offset
        self._chunking = None if chunker is None or not renderer.divisible else Chunking(chunker)
        self.direct = self._chunking is None

    @abc.abstractmethod
    def wake(self) -> None:
        """The follower has stopped being live, or its stream has ended: its driver has something to do."""

    @abc.abstractmethod
    def close(self, reason: str) -> None:
        """Let the client go, for a reason of the gateway's; it may come back and resume."""

    def push(self) -> None:
        """Write what is new, now, without waiting: the appender calls this on live followers only."""
        try:
            if self.outlet.clear():
                log = self.stream.log
                if (self.direct and self.position & _GLANCE) or self._at_once():
                    data = self.stream.rendered(self.renderer, self.outlet.framing, self.position)
                    self.position = log.head
                elif self._chunking is not None and self._chunking.holds_on(self):
                    return
                else:
                    data = self.next_piece()
                if self.write(data) and not log.sealed and (self.position == log.head or self.caught_up):
                    return
        except Exception as error:  # the appender must not feel it, and neither must the others
            self.broken = error
        self._stop_being_live()

    def _at_once(self) -> bool:
        """Whether what has come leaves as it is, whole."""
        if self._chunking is None:
            return True
        try:
            return self._chunking.at_once(self)
        except Exception as error:
            self._fail_chunking(error)
            return False

    def keep_alive(self) -> None:
        """Say between two events that we are still here."""
        self.say(self.renderer.keepalive)

    def say(self, aside: bytes) -> None:
        """Say between two events something that is none, if the client is one that listens right now."""
        if not self.live:
            return
        try:
            # What was written last may have waited in the kernel; only the driver learns that it does no more.
            if self.outlet.clear() and self.write(self.outlet.framing(aside)):
                return
        except Exception as error:  # for the driver, as in `push`
            self.broken = error
        self._stop_being_live()

    def write(self, data: bytes) -> bool:
        """Hand a piece to the outlet; False when it did not leave whole."""
        if not data:
            return True
        self.last_write = trio.current_time()
        try:
            return self.outlet.write_now(data)
        except Exception as error:  # for the driver, where it can be handled
            self.broken = error
            return False

    @property
    def caught_up(self) -> bool:
        """Whether the client has been given all there is, but for what its chunker holds on purpose."""
        head = self.stream.log.head
        return self.position >= head or (self._chunking is not None and self._chunking.held == head)

    def next_piece(self, max_bytes: int = DRAIN_BYTES) -> bytes:
        """Take the next records, up to about `max_bytes` of them, rendered and framed; possibly nothing."""
        log, first = self.stream.log, self.position + 1
        # Texts that will be merged are mostly envelope in the log, and nearly all of that will not be written.
        records = log.read(self.position, max_bytes, cost if self._chunking is None else weight)
        records = uncovered(log.record(self.position), records, self._offset)
        if self._offset and records:
            records[0] = rest_of(records[0], self._offset)
        if self._chunking is None:
            body = self.renderer.render(first, records)
            # Not before: when rendering fails, the client resumes before what it did not get.
            self._offset = 0 if records else self._offset
            self.position += len(records)
        else:
            try:
                whole = self.position + len(records) == log.head
                result = self._chunking.divide(self, records, self._offset, whole, max_bytes)
            except Exception as error:
                self._fail_chunking(error)
                return self.next_piece(max_bytes)
            body = b"".join(map(self.renderer.chunk, result.chunks))
            self.stream.pulse.meter.merged += max(result.position - self.position - len(result.chunks), 0)
            self.position, self._offset = result.position, result.offset
        self.stream.moved()
        return self.outlet.framing(body) if body else b""

    def _fail_chunking(self, error: Exception) -> None:
        """A chunker raised, or asked for what is not there: its client goes on without, and misses nothing."""
        name = "" if self._chunking is None else self._chunking.name
        _log.error(
            "chunker_failed",
            stream=self.stream.id,
            chunker=name,
            error=f"{type(error).__name__}: {error}",
            effect="its client gets the rest of the stream as by passthrough",
        )
        self.forget_chunks()

    def release(self) -> None:
        """Let go of what the chunker holds: its time is up, or its room is needed."""
        if self._chunking is not None:
            self._chunking.release()
            if self.live:
                self.push()

    def forget_chunks(self) -> None:
        """From now on events leave as they are."""
        if self._chunking is not None:
            self._chunking.end()
            self._chunking = None
        self.direct = not self._offset

    def go_live(self) -> None:
        """The client has all there is: from now on the appender writes to it."""
        self.live = True
        self.held_up = 0.0
        self.stream.follows(self)

    def _stop_being_live(self) -> None:
        self.live = False
        self.stream.lags(self)
        self.wake()
