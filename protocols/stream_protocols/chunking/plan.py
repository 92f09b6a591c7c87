"""A chunker's decisions applied to the records that wait: which chunks leave, and where that leaves the client.

- A run of texts of one kind and choice is one text to the chunker. What is of another kind ends the run: the text
  before it leaves first, so that order is kept.
- A chunk that is one whole record stays that record, with the vendor's bytes beside it. Others are said anew, for
  clients of the vendor's dialect in the vendor's frame.
- Records without words for the client (a vendor's frames that it is not shown) do not interrupt a run.
- What a chunker may hold, and see at once, is bounded, whatever it says.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, takewhile
from typing import Final, NamedTuple

import msgspec

from stream_protocols.chunking.base import BadCut, Chunker, Waiting
from stream_protocols.chunking.boundaries import safe_cut
from stream_protocols.chunking.frames import Shell, shell
from stream_protocols.events import (
    COVERED,
    Event,
    Opaque,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
)

MAX_HELD: Final = 1024
"""Records that a chunker may hold: they are read again with each new one, so that many would cost by their square."""

WINDOW: Final = 65_536
"""Characters that a chunker is shown at once, and may hold: what it costs to look at them is bounded too."""

ENVELOPE: Final = 128
"""Bytes around a chunk's text, roughly."""

_LEAN: Final = 48
"""What a text counts for beside its characters while it waits to be merged: bounds how many are looked at."""

_TEXTUAL: Final = (TextDelta, ReasoningDelta, RefusalDelta)

_PLAIN: Final = 512
"""Bytes that a vendor's frame has around a text, at the most, when it says nothing else."""


class Chunk(NamedTuple):
    """What leaves at once: the client has then seen records up to `number`, the last one whole if `inside` is 0.

    Attributes:
        inside: characters of record `number` that it has seen, when that is not all of it.
    """

    number: int
    inside: int
    record: Record


class Plan(NamedTuple):
    """What leaves now, and the client's position afterwards; `held`: something waits on purpose."""

    chunks: list[Chunk]
    position: int
    offset: int
    held: bool


def weight(record: Record) -> int:
    """What a record adds to the bytes of a piece, roughly, if texts are merged."""
    event, beside = record
    if isinstance(event, _TEXTUAL) and (beside is None or len(beside) <= _PLAIN + len(event.text)):
        return _LEAN + len(event.text)
    return _size(record)


def _size(record: Record) -> int:
    """What a record comes to on the wire, roughly, by itself."""
    event, beside = record
    return ENVELOPE + len(beside or _text(event) or (event.arguments if isinstance(event, ToolCallDelta) else ""))


def plan(
    records: Sequence[Record],
    position: int,
    offset: int,
    chunker: Chunker,
    *,
    raw: bool,
    waited: float = 0.0,
    since: float = float("inf"),
    whole: bool = True,
    room: float = float("inf"),
) -> Plan:
    """Divide records into chunks.

    Args:
        records: what follows `position`; the first one without the `offset` characters that the client has of it.
        raw: whether the client is shown the vendor's own bytes.
        waited, since: as in `Waiting`.
        whole: whether these records are all there is; if not, the last ones do not wait, but may come again.
        room: bytes after which no more chunks are wanted; roughly, and at least one leaves if one is there.

    Raises:
        BadCut: the chunker asked for what is not there. Whatever else it raises goes through.
    """
    chunks: list[Chunk] = []
    index = 0
    while index < len(records) and (room > 0 or _goes_on(records[index - 1])):
        stop, shared = _run(records, index, raw)
        if stop == index:
            chunks.append(Chunk(position + 1, 0, records[index]))
            room -= _size(records[index])
            position, offset, index = position + 1, 0, index + 1
            continue
        # Not `>=`: a patience that is no number must not hold for ever.
        late = stop < len(records) or stop - index > MAX_HELD or not waited < chunker.patience
        run = _Run(records[index:stop], position, offset, shared)
        chunks += run.divide(chunker, waited, since, late, room)
        if run.held and not whole and not chunks:
            chunks += run.divide(chunker, waited, since, True, room)
        position, offset, room = run.position, run.offset, run.room
        if run.held or not run.done:
            return Plan(chunks, position, offset, run.held and whole)
        index = stop
    return Plan(chunks, position, offset, False)


