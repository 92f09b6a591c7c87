"""What a provider's frames mean, and that their bytes stay beside the meaning untouched."""

import json

import pytest

from stream_protocols.dialects.anthropic import AnthropicDecoder
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
from tests.protocols.dialects.anthropic.frames import (
    PING,
    STOP,
    Json,
    arguments,
    block,
    call,
    decode,
    delta,
    end,
    events,
    payload,
    raws,
    said,
    sse,
    start,
    stop,
    text,
    thinking,
)

PLAIN = [start(), block(text=""), PING, text("Hel"), text("lo"), stop(), end(), STOP]


def test_a_plain_answer() -> None:
    records = decode(sse(*PLAIN))
    assert events(records) == [
        Usage(3, 1, running=True),
        Opaque(),
        Opaque(),
        TextDelta("Hel"),
        TextDelta("lo"),
        Opaque(),
        ChoiceFinished("stop"),
        Usage(3, 5),
        StreamFinished("stop"),
    ]
    assert [raw for raw in raws(records) if raw != COVERED] == list(map(payload, PLAIN))


def test_the_bytes_stand_at_the_last_event_of_their_frame() -> None:
    records = decode(sse(*PLAIN))
    assert raws(records)[6:] == [COVERED, payload(end()), payload(STOP)]


def test_thinking_and_its_signature() -> None:
    frames = [
        block(0, "thinking", thinking="", signature=""),
        thinking("Hm, "),
        thinking("4."),
        delta(0, "signature_delta", signature="EqQ="),
        stop(),
        block(1, "redacted_thinking", data="abc"),
        stop(1),
    ]
    records = AnthropicDecoder().feed(sse(*frames))
    assert events(records) == [
        Opaque(),
        ReasoningDelta("Hm, "),
        ReasoningDelta("4."),
        Opaque(),
        Opaque(),
        Opaque(),
        Opaque(),
    ]
    assert raws(records) == list(map(payload, frames))


def test_tool_calls_are_counted_by_themselves() -> None:
    assert said(
        block(text=""), text("Let me see."), stop(),
        call(1, "toolu_1", "weather"), arguments('{"city"', 1), arguments(': "Oslo"}', 1), stop(1),
        call(2, "toolu_2", "time"), arguments("{}", 2), stop(2),
    ) == [
        TextDelta("Let me see."),
        ToolCallDelta(0, "toolu_1", "weather"),
        ToolCallDelta(0, arguments='{"city"'),
        ToolCallDelta(0, arguments=': "Oslo"}'),
        ToolCallDelta(1, "toolu_2", "time"),
        ToolCallDelta(1, arguments="{}"),
    ]  # fmt: skip


def test_several_tool_calls_at_once() -> None:
    assert said(call(0, "a"), call(1, "b"), arguments("1", 1), arguments("0", 0), stop(0), stop(1)) == [
        ToolCallDelta(0, "a", "f"),
        ToolCallDelta(1, "b", "f"),
        ToolCallDelta(1, arguments="1"),
        ToolCallDelta(0, arguments="0"),
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "{}"),
        ({"a": {"b": [1]}}, '{"a": {"b": [1]}}'),
        (None, "{}"),
        ([1], "{}"),
        ({"a": 10**40}, f'{{"a": {10**40}}}'),
    ],
)
def test_input_that_came_whole_or_not_at_all_is_told_when_the_block_stops(given: object, told: str) -> None:
    frame = call()
    frame["content_block"]["input"] = given
    assert said(frame, arguments(""), stop()) == [ToolCallDelta(0, "toolu_1", "f"), ToolCallDelta(0, arguments=told)]


def test_text_that_stands_in_the_beginning_of_its_block() -> None:
    assert said(block(text="Hi"), block(1, "thinking", thinking="Hm")) == [TextDelta("Hi"), ReasoningDelta("Hm")]


def test_what_only_anthropic_has_is_nothing_to_others() -> None:
    frames = [
        block(0, "server_tool_use", id="s", name="web_search", input={}),
        arguments('{"query":"x"}'),
        stop(),
        block(1, "web_search_tool_result", tool_use_id="s", content=[]),
        delta(0, "citations_delta", citation={}),
        {"type": "content_block_delta", "index": 0},
        {"type": "content_block_start", "index": 0},
        {"type": "from_the_future", "x": 1},
        {},
    ]
    assert said(*frames) == []
    assert raws(AnthropicDecoder().feed(sse(*frames))) == list(map(payload, frames))


# Why it ended


