"""The subprotocol: both encodings say the same, and whatever comes is a command or a clear error."""

import contextlib
import json
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols import commands
from stream_protocols.commands import (
    CODECS,
    JSON_PROTOCOL,
    MAX_KEY,
    MSGPACK_PROTOCOL,
    PROTOCOLS,
    Cancel,
    Codec,
    Command,
    Create,
    Created,
    Error,
    Message,
    Ok,
    Ping,
    Pushed,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    check_key,
    decode_message,
    error_reply,
)
from stream_protocols.cursor import Gap
from stream_protocols.dialects.native import decode_known
from stream_protocols.errors import InvalidField, StreamProtocolError, UnknownStream
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    Notice,
    Opaque,
    ReasoningDelta,
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from stream_protocols.websocket import BINARY, TEXT
from tests.protocols.dialects.strategies import native_events

REQUEST = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}

COMMANDS: list[tuple[dict[str, Any], Command]] = [
    ({"type": "ping"}, Ping()),
    ({"type": "ping", "ref": 1}, Ping(ref=1)),
    ({"type": "ping", "ref": "a"}, Ping(ref="a")),
    ({"type": "ping", "ref": None}, Ping()),
    ({"type": "stream.create", "ref": 1, "request": REQUEST}, Create(ref=1, request=REQUEST)),
    ({"type": "stream.create", "request": {}, "lease": 60}, Create(request={}, lease=60)),
    ({"type": "stream.create", "request": {}, "lease": 0.5}, Create(request={}, lease=0.5)),
    (
        {"type": "stream.create", "request": {}, "lease": "finish", "key": "k"},
        Create(request={}, lease="finish", key="k"),
    ),
    ({"type": "stream.subscribe", "stream": "s"}, Subscribe(stream="s")),
    ({"type": "stream.subscribe", "stream": "s", "after": "c"}, Subscribe(stream="s", after="c")),
    ({"type": "stream.subscribe", "stream": "s", "after": None}, Subscribe(stream="s")),
    ({"type": "stream.unsubscribe", "stream": "s"}, Unsubscribe(stream="s")),
    ({"type": "stream.cancel", "stream": "s", "ref": 2**53}, Cancel(stream="s", ref=2**53)),
]

MESSAGES: list[tuple[Message, dict[str, Any]]] = [
    (Created(1, "s", "s.e.0"), {"type": "stream.created", "ref": 1, "stream": "s", "cursor": "s.e.0"}),
    (
        Created(1, "s", "s.e.5", Gap("retention", 5, 5)),
        {
            "type": "stream.created",
            "ref": 1,
            "stream": "s",
            "cursor": "s.e.5",
            "gap": {"reason": "retention", "missed": 5, "resume_seq": 5},
        },
    ),
    (
        Subscribed(7, "s", None, ended=True),
        {"type": "stream.subscribed", "ref": 7, "stream": "s", "gap": None, "ended": True},
    ),
    (Subscribed("r", "s", None), {"type": "stream.subscribed", "ref": "r", "stream": "s", "gap": None}),
    (
        Subscribed(None, "s", Gap("epoch", None, 0)),
        {
            "type": "stream.subscribed",
            "ref": None,
            "stream": "s",
            "gap": {"reason": "epoch", "missed": None, "resume_seq": 0},
        },
    ),
    (Ok(7), {"type": "ok", "ref": 7}),
    (Error(4, "c", "m"), {"type": "error", "ref": 4, "code": "c", "message": "m", "param": None}),
    (Error(4, "c", "m", "p"), {"type": "error", "ref": 4, "code": "c", "message": "m", "param": "p"}),
    (
        Unsubscribed("s", "lagged", "s.e.9", "m"),
        {"type": "stream.unsubscribed", "stream": "s", "code": "lagged", "after": "s.e.9", "message": "m"},
    ),
]

EVENTS: list[Event] = [
    StreamStarted("demo", 1_700_000_000),
    TextDelta("für 日本🎉"),
    TextDelta("", 3),
    ReasoningDelta("why"),
    ToolCallDelta(0, "id", "name", '{"a"'),
    ChoiceFinished("stop"),
    Usage(7, 5),
    Notice("gap", "m", {"missed": 5}),
    StreamFinished("stop"),
    StreamFailed("c", "m", 502),
    StreamCancelled("client"),
]


