"""Commands that are none: each is answered with what is wrong, under its own `ref`, and the socket goes on."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest

from tests.doubles.gateway_client import MESSAGES
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sockets.frames import BINARY, TEXT
from tests.doubles.sockets.raw_socket import MSGPACK
from tests.doubles.sockets.session_client import SessionClient, assert_whole, session

GOOD = {"model": "demo-n3-gap0", "messages": MESSAGES}

BAD: list[tuple[dict[str, Any], str, str | None]] = [
    ({"type": "stream.steal"}, "invalid_field", "type"),
    ({"type": "x" * 5000}, "invalid_field", "type"),
    ({"type": "Ping"}, "invalid_field", "type"),
    ({"type": 7}, "invalid_field", "type"),
    ({}, "invalid_field", "type"),
    ({"type": "ping", "extra": 1}, "invalid_request", None),
    ({"type": "stream.subscribe"}, "invalid_field", "stream"),
    ({"type": "stream.subscribe", "stream": 5}, "invalid_field", "stream"),
    ({"type": "stream.subscribe", "stream": "x", "after": 5}, "invalid_field", "after"),
    ({"type": "stream.subscribe", "stream": "nothing"}, "unknown_stream", None),
    ({"type": "stream.subscribe", "stream": "x" * 5000}, "unknown_stream", None),
    ({"type": "stream.unsubscribe", "stream": "nothing"}, "unknown_stream", None),
    ({"type": "stream.cancel", "stream": "nothing"}, "unknown_stream", None),
    ({"type": "stream.cancel"}, "invalid_field", "stream"),
    ({"type": "stream.create"}, "invalid_field", "request"),
    ({"type": "stream.create", "request": []}, "invalid_field", "request"),
    ({"type": "stream.create", "request": {}}, "invalid_field", "model"),
    ({"type": "stream.create", "request": {"model": "demo"}}, "invalid_field", "messages"),
    ({"type": "stream.create", "request": {"model": "demo", "messages": "hi"}}, "invalid_field", "messages"),
    ({"type": "stream.create", "request": GOOD, "lease": -1}, "invalid_field", "lease"),
    ({"type": "stream.create", "request": GOOD, "lease": "forever"}, "invalid_field", "lease"),
    ({"type": "stream.create", "request": GOOD, "key": 5}, "invalid_field", "key"),
]


@pytest.mark.parametrize("protocol", ["json", "msgpack"])
async def test_every_bad_command(gateway: ServedGateway, protocol: str) -> None:
    client = await session(gateway, **({"protocol": MSGPACK} if protocol == "msgpack" else {}))
    for number, (command, code, param) in enumerate(BAD):
        await client.say({**command, "ref": f"r{number}"})
        error = await client.reply(f"r{number}")
        assert error["type"] == "error", (command, error)
        assert (error["code"], error["param"]) == (code, param), (command, error)
        assert len(error["message"]) > 10, error
        assert len(error["message"]) < 500, error
    assert gateway.now.streams == 0
    assert_whole(await client.rest(await client.create("demo-n3-gap0")))


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("nonsense", "invalid_json"),
        ('{"type":"ping"}{"type":"ping"}', "invalid_json"),
        ("[" * 10_000, "invalid_request"),
        ('{"type":"stream.create","request":' + '{"a":' * 3000, "invalid_json"),
        ('{"type":"ping","ref":"\\ud800"}', "invalid_json"),
        ("null", "invalid_request"),
        ("[1]", "invalid_request"),
        ('"ping"', "invalid_request"),
        ('{"type":"ping","ref":1.5}', "invalid_field"),
        ('{"type":"ping","ref":[1]}', "invalid_field"),
        ('{"type":"ping","ref":true}', "invalid_field"),
        ('{"type":"ping","ref":' + "9" * 5000 + "}", "invalid_field"),
    ],
)
async def test_texts_that_are_no_commands(harmed: ServedGateway, message: str, code: str) -> None:
    client = await session(harmed)
    await client.socket.send(TEXT, message)
    error = await client.reply(None)
    assert (error["type"], error["code"]) == ("error", code), error
    assert (await client.ask("ping"))["type"] == "ok"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",  # an array of four thousand million
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\x01\x00\x00\x00" * 1000,
        b"\x81\xa4type\xa4pin\xff",
        b"\x81\xa4type\xa4ping\x00",
        b"\x82\xa4type\xadstream.create\xa7request" + b"\x81\xa1a" * 5000,
        b"\x81\x81\x01\x02\x03",  # a map as a key
        b"\x82\xa4type\xa4ping\xa3ref\xc7\x05\xff12345",  # a broken timestamp
        msgpack.packb([1]),
        msgpack.packb({1: 2}),
        msgpack.packb({"type": "ping", "ref": 1.5}),
        msgpack.packb({"type": "ping", "ref": b"bytes"}),
    ],
)
async def test_bytes_that_are_no_commands(harmed: ServedGateway, message: bytes) -> None:
    client = await session(harmed, protocol=MSGPACK)
    await client.socket.send(BINARY, message)
    error = await client.reply(None)
    assert error["type"] == "error"
    assert error["code"] in ("invalid_request", "invalid_field"), error
    assert (await client.ask("ping"))["type"] == "ok"


@pytest.mark.parametrize("value", [msgpack.ExtType(5, b"x"), {(1, 2): 3}])
async def test_messagepack_that_json_cannot_say(gateway: ServedGateway, value: Any) -> None:
    """Providers are asked in JSON: what has no form there is the client's mistake, and not ours."""
    client = await session(gateway, protocol=MSGPACK)
    error = await client.refused("stream.create", request={**GOOD, "x": value})
    assert (error["code"], error["param"]) == ("invalid_field", "request")
    assert gateway.now.streams == 0


