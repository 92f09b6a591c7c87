"""Answers that are not streamed: `message` objects."""

from collections.abc import Iterable
from typing import Any

import msgspec

from stream_protocols.dialects.answers import NOT_JSON
from stream_protocols.dialects.anthropic.decoder import block_events
from stream_protocols.dialects.anthropic.encoder import message_head
from stream_protocols.dialects.anthropic.failures import failure_event
from stream_protocols.dialects.anthropic.shapes import Message, reason_of, stop_reason_of, usage_event, usage_json
from stream_protocols.dialects.base import Source
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    ReasoningDelta,
    Record,
    RefusalDelta,
    StreamFailed,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
    Usage,
)


def decode_reply(body: bytes) -> list[Record]:
    """A whole `message` as the records of a stream; never raises (see `Decoder`)."""
    try:
        reply = msgspec.json.decode(body, type=Message)
    except NOT_JSON:
        return [(StreamFailed("upstream_invalid", "The provider's reply is not a message."), None)]
    if reply.error is not None or reply.type == "error":
        return [(failure_event(reply.error), None)]
    if reply.content is None:
        return [(StreamFailed("upstream_invalid", "The provider's reply has no content."), None)]
    events: list[Event] = []
    calls = 0
    for block in reply.content:
        events += block_events(block, calls)
        calls += block.type == "tool_use"
    reason = reason_of(reply.stop_reason or "")
    events.append(ChoiceFinished(reason))
    if reply.usage is not None:
        events.append(usage_event(reply.usage))
    events.append(StreamFinished(reason))
    return [(event, None) for event in events]


def encode_reply(source: Source, events: Iterable[Event]) -> bytes:
    """The `message` that says what the events of a finished stream said; of several choices the first."""
    blocks: list[dict[str, Any]] = []
    calls: dict[int, dict[str, Any]] = {}
    reason, usage, refused = "stop", None, False
    for event in events:
        match event:
            case Usage():
                usage = event
            case ChoiceFinished(choice=0):
                reason = event.reason
            case TextDelta(text=text, choice=0) | RefusalDelta(text=text, choice=0):
                refused |= isinstance(event, RefusalDelta)
                _add(blocks, "text", text)
            case ReasoningDelta(text=text, choice=0):
                _add(blocks, "thinking", text)
            case ToolCallDelta(choice=0):
                _add_call(blocks, calls, event, source)
    reply: dict[str, Any] = {
        **message_head(source),
        "content": [_block(block) for block in blocks],
        "stop_reason": "refusal" if refused and reason == "stop" else stop_reason_of(reason),
        "stop_sequence": None,
        "usage": usage_json(usage),
    }
    return msgspec.json.encode(reply)


def _add(blocks: list[dict[str, Any]], kind: str, text: str) -> None:
    if not text:
        return
    if not blocks or blocks[-1]["type"] != kind:
        blocks.append({"type": kind, "parts": []})
    blocks[-1]["parts"].append(text)


def _add_call(
    blocks: list[dict[str, Any]], calls: dict[int, dict[str, Any]], event: ToolCallDelta, source: Source
) -> None:
    call = calls.get(event.index)
    if call is None:
        identity = f"toolu_{source.stream}_{event.index}"
        call = calls[event.index] = {"type": "tool_use", "id": identity, "name": "", "parts": []}
        blocks.append(call)
    call["id"] = event.id or call["id"]
    call["name"] = call["name"] or event.name
    call["parts"].append(event.arguments)


def _block(block: dict[str, Any]) -> dict[str, Any]:
    text = "".join(block["parts"])
    match block["type"]:
        case "tool_use":
            return {"type": "tool_use", "id": block["id"], "name": block["name"], "input": _input(text)}
        case "thinking":
            return {"type": "thinking", "thinking": text, "signature": ""}
    return {"type": "text", "text": text}


def _input(arguments: str) -> Any:
    """Arguments as the object they should be; what is none a client has to see all the same."""
    arguments = arguments or "{}"
    try:
        given = msgspec.json.decode(arguments)
    except NOT_JSON:
        return {"invalid_json": arguments}
    return msgspec.Raw(arguments.encode()) if isinstance(given, dict) else {"invalid_json": arguments}
