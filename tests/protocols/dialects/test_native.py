"""The native dialect: every event survives the way to a client and back."""

import json
import typing

import msgspec
import pytest
from hypothesis import given

from stream_protocols.dialects.native import NativeEncoder, decode_event, decode_known
from stream_protocols.events import (
    TERMINAL,
    Event,
    NativeEvent,
    Opaque,
    StreamCancelled,
    StreamFailed,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from tests.protocols.dialects.strategies import native_events

encode = NativeEncoder().encode


@given(native_events())
def test_there_and_back(event: Event) -> None:
    payload = encode(event)
    assert payload is not None
    assert b"\n" not in payload
    assert decode_event(payload) == event
    assert decode_event(payload.decode()) == event


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        (TextDelta(" world"), {"type": "text.delta", "text": " world"}),
        (TextDelta("x", 2), {"type": "text.delta", "text": "x", "choice": 2}),
        (StreamStarted("demo", 7), {"type": "stream.started", "model": "demo", "created": 7}),
        (ToolCallDelta(0, "c", "f"), {"type": "tool_call.delta", "index": 0, "id": "c", "name": "f"}),
        (Usage(1, 2), {"type": "usage", "input_tokens": 1, "output_tokens": 2}),
        (StreamFailed("c", "m"), {"type": "stream.failed", "code": "c", "message": "m"}),
        (StreamCancelled("lease"), {"type": "stream.cancelled", "reason": "lease"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_json_of_an_event(event: Event, payload: dict[str, object]) -> None:
    assert json.loads(encode(event) or b"") == payload


def test_what_is_some_vendors_own_is_not_sent() -> None:
    assert encode(Opaque()) is None


def test_clients_may_meet_every_event_but_the_opaque_one() -> None:
    kinds = set(typing.get_args(NativeEvent))
    assert kinds == set(Event.__subclasses__()) - {Opaque}
    assert kinds.issuperset(TERMINAL)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b'{"type":"opaque"}',
        b'{"type":"text.delta"}',
        b'{"type":"text.delta","text":5}',
        b'{"text":"a"}',
    ],
)
def test_what_is_no_native_event(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_event(payload)


@given(native_events())
def test_what_is_known_is_decoded(event: Event) -> None:
    payload = encode(event)
    assert payload is not None
    assert decode_known(payload) == event


def test_a_type_that_is_newer_than_we_are_is_left_out() -> None:
    assert decode_known(b'{"type":"hologram.delta","voxels":[1]}') is None


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{}", b'{"type":1}', b'{"type":"text.delta"}', b'{"type":"usage","x":1}']
)
def test_what_is_broken_is_an_error(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_known(payload)