async def test_binary_on_the_json_subprotocol(gateway: ServedGateway) -> None:
    client = await session(gateway)
    await client.socket.send(BINARY, json.dumps({"type": "ping", "ref": 1}).encode())
    error = await client.reply(1)
    assert error["type"] == "error"
    assert "text" in error["message"]
    assert (await client.ask("ping"))["type"] == "ok"


async def test_text_on_the_messagepack_subprotocol(gateway: ServedGateway) -> None:
    client = await session(gateway, protocol=MSGPACK)
    await client.socket.send(TEXT, '{"type":"ping","ref":1}')
    error = await client.reply(None)
    assert error["type"] == "error"
    assert "binary" in error["message"]
    assert (await client.ask("ping"))["type"] == "ok"


@pytest.mark.parametrize("ref", [0, -1, 2**63, 10**40, "", "ä🎉", "x" * 10_000, None])
async def test_any_ref_comes_back(gateway: ServedGateway, ref: Any) -> None:
    client = await session(gateway)
    await client.say({"type": "ping", "ref": ref})
    assert await client.reply(ref) == {"type": "ok", "ref": ref}
    await client.say({"type": "nothing", "ref": ref})
    assert (await client.reply(ref))["type"] == "error"


async def test_without_a_ref(gateway: ServedGateway) -> None:
    client = await session(gateway)
    await client.socket.send(TEXT, '{"type":"ping"}')
    assert await client.reply(None) == {"type": "ok", "ref": None}


async def test_every_command_has_one_reply_in_order(gateway: ServedGateway) -> None:
    client = await session(gateway)
    for number in range(100):
        await client.say({"type": "ping" if number % 3 else "nothing", "ref": number})
    assert [(await client.receive())["ref"] for _ in range(100)] == list(range(100))


async def test_subscribed_already(gateway: ServedGateway) -> None:
    client = await session(gateway)
    stream = await client.create("demo-n5-stall2")
    error = await client.refused("stream.subscribe", stream=stream)
    assert (error["code"], error["param"]) == ("invalid_request", "stream")
    assert gateway.now.subscriptions == 1


async def test_not_subscribed(gateway: ServedGateway) -> None:
    client, other = await session(gateway), await session(gateway)
    stream = await client.create("demo-n5-stall2")
    error = await other.refused("stream.unsubscribe", stream=stream)
    assert (error["code"], error["param"]) == ("invalid_request", "stream")
    assert gateway.now.subscriptions == 1


async def test_a_provider_that_refuses_is_an_event(gateway: ServedGateway) -> None:
    """The command was good; what became of it stands in the stream."""
    client = await session(gateway)
    stream = await client.create("no-such-model")
    (failed,) = (await client.rest(stream))[-1:]
    assert failed["event"]["type"] == "stream.failed"


async def test_an_unknown_model(serve: Serve) -> None:
    """With no route for it: the command is refused."""
    gateway = await serve(**{'routes."*"': {"targets": [{"provider": "demo", "model": "demo"}]}})
    client: SessionClient = await session(gateway)
    error = await client.refused("stream.create", request={**GOOD, "model": ""})
    assert error["param"] == "model"
