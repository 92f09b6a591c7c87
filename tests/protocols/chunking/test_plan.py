"""Plans: whatever a chunker decides, nothing is lost, nothing comes twice, and every chunk's cursor is exact."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.chunking import BadCut, Chunk, Chunker, Waiting, plan
from stream_protocols.chunking.adaptive import Adaptive
from stream_protocols.chunking.registry import chunking
from stream_protocols.events import COVERED, Opaque, ReasoningDelta, Record, StreamFinished, TextDelta, Usage
from stream_protocols.render import rest_of

NAMES = ("adaptive", "words", "sentences", "lines", "json", "bytes:3", "bytes:7", "bytes", "interval:40")

letters = st.text(alphabet='ab .!?\n"\\u{}[]:,`é👨\u200d👩0d漢。', max_size=12)
records = st.lists(
    st.one_of(
        letters.map(lambda text: (TextDelta(text), None)),
        letters.map(lambda text: (TextDelta(text), b'{"choices":1}')),
        letters.map(lambda text: (ReasoningDelta(text), None)),
        st.just((Opaque(), b'{"opaque":1}')),
        st.just((Opaque(), COVERED)),
        st.just((Usage(1, 2), None)),
    ),
    max_size=10,
)


class Random(Chunker):
    """Cuts anywhere, as drawn."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self._draw = draw

    def cut(self, waiting: Waiting) -> int:
        return self._draw(len(waiting.text))


def text_of(record: Record) -> str:
    event = record[0]
    return event.text if isinstance(event, TextDelta | ReasoningDelta) else ""


def said(chunks: list[Chunk]) -> list[tuple[str, str]]:
    """What a client has in the end: texts of a kind joined, everything else between them."""
    joined: list[tuple[str, str]] = []
    for chunk in chunks:
        event, raw = chunk.record
        kind = type(event).__name__
        if kind == "Opaque" and not raw:
            continue
        if joined and joined[-1][0] == kind and text_of(chunk.record):
            joined[-1] = kind, joined[-1][1] + text_of(chunk.record)
        elif text_of(chunk.record) or kind in ("Usage", "Opaque"):
            joined.append((kind, text_of(chunk.record)))
    return joined


def whole(log: list[Record]) -> list[tuple[str, str]]:
    return said([Chunk(number, 0, record) for number, record in enumerate(log, 1)])


def after(log: list[Record], position: int, offset: int) -> list[Record]:
    """What a client that has seen so much is still to get."""
    rest = log[position:]
    return [rest_of(rest[0], offset), *rest[1:]] if offset and rest else rest


def drain(log: list[Record], chunker: Chunker, position: int = 0, offset: int = 0, raw: bool = False) -> list[Chunk]:
    """All that a client gets that comes at a position, the stream having ended."""
    ended = [*log, (StreamFinished("stop"), None)]
    result = plan(after(ended, position, offset), position, offset, chunker, raw=raw)
    assert not result.held
    assert (result.position, result.offset) == (len(ended), 0)
    assert isinstance(result.chunks.pop().record[0], StreamFinished)
    return result.chunks


@pytest.mark.parametrize("raw", [False, True])
@given(records, st.sampled_from(NAMES))
def test_joined_chunks_are_the_text(raw: bool, log: list[Record], name: str) -> None:
    chunker = chunking(name)()
    assert chunker is not None
    shown = log if raw else [record for record in log if not isinstance(record[0], Opaque)]
    chunks = drain(log, chunker, raw=raw)
    assert said([chunk for chunk in chunks if raw or not isinstance(chunk.record[0], Opaque)]) == whole(shown)


