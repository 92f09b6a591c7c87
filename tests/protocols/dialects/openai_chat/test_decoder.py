"""What a provider's frames mean, and that their bytes stay beside the meaning untouched."""

import json

import pytest

from stream_protocols.dialects.openai_chat import OpenAIChatDecoder
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
from tests.protocols.dialects.openai_chat.frames import (
    DONE,
    choice,
    chunk,
    decode,
    events,
    finish,
    payload,
    raws,
    sse,
    text,
)

USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def test_a_plain_answer() -> None:
    records = decode(sse(chunk(choice({"role": "assistant", "content": ""})), text("Hel"), text("lo"), finish()) + DONE)
    assert events(records) == [
        Opaque(),
        TextDelta("Hel"),
        TextDelta("lo"),
        ChoiceFinished("stop"),
        StreamFinished("stop"),
    ]
    assert records[-1][1] == b"[DONE]"


def test_tool_calls_come_in_fragments() -> None:
    def call(**fields: object) -> dict[str, object]:
        return chunk(choice({"tool_calls": [fields]}))

    first = call(index=0, id="call_1", type="function", function={"name": "weather", "arguments": ""})
    second = call(index=1, id="call_2", type="function", function={"name": "time", "arguments": "{}"})
    records = decode(sse(first, call(index=0, function={"arguments": '{"city"'}), second, finish("tool_calls")) + DONE)
    assert events(records) == [
        ToolCallDelta(0, "call_1", "weather"),
        ToolCallDelta(0, arguments='{"city"'),
        ToolCallDelta(1, "call_2", "time", "{}"),
        ChoiceFinished("tool_calls"),
        StreamFinished("tool_calls"),
    ]


def test_tool_calls_without_an_index_count_from_the_first_of_their_frame() -> None:
    calls = [{"id": "a", "function": {"name": "f", "arguments": "{}"}}, {"id": "b", "function": {"name": "g"}}]
    assert events(decode(sse(chunk(choice({"tool_calls": calls})))))[:2] == [
        ToolCallDelta(0, "a", "f", "{}"),
        ToolCallDelta(1, "b", "g"),
    ]


def test_several_choices() -> None:
    both = chunk(choice({"content": "a"}), choice({"content": "b"}, 1))
    body = sse(both, text("c", 1), finish("stop", 1), finish("length", 0)) + DONE
    assert events(decode(body)) == [
        TextDelta("a", 0),
        TextDelta("b", 1),
        TextDelta("c", 1),
        ChoiceFinished("stop", 1),
        ChoiceFinished("length", 0),
        StreamFinished("length"),
    ]


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_by_both_its_names(name: str) -> None:
    assert events(decode(sse(chunk(choice({name: "Hm"})))))[0] == ReasoningDelta("Hm")


def test_reasoning_beside_text_comes_first() -> None:
    frame = chunk(choice({"content": "4", "reasoning": "2+2", "reasoning_content": "2+2"}))
    assert events(decode(sse(frame)))[:2] == [ReasoningDelta("2+2"), TextDelta("4")]


def test_refusals() -> None:
    body = sse(chunk(choice({"refusal": "I ca"})), chunk(choice({"refusal": "n't", "content": None})), finish()) + DONE
    assert events(decode(body))[:2] == [RefusalDelta("I ca"), RefusalDelta("n't")]


# One frame, several events


def test_the_bytes_stand_at_the_last_event_of_their_frame() -> None:
    frame = chunk(choice({"content": "a", "reasoning": "r", "refusal": "n"}, finish="stop"), usage=USAGE)
    records = decode(sse(frame) + DONE)
    assert raws(records) == [COVERED, COVERED, COVERED, COVERED, payload(frame), b"[DONE]"]
    assert events(records) == [
        ReasoningDelta("r"),
        TextDelta("a"),
        RefusalDelta("n"),
        ChoiceFinished("stop"),
        Usage(3, 5),
        StreamFinished("stop"),
    ]


def test_bytes_are_the_providers_own_to_the_last_blank_and_in_order() -> None:
    frames = [
        '{ "b" : 1 , "choices":[ {"delta":{"content":"x","zz":[1, 2]},"aa":{"q":null}} ],"a":0}',
        '{"choices":[],"x_groq":{"id":"r"},"service_tier":null}',
        '{"choices":[{"index":0,"delta":{"content":"\\u00e9\\/"},"logprobs":{"content":[{"logprob":-1e-7}]}}]}',
        '{"choices":[{"index":0,"delta":{},"finish_reason":"stop","content_filter_results":{}}],"obfuscation":"a"}',
    ]
    records = decode(sse(*frames) + DONE)
    assert b"".join(raw or b"" for raw in raws(records)) == "".join(frames).encode() + b"[DONE]"


def test_a_frame_of_several_lines_becomes_one() -> None:
    pretty = json.dumps(text("a"), indent=1)
    body = b"".join(b"data: " + line.encode() + b"\n" for line in pretty.splitlines()) + b"\n"
    ((event, raw), *_) = decode(body + DONE)
    assert event == TextDelta("a")
    assert raw is not None
    assert b"\n" not in raw
    assert json.loads(raw) == text("a")


# Usage


def test_usage_that_is_null_is_none() -> None:
    records = decode(sse({**text("a"), "usage": None}, finish()) + DONE)
    assert events(records) == [TextDelta("a"), ChoiceFinished("stop"), StreamFinished("stop")]


