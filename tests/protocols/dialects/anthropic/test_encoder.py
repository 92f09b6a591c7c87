"""From neutral events to named frames: what Anthropic's clients read, and what our own decoder makes of it again."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects import Frame, Source
from stream_protocols.dialects.anthropic import AnthropicDecoder, AnthropicEncoder
from stream_protocols.dialects.anthropic.shapes import MAX_OPEN_CALLS
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    Notice,
    Opaque,
    ReasoningDelta,
    RefusalDelta,
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from tests.protocols.dialects.anthropic.message import Reader, read
from tests.protocols.dialects.strategies import native_events, texts

SOURCE = Source("s1", 'a "model"', 1_700_000_000)
START = StreamStarted("ignored", 1)
END = (ChoiceFinished("stop"), StreamFinished("stop"))


def encoded(events: Iterable[Event]) -> list[Frame]:
    encoder = AnthropicEncoder(SOURCE)
    return [frame for event in events for frame in encoder.encode(event)]


def message_of(*events: Event) -> Reader:
    return read(encoded(events))


def test_a_plain_answer_to_the_letter() -> None:
    frames = encoded([START, TextDelta("Hel"), TextDelta("lo"), ChoiceFinished("stop"), Usage(3, 5), END[1]])
    message = {
        "id": "msg_s1", "type": "message", "role": "assistant", "model": 'a "model"', "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0},
    }  # fmt: skip
    usage = {"input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 5}
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    expected: list[tuple[str, dict[str, Any]]] = [
        ("message_start", {"message": message}),
        ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "Hel"}}),
        ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "lo"}}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": delta, "usage": usage}),
        ("message_stop", {}),
    ]
    assert [(name.decode(), json.loads(payload)) for name, payload in frames] == [
        (name, {"type": name, **fields}) for name, fields in expected
    ]


def test_thinking_text_and_tools_are_blocks_one_after_the_other() -> None:
    reader = message_of(
        START,
        ReasoningDelta("Hm, "),
        ReasoningDelta("4."),
        TextDelta("Let me see."),
        ToolCallDelta(0, "call_1", "weather"),
        ToolCallDelta(0, arguments='{"city"'),
        ToolCallDelta(1, "call_2", "time", "{}"),
        ToolCallDelta(0, arguments=':"Oslo"}'),
        ChoiceFinished("tool_calls"),
        StreamFinished("tool_calls"),
    )
    assert reader.stopped
    assert reader.content == [
        {"type": "thinking", "thinking": "Hm, 4.", "signature": "", "json": ""},
        {"type": "text", "text": "Let me see.", "json": ""},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}, "json": '{"city":"Oslo"}'},
        {"type": "tool_use", "id": "call_2", "name": "time", "input": {}, "json": "{}"},
    ]
    assert reader.message is not None
    assert reader.message["stop_reason"] == "tool_use"


def test_text_between_the_pieces_of_a_call() -> None:
    events = [ToolCallDelta(0, "c", "f", "{"), TextDelta("meanwhile"), ToolCallDelta(0, arguments="}"), *END]
    assert [block["json"] or block.get("text") for block in message_of(*events).content] == ["{}", "meanwhile"]


@pytest.mark.parametrize(
    ("reason", "stop_reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("function_call", "tool_use"),
        ("content_filter", "refusal"),
        ("something_new", "end_turn"),
    ],
)
def test_reasons(reason: str, stop_reason: str) -> None:
    reader = message_of(START, TextDelta("a"), ChoiceFinished(reason), StreamFinished(reason))
    assert reader.message is not None
    assert (reader.message["stop_reason"], reader.message["stop_sequence"]) == (stop_reason, None)


def test_a_refusal_is_text_and_a_reason() -> None:
    reader = message_of(START, RefusalDelta("I can't."), *END)
    assert reader.message is not None
    assert (reader.content[0]["text"], reader.message["stop_reason"]) == ("I can't.", "refusal")


def test_usage_is_told_where_it_is_known() -> None:
    details = {"input": {"cached_tokens": 70, "cache_write_tokens": 20}, "output": {"reasoning_tokens": 4}}
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 70,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
    }
    first = json.loads(encoded([Usage(100, 9, details), START])[0].payload)
    assert first["message"]["usage"] == usage
    last = message_of(START, Usage(1, 1, running=True), TextDelta("a"), END[0], Usage(100, 9, details), END[1])
    assert last.message is not None
    assert last.message["usage"] == usage


@pytest.mark.parametrize("details", [{"input": 5}, {"input": {"cached_tokens": "x"}}, {"input": {"cached_tokens": 99}}])
def test_details_that_make_no_sense(details: dict[str, Any]) -> None:
    reader = message_of(START, Usage(7, 5, details), *END)
    assert reader.message is not None
    assert reader.message["usage"]["input_tokens"] in (0, 7)


@pytest.mark.parametrize("event", [Notice("a", "b"), Opaque(), Usage(1, 1), TextDelta(""), ReasoningDelta("")])
def test_what_makes_no_frame(event: Event) -> None:
    assert encoded([event]) == []


def test_other_choices_are_not_told() -> None:
    events = [TextDelta("a"), TextDelta("b", 1), ChoiceFinished("length", 1), *END]
    reader = message_of(StreamStarted("m", 1, 2), *events)
    assert reader.message is not None
    assert [block["text"] for block in reader.content] == ["a"]
    assert reader.message["stop_reason"] == "end_turn"


def test_an_answer_without_a_word() -> None:
    reader = message_of(START, *END)
    assert (reader.content, reader.stopped) == ([], True)


def test_a_message_begins_whatever_comes_first() -> None:
    for event in (TextDelta("a"), ReasoningDelta("a"), ToolCallDelta(0, "c", "f"), StreamFinished("stop")):
        assert encoded([event])[0].name == b"message_start"


def test_a_call_without_an_id_gets_one() -> None:
    (block,) = message_of(START, ToolCallDelta(3, name="f", arguments="{}"), *END).content
    assert (block["id"], block["name"]) == ("toolu_s1_3", "f")


def test_more_of_a_call_that_nobody_knows() -> None:
    assert message_of(START, ToolCallDelta(0, arguments="{}"), *END).content == []


def test_too_many_calls_are_an_error_and_the_end() -> None:
    events = [START, *(ToolCallDelta(index, f"c{index}", "f") for index in range(MAX_OPEN_CALLS + 1)), *END]
    reader = message_of(*events)
    assert reader.error is not None
    assert len(reader.content) == MAX_OPEN_CALLS


def test_failures_and_cancellations() -> None:
    failed = message_of(START, TextDelta("a"), StreamFailed("upstream_timeout", "Silent.", 504, "timeout_error"))
    assert failed.error == {"type": "timeout_error", "message": "Silent."}
    assert message_of(StreamCancelled("lease")).error == {
        "type": "api_error",
        "message": "The stream was cancelled (lease).",
    }
    assert encoded([StreamFailed("c", "m"), TextDelta("late"), *END])[1:] == []


# There and back

calls = st.builds(ToolCallDelta, st.integers(0, 3), st.just("c"), st.just("f"), texts)
more = st.builds(ToolCallDelta, st.integers(0, 3), arguments=texts)
deltas = st.one_of(st.builds(TextDelta, texts), st.builds(ReasoningDelta, texts), calls, more)
details = st.none() | st.just({"input": {"cached_tokens": 2, "cache_write_tokens": 1}})
usages = st.builds(Usage, st.integers(3, 2**53), st.integers(0, 2**53), details)
reasons = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])


def words(events: Iterable[Event]) -> tuple[dict[Any, str], list[str], list[Event]]:
    """Texts joined, the arguments of each call that was named, in the order of the names, and the other events."""
    joined = {TextDelta: "", ReasoningDelta: ""}
    called: dict[int, str] = {}
    rest: list[Event] = []
    for event in events:
        if isinstance(event, TextDelta | ReasoningDelta):
            joined[type(event)] += event.text
        elif isinstance(event, ToolCallDelta):
            if event.id or event.index in called:
                called[event.index] = called.get(event.index, "") + event.arguments
        elif not isinstance(event, Opaque):
            rest.append(event)
    return joined, [arguments or "{}" for arguments in called.values()], rest


@given(st.lists(deltas, max_size=12), usages, reasons)
def test_a_whole_stream_there_and_back(events: list[Event], usage: Usage, reason: str) -> None:
    sent = [*events, ChoiceFinished(reason), usage, StreamFinished(reason)]
    frames = encoded([START, *sent])
    assert read(frames).stopped
    decoder = AnthropicDecoder()
    body = b"".join(b"event: %b\ndata: %b\n\n" % frame for frame in frames)
    back = [event for event, _ in decoder.feed(body)]
    assert decoder.close() == []
    assert back[0] == Usage(0, 0, running=True)
    assert words(back[1:]) == words(sent)


@given(st.lists(native_events(), max_size=12))
def test_any_events_make_frames_in_order(events: list[Event]) -> None:
    read(encoded(events))