@pytest.mark.parametrize(
    ("stop_reason", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_stop_reasons(stop_reason: str, reason: str) -> None:
    records = decode(sse(start(), end(stop_reason), STOP))
    assert events(records)[1:] == [ChoiceFinished(reason), Usage(3, 5), StreamFinished(reason)]


def test_a_message_that_stops_without_a_reason() -> None:
    records = decode(sse(start(), text("a"), STOP))
    assert records[2:] == [(ChoiceFinished("stop"), COVERED), (StreamFinished("stop"), payload(STOP))]


def test_the_first_reason_counts() -> None:
    assert said(end("max_tokens"), end("end_turn", 6), STOP) == [
        ChoiceFinished("length"),
        Usage(0, 5),
        Usage(0, 6),
        StreamFinished("length"),
    ]


# Usage


def test_input_is_all_of_it_and_the_cache_is_a_part() -> None:
    begun = start(input_tokens=10, cache_read_input_tokens=70, cache_creation_input_tokens=20, output_tokens=1)
    details = {"input": {"cached_tokens": 70, "cache_write_tokens": 20}}
    thought = {**details, "output": {"reasoning_tokens": 4}}
    assert said(begun, end(output=9, output_tokens_details={"thinking_tokens": 4})) == [
        Usage(100, 1, details, running=True),
        ChoiceFinished("stop"),
        Usage(100, 9, thought),
    ]


def test_input_that_the_end_tells_anew_counts() -> None:
    frames = [start(input_tokens=10, cache_read_input_tokens=5, output_tokens=1), end(None, 2), end(input_tokens=30)]
    assert said(*frames) == [
        Usage(15, 1, {"input": {"cached_tokens": 5, "cache_write_tokens": 0}}, running=True),
        Usage(15, 2, {"input": {"cached_tokens": 5, "cache_write_tokens": 0}}, running=True),
        ChoiceFinished("stop"),
        Usage(30, 5),
    ]


@pytest.mark.parametrize("value", [None, "many", -1, [], {}, True])
def test_usage_that_is_no_number_costs_nothing_else(value: object) -> None:
    (usage,) = said(start(input_tokens=value, output_tokens=value, cache_read_input_tokens=value))
    assert isinstance(usage, Usage)
    assert usage.input_tokens in (0, 2)
    assert usage.output_tokens in (0, 1)


# The end


@pytest.mark.parametrize("frames", [[], PLAIN[:1], PLAIN[:4], PLAIN[:6], PLAIN[:7]], ids=len)
def test_without_its_stop_a_message_is_truncated(frames: list[Json]) -> None:
    event, raw = decode(sse(*frames))[-1]
    assert isinstance(event, StreamFailed)
    assert (event.code, event.status, raw) == ("upstream_truncated", 502, None)


@pytest.mark.parametrize("tail", [sse(text("late")), sse({"type": "error"}), sse(STOP), b"garbage", b"\xff"])
def test_nothing_counts_after_the_end(tail: bytes) -> None:
    body = sse(*PLAIN)
    assert decode(body + tail) == decode(body)
    assert decode(body, tail) == decode(body)


def test_a_decoder_that_was_closed_stays_silent() -> None:
    decoder = AnthropicDecoder()
    assert len(decoder.close()) == 1
    assert decoder.close() == []
    assert decoder.feed(sse(text("a"))) == []


def test_a_last_frame_without_its_blank_line_counts() -> None:
    assert decode(sse(*PLAIN).removesuffix(b"\n\n"))[-1] == (StreamFinished("stop"), payload(STOP))


def test_names_are_not_needed_and_do_not_count() -> None:
    body = b"".join(b"event: wrong\ndata: %b\n\n" % payload(frame) for frame in PLAIN)
    nameless = b"".join(b"data: %b\n\n" % payload(frame) for frame in PLAIN)
    assert decode(body) == decode(nameless) == decode(sse(*PLAIN))


def test_a_frame_of_several_lines_becomes_one() -> None:
    pretty = json.dumps(text("a"), indent=1)
    body = b"".join(b"data: " + line.encode() + b"\n" for line in pretty.splitlines()) + b"\n"
    ((event, raw),) = AnthropicDecoder().feed(body)
    assert event == TextDelta("a")
    assert raw is not None
    assert b"\n" not in raw


def test_frames_of_another_shape_go_untouched_to_clients_of_the_dialect_and_others_hear_of_it() -> None:
    frames = ['{"type":5}', "[1,2]", "null", '{"type":"ping","index":"0"}', '{"type":"message_start","message":[]}']
    records = decode(sse(*frames, text("a"), STOP))
    for frame, (event, raw) in zip(frames, records, strict=False):
        assert isinstance(event, Notice)
        assert event.code == "untranslated"
        assert raw == frame.encode()
    assert events(records)[len(frames) :] == [TextDelta("a"), ChoiceFinished("stop"), StreamFinished("stop")]
