"""Whole responses, both ways."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects import Source
from stream_protocols.dialects.gemini.reply import decode_reply, encode_reply, inspect_reply
from stream_protocols.events import (
    TERMINAL,
    ChoiceFinished,
    Event,
    ReasoningDelta,
    RefusalDelta,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from tests.protocols.dialects.gemini.frames import call, end, events, frame, text
from tests.protocols.dialects.strategies import native_events

SOURCE = Source("s1", "m", 7)


def decoded(reply: Any) -> list[Event]:
    return events(decode_reply(json.dumps(reply).encode()))


def encoded(*told: Event) -> Any:
    return json.loads(encode_reply(SOURCE, told))


WHOLE = frame(
    {"text": "Hm.", "thought": True},
    {"text": "Hello"},
    call("f", {"a": 1}, "c1"),
    reason="STOP",
    usageMetadata={"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12},
)


def test_decodes() -> None:
    assert decoded(WHOLE) == [
        ReasoningDelta("Hm."),
        TextDelta("Hello"),
        ToolCallDelta(0, "c1", "f", '{"a": 1}'),
        ChoiceFinished("tool_calls"),
        Usage(7, 5),
        StreamFinished("tool_calls"),
    ]


def test_a_reply_without_a_reason_is_whole() -> None:
    assert decoded(text("a"))[-1] == StreamFinished("stop")


def test_a_blocked_prompt() -> None:
    assert decoded({"promptFeedback": {"blockReason": "SAFETY"}})[-1] == StreamFinished("content_filter")


@pytest.mark.parametrize("reply", [{}, {"candidates": []}, {"candidates": 5}, [], None, "x"])
def test_what_is_no_answer(reply: Any) -> None:
    (failed,) = decoded(reply)
    assert isinstance(failed, StreamFailed)
    assert failed.code == "upstream_invalid"


def test_failures() -> None:
    (failed,) = decoded({"error": {"code": 429, "message": "Slow.", "status": "RESOURCE_EXHAUSTED"}})
    assert isinstance(failed, StreamFailed)
    assert failed.status == 429
    broken = decoded(end("MALFORMED_FUNCTION_CALL"))
    assert isinstance(broken[-1], StreamFailed)
    assert [isinstance(event, TERMINAL) for event in broken].count(True) == 1


def test_what_is_handed_on_is_looked_at() -> None:
    """An answer that came to nothing is one all the same for clients of this dialect."""

    def inspected(reply: Any) -> Any:
        return inspect_reply(json.dumps(reply).encode())

    assert inspected(WHOLE) == Usage(7, 5)
    assert inspected(text("a")) is None
    assert inspected(end("MALFORMED_FUNCTION_CALL")) == Usage(7, 5)
    assert inspected({"promptFeedback": {"blockReason": "SAFETY"}}) is None
    for broken in ({}, [], {"error": {"code": 503, "message": "m"}}, {"candidates": 5}):
        assert isinstance(inspected(broken), StreamFailed)


def test_encodes() -> None:
    reply = encoded(
        StreamStarted("m", 7),
        ReasoningDelta("H"),
        ReasoningDelta("m."),
        TextDelta("Hel"),
        ToolCallDelta(0, "c1", "f", '{"a"'),
        TextDelta("lo"),
        ToolCallDelta(0, arguments=":1}"),
        ToolCallDelta(1, name="g"),
        ChoiceFinished("length"),
        Usage(7, 5),
        StreamFinished("length"),
    )
    assert reply == {
        "candidates": [
            {
                "content": {
                    "parts": [
                        {"text": "Hm.", "thought": True},
                        {"text": "Hel"},
                        {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}},
                        {"text": "lo"},
                        {"functionCall": {"id": "call_s1_0_1", "name": "g", "args": {}}},
                    ],
                    "role": "model",
                },
                "finishReason": "MAX_TOKENS",
                "index": 0,
            }
        ],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12},
        "modelVersion": "m",
        "responseId": "s1",
    }


def test_a_refusal_and_several_choices() -> None:
    reply = encoded(TextDelta("b", 1), RefusalDelta("No."), ChoiceFinished("stop", 1), ChoiceFinished("stop"))
    assert [one["finishReason"] for one in reply["candidates"]] == ["SAFETY", "STOP"]
    assert [one["content"]["parts"] for one in reply["candidates"]] == [[{"text": "No."}], [{"text": "b"}]]


def test_there_and_back() -> None:
    told = decoded(WHOLE)
    again = decoded(encoded(*told))
    assert [event for event in again if not isinstance(event, ToolCallDelta)] == [
        event for event in told if not isinstance(event, ToolCallDelta)
    ]


@given(st.lists(native_events(), max_size=8))
def test_any_events_make_a_reply(told: list[Event]) -> None:
    encoded(*told)


@given(st.binary(max_size=64))
def test_any_bytes_make_records(body: bytes) -> None:
    assert isinstance(decode_reply(body)[-1][0], TERMINAL)
