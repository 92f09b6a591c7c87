"""Plans: whatever a chunker decides, nothing is lost, nothing comes twice, and every chunk's cursor is exact."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.chunking import BadCut, Chunk, Chunker, Waiting, plan
from stream_protocols.chunking.adaptive import Adaptive
from stream_protocols.chunking.plan import ENVELOPE, MAX_HELD, WINDOW
from stream_protocols.chunking.registry import chunking
from stream_protocols.events import COVERED, Opaque, ReasoningDelta, Record, StreamFinished, TextDelta, Usage
from stream_protocols.render import rest_of

NAMES = ("adaptive", "words", "sentences", "lines", "json", "bytes:3", "bytes:7", "bytes", "interval:40")

letters = st.text(alphabet='ab .!?\n"\\u{}[]:,`é👨\u200d👩0d漢。', max_size=12)
records = st.lists(
    st.one_of(
        letters.map(lambda text: (TextDelta(text), None)),
        letters.map(lambda text: (TextDelta(text), b'{"choices":%b}' % json.dumps(text).encode())),
        letters.map(lambda text: (TextDelta(text), b'{"more":1,"text":%b}' % json.dumps(text).encode())),
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


def named(name: str) -> Chunker:
    """A chunker of that strategy."""
    chunker = chunking(name)()
    assert chunker is not None
    return chunker


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


def everything(log: list[Record]) -> list[tuple[str, str]]:
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
    chunker = named(name)
    shown = log if raw else [record for record in log if not isinstance(record[0], Opaque)]
    chunks = drain(log, chunker, raw=raw)
    assert said([chunk for chunk in chunks if raw or not isinstance(chunk.record[0], Opaque)]) == everything(shown)


@given(records, st.data())
def test_any_cuts_and_a_return_from_any_chunk_with_any_strategy(log: list[Record], data: st.DataObject) -> None:
    log = [record for record in log if not isinstance(record[0], Opaque)]
    chunks = drain(log, Random(lambda size: data.draw(st.integers(0, size))))
    assert said(chunks) == everything(log)
    if chunks:
        index = data.draw(st.integers(0, len(chunks) - 1))
        seen = chunks[index]
        position, offset = (seen.number - 1, seen.inside) if seen.inside else (seen.number, 0)
        other = chunking(data.draw(st.sampled_from(NAMES)))()
        assert other is not None
        assert said([*chunks[: index + 1], *drain(log, other, position, offset)]) == everything(log)


@given(records, st.sampled_from(NAMES), st.lists(st.integers(0, 10), max_size=4))
def test_piece_by_piece_it_is_the_same_text(log: list[Record], name: str, pieces: list[int]) -> None:
    """As a live client gets it: more comes, some of it is held, and in the end all has left."""
    log = [record for record in log if not isinstance(record[0], Opaque)]
    chunker = named(name)
    chunks: list[Chunk] = []
    position = offset = 0
    for head in sorted(min(piece, len(log)) for piece in pieces):
        result = plan(after(log[:head], position, offset), position, offset, chunker, raw=False)
        chunks += result.chunks
        position, offset = result.position, result.offset
        assert result.held or position == head
    assert said([*chunks, *drain(log, chunker, position, offset)]) == everything(log)


@given(records, st.sampled_from(NAMES))
def test_patience_ends(log: list[Record], name: str) -> None:
    chunker = named(name)
    result = plan(log, 0, 0, chunker, raw=False, waited=chunker.patience)
    assert not result.held
    assert result.position == len(log)


def test_one_whole_record_stays_what_it_was() -> None:
    record: Record = (TextDelta("Hi."), b'{"theirs":1}')
    (chunk,) = plan([record], 4, 0, Adaptive(), raw=True).chunks
    assert chunk == Chunk(5, 0, record)


def framed(text: str, more: str = "") -> Record:
    """A text in a vendor's frame."""
    return TextDelta(text), b'{"delta":{"content":%b}%b}' % (json.dumps(text).encode(), more.encode())


def test_merged_ones_have_the_last_cursor() -> None:
    log: list[Record] = [(TextDelta("a"), b"{1}"), (TextDelta("b"), b"{2}"), (TextDelta("c"), b"{3}")]
    assert plan(log, 0, 0, Adaptive(), raw=False).chunks == [Chunk(3, 0, (TextDelta("abc"), None))]


def test_merged_ones_are_said_in_the_vendors_frame() -> None:
    log = [framed(text, ',"id":7') for text in ("a", "é", "c")]
    (chunk,) = plan(log, 0, 0, Adaptive(), raw=True).chunks
    assert chunk == Chunk(3, 0, (TextDelta("aéc"), '{"delta":{"content":"aéc"},"id":7}'.encode()))


