"""From neutral events to chunks: what OpenAI's clients read, and what our own decoder makes of it again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.dialects import Source
from stream_protocols.dialects.openai_chat import OpenAIChatDecoder, OpenAIChatEncoder
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
from tests.protocols.dialects.strategies import event_of, native_events, numbers, texts

SOURCE = Source("s1", 'a "model"', 1_700_000_000)

plain = OpenAIChatEncoder(SOURCE).encode
with_usage = OpenAIChatEncoder(SOURCE, include_usage=True).encode


def chunk(event: Event) -> dict[str, Any]:
    payload = plain(event)
    assert payload is not None
    return json.loads(payload)


def said(event: Event) -> list[Event]:
    """What a decoder understands of an event's chunk."""
    payload = with_usage(event)
    assert payload is not None
    return [event for event, _ in OpenAIChatDecoder().feed(b"data: " + payload + b"\n\n")]


def test_every_chunk_names_its_stream() -> None:
    for event in (StreamStarted("ignored"), TextDelta("a"), ReasoningDelta("a"), ChoiceFinished("stop")):
        fields = chunk(event)
        assert fields["id"] == "chatcmpl-s1"
        assert fields["object"] == "chat.completion.chunk"
        assert fields["created"] == 1_700_000_000
        assert fields["model"] == 'a "model"'


@pytest.mark.parametrize(
    ("event", "choices"),
    [
        (TextDelta("hé\n"), [{"index": 0, "delta": {"content": "hé\n"}, "finish_reason": None}]),
        (TextDelta("", 3), [{"index": 3, "delta": {"content": ""}, "finish_reason": None}]),
        (RefusalDelta("no", 1), [{"index": 1, "delta": {"refusal": "no"}, "finish_reason": None}]),
        (ReasoningDelta("hm"), [{"index": 0, "delta": {"reasoning_content": "hm"}, "finish_reason": None}]),
        (ChoiceFinished("length", 2), [{"index": 2, "delta": {}, "finish_reason": "length"}]),
        (
            StreamStarted("m", choices=2),
            [
                {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None},
                {"index": 1, "delta": {"role": "assistant", "content": ""}, "finish_reason": None},
            ],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_choices_of_a_chunk(event: Event, choices: list[dict[str, Any]]) -> None:
    assert chunk(event)["choices"] == choices


def test_a_tool_call_names_itself_once() -> None:
    (first,) = chunk(ToolCallDelta(1, "c", "f", "{"))["choices"]
    assert first["delta"]["tool_calls"] == [
        {"index": 1, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}
    ]
    (more,) = chunk(ToolCallDelta(1, arguments="}", choice=4))["choices"]
    assert more["index"] == 4
    assert more["delta"]["tool_calls"] == [{"index": 1, "function": {"arguments": "}"}}]


def test_with_usage_every_chunk_has_the_member_and_one_more_has_the_numbers() -> None:
    for event in (StreamStarted("m"), TextDelta("a"), ChoiceFinished("stop")):
        assert json.loads(with_usage(event) or b"")["usage"] is None
        assert "usage" not in chunk(event)
    last = json.loads(with_usage(Usage(3, 5, {"input": {"cached_tokens": 1}, "output": {"x": 2}})) or b"")
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 5,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"x": 2},
    }
    assert plain(Usage(3, 5)) is None


def test_usage_that_is_still_running_is_not_told() -> None:
    """Clients that add up what they are told would count it twice."""
    assert with_usage(Usage(3, 1, running=True)) is None


@pytest.mark.parametrize("event", [Notice("a", "b"), Opaque()])
def test_what_the_dialect_has_no_words_for(event: Event) -> None:
    assert plain(event) is None
    assert with_usage(event) is None


def test_the_end_is_no_json() -> None:
    assert plain(StreamFinished("stop")) == b"[DONE]"


def test_a_failure_of_ours_in_openais_words() -> None:
    failure = StreamFailed("upstream_timeout", "Silent.", 504, "timeout_error")
    error = {"message": "Silent.", "type": "timeout_error", "param": None, "code": "upstream_timeout"}
    assert chunk(failure) == {"error": error}


def test_a_failure_of_the_providers_is_its_own_object() -> None:
    error = {"message": "Busy.", "code": None, "extra": {"a": 1}}
    assert chunk(StreamFailed("c", "m", error=error)) == {"error": error}


@pytest.mark.parametrize("error", [{}, {"message": 5}, {"detail": "x"}])
def test_an_error_object_that_the_sdk_could_not_read_is_said_in_our_words(error: dict[str, Any]) -> None:
    assert chunk(StreamFailed("c", "m", error=error))["error"]["message"] == "m"


def test_a_cancellation_says_why() -> None:
    error = chunk(StreamCancelled("lease"))["error"]
    assert error["code"] == "stream_cancelled"
    assert "lease" in error["message"]


# There and back

counts = st.integers(0, 2**53)
deltas = st.one_of(
    st.builds(TextDelta, texts.filter(bool), numbers),
    st.builds(ReasoningDelta, texts.filter(bool), numbers),
    st.builds(RefusalDelta, texts.filter(bool), numbers),
    event_of(ToolCallDelta),
    st.builds(ChoiceFinished, texts.filter(bool), numbers),
    st.builds(Usage, counts, counts, st.just({"input": {"cached_tokens": 1}}) | st.none()),
)


@given(deltas)
def test_our_decoder_understands_what_we_encode(event: Event) -> None:
    assert said(event) == [event]


def test_the_events_that_come_back_as_something_else() -> None:
    assert said(StreamStarted("m", 1, 3)) == [Opaque()]
    assert said(StreamFinished("length")) == [StreamFinished("stop")]
    (failure,) = said(StreamCancelled("client"))
    assert isinstance(failure, StreamFailed)
    assert failure.code == "stream_cancelled"


@given(texts.filter(bool), texts.filter(bool), texts.filter(bool))
def test_failures_come_back_as_they_went(code: str, message: str, kind: str) -> None:
    (back,) = said(StreamFailed(code, message, 502, kind))
    assert isinstance(back, StreamFailed)
    assert (back.code, back.message, back.error_type) == (code, message, kind)


@given(st.lists(deltas, max_size=12), st.booleans())
def test_a_whole_stream_there_and_back(events: list[Event], finished: bool) -> None:
    ends = [StreamFinished("stop") if finished else StreamFailed("c", "m")]
    body = b"".join(b"data: %b\n\n" % (with_usage(event) or b"") for event in [*events, *ends])
    decoder = OpenAIChatDecoder()
    back = [event for event, _ in decoder.feed(body)]
    assert type(back[-1]) is type(ends[0])
    assert decoder.close() == []
    texts = [event for event in events if isinstance(event, TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta)]
    assert [
        event for event in back if isinstance(event, TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta)
    ] == texts


@given(native_events())
def test_a_payload_never_breaks_its_line(event: Event) -> None:
    for encode in (plain, with_usage):
        payload = encode(event) or b""
        assert not any(end in payload for end in b"\r\n")
