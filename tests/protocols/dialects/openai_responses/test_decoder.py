"""What a Responses provider's frames mean."""

import json
from typing import Any

import pytest

from stream_protocols.dialects.openai_responses import OpenAIResponsesDecoder
from stream_protocols.dialects.openai_responses.decoder import MAX_PARTS
from stream_protocols.events import (
    COVERED,
    ChoiceFinished,
    Notice,
    Opaque,
    ReasoningDelta,
    RefusalDelta,
    StreamFailed,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from tests.protocols.dialects.openai_responses.frames import (
    Json,
    call,
    completed,
    decode,
    delta,
    events,
    frame,
    meaning,
    payloads,
    response,
    sse,
)

CREATED = frame("created", response=response())
USAGE = {
    "input_tokens": 7,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 12,
}


def said(*frames: Json) -> list[Any]:
    return [event for event in events(decode(sse(*frames))) if event != Opaque()]


def test_a_text() -> None:
    frames = [CREATED, frame("in_progress", response=response()), delta("Hel"), delta("lo"), completed(usage=USAGE)]
    details = {"input": {"cached_tokens": 3}, "output": {"reasoning_tokens": 2}}
    raw = payloads(*frames)
    assert decode(sse(*frames)) == [
        (Opaque(), raw[0]),
        (Opaque(), raw[1]),
        (TextDelta("Hel"), raw[2]),
        (TextDelta("lo"), raw[3]),
        (ChoiceFinished("stop"), COVERED),
        (Usage(7, 5, details), COVERED),
        (StreamFinished("stop"), raw[4]),
    ]


def test_the_providers_own_id() -> None:
    decoder = OpenAIResponsesDecoder()
    assert decoder.answer_id is None
    decoder.feed(sse(CREATED))
    assert decoder.answer_id == "resp_up"


@pytest.mark.parametrize("id", ["", "x" * 257, 5, None])
def test_an_id_that_is_none(id: Any) -> None:
    decoder = OpenAIResponsesDecoder()
    decoder.feed(sse(frame("created", response=response(id=id))))
    assert decoder.answer_id is None


def test_reasoning_and_refusal() -> None:
    place = {"item_id": "rs_1", "output_index": 0}
    assert said(
        frame("reasoning_summary_part.added", **place, summary_index=0, part={"type": "summary_text", "text": ""}),
        frame("reasoning_summary_text.delta", **place, summary_index=0, delta="first"),
        frame("reasoning_summary_text.done", **place, summary_index=0, text="first"),
        frame("reasoning_summary_part.added", **place, summary_index=1, part={"type": "summary_text", "text": ""}),
        frame("reasoning_summary_text.delta", **place, summary_index=1, delta="second"),
        frame("reasoning_text.delta", item_id="rs_2", output_index=1, content_index=0, delta="raw"),
        frame("refusal.delta", item_id="msg_1", output_index=2, content_index=0, delta="No."),
        frame("refusal.done", item_id="msg_1", output_index=2, content_index=0, refusal="No."),
        completed(),
    )[:-2] == [
        ReasoningDelta("first"),
        ReasoningDelta("\n\n"),
        ReasoningDelta("second"),
        ReasoningDelta("raw"),
        RefusalDelta("No."),
    ]


def test_calls_in_fragments_side_by_side() -> None:
    def arguments(index: int, part: str) -> Json:
        return frame("function_call_arguments.delta", item_id=f"fc_{index}", output_index=index, delta=part)

    assert said(
        frame("output_item.added", output_index=1, item=call()),
        frame("output_item.added", output_index=2, item=call(id="fc_2", call_id="c2", name="g")),
        arguments(2, "{"),
        arguments(1, "[1"),
        arguments(2, "}"),
        arguments(1, "]"),
        frame("function_call_arguments.done", item_id="fc_1", output_index=1, arguments="[1]"),
        frame("output_item.done", output_index=1, item=call(arguments="[1]")),
        completed(),
    ) == [
        ToolCallDelta(0, "c1", "f"),
        ToolCallDelta(1, "c2", "g"),
        ToolCallDelta(1, arguments="{"),
        ToolCallDelta(0, arguments="[1"),
        ToolCallDelta(1, arguments="}"),
        ToolCallDelta(0, arguments="]"),
        ChoiceFinished("tool_calls"),
        StreamFinished("tool_calls"),
    ]


@pytest.mark.parametrize(
    "frames",
    [
        [frame("output_item.done", output_index=0, item=call(arguments="{}"))],
        [frame("output_item.added", output_index=0, item=call(arguments="{}"))],
        [
            frame("output_item.added", output_index=0, item=call()),
            frame("function_call_arguments.done", item_id="fc_1", output_index=0, arguments="{}"),
        ],
        [
            frame("output_item.added", output_index=0, item=call()),
            frame("output_item.done", output_index=0, item=call(arguments="{}")),
        ],
    ],
    ids=["whole at its end", "whole at its beginning", "arguments at once", "arguments with the item"],
)
def test_a_call_that_is_told_otherwise(frames: list[Json]) -> None:
    expected = [ToolCallDelta(0, "c1", "f", "{}"), ChoiceFinished("tool_calls"), StreamFinished("tool_calls")]
    assert meaning(said(*frames, completed())) == meaning(expected)


def test_texts_that_come_whole_only() -> None:
    place = {"item_id": "i", "output_index": 0}
    assert said(
        frame("reasoning_summary_text.done", **place, summary_index=0, text="hm"),
        frame("output_text.done", item_id="j", output_index=1, content_index=0, text="Hi"),
        frame("refusal.done", item_id="j", output_index=1, content_index=1, refusal="No"),
        completed(),
    )[:3] == [ReasoningDelta("hm"), TextDelta("Hi"), RefusalDelta("No")]


def test_an_answer_that_is_told_at_its_end_only() -> None:
    output = [
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "Hi"}, {"type": "refusal", "refusal": "No"}]},
        call(arguments="{}"),
        {"type": "web_search_call", "id": "ws"},
    ]
    frames = [completed(output=output)]
    assert decode(sse(*frames)) == [
        (ReasoningDelta("hm"), COVERED),
        (TextDelta("Hi"), COVERED),
        (RefusalDelta("No"), COVERED),
        (ToolCallDelta(0, "c1", "f", "{}"), COVERED),
        (ChoiceFinished("tool_calls"), COVERED),
        (StreamFinished("tool_calls"), payloads(*frames)[0]),
    ]


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "max_output_tokens"}, "length"),
        ({"reason": "content_filter"}, "content_filter"),
        ({"reason": "steered"}, "length"),
        ({"reason": ["x"]}, "length"),
        (None, "length"),
    ],
)
def test_incomplete(details: Any, reason: str) -> None:
    end = frame("incomplete", response=response("incomplete", incomplete_details=details))
    assert said(delta("a"), end)[-2:] == [ChoiceFinished(reason), StreamFinished(reason)]


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [
        (
            frame("failed", response=response("failed", error={"code": "server_error", "message": "M"})),
            "server_error",
            502,
        ),
        (
            frame("failed", response=response("failed", error={"code": "rate_limit_exceeded", "message": "M"})),
            "rate_limit_exceeded",
            429,
        ),
        ({"type": "error", "code": "c", "message": "M", "param": None}, "c", 502),
        ({"type": "error", "error": {"type": "t", "code": "c", "message": "M"}}, "c", 502),
        ({"type": "", "error": {"code": "c", "message": "M"}}, "c", 502),
    ],
    ids=["failed", "rate limit", "flat", "nested", "another server's"],
)
def test_failures(end: Json, code: str, status: int) -> None:
    *before, (last, raw) = decode(sse(delta("a"), end, delta("late")))
    assert len(before) == 1
    assert isinstance(last, StreamFailed)
    assert (last.code, last.message, last.status) == (code, "M", status)
    assert json.loads(raw or b"")["type"] == end["type"]


