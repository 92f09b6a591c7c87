"""Answers that are not streamed: `chat.completion` objects, and error bodies."""

from collections.abc import Iterable
from typing import Any

import msgspec

from stream_protocols.dialects.answers import NOT_JSON
from stream_protocols.dialects.base import Source
from stream_protocols.dialects.openai_chat.decoder import message_events
from stream_protocols.dialects.openai_chat.shapes import (
    Completion,
    UsageFields,
    failure_event,
    usage_event,
    usage_json,
)
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
    """A whole `chat.completion` as the records of a stream; never raises (see `Decoder`)."""
    try:
        reply = msgspec.json.decode(body, type=Completion)
    except NOT_JSON:
        return [(StreamFailed("upstream_invalid", "The provider's reply is not a chat completion."), None)]
    if reply.error is not None:
        return [(failure_event(reply.error), None)]
    if not reply.choices:
        return [(StreamFailed("upstream_invalid", "The provider's reply has no choices."), None)]
    events: list[Event] = []
    reason = "stop"
    for choice in reply.choices:
        if choice.message is not None:
            events.extend(message_events(choice.message, choice.index))
        events.append(ChoiceFinished(choice.finish_reason or "stop", choice.index))
        if choice.index == 0:
            reason = choice.finish_reason or "stop"
    if reply.usage is not None:
        events.append(usage_event(reply.usage))
    events.append(StreamFinished(reason))
    return [(event, None) for event in events]


class _Outline(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    usage: UsageFields | None = None
    error: Any = None


def inspect_reply(body: bytes) -> StreamFailed | Usage | None:
    """What is wrong with a reply that is to be handed on as it is, or, when nothing is, the usage that it tells."""
    try:
        outline = msgspec.json.decode(body, type=_Outline)
    except NOT_JSON:
        return StreamFailed("upstream_invalid", "The provider's reply is not a chat completion.")
    if outline.error is not None:
        return failure_event(outline.error)
    if not outline.choices:
        return StreamFailed("upstream_invalid", "The provider's reply has no choices.")
    return None if outline.usage is None else usage_event(outline.usage)


def encode_reply(source: Source, events: Iterable[Event]) -> bytes:
    """The `chat.completion` that says what the events of a finished stream said."""
    messages: dict[int, dict[str, Any]] = {}
    reasons: dict[int, str] = {}
    usage: Usage | None = None
    for event in events:
        if isinstance(event, Usage):
            usage = event
        elif isinstance(event, ChoiceFinished):
            reasons[event.choice] = event.reason
        else:
            _add(messages, event)
    choices = [
        {
            "index": index,
            "message": _message(messages.get(index, {})),
            "finish_reason": reasons.get(index, "stop"),
        }
        for index in sorted(messages.keys() | reasons.keys())
    ]
    reply: dict[str, Any] = {
        "id": "chatcmpl-" + source.stream,
        "object": "chat.completion",
        "created": source.created,
        "model": source.model,
        "choices": choices,
    }
    if usage is not None:
        reply["usage"] = usage_json(usage)
    return msgspec.json.encode(reply)


def decode_error(body: bytes, status: int, retry_after: str | None = None) -> StreamFailed:
    """The body of a provider's error reply, which may be anything, as the failure it reports."""
    fallback = f"The provider answered with HTTP status {status}."
    try:
        data = msgspec.json.decode(body)
    except NOT_JSON:
        data = None
    error = data.get("error") if isinstance(data, dict) else None
    return failure_event(error, status=status, retry_after=retry_after, fallback=fallback)


def _add(messages: dict[int, dict[str, Any]], event: Event) -> None:
    match event:
        case TextDelta(text=text, choice=choice):
            key = "content"
        case ReasoningDelta(text=text, choice=choice):
            key = "reasoning_content"
        case RefusalDelta(text=text, choice=choice):
            key = "refusal"
        case ToolCallDelta():
            calls = messages.setdefault(event.choice, {}).setdefault("tool_calls", {})
            _add_call(calls, event)
            return
        case _:
            return
    messages.setdefault(choice, {}).setdefault(key, []).append(text)


def _add_call(calls: dict[int, dict[str, Any]], event: ToolCallDelta) -> None:
    call = calls.setdefault(event.index, {"id": "", "name": "", "arguments": []})
    call["id"] = call["id"] or event.id
    call["name"] = call["name"] or event.name
    call["arguments"].append(event.arguments)


def _message(parts: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    for key in ("content", "reasoning_content", "refusal"):
        if key in parts:
            message[key] = "".join(parts[key])
    if "tool_calls" in parts:
        message["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": "".join(call["arguments"])},
            }
            for _, call in sorted(parts["tool_calls"].items())
        ]
    return message
