"""The decoder does not care how the network cut the body, nor what is wrong with it."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.events import COVERED, TERMINAL, Record, StreamFailed
from tests.protocols.dialects.anthropic.frames import (
    PING,
    STOP,
    Json,
    arguments,
    block,
    call,
    decode,
    delta,
    end,
    payload,
    sse,
    start,
    stop,
    text,
    thinking,
)

FRAMES = [
    start(input_tokens=1, cache_read_input_tokens=2, output_tokens=1),
    block(0, "thinking", thinking="", signature=""),
    thinking("né€𝄞"),
    delta(0, "signature_delta", signature="Eq=="),
    stop(0),
    PING,
    block(1, text=""),
    text("two lines ü", 1),
    stop(1),
    call(2),
    arguments('{"é":', 2),
    arguments("1}", 2),
    stop(2),
    call(3),
    stop(3),
    end("tool_use"),
    STOP,
]
SAMPLE = b": hello\n\n" + sse(*FRAMES[:6]) + b"id: 5\r\n" + sse(*FRAMES[6:]) + b"data: late\n\n"
WHOLE = decode(SAMPLE)


def test_the_sample_says_something() -> None:
    assert [raw for _, raw in WHOLE if raw != COVERED] == list(map(payload, FRAMES))


def test_at_every_cut() -> None:
    for place in range(len(SAMPLE) + 1):
        assert decode(SAMPLE[:place], SAMPLE[place:]) == WHOLE


def test_byte_by_byte() -> None:
    assert decode(*(SAMPLE[i : i + 1] for i in range(len(SAMPLE)))) == WHOLE


def test_every_truncation_is_seen() -> None:
    for size in range(SAMPLE.index(payload(STOP)) + len(payload(STOP)) - 1):
        *before, (last, raw) = decode(SAMPLE[:size])
        assert isinstance(last, StreamFailed)
        assert raw is None
        assert before == WHOLE[: len(before)]


small = st.integers(0, 3)
texts = st.text(max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
good: st.SearchStrategy[Json] = st.one_of(
    st.builds(text, texts, small),
    st.builds(thinking, texts, small),
    st.builds(arguments, texts, small),
    st.builds(call, small, texts, texts, anything),
    st.builds(lambda index, content: block(index, text=content), small, texts),
    st.builds(stop, small),
    st.builds(lambda reason, output: end(reason, output), st.none() | st.sampled_from(["end_turn", "x", ""]), small),
    st.builds(lambda usage: start(x=0, **usage), st.dictionaries(st.sampled_from(["input_tokens"]), anything)),
    st.just(PING),
)
keys = ["type", "index", "delta", "content_block", "message", "usage", "error"]
frames: st.SearchStrategy[Json | str] = (
    good
    | st.builds(lambda frame, more: {**frame, **more}, good, st.dictionaries(st.sampled_from(keys), anything))
    | st.builds(lambda error: {"type": "error", "error": error}, anything)
    | st.text(max_size=6)
)
bodies = st.builds(
    lambda frames, noise, ends: sse(*frames) + noise + ends,
    st.lists(frames, max_size=8),
    st.just(b"") | st.binary(max_size=8),
    st.sampled_from([b"", sse(STOP), sse(STOP)[:-2], b"data: {"]),
)
places = st.lists(st.integers(0, 2000), max_size=6)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[begin:stop] for begin, stop in pairwise(edges)]


def well_formed(records: list[Record]) -> None:
    """Exactly one terminal record, at the end, and every frame's bytes once."""
    assert [isinstance(event, TERMINAL) for event, _ in records] == [False] * (len(records) - 1) + [True]
    for _, raw in records:
        assert raw is None or b"\n" not in raw


@given(bodies, places)
def test_any_body_in_any_pieces(body: bytes, places: list[int]) -> None:
    records = decode(body)
    well_formed(records)
    assert decode(*cut(body, places)) == records


@given(st.lists(good, max_size=8))
def test_frames_pass_through_untouched_and_in_order(frames: list[Json]) -> None:
    records = decode(sse(*frames, STOP))
    assert [raw for _, raw in records if raw] == [*map(payload, frames), payload(STOP)]


@given(st.binary(max_size=64), places)
def test_any_bytes_at_all(body: bytes, places: list[int]) -> None:
    well_formed(decode(*cut(body, places)))


@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_valid_stream_with_some_bytes_changed(changes: list[tuple[int, int]]) -> None:
    body = bytearray(SAMPLE)
    for place, value in changes:
        body[place] = value
    well_formed(decode(bytes(body)))