def unpacked(codec: Codec, payload: bytes) -> Any:
    """A payload as an independent library reads it."""
    return json.loads(payload) if codec.opcode == TEXT else msgpack.unpackb(payload)


def packed(codec: Codec, message: Any) -> str | bytes:
    """A message as an independent library writes it."""
    return json.dumps(message) if codec.opcode == TEXT else bytes(msgpack.packb(message))


codecs = pytest.mark.parametrize("codec", CODECS.values(), ids=["json", "msgpack"])


def test_the_codecs() -> None:
    assert PROTOCOLS == (JSON_PROTOCOL, MSGPACK_PROTOCOL) == tuple(CODECS)
    assert [codec.opcode for codec in CODECS.values()] == [TEXT, BINARY]
    assert [codec.name for codec in CODECS.values()] == list(CODECS)


# ---- commands


@codecs
@pytest.mark.parametrize(("message", "command"), COMMANDS, ids=[str(index) for index in range(len(COMMANDS))])
def test_every_command(codec: Codec, message: dict[str, Any], command: Command) -> None:
    assert codec.decode(packed(codec, message)) == command


@codecs
@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"type": "nothing"}, "type"),
        ({"type": None}, "type"),
        ({}, "type"),
        ({"type": "stream.subscribe"}, "stream"),
        ({"type": "stream.subscribe", "stream": None}, "stream"),
        ({"type": "stream.create", "request": None}, "request"),
        ({"type": "stream.create", "request": {}, "lease": []}, "lease"),
        ({"type": "stream.create", "request": {}, "key": 1}, "key"),
        ({"type": "ping", "ref": {}}, "ref"),
        ({"type": "ping", "ref": False}, "ref"),
    ],
)
def test_the_field_that_is_wrong(codec: Codec, message: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as caught:
        codec.decode(packed(codec, message))
    assert caught.value.param == param
    assert f"`{param}`" in caught.value.message


@codecs
def test_a_field_that_is_not_known(codec: Codec) -> None:
    """A misspelt `after` must not mean: from the beginning."""
    with pytest.raises(StreamProtocolError, match="afetr"):
        codec.decode(packed(codec, {"type": "stream.subscribe", "stream": "s", "afetr": "c"}))


@codecs
def test_an_unknown_type_is_told_which_there_are(codec: Codec) -> None:
    with pytest.raises(InvalidField) as caught:
        codec.decode(packed(codec, {"type": "x" * 10_000}))
    for kind in ("stream.create", "stream.subscribe", "stream.unsubscribe", "stream.cancel", "ping"):
        assert kind in caught.value.message
    assert len(caught.value.message) < 200


def test_the_wrong_kind_of_message() -> None:
    json_codec, msgpack_codec = CODECS.values()
    with pytest.raises(StreamProtocolError, match="text"):
        json_codec.decode(b'{"type":"ping"}')
    with pytest.raises(StreamProtocolError, match="binary"):
        msgpack_codec.decode('{"type":"ping"}')


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=15,
)
kinds = st.sampled_from(["ping", "stream.create", "stream.subscribe", "stream.cancel", "x"])
maps = st.fixed_dictionaries(
    {}, optional={"type": kinds | values, "ref": values, "stream": values, "request": values, "key": values}
)


@codecs
@given(message=maps | values)
def test_any_value(codec: Codec, message: Any) -> None:
    """A command, or an error of ours, and `ref_of` never raises."""
    data = packed(codec, message)
    try:
        command = codec.decode(data)
    except StreamProtocolError as error:
        ref = codec.ref_of(data)
        assert ref is None or isinstance(ref, int | str)
        unpacked(codec, codec.encode(error_reply(ref, error)))
    else:
        assert isinstance(message, dict)
        assert command.ref == message.get("ref")