def test_divided_ones_too_and_what_is_left_of_one_joins_the_next() -> None:
    log = [framed("abcd"), framed("efgh")]
    result = plan(log, 0, 0, named("bytes:3"), raw=True)
    assert [chunk.record[1] for chunk in result.chunks] == [framed("abc")[1], framed("def")[1]]
    assert (result.position, result.offset, result.held) == (1, 2, True)
    rest = plan(after([*log, framed("i")], 1, 2), 1, 2, named("bytes:3"), raw=True)
    assert [(chunk.number, chunk.record[1]) for chunk in rest.chunks] == [(3, framed("ghi")[1])]


def test_frames_that_say_different_things_beside_their_texts_are_not_merged() -> None:
    role = framed("a", ',"role":"assistant"')
    several: list[Record] = [(TextDelta("b"), COVERED), (ReasoningDelta("c"), b'{"b":"c"}')]
    scores = [framed("d", ',"score":1'), framed("e", ',"score":2')]
    for log in ([role, framed("b")], several, scores):
        assert [chunk.record for chunk in plan(log, 0, 0, Adaptive(), raw=True).chunks] == log


def test_padding_and_time_say_nothing() -> None:
    log = [framed("a", ',"created":1,"obfuscation":"xyz"'), framed("b", ',"created":2,"obfuscation":"q"')]
    (chunk,) = plan(log, 0, 0, Adaptive(), raw=True).chunks
    assert chunk.record[0] == TextDelta("ab")


# Bounds


class Holder(Chunker):
    """Never lets go."""

    def __init__(self, patience: object = 0.5) -> None:
        self.patience = patience  # type: ignore[assignment]
        self.shown: list[int] = []

    def cut(self, waiting: Waiting) -> int:
        self.shown.append(len(waiting.text))
        return 0


def test_what_may_be_held_is_bounded() -> None:
    short: list[Record] = [(TextDelta("x"), None)] * (MAX_HELD + 1)
    assert plan(short[1:], 0, 0, Holder(), raw=False).held
    assert not plan(short, 0, 0, Holder(), raw=False).held
    holder = Holder()
    long: list[Record] = [(TextDelta("x" * (2 * WINDOW + 10)), None)]
    result = plan(long, 0, 0, holder, raw=False)
    assert result.held
    assert (result.position, result.offset) == (0, 2 * WINDOW)
    assert max(holder.shown) == WINDOW


def test_a_patience_that_is_no_number_is_none() -> None:
    assert not plan([(TextDelta("x"), None)], 0, 0, Holder(float("nan")), raw=False, waited=float("inf")).held
    with pytest.raises(TypeError):
        plan([(TextDelta("x"), None)], 0, 0, Holder(None), raw=False)


@given(records, st.sampled_from(NAMES), st.integers(1, 400), st.booleans())
def test_piece_by_piece_for_a_client_with_little_room(log: list[Record], name: str, room: int, raw: bool) -> None:
    """Whatever the size of a piece, and wherever the log is cut for it: the same text, and never nothing."""
    log = [record for record in log if not isinstance(record[0], Opaque)]
    ended = [*log, (StreamFinished("stop"), None)]
    chunker = named(name)
    chunks: list[Chunk] = []
    position = offset = 0
    while position < len(ended):
        rest = after(ended, position, offset)[:3]
        whole = position + len(rest) == len(ended)
        result = plan(rest, position, offset, chunker, raw=raw, whole=whole, room=room)
        assert not result.held
        assert (result.position, result.offset) > (position, offset)
        chunks += result.chunks
        position, offset = result.position, result.offset
    assert said(chunks[:-1]) == everything(log)


def test_a_piece_ends_when_there_is_no_more_room() -> None:
    log: list[Record] = [(Usage(1, number), None) for number in range(100)]
    chunks = plan(log, 0, 0, Adaptive(), raw=False, room=10 * ENVELOPE).chunks
    assert len(chunks) == 10
    text: list[Record] = [(TextDelta("ab"), None)] * 100
    assert len(plan(text, 0, 0, named("bytes:1"), raw=False, room=5 * ENVELOPE).chunks) == 5


def test_no_piece_ends_inside_a_vendors_frame() -> None:
    log: list[Record] = [(TextDelta("a"), COVERED), (ReasoningDelta("b"), b'{"a":"b"}'), (Usage(1, 2), None)]
    assert plan(log, 0, 0, Adaptive(), raw=True, room=1).position == 2


def test_a_chunk_that_ends_inside_a_record() -> None:
    chunker = named("bytes:2")
    result = plan([(TextDelta("abc"), None), (TextDelta("de"), None)], 7, 0, chunker, raw=False)
    assert [(chunk.number, chunk.inside, text_of(chunk.record)) for chunk in result.chunks] == [
        (8, 2, "ab"),
        (9, 1, "cd"),
    ]
    assert (result.position, result.offset, result.held) == (8, 1, True)


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
