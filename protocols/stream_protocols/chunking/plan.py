"""A chunker's decisions applied to the records that wait: which chunks leave, and where that leaves the client.

- A run of texts of one kind and choice is one text to the chunker. What is of another kind ends the run: the text
  before it leaves first, so that order is kept.
- A chunk that is one whole record stays that record, with the vendor's bytes beside it. All others are encoded anew.
- Records without words for the client (a vendor's frames that it is not shown) do not interrupt a run.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, takewhile
from typing import Final, NamedTuple

import msgspec

from stream_protocols.chunking.base import BadCut, Chunker, Waiting
from stream_protocols.events import COVERED, Event, Opaque, ReasoningDelta, Record, RefusalDelta, TextDelta

_TEXTUAL: Final = (TextDelta, ReasoningDelta, RefusalDelta)

_EXTRAS: Final = (b'"logprobs":{', b'"logprobs": {')
"""What a vendor says of single tokens: its clients would lose it if these were merged."""


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
) -> Plan:
    """Divide records into chunks.

    Args:
        records: what follows `position`; the first one without the `offset` characters that the client has of it.
        raw: whether the client is shown the vendor's own bytes.
        waited, since: as in `Waiting`.
        whole: whether these records are all there is; if not, the last ones do not wait for others.

    Raises:
        BadCut: the chunker asked for what is not there. Whatever else it raises goes through.
    """
    chunks: list[Chunk] = []
    index = 0
    while index < len(records):
        stop = _run(records, index, raw)
        if stop == index:
            chunks.append(Chunk(position + 1, 0, records[index]))
            position, offset, index = position + 1, 0, index + 1
            continue
        late = stop < len(records) or not whole or waited >= chunker.patience
        run = _Run(records[index:stop], position, offset)
        chunks += run.divide(chunker, waited, since, late)
        position, offset = run.position, run.offset
        if run.held:
            return Plan(chunks, position, offset, True)
        index = stop
    return Plan(chunks, position, offset, False)


class _Run:
    """Records of one kind, as one text."""

    def __init__(self, records: Sequence[Record], position: int, offset: int) -> None:
        self.position = position
        self.offset = offset
        self.held = False
        self._records = records
        self._first = position + 1
        self._seen = offset
        self._model = next(event for event, _ in records if isinstance(event, _TEXTUAL))
        self._ends = list(accumulate(len(_text(event)) for event, _ in records))

    def divide(self, chunker: Chunker, waited: float, since: float, final: bool) -> list[Chunk]:
        """Cut until nothing is left, or the chunker holds the rest."""
        text = "".join(_text(event) for event, _ in self._records)
        chunks: list[Chunk] = []
        at = 0
        while at < len(text):
            rest = text[at:]
            size = chunker.cut(Waiting(rest, waited, since, final))
            if not isinstance(size, int) or not 0 <= size <= len(rest):
                raise BadCut(f"{type(chunker).__name__} cut {size!r} of {len(rest)} characters.")
            if not size and not final:
                self.held = True
                break
            size = size or len(rest)
            chunks.append(self._chunk(text, at, at + size))
            at += size
            waited, since = 0.0, 0.0  # what follows has only now come to be the next
        if not self.held:
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
        return Chunk(number, inside, (msgspec.structs.replace(self._model, text=text[start:stop]), None))


def _silent(records: Sequence[Record], index: int) -> int:
    """How many records from an index on say nothing, up to the next that does."""
    return sum(1 for _ in takewhile(lambda record: isinstance(record[0], Opaque), records[index:]))


def _run(records: Sequence[Record], start: int, raw: bool) -> int:
    """Where the run of texts ends that begins at an index; the index itself, when none does."""
    model: TextDelta | ReasoningDelta | RefusalDelta | None = None
    stop = start
    for index in range(start, len(records)):
        event, beside = records[index]
        if isinstance(event, Opaque) and not (raw and beside):
            continue
        if not isinstance(event, _TEXTUAL) or (raw and not _alone(records, index)):
            break
        if model is None:
            model = event
        elif type(event) is not type(model) or event.choice != model.choice:
            break
        stop = index + 1
    return stop


def _alone(records: Sequence[Record], index: int) -> bool:
    """Whether a vendor's frame says this text and nothing else, so that it may be said in other words."""
    beside = records[index][1]
    if beside is None:
        return True
    shared = beside == COVERED or (index > 0 and records[index - 1][1] == COVERED)
    return not shared and not any(mark in beside for mark in _EXTRAS)


def _text(event: Event) -> str:
    return event.text if isinstance(event, _TEXTUAL) else ""