class _Run:
    """Records of one kind, as one text."""

    def __init__(self, records: Sequence[Record], position: int, offset: int, shared: Shell | None) -> None:
        self.position = position
        self.offset = offset
        self.held = False
        self.done = False
        self.room = 0.0
        self._records = records
        self._shell = shared
        self._first = position + 1
        self._seen = offset
        self._model = next(event for event, _ in records if isinstance(event, _TEXTUAL))
        self._ends = list(accumulate(len(_text(event)) for event, _ in records))

    def divide(self, chunker: Chunker, waited: float, since: float, final: bool, room: float) -> list[Chunk]:
        """Cut until nothing is left, the chunker holds the rest, or there is no more room."""
        text = "".join(_text(event) for event, _ in self._records)
        chunks: list[Chunk] = []
        at = 0
        self.held = False
        while at < len(text) and room > 0:
            size = _cut(chunker, text, at, waited, since, final)
            if not size:
                self.held = True
                break
            chunks.append(self._chunk(text, at, at + size))
            at += size
            room -= size + ENVELOPE
            waited, since = 0.0, 0.0  # what follows has only now come to be the next
        self.room = room
        self.done = at == len(text)
        if self.done:
            self.position, self.offset = self._first + len(self._records) - 1, 0
        return chunks

    def _chunk(self, text: str, start: int, stop: int) -> Chunk:
        index = bisect_left(self._ends, stop)
        begin = self._ends[index - 1] if index else -self._seen  # where the record begins in which the chunk ends
        if self._ends[index] == stop:
            number, inside = self._first + index + _silent(self._records, index + 1), 0
            self.position, self.offset = number, 0
        else:
            number, inside = self._first + index, stop - begin
            self.position, self.offset = number - 1, inside
        if not inside and start == begin:
            return Chunk(number, 0, self._records[index])
        said = text[start:stop]
        frame = None if self._shell is None else self._shell.around(said)
        return Chunk(number, inside, (msgspec.structs.replace(self._model, text=said), frame))


def _cut(chunker: Chunker, text: str, at: int, waited: float, since: float, final: bool) -> int:
    """What the chunker says to the text from `at` on; 0: it holds it, and may."""
    rest = text[at : at + WINDOW]
    more = at + len(rest) < len(text)
    size = chunker.cut(Waiting(rest, waited, since, final and not more))
    if not isinstance(size, int) or not 0 <= size <= len(rest):
        raise BadCut(f"{type(chunker).__name__} cut {size!r} of {len(rest)} characters.")
    if size or not (final or more or len(rest) >= WINDOW):
        return size
    return safe_cut(text[at : at + WINDOW + 1], WINDOW)


def _goes_on(record: Record) -> bool:
    """Whether the next record belongs to the same vendor frame, which must not be left half said."""
    return record[1] == COVERED and not isinstance(record[0], StreamStarted)


def _silent(records: Sequence[Record], index: int) -> int:
    """How many records from an index on say nothing, up to the next that does."""
    return sum(1 for _ in takewhile(lambda record: isinstance(record[0], Opaque), records[index:]))


def _run(records: Sequence[Record], start: int, raw: bool) -> tuple[int, Shell | None]:
    """Where the run of texts ends that begins at an index (there, when none does), and what a vendor has around them.

    What has no vendor's frame, such as the rest of a divided text, joins any.
    """
    model: TextDelta | ReasoningDelta | RefusalDelta | None = None
    shared: Shell | None = None
    stop = start
    for index in range(start, len(records)):
        event, beside = records[index]
        if isinstance(event, Opaque) and not (raw and beside):
            continue
        if not isinstance(event, _TEXTUAL):
            break
        around = _alone(records, index) if raw else None
        if raw and beside is not None and around is None:
            break
        if model is None:
            model = event
        elif type(event) is not type(model) or event.choice != model.choice:
            break
        if around and shared and around.said != shared.said:
            break
        shared = shared or around
        stop = index + 1
    return stop, shared


def _alone(records: Sequence[Record], index: int) -> Shell | None:
    """What is around a text in a vendor's frame that says no other one."""
    event, beside = records[index]
    if index and records[index - 1][1] == COVERED:
        return None
    return shell(_text(event), beside)


def _text(event: Event) -> str:
    return event.text if isinstance(event, _TEXTUAL) else ""
