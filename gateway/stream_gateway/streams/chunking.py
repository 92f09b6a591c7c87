"""A follower's chunker at work: what it decided last, when what it holds must leave, and what if it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import trio

from stream_protocols.chunking import Chunker, Plan, plan
from stream_protocols.chunking.base import MAX_PATIENCE
from stream_protocols.chunking.plan import MAX_HELD
from stream_protocols.events import Record

if TYPE_CHECKING:
    from stream_gateway.streams.follower import Follower
    from stream_gateway.streams.reminders import Reminder

_NOTHING: Final = -1

AGAIN: Final = 32
"""What is held is looked at again when one in so many of its records is new. With each of a thousand it would cost by
their square, more than a millisecond an event; this comes later by a thirtieth of the time for which it has waited."""


class Chunking:
    """Belongs to one follower. Whatever its chunker raises goes through.

    Attributes:
        held: the head of the log up to which the chunker holds all that the client has not; -1 when it holds nothing,
            0 when it must let go of it.
    """

    __slots__ = (
        "_began",
        "_chunker",
        "_due",
        "_immediate",
        "_looked",
        "_observes",
        "_reminded",
        "_reminder",
        "_sent",
        "held",
    )

    def __init__(self, chunker: Chunker) -> None:
        self.held = _NOTHING
        self._chunker = chunker
        self._immediate = chunker.immediate
        self._observes = type(chunker).observe is not Chunker.observe
        self._looked = 0  # the head of the log when the chunker was asked last
        self._began = 0.0  # when the text began to wait that is held
        self._sent = float("-inf")  # when the last chunk left
        self._due = float("inf")
        self._reminder: Reminder | None = None
        self._reminded = 0.0  # when it is due

    @property
    def name(self) -> str:
        """The chunker's class, for logs."""
        return type(self._chunker).__name__

    def at_once(self, follower: Follower) -> bool:
        """Whether what has come for a client that keeps up leaves as it is; `follower.direct`: so does what comes next.

        That is asked again now and then, and each time while it is not so.
        """
        if not self._immediate:
            return False
        self._observe(follower)
        pace = self._chunker.pace
        follower.direct = not pace and self.held == _NOTHING
        if not pace or self.held != _NOTHING:
            return follower.direct
        now = trio.current_time()
        if now - self._sent < pace:
            return False
        self._sent = now
        return True

    def _observe(self, follower: Follower) -> None:
        if self._observes:
            self._chunker.observe(follower.outlet.conditions())

    def holds_on(self, follower: Follower) -> bool:
        """Whether what has come is held too, without asking: it is more of the same, and little."""
        log = follower.stream.log
        if self.held <= 0 or log.sealed or log.head - follower.position > MAX_HELD:
            return False
        if (log.head - self._looked) * AGAIN > self._looked - follower.position:
            return False
        kind = _kind(log.record(self.held))
        if any(_kind(log.record(number)) != kind for number in range(self.held + 1, log.head + 1)):
            return False
        self.held = log.head
        return True

    def divide(self, follower: Follower, records: Sequence[Record], offset: int, whole: bool, room: int) -> Plan:
        """What leaves now.

        Args:
            records: what follows the follower's position, the first one without the `offset` characters it has.
            whole: whether that is all there is.
            room: bytes that are wanted, roughly.

        Raises:
            BadCut: as `plan`.
        """
        now = trio.current_time()
        waited = now - self._began if self.held != _NOTHING else 0.0
        if follower.stream.paused:
            waited = float("inf")  # nobody waits for a sentence's end while the producer waits for room
        follower.direct = False  # until it is asked again
        self._observe(follower)
        result = plan(
            records,
            follower.position,
            offset,
            self._chunker,
            raw=follower.renderer.raw,
            waited=waited if waited < MAX_PATIENCE else float("inf"),
            since=now - self._sent,
            whole=whole,
            room=room,
        )
        if any(hasattr(chunk.record[0], "text") for chunk in result.chunks):
            self._sent = now
        if not result.held:
            self.held = _NOTHING
            return result
        if self.held == _NOTHING or result.chunks:
            self._began = now
        self._release_after(follower, self._patience(now - self._began, now - self._sent))
        self.held = self._looked = follower.stream.log.head
        return result

    def _patience(self, waited: float, since: float) -> float:
        """Seconds for which what is held may still be; whatever the chunker says, not for ever."""
        left = min(self._chunker.patience, MAX_PATIENCE) - waited
        wanted = self._chunker.hold(waited, since)
        return min(wanted, left) if wanted > 0 and left > 0 else 0.0  # no number at all is no patience either

    def _release_after(self, follower: Follower, seconds: float) -> None:
        self._due = trio.current_time() + seconds
        if self._reminder is not None and self._due < self._reminded:
            self.end()
        if self._reminder is None:
            self._reminded = self._due
            self._reminder = follower.stream.remind(self._due, lambda: self._release(follower))

    def _release(self, follower: Follower) -> float:
        """Time is up, or was for something that has left meanwhile; when to look again."""
        if self.held == _NOTHING:
            self._reminder = None
            return float("inf")
        if self._due > trio.current_time():
            self._reminded = self._due
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


def _kind(record: Record | None) -> tuple[type, int | None] | None:
    """What texts must have in common to be merged."""
    return None if record is None else (type(record[0]), getattr(record[0], "choice", None))
