"""Events of Anthropic's streams, written as vendors write them."""

import json
from collections.abc import Iterable
from typing import Any

from stream_protocols.dialects.anthropic import AnthropicDecoder
from stream_protocols.events import Event, Record

Json = dict[str, Any]

STOP: Json = {"type": "message_stop"}
PING: Json = {"type": "ping"}
USAGE = {"input_tokens": 3, "output_tokens": 1}


def start(**usage: Any) -> Json:
    """The beginning of a message."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    return {
        "type": "message_start",
        "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage or USAGE},
    }


def block(index: int = 0, kind: str = "text", **fields: Any) -> Json:
    """The beginning of a block."""
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}


def call(index: int = 0, identity: str = "toolu_1", name: str = "f", given: Any = None) -> Json:
    """The beginning of a tool call."""
    return block(index, "tool_use", id=identity, name=name, input={} if given is None else given)


def delta(index: int = 0, kind: str = "text_delta", **fields: Any) -> Json:
    """More of a block."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def text(content: str, index: int = 0) -> Json:
    """More text."""
    return delta(index, text=content)


def thinking(content: str, index: int = 0) -> Json:
    """More thinking."""
    return delta(index, "thinking_delta", thinking=content)


def arguments(content: str, index: int = 0) -> Json:
    """More of a tool call's input."""
    return delta(index, "input_json_delta", partial_json=content)


def stop(index: int = 0) -> Json:
    """The end of a block."""
    return {"type": "content_block_stop", "index": index}


def end(reason: str | None = "end_turn", output: int = 5, **usage: Any) -> Json:
    """Why the message ended, and what it took in all."""
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None},
        "usage": {"output_tokens": output, **usage},
    }


def payload(frame: Json | str) -> bytes:
    """The bytes of a frame's JSON."""
    return (frame if isinstance(frame, str) else json.dumps(frame)).encode()


def sse(*frames: Json | str) -> bytes:
    """Frames as a body, each under its name."""
    parts = []
    for frame in frames:
        name = b"" if isinstance(frame, str) else b"event: %b\n" % str(frame.get("type", "")).encode()
        parts.append(name + b"data: " + payload(frame) + b"\n\n")
    return b"".join(parts)


def decode(*pieces: bytes) -> list[Record]:
    """All records of a body that comes in these pieces and then ends."""
    decoder = AnthropicDecoder()
    records = [record for piece in pieces for record in decoder.feed(piece)]
    return records + decoder.close()


def events(records: Iterable[Record]) -> list[Event]:
    """The events without their bytes."""
    return [event for event, _ in records]


def raws(records: Iterable[Record]) -> list[bytes | None]:
    """The bytes without their events."""
    return [raw for _, raw in records]


def said(*frames: Json | str) -> list[Event]:
    """The events of frames in the middle of a stream, those without meaning left out."""
    return [event for event, _ in AnthropicDecoder().feed(sse(*frames)) if type(event).__name__ != "Opaque"]