@pytest.mark.parametrize("error", [None, "gone", 5, {"code": 5, "message": None}])
def test_failures_without_words(error: Any) -> None:
    last = said(frame("failed", response=response("failed", error=error)))[-1]
    assert isinstance(last, StreamFailed)
    assert last.message


def test_frames_without_neutral_meaning_keep_their_bytes() -> None:
    frames = [frame("web_search_call.searching", item_id="ws", output_index=0), frame("brand_new", x=[1]), completed()]
    assert decode(sse(*frames))[:2] == [(Opaque(), raw) for raw in payloads(*frames)[:2]]


def test_a_frame_of_another_shape() -> None:
    strange = {**delta("a"), "delta": {"text": "a"}}
    (first, raw), *_ = decode(sse(strange, completed()))
    assert isinstance(first, Notice)
    assert raw == payloads(strange)[0]


@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n", b"data: {", sse(delta("b"))[:-30]])
def test_a_truncation_is_no_end(end: bytes) -> None:
    last, raw = decode(sse(CREATED, delta("a")), end)[-1]
    assert isinstance(last, StreamFailed)
    assert last.code in ("upstream_truncated", "upstream_invalid")
    assert raw is None


def test_what_follows_the_end_is_ignored() -> None:
    assert decode(sse(completed()) + b"data: [DONE]\n\n") == decode(sse(completed()))


def test_a_provider_cannot_make_ever_more_parts() -> None:
    decoder = OpenAIResponsesDecoder()
    records = [decoder.feed(sse({**delta("a"), "output_index": n})) for n in range(MAX_PARTS + 1)]
    assert all(len(made) == 1 for made in records)
    last = records[-1][0][0]
    assert isinstance(last, StreamFailed)
    assert str(MAX_PARTS) in last.message
