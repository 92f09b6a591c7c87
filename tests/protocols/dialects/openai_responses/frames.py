"""Frames of OpenAI's Responses, written as vendors write them, and answers in events."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

from stream_protocols.dialects.base import Frame, Source
from stream_protocols.dialects.openai_responses import OpenAIResponsesDecoder, OpenAIResponsesEncoder
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    Opaque,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)

Json = dict[str, Any]

SOURCE = Source("S", "m", 7)


def response(status: str = "in_progress", **fields: Any) -> Json:
    """A response around an answer."""
    return {
        "id": "resp_up",
        "object": "response",
        "created_at": 7,
        "model": "up",
        "status": status,
        "output": [],
        **fields,
    }


def frame(kind: str, **fields: Any) -> Json:
    """An event's JSON, without a number."""
    return {"type": f"response.{kind}", **fields}


def delta(text: str, **fields: Any) -> Json:
    """A piece of text."""
    return frame(
        "output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta=text, logprobs=[], **fields
    )


def call(**fields: Any) -> Json:
    """A function call as an item."""
    return {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "", **fields}


def completed(**fields: Any) -> Json:
    """The end of an answer that is whole."""
    return frame("completed", response=response("completed", **fields))


def payloads(*frames: Json) -> list[bytes]:
    """The frames' JSON, numbered."""
    return [json.dumps({**given, "sequence_number": number}).encode() for number, given in enumerate(frames)]


def sse(*frames: Json) -> bytes:
    """Frames as a body, numbered."""
    named = zip(frames, payloads(*frames), strict=True)
    return b"".join(b"event: %b\ndata: %b\n\n" % (given["type"].encode(), payload) for given, payload in named)


def decode(*pieces: bytes) -> list[Record]:
    """All records of a body that comes in these pieces and then ends."""
    decoder = OpenAIResponsesDecoder()
    records = [record for piece in pieces for record in decoder.feed(piece)]
    return records + decoder.close()


def events(records: Iterable[Record]) -> list[Event]:
    """The events without their bytes."""
    return [event for event, _ in records]


def meaning(given: Iterable[Event]) -> list[Event]:
    """What events say, however they are cut: texts joined, calls with all their arguments, the last usage, the end."""
    said: list[Event] = []
    calls: dict[int, ToolCallDelta] = {}
    usage: list[Event] = []
    for event in given:
        if isinstance(event, ToolCallDelta):
            before = calls.get(event.index, event)
            more = event.arguments if before is event else before.arguments + event.arguments
            calls[event.index] = msgspec.structs.replace(before, arguments=more)
        elif isinstance(event, Usage):
            usage = [event]
        elif said and type(event) is type(said[-1]) and isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
            said[-1] = msgspec.structs.replace(event, text=said[-1].text + event.text)  # type: ignore[attr-defined]
        elif not isinstance(event, StreamStarted | Opaque):
            said.append(event)
    return [*said, *usage, *(calls[number] for number in sorted(calls))]


def encoded(given: Iterable[Event], source: Source = SOURCE) -> list[Frame]:
    """The frames of a stream of events."""
    encoder = OpenAIResponsesEncoder(source)
    return [made for event in given for made in encoder.encode(event)]


def body(frames: Sequence[Frame]) -> bytes:
    """Frames as a body."""
    return b"".join(b"event: %b\ndata: %b\n\n" % made for made in frames)


def said(frames: Iterable[Frame]) -> list[Json]:
    """The JSON of frames."""
    return [json.loads(made.payload) for made in frames]


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
pieces = st.one_of(
    st.builds(TextDelta, texts), st.builds(ReasoningDelta, texts), st.builds(RefusalDelta, texts), st.just(None)
)
usages = st.builds(
    Usage,
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.builds(
        lambda cached, reasoning: {"input": {"cached_tokens": cached}, "output": {"reasoning_tokens": reasoning}},
        st.integers(0, 99),
        st.integers(0, 99),
    ),
)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Any good answer: texts of all kinds and tool calls side by side, cut anywhere."""
    said: list[Event] = [StreamStarted("m", 7)]
    calls = 0
    for piece in draw(st.lists(pieces, max_size=12)):
        if piece is not None:
            said.append(piece)
        elif calls and draw(st.booleans()):
            said.append(ToolCallDelta(draw(st.integers(0, calls - 1)), arguments=draw(texts)))
        else:
            said.append(
                ToolCallDelta(calls, f"call_{calls}", draw(st.sampled_from(["f", "g"])), draw(st.just("") | texts))
            )
            calls += 1
    reason = "tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter"]))
    end = [ChoiceFinished(reason), *draw(st.lists(usages, max_size=1)), StreamFinished(reason)]
    return said + end
