"""What Gemini's frames say."""

import json
from typing import Any

import pytest

from stream_protocols.dialects.gemini import GeminiDecoder
from stream_protocols.events import (
    COVERED,
    ChoiceFinished,
    Notice,
    Opaque,
    ReasoningDelta,
    StreamFailed,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from tests.protocols.dialects.gemini.frames import (
    USAGE,
    call,
    decode,
    end,
    events,
    frame,
    payload,
    raws,
    said,
    sse,
    text,
    thought,
)

FIRST = Usage(7, 5, running=True)
LAST = Usage(7, 5)


def test_a_plain_answer() -> None:
    frames = [text("Hel"), text("lo"), end()]
    records = decode(sse(*frames))
    assert events(records) == [
        TextDelta("Hel"),
        TextDelta("lo"),
        FIRST,
        ChoiceFinished("stop"),
        LAST,
        StreamFinished("stop"),
    ]
    assert raws(records) == [payload(frames[0]), payload(frames[1]), COVERED, payload(frames[2]), None, None]


def test_usage_is_told_at_the_beginning_and_at_the_end() -> None:
    counts = [{"promptTokenCount": 7, "candidatesTokenCount": n} for n in range(1, 5)]
    frames = [text(f"w{n}", usageMetadata=count) for n, count in enumerate(counts)]
    told = [event for event, _ in decode(sse(*frames, end(promptTokenCount=7, candidatesTokenCount=9)))]
    assert [event for event in told if isinstance(event, Usage)] == [Usage(7, 1, running=True), Usage(7, 9)]
    assert isinstance(told[-1], StreamFinished)


@pytest.mark.parametrize(
    ("fields", "usage"),
    [
        ({"promptTokenCount": 7}, Usage(7, 0)),
        ({"candidatesTokenCount": 2, "thoughtsTokenCount": 3}, Usage(0, 5, {"output": {"reasoning_tokens": 3}})),
        ({"promptTokenCount": 7, "cachedContentTokenCount": 4}, Usage(7, 0, {"input": {"cached_tokens": 4}})),
        (
            {"promptTokenCount": 7, "toolUsePromptTokenCount": 5},
            Usage(12, 0, {"input": {"cached_tokens": 0, "tool_use_tokens": 5}}),
        ),
        (
            {"promptTokenCount": "many", "candidatesTokenCount": -5, "thoughtsTokenCount": 1e300},
            Usage(0, 2**53, {"output": {"reasoning_tokens": 2**53}}),
        ),
    ],
)
def test_usage(fields: dict[str, Any], usage: Usage) -> None:
    assert decode(sse(text("a"), end(**fields)))[-2] == (usage, None)


def test_thoughts_text_and_calls() -> None:
    assert said(thought("Hm."), text("So:"), frame(call("f", {"a": [1]}), call("g", identity="c2"))) == [
        ReasoningDelta("Hm."),
        TextDelta("So:"),
        ToolCallDelta(0, "c1", "f", '{"a": [1]}'),
        ToolCallDelta(1, "c2", "g", "{}"),
    ]


def test_a_call_makes_the_reason() -> None:
    assert events(decode(sse(frame(call()), end())))[-3:] == [
        ChoiceFinished("tool_calls"),
        LAST,
        StreamFinished("tool_calls"),
    ]
    assert said(frame(call()), end("MAX_TOKENS"))[-1] == ChoiceFinished("length")


def test_calls_without_ids_get_stable_ones() -> None:
    frames = [
        frame(call("f", {"a": 1}, None), call("f", {"a": 1}, None), responseId="r1"),
        frame(call("f", {"a": 1}, None), responseId="r1"),
    ]
    ids = [event.id for event in said(*frames) if isinstance(event, ToolCallDelta)]
    assert ids == [event.id for event in said(*frames) if isinstance(event, ToolCallDelta)]
    assert len(set(ids)) == 3
    other = said({**frames[0], "responseId": "r2"})
    assert not {event.id for event in other if isinstance(event, ToolCallDelta)} & set(ids)
    assert all(identity.startswith("call_") and len(identity) < 64 for identity in ids)


@pytest.mark.parametrize("args", ["null", "[1]", '"x"', "5"])
def test_arguments_that_are_no_object(args: str) -> None:
    body = '{"candidates":[{"content":{"parts":[{"functionCall":{"id":"c","name":"f","args":ARGS}}]}}]}'
    assert said(body.replace("ARGS", args)) == [ToolCallDelta(0, "c", "f", "{}")]


@pytest.mark.parametrize(
    ("finish_reason", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("LANGUAGE", "content_filter"),
        ("FROM_THE_FUTURE", "stop"),
    ],
)
def test_reasons(finish_reason: str, reason: str) -> None:
    assert events(decode(sse(text("a"), end(finish_reason))))[-1] == StreamFinished(reason)


@pytest.mark.parametrize("reason", ["OTHER", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"])
def test_an_answer_that_came_to_nothing_is_a_failure_to_others(reason: str) -> None:
    """Clients of the same dialect are shown the frame as it is."""
    last = end(reason)
    last["candidates"][0]["finishMessage"] = "It was odd."
    *_, (usage, _), (failed, raw) = decode(sse(text("a"), last, text("late")))
    assert usage == FIRST
    assert isinstance(failed, StreamFailed)
    assert (failed.code, failed.status) == (reason.lower(), 502)
    assert failed.message == f"The model broke off with {reason}: It was odd."
    assert raw == payload(last)


def test_a_blocked_prompt() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": USAGE}
    assert events(decode(sse(blocked))) == [
        FIRST,
        ChoiceFinished("content_filter"),
        LAST,
        StreamFinished("content_filter"),
    ]
    harmless = {"promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED", "safetyRatings": []}}
    assert said(harmless) == []


def test_several_candidates_end_each_for_itself() -> None:
    both = {"candidates": [text("a")["candidates"][0], text("b", 1)["candidates"][0]]}
    records = decode(sse(both, end("MAX_TOKENS", 1), text("c"), end("STOP", 0)))
    assert [event for event in events(records) if not isinstance(event, Usage)] == [
        TextDelta("a"),
        TextDelta("b", 1),
        ChoiceFinished("length", 1),
        TextDelta("c"),
        ChoiceFinished("stop"),
        StreamFinished("stop"),
    ]
    truncated = events(decode(sse(both, end("STOP", 1))))[-1]
    assert isinstance(truncated, StreamFailed)
    assert truncated.code == "upstream_truncated"


def test_a_reason_counts_once() -> None:
    records = decode(sse(text("a"), end(), end("MAX_TOKENS")))
    assert [event for event in events(records) if isinstance(event, ChoiceFinished)] == [ChoiceFinished("stop")]


def test_what_says_nothing() -> None:
    for nothing in (
        {},
        {"modelVersion": "m"},
        frame({"text": ""}),
        frame({"thoughtSignature": "Eq=="}),
        {"candidates": []},
    ):
        assert GeminiDecoder().feed(sse(nothing)) == [(Opaque(), payload(nothing))]


@pytest.mark.parametrize("kind", ["inlineData", "executableCode", "codeExecutionResult", "fileData"])
def test_parts_that_nobody_else_knows_are_reported(kind: str) -> None:
    (notice,) = said(frame({kind: {"x": 1}}))
    assert isinstance(notice, Notice)
    assert notice.code == "untranslated"


def test_line_breaks_inside_a_frame() -> None:
    pretty = json.dumps(text("a"), indent=1)
    body = b"".join(b"data: " + line.encode() + b"\n" for line in pretty.splitlines()) + b"\n"
    ((event, raw),) = GeminiDecoder().feed(body)
    assert event == TextDelta("a")
    assert raw is not None
    assert b"\n" not in raw


def test_the_last_blank_line_may_be_missing() -> None:
    assert decode(sse(text("a"), end())[:-4]) == decode(sse(text("a"), end()))