def test_usage_in_a_chunk_of_its_own() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 2}}
    records = decode(sse(text("a"), finish(), chunk(usage={**USAGE, **details})) + DONE)
    assert events(records)[2] == Usage(3, 5, {"input": {"cached_tokens": 1}, "output": {"reasoning_tokens": 2}})


def test_running_usage_is_news_only_when_it_changes() -> None:
    def with_usage(content: str, output: int) -> dict[str, object]:
        return {**text(content), "usage": {**USAGE, "completion_tokens": output}}

    frames = [
        with_usage("a", 1),
        with_usage("b", 2),
        with_usage("c", 2),
        chunk(usage={**USAGE, "completion_tokens": 2}),
    ]
    records = decode(sse(*frames, finish()) + DONE)
    assert events(records)[:6] == [
        TextDelta("a"),
        Usage(3, 1),
        TextDelta("b"),
        Usage(3, 2),
        TextDelta("c"),
        Opaque(),
    ]
    assert [raw for raw in raws(records) if raw] == [*map(payload, [*frames, finish()]), b"[DONE]"]


def test_usage_before_the_end_of_the_choices() -> None:
    records = decode(sse(text("a"), chunk(usage=USAGE), finish()) + DONE)
    assert events(records)[1:] == [Usage(3, 5), ChoiceFinished("stop"), StreamFinished("stop")]


# The end


def test_each_choice_finishes_once() -> None:
    again = chunk(choice({}, finish="stop"), usage=USAGE)
    after = chunk(choice({}, content_filter_results={"hate": {"filtered": False}}))
    records = decode(sse(text("a"), finish("length"), again, after) + DONE)
    assert events(records) == [
        TextDelta("a"),
        ChoiceFinished("length"),
        Usage(3, 5),
        Opaque(),
        StreamFinished("length"),
    ]


@pytest.mark.parametrize("last", [b"data: [DONE]\n\n", b"data:[DONE]\n\n", b"data: [DONE] \n\n", b"data: [DONE]"])
def test_done_in_all_its_spellings(last: bytes) -> None:
    records = decode(sse(text("a"), finish()) + last)
    assert records[-1] == (StreamFinished("stop"), b"[DONE]")
    assert events(records)[:-1] == [TextDelta("a"), ChoiceFinished("stop")]


def test_done_finishes_choices_that_never_said_so() -> None:
    records = decode(sse(text("b", 1), text("a", 0), finish("length", 2)) + DONE)
    assert records[3:] == [
        (ChoiceFinished("stop", 0), COVERED),
        (ChoiceFinished("stop", 1), COVERED),
        (StreamFinished("length"), b"[DONE]"),
    ]


def test_without_done_a_finish_reason_for_every_choice_is_a_clean_end() -> None:
    records = decode(sse(text("a"), text("b", 1), finish("stop", 1), finish("tool_calls", 0), chunk(usage=USAGE)))
    assert records[-1] == (StreamFinished("tool_calls"), None)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [text("a")],
        [text("a"), text("b", 1), finish("stop", 0)],
        [chunk(choice({"role": "assistant"}))],
        [chunk(usage=USAGE)],
    ],
    ids=["nothing", "no finish reason", "one choice of two", "the role alone", "usage alone"],
)
def test_without_done_anything_less_is_a_truncation(frames: list[dict[str, object]]) -> None:
    event, raw = decode(sse(*frames))[-1]
    assert isinstance(event, StreamFailed)
    assert event.code == "upstream_truncated"
    assert event.status == 502
    assert raw is None


@pytest.mark.parametrize("tail", [sse(text("late")), sse({"error": {"message": "late"}}), DONE, b"garbage", b"\xff"])
def test_nothing_counts_after_the_end(tail: bytes) -> None:
    body = sse(text("a"), finish()) + DONE
    assert decode(body + tail) == decode(body)
    assert decode(body, tail) == decode(body)


def test_a_decoder_that_was_closed_stays_silent() -> None:
    decoder = OpenAIChatDecoder()
    assert len(decoder.close()) == 1
    assert decoder.close() == []
    assert decoder.feed(sse(text("a"))) == []


def test_comments_and_empty_data_are_nothing() -> None:
    body = b": hi\n\n" + sse(text("a")) + b":\n\ndata:\n\ndata: \n\nevent: ping\n\n" + sse(finish()) + DONE
    assert events(decode(body)) == [TextDelta("a"), ChoiceFinished("stop"), StreamFinished("stop")]


def test_a_last_frame_without_its_blank_line_counts() -> None:
    assert events(decode(sse(text("a"), finish()).removesuffix(b"\n\n")))[-2:] == [
        ChoiceFinished("stop"),
        StreamFinished("stop"),
    ]


def test_frames_of_another_shape_go_untouched_to_clients_of_the_dialect_and_others_hear_of_it() -> None:
    frames = ['{"choices":"none"}', "[1,2]", "null", '{"choices":[{"index":"0"}]}', '{"usage":{"prompt_tokens":1e999}}']
    records = decode(sse(*frames, text("a"), finish()) + DONE)
    for frame, (event, raw) in zip(frames, records, strict=False):
        assert isinstance(event, Notice)
        assert event.code == "untranslated"
        assert raw == frame.encode()
    assert events(records)[len(frames) :] == [TextDelta("a"), ChoiceFinished("stop"), StreamFinished("stop")]
