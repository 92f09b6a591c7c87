"""Events as the frames of a response."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects.base import Source
from stream_protocols.dialects.openai_responses import NAME, OpenAIResponsesEncoder
from stream_protocols.dialects.openai_responses.encoder import MAX_KEPT
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    Notice,
    Opaque,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from stream_protocols.render import SequenceRenderer
from stream_protocols.sse import SseDecoder
from tests.protocols.dialects.openai_responses.frames import SOURCE, Json, answers, encoded, said
from tests.protocols.dialects.strategies import native_events

STARTED = StreamStarted("m", 7)
END: list[Event] = [ChoiceFinished("stop"), StreamFinished("stop")]


def kinds(*given: Event) -> list[str]:
    """The types of the frames, without what is before every answer."""
    named = [frame["type"].removeprefix("response.") for frame in said(encoded([STARTED, *given]))]
    assert named[:2] == ["created", "in_progress"]
    return named[2:]


def last(*given: Event) -> Json:
    """The response at the end."""
    whole: Json = said(encoded([STARTED, *given]))[-1]["response"]
    return whole


def test_a_text() -> None:
    assert kinds(TextDelta("Hel"), TextDelta("lo"), *END) == [
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]


def test_what_a_text_is_told_with() -> None:
    frames = said(encoded([STARTED, TextDelta("Hel"), TextDelta("lo"), *END]))
    place = {"item_id": "msg_S_0", "output_index": 0, "content_index": 0}
    message = {"id": "msg_S_0", "type": "message", "role": "assistant"}
    part = {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    expected = [
        {"output_index": 0, "item": {**message, "status": "in_progress", "content": []}},
        {**place, "part": {**part, "text": ""}},
        {**place, "delta": "Hel", "logprobs": []},
        {**place, "delta": "lo", "logprobs": []},
        {**place, "text": "Hello", "logprobs": []},
        {**place, "part": part},
        {"output_index": 0, "item": {**message, "status": "completed", "content": [part]}},
    ]
    without = [{k: v for k, v in f.items() if k not in ("type", "sequence_number")} for f in frames]
    assert without[2:-1] == expected


def test_the_response_around_it() -> None:
    response = last(TextDelta("Hi"), Usage(7, 5, {"input": {"cached_tokens": 3}}), *END)
    assert (response["id"], response["object"], response["created_at"], response["model"]) == (
        "resp_S",
        "response",
        7,
        "m",
    )
    assert (response["status"], response["error"], response["incomplete_details"]) == ("completed", None, None)
    assert response["output"][0]["content"][0]["text"] == "Hi"
    assert response["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }
    assert last(*END)["usage"] is None


def test_reasoning_and_refusal() -> None:
    assert kinds(ReasoningDelta("hm"), TextDelta("a"), RefusalDelta("No"), *END) == [
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done"),
        *("content_part.added", "refusal.delta", "refusal.done", "content_part.done", "output_item.done", "completed"),
    ]
    reasoning, message = last(ReasoningDelta("hm"), TextDelta("a"), RefusalDelta("No"), *END)["output"]
    assert reasoning["summary"] == [{"type": "summary_text", "text": "hm"}]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert message["content"][1]["refusal"] == "No"


def test_calls_side_by_side() -> None:
    given = [
        TextDelta("a"),
        ToolCallDelta(0, "c1", "f", "{"),
        ToolCallDelta(1, "c2", "g"),
        ToolCallDelta(0, arguments="}"),
        ToolCallDelta(1, arguments="[]"),
        ChoiceFinished("tool_calls"),
    ]
    delta, done = "function_call_arguments.delta", "function_call_arguments.done"
    assert kinds(*given)[6:] == [
        *("output_item.added", delta, "output_item.added", delta, delta),
        *(done, "output_item.done", done, "output_item.done"),
    ]
    calls = last(*given, StreamFinished("tool_calls"))["output"][1:]
    assert [(call["call_id"], call["name"], call["arguments"]) for call in calls] == [
        ("c1", "f", "{}"),
        ("c2", "g", "[]"),
    ]
    assert {call["status"] for call in calls} == {"completed"}


def test_a_call_without_an_id_gets_one() -> None:
    assert last(ToolCallDelta(0, name="f"), *END)["output"][0]["call_id"] == "call_S_0"


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_how_it_ends(reason: str, status: str, details: Any) -> None:
    given = [TextDelta("a"), ChoiceFinished(reason), StreamFinished(reason)]
    assert kinds(*given)[-1] == status
    response = last(*given)
    assert (response["status"], response["incomplete_details"]) == (status, details)


def test_failures_are_told_twice() -> None:
    given = [STARTED, TextDelta("a"), StreamFailed("model_gone", "Gone.", error_type="server_error")]
    error, failed = said(encoded(given))[-2:]
    assert (error["type"], failed["type"]) == ("error", "response.failed")
    assert (error["code"], error["message"], error["param"]) == ("model_gone", "Gone.", None)
    assert error["error"] == {"type": "server_error", "code": "model_gone", "message": "Gone.", "param": None}
    assert failed["response"]["error"] == {"code": "model_gone", "message": "Gone."}
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["output"][0]["status"] == "incomplete"


def test_cancelled() -> None:
    error, failed = said(encoded([STARTED, StreamCancelled("client")]))[-2:]
    assert error["code"] == "stream_cancelled"
    assert failed["response"]["status"] == "cancelled"


def test_nothing_after_the_end() -> None:
    frames = encoded([STARTED, *END])
    assert encoded([STARTED, *END, TextDelta("late"), StreamFailed("c", "m")]) == frames


def test_other_choices_and_what_has_no_words() -> None:
    assert kinds(TextDelta("x", 1), ToolCallDelta(0, "c", "f", choice=2), ChoiceFinished("stop", 1)) == []
    assert kinds(Notice("n", "m"), Opaque()) == []


def test_what_the_request_set_is_repeated() -> None:
    source = Source("S", "m", 7, b'{"metadata":{"a":"b"},"temperature":0.5}')
    response = said(encoded([STARTED], source))[0]["response"]
    assert (response["metadata"], response["temperature"], response["tools"]) == ({"a": "b"}, 0.5, [])


def test_a_response_at_any_time() -> None:
    encoder = OpenAIResponsesEncoder(SOURCE)

    def now() -> Any:
        response = json.loads(encoder.response())
        return response["status"], [item["status"] for item in response["output"]]

    assert now() == ("queued", [])
    encoder.encode(STARTED)
    encoder.encode(TextDelta("a"))
    assert now() == ("in_progress", ["in_progress"])
    encoder.encode(ToolCallDelta(0, "c", "f"))
    assert now() == ("in_progress", ["completed", "in_progress"])
    encoder.encode(StreamCancelled("client"))
    assert now() == ("cancelled", ["completed", "incomplete"])


def test_an_answer_that_outgrows_its_bounds() -> None:
    encoder = OpenAIResponsesEncoder(SOURCE, max_kept=5000)
    frames = [frame for _ in range(200) for frame in encoder.encode(TextDelta("x" * 10))]
    *told, error, failed = said(frames)
    assert error["code"] == "response_too_long"
    assert failed["type"] == "response.failed"
    assert sum(frame["type"].endswith("text.delta") for frame in told) < 100
    assert MAX_KEPT > 100_000 * (64 + 8)  # the longest answer of the demo fits


@given(st.lists(native_events(), max_size=12))
def test_any_events_at_all(given_events: list[Event]) -> None:
    frames = encoded(given_events)
    assert [frame["sequence_number"] for frame in said(frames)] == list(range(len(frames)))
    for name, payload in frames:
        assert json.loads(payload)["type"].encode() == name
        assert b"\n" not in payload
    ends = [frame["type"] for frame in said(frames)].count
    assert ends("response.completed") + ends("response.incomplete") + ends("response.failed") <= 1


@given(answers(), st.data())
def test_whoever_comes_at_any_record_is_told_the_same(answer: list[Event], data: st.DataObject) -> None:
    records: list[Record] = [(event, None) for event in answer]
    after = data.draw(st.integers(0, len(records)))
    whole = SequenceRenderer("s", "e", OpenAIResponsesEncoder(SOURCE), None)
    late = SequenceRenderer("s", "e", OpenAIResponsesEncoder(SOURCE), None)
    whole.render(1, records[:after])
    late.recall(records[:after], 0)
    assert late.render(after + 1, records[after:]) == whole.render(after + 1, records[after:])


@given(answers(), st.integers(-1, 60))
def test_exactly_the_frames_after_a_number(answer: list[Event], number: int) -> None:
    records: list[Record] = [(event, None) for event in answer]
    whole = SequenceRenderer("s", "e", OpenAIResponsesEncoder(SOURCE), NAME).render(1, records)
    late = SequenceRenderer("s", "e", OpenAIResponsesEncoder(SOURCE), NAME, skip=number + 1).render(1, records)
    assert _payloads(late) == _payloads(whole)[number + 1 :]


def _payloads(data: bytes) -> list[bytes]:
    return [event.data for event in SseDecoder().feed(data)]
