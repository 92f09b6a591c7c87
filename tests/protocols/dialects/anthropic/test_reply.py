"""Answers that are not streamed, both ways."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects import Source
from stream_protocols.dialects.anthropic.reply import decode_reply, encode_reply
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    Notice,
    Opaque,
    ReasoningDelta,
    RefusalDelta,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from tests.protocols.dialects.anthropic.test_encoder import deltas, reasons, usages, words

SOURCE = Source("s1", "demo", 7)
DEEP = b"[" * 200_000


def reply(*content: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"type": "message", "role": "assistant", "content": list(content), **fields}).encode()


def decoded(body: bytes) -> list[Event]:
    records = decode_reply(body)
    assert all(raw is None for _, raw in records)
    return [event for event, _ in records]


def test_a_message_as_the_events_of_a_stream() -> None:
    body = reply(
        {"type": "thinking", "thinking": "hm", "signature": "Eq=="},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "b", "citations": None},
        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "tool_use", "id": "c", "name": "g", "input": {"x": 1}},
        stop_reason="tool_use",
        usage={"input_tokens": 1, "output_tokens": 2},
    )
    assert decoded(body) == [
        ReasoningDelta("hm"),
        TextDelta("b"),
        ToolCallDelta(0, "a", "f", "{}"),
        ToolCallDelta(1, "c", "g", '{"x": 1}'),
        ChoiceFinished("tool_calls"),
        Usage(1, 2),
        StreamFinished("tool_calls"),
    ]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "not a message"),
        (b"<html>", "not a message"),
        (b"[]", "not a message"),
        (b'{"content":"text"}', "not a message"),
        (b'{"content":[{"type":"text","text":"\xff"}]}', "not a message"),
        (DEEP, "not a message"),
        (b'{"x":' + DEEP, "not a message"),
        (b"{}", "no content"),
        (b'{"content":null,"error":null}', "no content"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_no_reply_is_a_failure(body: bytes, what: str) -> None:
    (failure,) = decoded(body)
    assert isinstance(failure, StreamFailed)
    assert failure.code == "upstream_invalid"
    assert what in failure.message


def test_an_error_with_a_good_status_is_a_failure() -> None:
    error = {"type": "overloaded_error", "message": "no"}
    (failure,) = decoded(json.dumps({"type": "error", "error": error}).encode())
    assert failure == StreamFailed("overloaded_error", "no", 529, "overloaded_error", error=error)


# From events


def test_events_as_a_message() -> None:
    events = [
        StreamStarted("ignored", 1),
        ReasoningDelta("h"),
        ReasoningDelta("m"),
        TextDelta("a"),
        TextDelta(""),
        TextDelta("x", 1),
        Notice("a", "b"),
        Opaque(),
        TextDelta("b"),
        ToolCallDelta(1, "d", "g", '{"y":'),
        ToolCallDelta(0, "c", "f"),
        ToolCallDelta(1, arguments="2}"),
        ChoiceFinished("tool_calls"),
        ChoiceFinished("length", 1),
        Usage(1, 1, running=True),
        Usage(9, 2, {"input": {"cached_tokens": 4}}),
        StreamFinished("tool_calls"),
    ]
    assert json.loads(encode_reply(SOURCE, events)) == {
        "id": "msg_s1",
        "type": "message",
        "role": "assistant",
        "model": "demo",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "ab"},
            {"type": "tool_use", "id": "d", "name": "g", "input": {"y": 2}},
            {"type": "tool_use", "id": "c", "name": "f", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 5,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 4,
            "output_tokens": 2,
        },
    }


def test_a_refusal() -> None:
    message = json.loads(encode_reply(SOURCE, [RefusalDelta("no"), ChoiceFinished("stop"), StreamFinished("stop")]))
    assert (message["content"], message["stop_reason"]) == ([{"type": "text", "text": "no"}], "refusal")


@pytest.mark.parametrize("arguments", ["{", "[1]", "5", '{"a":1'])
def test_arguments_that_are_no_object_are_shown_all_the_same(arguments: str) -> None:
    message = json.loads(encode_reply(SOURCE, [ToolCallDelta(0, "c", "f", arguments)]))
    assert message["content"][0]["input"] == {"invalid_json": arguments}


@given(st.lists(deltas.filter(lambda event: getattr(event, "id", "x") != ""), max_size=8), usages, reasons)
def test_there_and_back_the_same_words(events: list[Event], usage: Usage, reason: str) -> None:
    whole = [event for event in events if not isinstance(event, ToolCallDelta)]
    whole += [ToolCallDelta(0, "c", "f", '{"a":[1,"é"]}'), ToolCallDelta(1, "d", "g", "{}")]
    sent = [*whole, ChoiceFinished(reason), usage, StreamFinished(reason)]
    assert words(decoded(encode_reply(SOURCE, sent))) == words(sent)
