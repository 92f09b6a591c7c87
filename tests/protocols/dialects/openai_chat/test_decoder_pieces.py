"""The decoder does not care how the network cut the body."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from stream_protocols.events import TERMINAL, Record, StreamFailed, StreamFinished
from tests.protocols.dialects.openai_chat.frames import DONE, Json, choice, chunk, decode, finish, payload, sse, text

USAGE = {"prompt_tokens": 1, "completion_tokens": 2}
CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"é":1}'}}

SAMPLE = (
    b": hello\n\n"
    + sse(chunk(choice({"role": "assistant"})))
    + sse(chunk(choice({"content": "né€𝄞", "reasoning": "r"}), choice({"content": "b"}, 1)))
    + 'data: {\ndata:  "choices": [{"delta": {"content": "two lines ü"}}]\r\ndata: }\n\r\n'.encode()
    + b"id: 5\nevent: message\n"
    + sse(chunk(choice({"tool_calls": [CALL]}), usage=USAGE))
    + sse('{"choices":"another shape"}', finish("stop", 1), finish("tool_calls", 0))
    + b"data: [DONE]\r\n\r\ndata: late\n\n"
)
WHOLE = decode(SAMPLE)


def test_the_sample_says_something() -> None:
    assert len(WHOLE) == 11
    assert WHOLE[-1][1] == b"[DONE]"


def test_at_every_cut() -> None:
    for place in range(len(SAMPLE) + 1):
        assert decode(SAMPLE[:place], SAMPLE[place:]) == WHOLE


def test_byte_by_byte() -> None:
    assert decode(*(SAMPLE[i : i + 1] for i in range(len(SAMPLE)))) == WHOLE


def test_every_truncation_before_the_last_finish_reason_is_seen() -> None:
    complete = SAMPLE.index(b"data: [DONE]") - len(b"\n\n")
    for size in range(complete):
        *before, (last, raw) = decode(SAMPLE[:size])
        assert isinstance(last, StreamFailed)
        assert raw is None
        assert before == WHOLE[: len(before)]
    assert decode(SAMPLE[:complete])[-1] == (StreamFinished("tool_calls"), None)


names = st.sampled_from(["content", "refusal", "reasoning", "reasoning_content", "role", "other"])
deltas = st.dictionaries(names, st.none() | st.text(max_size=8), max_size=3)
calls = st.fixed_dictionaries(
    {},
    optional={
        "index": st.none() | st.integers(0, 3),
        "id": st.none() | st.text(max_size=3),
        "function": st.none() | st.fixed_dictionaries({}, optional={"name": st.text(), "arguments": st.text()}),
    },
)
choices = st.builds(
    lambda delta, index, reason, calls: choice({**delta, **calls}, index, reason),
    deltas,
    st.integers(0, 3),
    st.none() | st.sampled_from(["stop", "length", ""]),
    st.just({}) | st.builds(lambda calls: {"tool_calls": calls}, st.lists(calls, max_size=2)),
)
usages = st.none() | st.builds(
    lambda i, o: {"prompt_tokens": i, "completion_tokens": o}, st.integers(), st.integers(0, 3)
)
chunks = st.builds(lambda choices, usage: chunk(*choices, usage=usage), st.lists(choices, max_size=3), usages)
anything = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
frames: st.SearchStrategy[Json | str] = (
    chunks
    | st.builds(lambda value: {"choices": value}, anything)
    | st.builds(lambda value: {"error": value}, anything)
    | st.dictionaries(st.sampled_from(["choices", "usage", "error", "model", "x"]), anything)
    | st.text(max_size=6)
)
bodies = st.builds(
    lambda frames, noise, end: sse(*frames) + noise + end,
    st.lists(frames, max_size=6),
    st.just(b"") | st.binary(max_size=8),
    st.sampled_from([b"", DONE, b"data: [DONE]", b"data: {"]),
)
places = st.lists(st.integers(0, 2000), max_size=6)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


def well_formed(records: list[Record]) -> None:
    """Exactly one terminal record, at the end, and every frame's bytes once."""
    assert [isinstance(event, TERMINAL) for event, _ in records] == [False] * (len(records) - 1) + [True]
    for _, raw in records:
        assert raw is None or b"\n" not in raw


@given(bodies, places)
@example(sse(text("a"), finish()) + b"data: [DONE]", [])
def test_any_body_in_any_pieces(body: bytes, places: list[int]) -> None:
    records = decode(body)
    well_formed(records)
    assert decode(*cut(body, places)) == records


@given(st.lists(chunks, max_size=8))
def test_frames_pass_through_untouched_and_in_order(frames: list[Json]) -> None:
    records = decode(sse(*frames) + DONE)
    assert [raw for _, raw in records if raw] == [*map(payload, frames), b"[DONE]"]


@given(st.binary(max_size=64), places)
def test_any_bytes_at_all(body: bytes, places: list[int]) -> None:
    well_formed(decode(*cut(body, places)))
