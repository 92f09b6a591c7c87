"""A log: the numbered records of one stream, kept in memory from `oldest` to `head`.

Rules:

- Records are numbered 1, 2, 3 …; `head` is the newest number (0 when there is none), `oldest` the first
  still kept (`head + 1` when there is none).
- Nothing is ever changed or renumbered; trimming drops from the oldest end only, and only whole vendor
  frames, so that what is kept always begins with a whole one.
- Reading and appending never wait. Who must wait for whom is the business of `Stream`.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from stream_protocols.cursor import NO_LIVES, Lives
from stream_protocols.events import COVERED, Notice, Record, StreamStarted

RECORD_OVERHEAD: Final = 220
"""Bytes that a record costs beside its text: tuple, event, bytes object and list slot (measured, CPython 3.11)."""

OBJECTS: Final = 2
"""Bytes that a notice's data takes for each byte of its JSON."""

_COMPACT: Final = 64  # trimmed records are really removed in groups, so that trimming stays O(1) a record


def cost(record: Record) -> int:
    """What a record counts for in a log's and the gateway's byte budgets."""
    event, raw = record
    text = getattr(event, "text", None) or getattr(event, "arguments", None)
    size = RECORD_OVERHEAD + (len(raw) if raw else 0) + (len(text) if text else 0)
    if type(event) is Notice and event.data:
        size += OBJECTS * len(msgspec.json.encode(event.data))
    return size


def _goes_on(record: Record) -> bool:
    """Whether the next record belongs to the same vendor frame."""
    event, raw = record
    return raw == COVERED and not isinstance(event, StreamStarted)


class Log:
    """Ordered records of one stream.

    Args:
        stream: the stream's id.
        epoch: names this life of the log: a log that lost its records and began anew has another.
        head: number of the last record that is not kept; those that follow are appended.
        lives: earlier epochs (see `cursor.check`).
    """

    __slots__ = ("_dropped", "_records", "epoch", "head", "lives", "sealed", "size", "stream")

    def __init__(self, stream: str, epoch: str, *, head: int = 0, lives: Lives = NO_LIVES) -> None:
        self.stream = stream
        self.epoch = epoch
        self.lives = lives
        self.head = head
        self.size = 0
        self.sealed = False
        self._records: list[Record] = []
        self._dropped = 0  # leading entries of `_records` that are trimmed but not yet removed

    @property
    def oldest(self) -> int:
        """Number of the oldest record kept; `head + 1` when none is."""
        return self.head - len(self._records) + self._dropped + 1

    def extend(self, records: Sequence[Record]) -> int:
        """Append records; return the bytes they added."""
        if self.sealed:
            raise RuntimeError("append to a sealed log")
        self._records.extend(records)
        self.head += len(records)
        added = sum(map(cost, records))
        self.size += added
        return added

    def seal(self) -> None:
        """Nothing will be appended any more."""
        self.sealed = True

    def after(self, number: int) -> list[Record]:
        """All records that follow `number`, which must not be older than what is kept."""
        return self._records[self._index(number) :]

    def read(self, number: int, max_bytes: int, weigh: Callable[[Record], int] = cost) -> list[Record]:
        """Records that follow `number`: at least one if there is one, and then up to `max_bytes` in all.

        A vendor frame is never cut: in its own dialect only its last record stands for it.

        Args:
            weigh: how many bytes a record counts for.
        """
        start = stop = self._index(number)
        taken = 0
        while stop < len(self._records):
            taken += weigh(self._records[stop])
            if taken > max_bytes and stop > start and not _goes_on(self._records[stop - 1]):
                break
            stop += 1
        return self._records[start:stop]

    def record(self, number: int) -> Record | None:
        """Record `number`, or None when it is not kept."""
        return self._records[self._index(number - 1)] if self.oldest <= number <= self.head else None

    def trim(self, floor: int, target: int) -> int:
        """Drop the oldest records, none above number `floor`, until `size` is at most `target`.

        Returns:
            The bytes that were freed.
        """
        before = self.size
        while self.size > target:
            frame = self._frame_at(self._dropped)
            if not frame or self.oldest + len(frame) - 1 > floor:
                break
            self._drop(frame)
        return before - self.size

    def surplus(self, target: int) -> int:
        """Number of the last record that must be dropped before `size` is at most `target`."""
        index, size = self._dropped, self.size
        while size > target and (frame := self._frame_at(index)):
            size -= sum(map(cost, frame))
            index += len(frame)
        return self.oldest + (index - self._dropped) - 1

    def _frame_at(self, index: int) -> list[Record]:
        """The records of the vendor frame that begins at an index; empty at the end."""
        stop = index
        while stop < len(self._records):
            stop += 1
            if not _goes_on(self._records[stop - 1]):
                break
        return self._records[index:stop]

    def _drop(self, frame: list[Record]) -> None:
        self.size -= sum(map(cost, frame))
        self._dropped += len(frame)
        if self._dropped >= _COMPACT or self._dropped == len(self._records):
            del self._records[: self._dropped]
            self._dropped = 0

    def _index(self, number: int) -> int:
        index = len(self._records) - (self.head - number)
        if index < self._dropped:
            raise LookupError(f"record {number + 1} is no longer kept")
        return index
