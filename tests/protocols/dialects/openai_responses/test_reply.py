"""Whole responses, and errors outside of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects.base import Source
from stream_protocols.dialects.openai_responses import OpenAIResponses, decode_reply, encode_reply
from stream_protocols.events import (
    TERMINAL,
    ChoiceFinished,
    Event,
    ReasoningDelta,
    RefusalDelta,
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from tests.doubles.openai_script import RATE_LIMITED, Script, ToolCall
from tests.doubles.responses_events import reply
from tests.protocols.dialects.openai_responses.frames import SOURCE, answers, events, meaning, response

RESPONSES = OpenAIResponses()
CALL = ToolCall(id="c1", name="f", fragments=('{"a"', ":1}"))


def decoded(given: Any) -> list[Event]:
    return events(decode_reply(json.dumps(given).encode()))


def test_a_reply_with_everything() -> None:
    script = Script(reasoning=("a", "b"), deltas=("Hel", "lo"))
    details = {"input": {"cached_tokens": 3}, "output": {"reasoning_tokens": 2}}
    assert decoded(reply(script, {"model": "m"})) == [
        ReasoningDelta("ab"),
        TextDelta("Hello"),
        ChoiceFinished("stop"),
        Usage(7, 4, details),
        StreamFinished("stop"),
    ]


def test_calls_and_refusals() -> None:
    assert decoded(reply(Script(tool_calls=(CALL,)), {"model": "m"}))[0] == ToolCallDelta(0, "c1", "f", '{"a":1}')
    assert decoded(reply(Script(tool_calls=(CALL,)), {"model": "m"}))[-1] == StreamFinished("tool_calls")
    assert decoded(reply(Script(deltas=("No",), declines=True), {"model": "m"}))[0] == RefusalDelta("No")


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_incomplete(reason: str) -> None:
    assert decoded(reply(Script(reason=reason), {"model": "m"}))[-1] == StreamFinished(reason)


def test_several_summaries_of_reasoning() -> None:
    summary = [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]
    given = response("completed", output=[{"type": "reasoning", "summary": summary}])
    assert decoded(given)[0] == ReasoningDelta("a\n\nb")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (response("failed", error={"code": "rate_limit_exceeded", "message": "M"}), "rate_limit_exceeded"),
        (response("failed"), "upstream_error"),
        (response("in_progress"), "upstream_truncated"),
        ([], "upstream_invalid"),
        ({"output": "x"}, "upstream_invalid"),
        ({"output": [{"type": 5}]}, "upstream_invalid"),
    ],
)
def test_what_is_no_answer(given: Any, code: str) -> None:
    (last,) = decoded(given)
    assert isinstance(last, StreamFailed)
    assert last.code == code
    assert last.message


@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode))
def test_any_bytes_at_all(body: bytes) -> None:
    *_, (last, _) = decode_reply(body)
    assert isinstance(last, TERMINAL)


@given(answers())
def test_what_we_encode_we_decode(answer: list[Event]) -> None:
    assert meaning(events(decode_reply(encode_reply(SOURCE, answer)))) == meaning(answer)


def test_what_the_request_set_is_repeated() -> None:
    source = Source("S", "m", 7, b'{"metadata":{"a":"b"}}')
    whole = json.loads(encode_reply(source, [TextDelta("Hi"), ChoiceFinished("stop"), StreamFinished("stop")]))
    assert (whole["id"], whole["status"], whole["metadata"]) == ("resp_S", "completed", {"a": "b"})
    assert whole["output"][0]["content"][0]["text"] == "Hi"


def test_error_bodies_are_openais() -> None:
    body = json.dumps(RATE_LIMITED.body()).encode()
    failed = RESPONSES.decode_error(body, 429, "7")
    assert (failed.code, failed.status, failed.retry_after) == ("rate_limit_exceeded", 429, "7")
    assert json.loads(RESPONSES.encode_error(failed)) == RATE_LIMITED.body()
    ours = json.loads(RESPONSES.encode_error(StreamFailed("c", "m", error_type="t", param="input")))
    assert ours == {"error": {"message": "m", "type": "t", "param": "input", "code": "c"}}
    assert json.loads(RESPONSES.encode_error(StreamCancelled("client")))["error"]["code"] == "stream_cancelled"