@given(data=st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    codec = CODECS[MSGPACK_PROTOCOL]
    codec.ref_of(data)
    with contextlib.suppress(StreamProtocolError):
        codec.decode(data)


@given(data=st.text(max_size=60) | st.text('{}[]":,0e.tnf\\u', max_size=30))
def test_any_text(data: str) -> None:
    codec = CODECS[JSON_PROTOCOL]
    codec.ref_of(data)
    with contextlib.suppress(StreamProtocolError):
        codec.decode(data)


@codecs
@pytest.mark.parametrize(
    ("message", "ref"),
    [
        ({"type": "nothing", "ref": 5}, 5),
        ({"type": "nothing", "ref": "a"}, "a"),
        ({"type": "nothing", "ref": True}, None),
        ({"type": "nothing", "ref": 1.5}, None),
        ({"type": "nothing", "ref": [1]}, None),
        ({"type": "nothing"}, None),
        ([1], None),
        (None, None),
    ],
)
def test_the_ref_of_what_is_no_command(codec: Codec, message: Any, ref: Any) -> None:
    assert codec.ref_of(packed(codec, message)) == ref


# ---- replies and pushes


@codecs
@pytest.mark.parametrize(("message", "said"), MESSAGES, ids=[str(index) for index in range(len(MESSAGES))])
def test_every_message(codec: Codec, message: Message, said: dict[str, Any]) -> None:
    assert unpacked(codec, codec.encode(message)) == said


@codecs
@pytest.mark.parametrize("event", EVENTS, ids=[type(event).__name__ for event in EVENTS])
def test_every_event(codec: Codec, event: Event) -> None:
    """The push is put together from parts, and is one message all the same."""
    payload = codec.event(codec.event_prefix("stream-1"), "stream-1.epoch.12", event)
    assert payload is not None
    said = unpacked(codec, payload)
    assert said.keys() == {"type", "stream", "id", "event"}
    assert (said["type"], said["stream"], said["id"]) == ("event", "stream-1", "stream-1.epoch.12")
    assert said["event"] == msgspec.to_builtins(event)


@codecs
@given(stream=st.text("abc-_09", min_size=1, max_size=100), text=st.text(max_size=300))
def test_any_event(codec: Codec, stream: str, text: str) -> None:
    """Around each length at which MessagePack changes its form."""
    cursor = f"{stream}.epoch.1"
    payload = codec.event(codec.event_prefix(stream), cursor, TextDelta(text))
    assert payload is not None
    said = unpacked(codec, payload)
    assert (said["stream"], said["id"], said["event"]["text"]) == (stream, cursor, text)


@codecs
def test_what_is_a_vendors_own_is_not_pushed(codec: Codec) -> None:
    assert codec.event(codec.event_prefix("s"), "s.e.1", Opaque()) is None


def test_an_error_reply() -> None:
    assert error_reply(1, UnknownStream("m")) == Error(1, "unknown_stream", "m")
    assert error_reply("r", InvalidField("m", param="p")) == Error("r", "invalid_field", "m", "p")


# ---- keys


@pytest.mark.parametrize("key", [None, "k", "x" * MAX_KEY, "ä🎉"])
def test_keys(key: str | None) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY + 1)])
def test_keys_that_are_none(key: str) -> None:
    with pytest.raises(InvalidField) as caught:
        check_key(key)
    assert caught.value.param == "key"


def test_every_command_has_its_handler() -> None:
    """A new command in the union has to be in the sentence that lists them."""
    tags = {kind.__struct_config__.tag for kind in (Create, Subscribe, Unsubscribe, Cancel, Ping)}
    assert all(str(tag) in commands._TYPES for tag in tags)


# what a client reads


@pytest.mark.parametrize("message", [message for message, _ in MESSAGES])
def test_a_client_reads_what_a_gateway_says(message: Message) -> None:
    assert decode_message(CODECS[JSON_PROTOCOL].encode(message)) == message


@given(native_events())
def test_a_client_reads_events(event: Event) -> None:
    codec = CODECS[JSON_PROTOCOL]
    payload = codec.event(codec.event_prefix("s"), "s.e.1", event)
    assert payload is not None
    pushed = decode_message(payload.decode())
    assert isinstance(pushed, Pushed)
    assert (pushed.stream, pushed.id, decode_known(bytes(pushed.event))) == ("s", "s.e.1", event)


def test_a_message_of_a_newer_type_is_left_out() -> None:
    assert decode_message('{"type":"new.kind","x":1}') is None


@pytest.mark.parametrize("data", ['{"type":"event","stream":"s"}', '{"type":5}', "{}", "[]", '{"type":"ok"'])
def test_what_is_no_message(data: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_message(data)
