"""The decoder does not care how the network cut the body, and nothing that a provider sends raises."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.events import TERMINAL, Record, StreamFailed
from tests.doubles.openai_script import Script, ToolCall
from tests.doubles.responses_events import ResponseWriter
from tests.protocols.dialects.openai_responses.frames import (
    Json,
    answers,
    body,
    completed,
    decode,
    delta,
    encoded,
    events,
    frame,
    meaning,
    sse,
)


def scripted(script: Script) -> bytes:
    """A body as the vendor's double writes it."""
    writer = ResponseWriter(script, {"model": "m"})
    return writer.opening() + b"".join(writer.deltas()) + writer.closing()


CALLS = (ToolCall(id="c1", name="f", fragments=('{"é"', ":1}")), ToolCall(id="c2", name="g", fragments=("{", "}")))
SAMPLE = scripted(Script(deltas=("né€", "𝄞 ", "x"), reasoning=("a", "b")))
CALLED = scripted(Script(tool_calls=CALLS, interleave=True, reasoning=("a",)))


def test_at_every_cut() -> None:
    for sample in (SAMPLE, CALLED):
        whole = decode(sample)
        for place in range(0, len(sample) + 1, 3):
            assert decode(sample[:place], sample[place:]) == whole


def test_byte_by_byte_and_with_trailing_bytes() -> None:
    for sample in (SAMPLE, CALLED):
        whole = decode(sample)
        assert decode(*(sample[i : i + 1] for i in range(len(sample)))) == whole
        assert decode(sample + b": bye\n\ndata: late\n\n\xff") == whole


def test_every_truncation_is_seen() -> None:
    whole = decode(SAMPLE)
    end = SAMPLE.rindex(b"\n", 0, len(SAMPLE) - 2)
    for size in range(0, end, 7):
        *before, (last, raw) = decode(SAMPLE[:size])
        assert isinstance(last, StreamFailed)
        assert raw is None
        assert before == whole[: len(before)]


@given(answers())
def test_what_we_encode_we_decode(answer: list[Any]) -> None:
    assert meaning(events(decode(body(encoded(answer))))) == meaning(answer)


anything = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KINDS = (
    *("output_text.delta", "output_text.done", "refusal.delta", "reasoning_summary_text.delta", "output_item.added"),
    *("output_item.done", "function_call_arguments.delta", "function_call_arguments.done", "created", "completed"),
    *("incomplete", "failed", "reasoning_summary_part.added", "content_part.added", "content_part.done"),
)
NAMES = (
    *(
        "delta",
        "text",
        "item",
        "response",
        "output_index",
        "content_index",
        "summary_index",
        "part",
        "error",
        "item_id",
    ),
    *("arguments", "sequence_number", "type"),
)
responses = st.dictionaries(
    st.sampled_from(["id", "output", "usage", "error", "status", "incomplete_details"]), anything
)
items = st.dictionaries(st.sampled_from(["type", "id", "content", "call_id", "arguments", "summary"]), anything)
frames: st.SearchStrategy[Json] = st.builds(
    lambda kind, fields, more: frame(
        kind, **{**fields, **{k: v for k, v in more.items() if k not in ("type", "kind")}}
    ),
    st.sampled_from(KINDS),
    st.fixed_dictionaries({}, optional={"response": responses, "item": items, "delta": st.text(max_size=4)}),
    st.dictionaries(st.sampled_from(NAMES), anything, max_size=2),
) | st.builds(delta, st.text(max_size=5))
places = st.lists(st.integers(0, 3000), max_size=5)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def well_formed(records: list[Record]) -> None:
    """Exactly one terminal record, at the end, and every frame on one line."""
    assert [isinstance(event, TERMINAL) for event, _ in records] == [False] * (len(records) - 1) + [True]
    assert all(raw is None or b"\n" not in raw for _, raw in records)


@given(st.lists(frames, max_size=6), st.just(b"") | st.binary(max_size=8), places)
def test_any_frames_in_any_pieces(given_frames: list[Json], noise: bytes, places: list[int]) -> None:
    data = sse(*given_frames) + noise + sse(completed())
    records = decode(data)
    well_formed(records)
    assert decode(*cut(data, places)) == records


@given(st.sampled_from([SAMPLE, CALLED]), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4))
def test_any_mutation_of_a_good_stream(sample: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(sample)
    for place, value in changes:
        data[place % len(data)] = value
    well_formed(decode(bytes(data)))


@given(st.binary(max_size=64), places)
def test_any_bytes_at_all(data: bytes, places: list[int]) -> None:
    well_formed(decode(*cut(data, places)))


def test_the_double_numbers_its_frames() -> None:
    for sample in (SAMPLE, CALLED):
        numbers = [json.loads(raw)["sequence_number"] for _, raw in decode(sample) if raw]
        assert numbers == list(range(len(numbers)))
