"""Answers that are not streamed: `response` objects."""

import math
from collections.abc import Iterable

import msgspec

from stream_protocols.dialects.answers import NOT_JSON
from stream_protocols.dialects.base import Source
from stream_protocols.dialects.openai_responses.encoder import OpenAIResponsesEncoder
from stream_protocols.dialects.openai_responses.shapes import (
    ItemFields,
    PartFields,
    ResponseFields,
    ending,
    read_failure,
)
from stream_protocols.events import (
    Event,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamFailed,
    TextDelta,
    ToolCallDelta,
)

_decode_items = msgspec.json.Decoder(list[ItemFields]).decode


def decode_reply(body: bytes) -> list[Record]:
    """A whole `response` as the records of a stream; never raises (see `Decoder`)."""
    try:
        reply = msgspec.json.decode(body, type=ResponseFields)
        events = output_events(reply.output)
    except NOT_JSON:
        return [(StreamFailed("upstream_invalid", "The provider's reply is not a response."), None)]
    if reply.error is not None or reply.status == "failed":
        return [(read_failure(reply.error), None)]
    if reply.status not in ("completed", "incomplete", None):
        message = f"The provider's reply is a response that has not ended: it is {str(reply.status)[:32]}."
        return [(StreamFailed("upstream_truncated", message), None)]
    called = any(isinstance(event, ToolCallDelta) for event in events)
    events += ending(reply, incomplete=reply.status == "incomplete", called=called)
    return [(event, None) for event in events]


def encode_reply(source: Source, events: Iterable[Event]) -> bytes:
    """The `response` that says what the events of a finished stream said."""
    encoder = OpenAIResponsesEncoder(source, max_kept=math.inf)
    for event in events:
        encoder.encode(event)
    return encoder.response()


def output_events(output: msgspec.Raw) -> list[Event]:
    """What a response's `output` says.

    Raises:
        What `NOT_JSON` lists: it is no list of items.
    """
    events: list[Event] = []
    calls = 0
    for item in _decode_items(output):
        if item.type == "message":
            events += map(_said, item.content or ())
        elif item.type == "reasoning":
            texts = [part.text for part in (*(item.summary or ()), *(item.content or ())) if part.text]
            events.append(ReasoningDelta("\n\n".join(texts)))
        elif item.type == "function_call":
            events.append(ToolCallDelta(calls, item.call_id or item.id or "", item.name or "", item.arguments or ""))
            calls += 1
    return [event for event in events if isinstance(event, ToolCallDelta) or getattr(event, "text", None)]


def _said(part: PartFields) -> Event:
    if part.type == "refusal":
        return RefusalDelta(part.refusal or "")
    return TextDelta(part.text or "")
