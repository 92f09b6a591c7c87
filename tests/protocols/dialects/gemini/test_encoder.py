"""From neutral events to frames: what Gemini's clients read, and what our own decoder makes of it again."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects import Source
from stream_protocols.dialects.gemini import GeminiDecoder, GeminiEncoder
from stream_protocols.dialects.gemini.encoder import MAX_ARGUMENTS, MAX_CALLS
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
from tests.protocols.dialects.strategies import native_events, texts

SOURCE = Source("s1", 'a "model"', 1_700_000_000)
START = StreamStarted("ignored", 1)
END = (ChoiceFinished("stop"), StreamFinished("stop"))


def encoded(events: Iterable[Event]) -> list[Any]:
    encoder = GeminiEncoder(SOURCE)
    frames = [frame for event in events for frame in encoder.encode(event)]
    assert all(not frame.name and b"\n" not in frame.payload for frame in frames)
    return [json.loads(frame.payload) for frame in frames]


def parts_of(frames: list[Any], index: int = 0) -> list[Any]:
    candidates = [candidate for frame in frames for candidate in frame.get("candidates", ())]
    parts = [part for one in candidates if one["index"] == index for part in one["content"]["parts"]]
    return [part for part in parts if part != {"text": ""}]


def calls_of(frames: list[Any]) -> list[Any]:
    return [part["functionCall"] for part in parts_of(frames) if "functionCall" in part]


def reasons_of(frames: list[Any]) -> dict[int, str]:
    candidates = [candidate for frame in frames for candidate in frame.get("candidates", ())]
    ended = [(one["index"], one["finishReason"]) for one in candidates if "finishReason" in one]
    assert len(ended) == len(dict(ended)), "a candidate has ended twice"
    return dict(ended)


def test_a_plain_answer_to_the_letter() -> None:
    beside = {"modelVersion": 'a "model"', "responseId": "s1"}

    def content(text: str) -> dict[str, Any]:
        return {"content": {"parts": [{"text": text}], "role": "model"}}

    usage = {"promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8}
    assert encoded([START, TextDelta("Hel"), TextDelta("lo"), ChoiceFinished("stop"), Usage(3, 5), END[1]]) == [
        {"candidates": [{**content("Hel"), "index": 0}], **beside},
        {"candidates": [{**content("lo"), "index": 0}], **beside},
        {"candidates": [{**content(""), "finishReason": "STOP", "index": 0}], "usageMetadata": usage, **beside},
    ]


def test_thoughts_text_and_calls() -> None:
    frames = encoded(
        [
            START,
            ReasoningDelta("Hm, 4."),
            TextDelta("Let me see."),
            ToolCallDelta(0, "call_1", "weather"),
            ToolCallDelta(0, arguments='{"city"'),
            ToolCallDelta(0, arguments=':"Oslo"}'),
            ToolCallDelta(1, "call_2", "time", "{}"),
            ChoiceFinished("tool_calls"),
            StreamFinished("tool_calls"),
        ]
    )
    assert parts_of(frames) == [
        {"text": "Hm, 4.", "thought": True},
        {"text": "Let me see."},
        {"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Oslo"}}},
        {"functionCall": {"id": "call_2", "name": "time", "args": {}}},
    ]
    assert reasons_of(frames) == {0: "STOP"}


def test_a_call_is_told_when_the_next_one_begins() -> None:
    begun = [START, ToolCallDelta(0, "a", "f", '{"x":'), ToolCallDelta(0, arguments="1}")]
    assert calls_of(encoded(begun)) == []
    assert calls_of(encoded([*begun, ToolCallDelta(1, "b", "g")])) == [{"id": "a", "name": "f", "args": {"x": 1}}]


def test_interleaved_calls_keep_their_order() -> None:
    events = [
        ToolCallDelta(0, "a", "f", '{"x"'),
        ToolCallDelta(1, "b", "g", "{}"),
        ToolCallDelta(0, arguments=":1}"),
        ToolCallDelta(2, "c", "h"),
        *END,
    ]
    assert [(call["id"], call["args"]) for call in calls_of(encoded(events))] == [("a", {"x": 1}), ("b", {}), ("c", {})]


@pytest.mark.parametrize(
    ("arguments", "args"),
    [
        ("", {}),
        ('{"a":1}', {"a": 1}),
        ('{\n "a":\r\n 1}', {"a": 1}),
        ('{"a"', {"invalid_json": '{"a"'}),
        ("[1]", {"invalid_json": "[1]"}),
        ('{"a":12345678901234567890123}', {"a": 12345678901234567890123}),
    ],
)
def test_arguments(arguments: str, args: Any) -> None:
    (call,) = calls_of(encoded([ToolCallDelta(0, "a", "f", arguments), *END]))
    assert call["args"] == args


def test_a_call_without_an_id_gets_one_and_more_of_an_unknown_one_is_dropped() -> None:
    calls = calls_of(encoded([ToolCallDelta(3, name="f", arguments="{}"), ToolCallDelta(5, arguments="{}"), *END]))
    assert calls == [{"id": "call_s1_0_3", "name": "f", "args": {}}]


def test_a_call_without_an_end_is_told_all_the_same() -> None:
    assert len(calls_of(encoded([ToolCallDelta(0, "a", "f", "{}"), StreamFinished("tool_calls")]))) == 1


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [
        ("stop", "STOP"),
        ("length", "MAX_TOKENS"),
        ("tool_calls", "STOP"),
        ("function_call", "STOP"),
        ("content_filter", "SAFETY"),
        ("something_new", "STOP"),
    ],
)
def test_reasons(reason: str, finish_reason: str) -> None:
    frames = encoded([START, TextDelta("a"), ChoiceFinished(reason), StreamFinished(reason)])
    assert reasons_of(frames) == {0: finish_reason}


def test_a_refusal_is_text_and_a_reason() -> None:
    frames = encoded([START, RefusalDelta("I can't."), *END])
    assert (parts_of(frames), reasons_of(frames)) == ([{"text": "I can't."}], {0: "SAFETY"})


def test_several_choices() -> None:
    ends = [ChoiceFinished("length", 1), ChoiceFinished("stop"), StreamFinished("stop")]
    frames = encoded([StreamStarted("m", 1, 2), TextDelta("a"), TextDelta("b", 1), *ends])
    assert [parts_of(frames, index) for index in range(2)] == [[{"text": "a"}], [{"text": "b"}]]
    assert reasons_of(frames) == {0: "STOP", 1: "MAX_TOKENS"}
    assert len(frames) == 3


def test_usage_is_in_its_own_fields() -> None:
    details = {"input": {"cached_tokens": 70}, "output": {"reasoning_tokens": 4}}
    frames = encoded([START, Usage(1, 1, running=True), TextDelta("a"), Usage(100, 9, details), *END])
    assert frames[-1]["usageMetadata"] == {
        "promptTokenCount": 100,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 4,
        "cachedContentTokenCount": 70,
        "totalTokenCount": 109,
    }
    assert "usageMetadata" not in frames[0]


@pytest.mark.parametrize(
    "details", [{"output": 5}, {"output": {"reasoning_tokens": "x"}}, {"output": {"reasoning_tokens": 99}}]
)
def test_details_that_make_no_sense(details: dict[str, Any]) -> None:
    assert encoded([Usage(7, 5, details), *END])[-1]["usageMetadata"]["candidatesTokenCount"] in (0, 5)


@pytest.mark.parametrize("event", [START, Notice("a", "b"), Opaque(), Usage(1, 1), TextDelta(""), TextDelta("a", -1)])
def test_what_makes_no_frame(event: Event) -> None:
    assert encoded([event]) == []


def test_an_answer_without_a_word() -> None:
    assert reasons_of(encoded([START, *END])) == {0: "STOP"}


@pytest.mark.parametrize(
    "calls",
    [
        [ToolCallDelta(index, f"c{index}", "f") for index in range(MAX_CALLS + 1)],
        [ToolCallDelta(0, "c", "f"), *[ToolCallDelta(0, arguments="x" * (MAX_ARGUMENTS // 4))] * 5],
    ],
    ids=["calls", "arguments"],
)
def test_what_is_too_much_to_keep_is_an_error_and_the_end(calls: list[Event]) -> None:
    frames = encoded([START, *calls, TextDelta("late"), *END])
    assert frames[-1]["error"]["message"].startswith("The answer")
    assert reasons_of(frames) == {}


def test_failures_and_cancellations() -> None:
    failed = StreamFailed("upstream_timeout", "Silent.", 504, "timeout_error")
    assert encoded([START, TextDelta("a"), failed])[-1] == {
        "error": {"code": 504, "message": "Silent.", "status": "DEADLINE_EXCEEDED"}
    }
    (cancelled,) = encoded([StreamCancelled("lease")])
    assert (cancelled["error"]["code"], cancelled["error"]["status"]) == (499, "CANCELLED")
    assert encoded([failed, TextDelta("late"), *END])[1:] == []


# There and back

choices = st.integers(0, 1)
objects = st.sampled_from(["{}", '{"a":1}', '{"b":[true,null],"c":"ü"}'])
named = st.builds(ToolCallDelta, st.integers(0, 3), st.sampled_from(["c1", "c2"]), st.just("f"), objects, choices)
deltas = st.one_of(st.builds(TextDelta, texts, choices), st.builds(ReasoningDelta, texts, choices), named)
details = st.none() | st.just({"input": {"cached_tokens": 2}, "output": {"reasoning_tokens": 1}})
usages = st.builds(Usage, st.integers(3, 2**50), st.integers(1, 2**50), details)
reasons = st.sampled_from(["stop", "length", "content_filter"])


def words(events: Iterable[Event]) -> tuple[dict[Any, str], dict[Any, Any], list[Event]]:
    """Texts joined, the arguments of each call, and the other events."""
    joined: dict[Any, str] = {}
    called: dict[Any, Any] = {}
    rest: list[Event] = []
    for event in events:
        if isinstance(event, TextDelta | ReasoningDelta):
            key = type(event), event.choice
            joined[key] = joined.get(key, "") + event.text
        elif isinstance(event, ToolCallDelta):
            called[event.choice, event.id, event.name] = json.loads(event.arguments)
        elif not isinstance(event, Opaque):
            rest.append(event)
    return {key: text for key, text in joined.items() if text}, called, rest


def distinct(events: Iterable[Event]) -> list[Any]:
    """Without what would be more of a call that is whole, or another call under its id."""
    seen: set[Any] = set()
    kept = []
    for event in events:
        keys = {(event.choice, event.index), (event.choice, event.id)} if isinstance(event, ToolCallDelta) else set()
        if not keys & seen:
            kept.append(event)
        seen |= keys
    return kept


@given(st.lists(deltas, max_size=12).map(distinct), usages, reasons)
def test_a_whole_stream_there_and_back(events: list[Any], usage: Usage, reason: str) -> None:
    """Calls keep their ids and arguments; they are numbered in the order in which they were told."""
    seen = sorted({event.choice for event in events}) or [0]
    sent = [*events, *(ChoiceFinished(reason, choice) for choice in seen), usage, StreamFinished(reason)]
    encoder, decoder = GeminiEncoder(SOURCE), GeminiDecoder()
    body = b"".join(b"data: %b\n\n" % frame.payload for event in sent for frame in encoder.encode(event))
    back = [event for event, _ in [*decoder.feed(body), *decoder.close()]]
    texts_back, calls_back, rest = words(back)
    texts_sent, calls_sent, _ = words(sent)
    assert texts_back == texts_sent
    assert calls_back == calls_sent
    assert rest[-2] == usage
    ended = {event.choice: event.reason for event in rest if isinstance(event, ChoiceFinished)}
    with_calls = {choice for choice, _, _ in calls_sent} if reason == "stop" else set()
    assert ended == {choice: "tool_calls" if choice in with_calls else reason for choice in seen}


@given(st.lists(native_events(), max_size=12))
def test_any_events_make_frames(events: list[Event]) -> None:
    encoded(events)