@given(records, st.data())
def test_any_cuts_and_a_return_from_any_chunk_with_any_strategy(log: list[Record], data: st.DataObject) -> None:
    log = [record for record in log if not isinstance(record[0], Opaque)]
    chunks = drain(log, Random(lambda size: data.draw(st.integers(0, size))))
    assert said(chunks) == whole(log)
    if chunks:
        index = data.draw(st.integers(0, len(chunks) - 1))
        seen = chunks[index]
        position, offset = (seen.number - 1, seen.inside) if seen.inside else (seen.number, 0)
        other = chunking(data.draw(st.sampled_from(NAMES)))()
        assert other is not None
        assert said([*chunks[: index + 1], *drain(log, other, position, offset)]) == whole(log)


@given(records, st.sampled_from(NAMES), st.lists(st.integers(0, 10), max_size=4))
def test_piece_by_piece_it_is_the_same_text(log: list[Record], name: str, pieces: list[int]) -> None:
    """As a live client gets it: more comes, some of it is held, and in the end all has left."""
    log = [record for record in log if not isinstance(record[0], Opaque)]
    chunker = chunking(name)()
    assert chunker is not None
    chunks: list[Chunk] = []
    position = offset = 0
    for head in sorted(min(piece, len(log)) for piece in pieces):
        result = plan(after(log[:head], position, offset), position, offset, chunker, raw=False)
        chunks += result.chunks
        position, offset = result.position, result.offset
        assert result.held or position == head
    assert said([*chunks, *drain(log, chunker, position, offset)]) == whole(log)


@given(records, st.sampled_from(NAMES))
def test_patience_ends(log: list[Record], name: str) -> None:
    chunker = chunking(name)()
    assert chunker is not None
    result = plan(log, 0, 0, chunker, raw=False, waited=chunker.patience)
    assert not result.held
    assert result.position == len(log)


def test_one_whole_record_stays_what_it_was() -> None:
    record: Record = (TextDelta("Hi."), b'{"theirs":1}')
    (chunk,) = plan([record], 4, 0, Adaptive(), raw=True).chunks
    assert chunk == Chunk(5, 0, record)


def test_merged_ones_are_said_anew_with_the_last_cursor() -> None:
    log: list[Record] = [(TextDelta("a"), b"{1}"), (TextDelta("b"), b"{2}"), (TextDelta("c"), b"{3}")]
    assert plan(log, 0, 0, Adaptive(), raw=True).chunks == [Chunk(3, 0, (TextDelta("abc"), None))]


def test_a_chunk_that_ends_inside_a_record() -> None:
    chunker = chunking("bytes:2")()
    assert chunker is not None
    result = plan([(TextDelta("abc"), None), (TextDelta("de"), None)], 7, 0, chunker, raw=False)
    assert [(chunk.number, chunk.inside, text_of(chunk.record)) for chunk in result.chunks] == [
        (8, 2, "ab"),
        (9, 1, "cd"),
    ]
    assert (result.position, result.offset, result.held) == (8, 1, True)


def test_frames_that_say_more_than_text_are_not_merged() -> None:
    several: list[Record] = [(TextDelta("a"), COVERED), (ReasoningDelta("b"), b"{both}")]
    logprobs: list[Record] = [(TextDelta("a"), b'{"logprobs":{"x":1}}')] * 2
    for log in (several, logprobs):
        assert [chunk.record for chunk in plan(log, 0, 0, Adaptive(), raw=True).chunks] == log


def test_choices_are_not_mixed() -> None:
    log: list[Record] = [(TextDelta("a", 0), None), (TextDelta("b", 1), None), (TextDelta("c", 1), None)]
    assert [chunk.record[0] for chunk in plan(log, 0, 0, Adaptive(), raw=False).chunks] == [
        TextDelta("a", 0),
        TextDelta("bc", 1),
    ]


@pytest.mark.parametrize("cut", [-1, 4, 1.0, None, "2"])
def test_cuts_of_what_is_not_there(cut: object) -> None:
    with pytest.raises(BadCut):
        plan([(TextDelta("abc"), None)], 0, 0, Random(lambda size: cut), raw=False)  # type: ignore[arg-type, return-value]
