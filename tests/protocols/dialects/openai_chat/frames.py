"""Chunks of OpenAI's chat streams, written as vendors write them."""

import json
from collections.abc import Iterable
from typing import Any

from stream_protocols.dialects.openai_chat import OpenAIChatDecoder
from stream_protocols.events import Event, Record

Json = dict[str, Any]

DONE = b"data: [DONE]\n\n"


def choice(delta: Json | None = None, index: int = 0, finish: str | None = None, **fields: Any) -> Json:
    """One member of `choices`."""
    return {"index": index, "delta": delta or {}, "finish_reason": finish, **fields}


def chunk(*choices: Json, **fields: Any) -> Json:
    """A `chat.completion.chunk`."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
    return {**head, "choices": list(choices), **fields}


def text(content: str, index: int = 0) -> Json:
    """A chunk that is one piece of text."""
    return chunk(choice({"content": content}, index))


def finish(reason: str = "stop", index: int = 0) -> Json:
    """A chunk that ends a choice."""
    return chunk(choice({}, index, reason))


def payload(frame: Json | str) -> bytes:
    """The bytes of a frame's JSON."""
    return (frame if isinstance(frame, str) else json.dumps(frame)).encode()


def sse(*frames: Json | str) -> bytes:
    """Frames as a body, without `[DONE]`."""
    return b"".join(b"data: " + payload(frame) + b"\n\n" for frame in frames)


def decode(*pieces: bytes) -> list[Record]:
    """All records of a body that comes in these pieces and then ends."""
    decoder = OpenAIChatDecoder()
    records = [record for piece in pieces for record in decoder.feed(piece)]
    return records + decoder.close()


def events(records: Iterable[Record]) -> list[Event]:
    """The events without their bytes."""
    return [event for event, _ in records]


def raws(records: Iterable[Record]) -> list[bytes | None]:
    """The bytes without their events."""
    return [raw for _, raw in records]
