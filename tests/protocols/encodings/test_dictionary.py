"""The compression dictionary: who has it, and whether it still knows what we say."""

from __future__ import annotations

import base64
import hashlib

import msgspec
import pytest

from stream_protocols.dialects import Source
from stream_protocols.dialects.native import NativeEncoder
from stream_protocols.dialects.openai_chat import OpenAIChatEncoder
from stream_protocols.encodings.dictionary import CONTENT, DIGEST, NAME, available
from stream_protocols.events import Event, StreamFinished, StreamStarted, TextDelta, ToolCallDelta

OURS = base64.b64encode(DIGEST).decode()


def test_it_is_named_by_its_contents() -> None:
    assert hashlib.sha256(CONTENT).digest() == DIGEST
    assert DIGEST.hex() == NAME
    assert 1000 < len(CONTENT) < 4096


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, b""),
        ("", b""),
        (f":{OURS}:", DIGEST),
        (f"  :{OURS}: ", DIGEST),
        (f":{OURS}:;a=1", DIGEST),
        (OURS, b""),
        (f":{OURS}", b""),
        (f":{OURS[:-1]}:", b""),
        (f":{OURS}:, :{OURS}:", b""),
        (":" + base64.b64encode(bytes(32)).decode() + ":", bytes(32)),
        (":é:", b""),
        (":" * 10_000, b""),
    ],
)
def test_what_a_client_says_that_it_has(header: str | None, expected: bytes) -> None:
    assert available(header) == expected


@pytest.mark.parametrize(
    "event", [StreamStarted("m", 17), TextDelta(" "), StreamFinished("stop"), ToolCallDelta(0, "call_", "")]
)
def test_it_knows_how_native_events_are_said(event: Event) -> None:
    payload = NativeEncoder().encode(event)
    assert payload is not None
    assert payload[: payload.index(b",")] in CONTENT


def test_it_knows_how_openai_chunks_are_said() -> None:
    payload = OpenAIChatEncoder(Source("", "", 17), include_usage=False).encode(TextDelta(" "))
    assert payload is not None
    assert payload in CONTENT


def test_its_native_events_are_whole() -> None:
    for line in CONTENT.split(b"\n"):
        if line.startswith(b'data: {"type"'):
            msgspec.json.decode(line.removeprefix(b"data: "))
