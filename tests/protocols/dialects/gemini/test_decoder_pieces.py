"""The decoder does not care how the network cut the body, nor what is wrong with it."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.events import COVERED, TERMINAL, Record, StreamFailed
from tests.protocols.dialects.gemini.frames import Json, call, decode, end, frame, payload, sse, text, thought

FRAMES = [
    thought("né€𝄞"),
    text("two lines ü", usageMetadata={"promptTokenCount": 3}),
    text("b", 1),
    frame({"text": "x"}, call("f", {"é": 1}, None), call("g"), responseId="r"),
    {"modelVersion": "m"},
    end("STOP"),
    end("MAX_TOKENS", 1),
]
SAMPLE = b": hello\n\n" + sse(*FRAMES[:3]) + b"id: 5\r\n" + sse(*FRAMES[3:])
WHOLE = decode(SAMPLE)


def test_the_sample_says_something() -> None:
    assert [raw for _, raw in WHOLE if raw] == list(map(payload, FRAMES))


def test_at_every_cut() -> None:
    for place in range(len(SAMPLE) + 1):
        assert decode(SAMPLE[:place], SAMPLE[place:]) == WHOLE


def test_byte_by_byte() -> None:
    assert decode(*(SAMPLE[i : i + 1] for i in range(len(SAMPLE)))) == WHOLE


def test_every_truncation_is_seen() -> None:
    for size in range(SAMPLE.index(payload(FRAMES[-1])) + len(payload(FRAMES[-1])) - 1):
        records = decode(SAMPLE[:size])
        last, raw = records[-1]
        assert isinstance(last, StreamFailed)
        assert raw is None
        before = [record for record in records if record[1] is not None]
        assert before == WHOLE[: len(before)]


small = st.integers(0, 3)
texts = st.text(max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
reasons = st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY", "X", "", "FINISH_REASON_UNSPECIFIED"])
good: st.SearchStrategy[Json] = st.one_of(
    st.builds(text, texts, small),
    st.builds(thought, texts, small),
    st.builds(lambda args, name, index: frame(call(name, args, None), index=index), anything, texts, small),
    st.builds(lambda reason, index: end(reason, index), reasons, small),
    st.builds(lambda usage: {"usageMetadata": usage}, st.dictionaries(st.sampled_from(["promptTokenCount"]), anything)),
    st.just({"promptFeedback": {"blockReason": "SAFETY"}}),
)
keys = ["candidates", "promptFeedback", "usageMetadata", "error", "responseId"]
frames: st.SearchStrategy[Json | str] = (
    good
    | st.builds(lambda one, more: {**one, **more}, good, st.dictionaries(st.sampled_from(keys), anything))
    | st.builds(
        lambda part: frame(part), st.dictionaries(st.sampled_from(["text", "thought", "functionCall"]), anything)
    )
    | st.text(max_size=6)
)
bodies = st.builds(
    lambda frames, noise, ends: sse(*frames) + noise + ends,
    st.lists(frames, max_size=8),
    st.just(b"") | st.binary(max_size=8),
    st.sampled_from([b"", sse(end()), sse(end())[:-2], b"data: {"]),
)
places = st.lists(st.integers(0, 2000), max_size=6)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[begin:stop] for begin, stop in pairwise(edges)]


def well_formed(records: list[Record]) -> None:
    """Exactly one terminal record, at the end, and every frame's bytes on one line."""
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
    assert [raw for _, raw in decode(sse(*frames)) if raw not in (None, COVERED)] == list(map(payload, frames))


@given(st.binary(max_size=64), places)
def test_any_bytes_at_all(body: bytes, places: list[int]) -> None:
    well_formed(decode(*cut(body, places)))


@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_valid_stream_with_some_bytes_changed(changes: list[tuple[int, int]]) -> None:
    body = bytearray(SAMPLE)
    for place, value in changes:
        body[place] = value
    well_formed(decode(bytes(body)))
