"""A follower's chunker at work: what it decided last, when what it holds must leave, and what if it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog
import trio

from stream_protocols.chunking import Chunker, Plan, plan
from stream_protocols.events import Record

if TYPE_CHECKING:
    from stream_gateway.streams.follower import Follower
    from stream_gateway.streams.reminders import Reminder

_log = structlog.get_logger()

_NOTHING: Final = -1


class Chunking:
    """Belongs to one follower.

    Attributes:
        immediate: as in `Chunker`.
        held: the head of the log when the chunker had seen all and held the rest; -1 when it holds nothing.
    """

    __slots__ = ("_began", "_chunker", "_due", "_reminder", "_sent", "held", "immediate")

    def __init__(self, chunker: Chunker) -> None:
        self.immediate = chunker.immediate
        self.held = _NOTHING
        self._chunker = chunker
        self._began = 0.0  # when the text began to wait that is held
        self._sent = float("-inf")  # when the last chunk left
        self._due = float("inf")
        self._reminder: Reminder | None = None

    def divide(self, follower: Follower, records: Sequence[Record], offset: int, whole: bool) -> Plan:
        """What leaves now.

        Args:
            records: what follows the follower's position, the first one without the `offset` characters it has.
            whole: whether that is all there is.
        """
        now = trio.current_time()
        waited = now - self._began if self.held != _NOTHING else 0.0
        if self.immediate:
            self._chunker.observe(follower.outlet.conditions())
        result = plan(
            records,
            follower.position,
            offset,
            self._chunker,
            raw=follower.renderer.raw,
            waited=waited,
            since=now - self._sent,
            whole=whole,
        )
        if any(hasattr(chunk.record[0], "text") for chunk in result.chunks):
            self._sent = now
        if not result.held:
            self.held = _NOTHING
            return result
        if self.held == _NOTHING or result.chunks:
            self._began = now
        self.held = follower.stream.log.head
        self._release_after(follower, self._chunker.hold(now - self._began, now - self._sent))
        return result

    def _release_after(self, follower: Follower, seconds: float) -> None:
        self._due = trio.current_time() + max(seconds, 0.0)
        if self._reminder is None:
            self._reminder = follower.stream.remind(self._due, lambda: self._release(follower))

    def _release(self, follower: Follower) -> float:
        """Time is up, or was for something that has left meanwhile; when to look again."""
        if self.held == _NOTHING:
            self._reminder = None
            return float("inf")
        if self._due > trio.current_time():
            return self._due
        self._reminder = None
        follower.release()
        return float("inf")

    def release(self) -> None:
        """Whatever is held must leave."""
        if self.held != _NOTHING:
            self.held = 0
            self._began = float("-inf")

    def end(self) -> None:
        """Ask no more."""
        if self._reminder is not None:
            self._reminder.cancel()
            self._reminder = None


def failed(follower: Follower, error: Exception) -> None:
    """Tell of a chunker that raised, or lost text; its client goes on without it, from its last good cursor."""
    _log.error("chunker_failed", stream=follower.stream.id, error=f"{type(error).__name__}: {error}")
