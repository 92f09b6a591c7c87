"""Frames of Gemini's streams, written as the vendor writes them."""

import json
from collections.abc import Iterable
from typing import Any

from stream_protocols.dialects.gemini import GeminiDecoder
from stream_protocols.events import Event, Record

Json = dict[str, Any]

USAGE = {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12}


def frame(*parts: Json, index: int = 0, reason: str | None = None, **more: Any) -> Json:
    """A response of one candidate."""
    candidate: Json = {"content": {"parts": list(parts), "role": "model"}, "index": index}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], **more}


def text(content: str, index: int = 0, **more: Any) -> Json:
    """More text."""
    return frame({"text": content}, index=index, **more)


def thought(content: str, index: int = 0) -> Json:
    """More of what the model thinks."""
    return frame({"text": content, "thought": True, "thoughtSignature": "Eq=="}, index=index)


def call(name: str = "f", args: Any = None, identity: str | None = "c1") -> Json:
    """The part that calls a function."""
    given = {} if identity is None else {"id": identity}
    return {"functionCall": {**given, "name": name, "args": {} if args is None else args}}


def end(reason: str = "STOP", index: int = 0, **usage: Any) -> Json:
    """Why a candidate ended, and what all took."""
    return frame({"text": ""}, index=index, reason=reason, usageMetadata=usage or USAGE)


def payload(value: Json | str) -> bytes:
    """The bytes of a frame's JSON."""
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def sse(*frames: Json | str) -> bytes:
    """Frames as a body."""
    return b"".join(b"data: " + payload(one) + b"\r\n\r\n" for one in frames)


def decode(*pieces: bytes) -> list[Record]:
    """All records of a body that comes in these pieces and then ends."""
    decoder = GeminiDecoder()
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
    return [event for event, _ in GeminiDecoder().feed(sse(*frames)) if type(event).__name__ != "Opaque"]
