"""Answers that are not streamed, both ways, and what the bodies of error replies say."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects import Source
from stream_protocols.dialects.openai_chat import decode_error, decode_reply, encode_reply
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
from tests.protocols.dialects.strategies import texts

SOURCE = Source("s1", "demo", 7)
DEEP = b"[" * 200_000


def reply(*choices: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"id": "x", "object": "chat.completion", "choices": list(choices), **fields}).encode()


def message(content: str | None, index: int = 0, reason: str | None = "stop", **fields: Any) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", "content": content, **fields}, "finish_reason": reason}


def decoded(body: bytes) -> list[Event]:
    records = decode_reply(body)
    assert all(raw is None for _, raw in records)
    return [event for event, _ in records]


def test_a_reply_as_the_events_of_a_stream() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = reply(
        message("b", 1, "length"),
        message(None, 0, "tool_calls", tool_calls=[call, call], refusal=None, reasoning="hm"),
        usage={"prompt_tokens": 1, "completion_tokens": 2},
        system_fingerprint="fp",
    )
    assert decoded(body) == [
        TextDelta("b", 1),
        ChoiceFinished("length", 1),
        ReasoningDelta("hm"),
        ToolCallDelta(0, "c", "f", "{}"),
        ToolCallDelta(1, "c", "f", "{}"),
        ChoiceFinished("tool_calls"),
        Usage(1, 2),
        StreamFinished("tool_calls"),
    ]


def test_a_refusal_and_a_missing_reason() -> None:
    assert decoded(reply(message(None, refusal="no", reason=None))) == [
        RefusalDelta("no"),
        ChoiceFinished("stop"),
        StreamFinished("stop"),
    ]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "not a chat completion"),
        (b"<html>", "not a chat completion"),
        (b"[]", "not a chat completion"),
        (b'{"choices":[{"message":"text"}]}', "not a chat completion"),
        (b'{"choices":[{"message":{"content":"\xff"}}]}', "not a chat completion"),
        (DEEP, "not a chat completion"),
        (b'{"x":' + DEEP, "not a chat completion"),
        (b"{}", "no choices"),
        (b'{"choices":[]}', "no choices"),
        (b'{"choices":null,"error":null}', "no choices"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_no_reply_is_a_failure(body: bytes, what: str) -> None:
    (failure,) = decoded(body)
    assert isinstance(failure, StreamFailed)
    assert failure.code == "upstream_invalid"
    assert what in failure.message


@pytest.mark.parametrize("beside", ["", ',"choices":[]', ',"choices":[{"message":{"content":"x"}}]'])
def test_an_error_with_a_good_status_is_a_failure(beside: str) -> None:
    (failure,) = decoded(f'{{"error":{{"message":"no","code":"c"}}{beside}}}'.encode())
    assert failure == StreamFailed("c", "no", error={"message": "no", "code": "c"})


# From events


def test_events_as_a_reply() -> None:
    events = [
        StreamStarted("ignored", 1),
        ReasoningDelta("h"),
        TextDelta("a"),
        TextDelta("x", 1),
        ReasoningDelta("m"),
        TextDelta("b"),
        RefusalDelta("no", 1),
        Notice("a", "b"),
        Opaque(),
        ToolCallDelta(1, "d", "g", "[", choice=1),
        ToolCallDelta(0, "c", "f", choice=1),
        ToolCallDelta(1, arguments="]", choice=1),
        ChoiceFinished("length"),
        ChoiceFinished("tool_calls", 1),
        Usage(1, 1),
        Usage(1, 2, {"output": {"reasoning_tokens": 1}}),
        StreamFinished("length"),
    ]
    assert json.loads(encode_reply(SOURCE, events)) == {
        "id": "chatcmpl-s1",
        "object": "chat.completion",
        "created": 7,
        "model": "demo",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "reasoning_content": "hm"},
                "finish_reason": "length",
            },
            {
                "index": 1,
                "message": {
                    "role": "assistant",
                    "content": "x",
                    "refusal": "no",
                    "tool_calls": [
                        {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}},
                        {"id": "d", "type": "function", "function": {"name": "g", "arguments": "[]"}},
                    ],
                },
                "finish_reason": "tool_calls",
            },
        ],
        "usage": {
            "prompt_tokens": 1,
            "completion_tokens": 2,
            "total_tokens": 3,
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }


def test_a_choice_without_a_word_has_no_content() -> None:
    (choice,) = json.loads(encode_reply(SOURCE, [ChoiceFinished("stop")]))["choices"]
    assert choice["message"] == {"role": "assistant", "content": None}


fragments = st.lists(
    st.tuples(st.sampled_from(["text", "reasoning", "refusal"]), st.integers(0, 2), texts.filter(bool))
)
KINDS = {"text": TextDelta, "reasoning": ReasoningDelta, "refusal": RefusalDelta}


@given(fragments)
def test_there_and_back_the_same_words(fragments: list[tuple[str, int, str]]) -> None:
    def words(events: list[Event]) -> dict[tuple[str, int], str]:
        result: dict[tuple[str, int], str] = {}
        for event in events:
            for kind, cls in KINDS.items():
                if isinstance(event, cls):
                    key = kind, event.choice
                    result[key] = result.get(key, "") + event.text
        return result

    events: list[Event] = [KINDS[kind](text, choice) for kind, choice, text in fragments]
    events += [ChoiceFinished("stop"), StreamFinished("stop")]
    assert words(decoded(encode_reply(SOURCE, events))) == words(events)


# Error replies


def test_an_error_reply_in_openais_shape() -> None:
    error = {"message": "Slow down.", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    failure = decode_error(json.dumps({"error": error}).encode(), 429, "7")
    assert failure == StreamFailed("rate_limit_exceeded", "Slow down.", 429, "rate_limit_error", "7", error)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad Gateway</html>", b"[]", b"null", b"{}", b'{"detail":"x"}', b"\xff", DEEP],
    ids=lambda b: b[:9],
)
def test_an_error_reply_of_any_other_shape(body: bytes) -> None:
    failure = decode_error(body, 503, "3")
    assert failure.status == 503
    assert failure.retry_after == "3"
    assert failure.code == "upstream_error"
    assert "503" in failure.message


@pytest.mark.parametrize("body", [b'{"error":{"message":"no"}}', b'{"error":"no"}', b"<html>", b"{}"])
@pytest.mark.parametrize("value", ["", "caf\xe9", "7\r\nX: y", "x" * 65])
def test_a_time_to_wait_that_cannot_be_handed_on(body: bytes, value: str) -> None:
    assert decode_error(body, 429, value).retry_after is None
    assert decode_error(body, 429, "Wed, 21 Oct 2026 07:28:00 GMT").retry_after == "Wed, 21 Oct 2026 07:28:00 GMT"


def test_an_error_reply_that_is_a_string() -> None:
    assert decode_error(b'{"error":"no such model"}', 404) == StreamFailed("upstream_error", "no such model", 404)
