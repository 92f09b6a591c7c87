"""permessage-deflate (RFC 7692): what is agreed for each offer, and that both sides then understand each other."""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import pytest

from tests.doubles.gate import Gate
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sockets.frames import CONTINUATION, PING, RSV1, TEXT
from tests.doubles.sockets.libraries import by_websockets
from tests.doubles.sockets.raw_socket import JSON, MSGPACK, RawSocket, raw_socket, shake
from tests.doubles.sockets.session_client import SessionClient, assert_whole, session, text

Parameters = dict[str, str | None]

OFFERS: list[tuple[str | None, Parameters | None]] = [
    (None, None),
    ("permessage-deflate", {}),
    ("permessage-deflate; client_max_window_bits", {"client_max_window_bits": "15"}),
    ("permessage-deflate; client_max_window_bits=10", {"client_max_window_bits": "10"}),
    ("permessage-deflate; client_max_window_bits=8", {"client_max_window_bits": "8"}),
    ("permessage-deflate; server_no_context_takeover", {"server_no_context_takeover": None}),
    ("permessage-deflate; client_no_context_takeover", {}),
    ("permessage-deflate; server_max_window_bits=15", {"server_max_window_bits": "10"}),
    ("permessage-deflate; server_max_window_bits=9", {"server_max_window_bits": "9"}),
    ('permessage-deflate; server_max_window_bits="9"', {"server_max_window_bits": "9"}),
    ("PERMESSAGE-DEFLATE", {}),
    ("  permessage-deflate  ;  server_no_context_takeover  ", {"server_no_context_takeover": None}),
    (
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
        "server_max_window_bits=9; client_max_window_bits=9",
        {"server_no_context_takeover": None, "server_max_window_bits": "9", "client_max_window_bits": "9"},
    ),
    # What cannot be met, or is wrong, is declined (section 7.1): there is no error for it.
    ("permessage-deflate; server_max_window_bits=8", None),
    ("permessage-deflate; server_max_window_bits=16", None),
    ("permessage-deflate; server_max_window_bits=7", None),
    ("permessage-deflate; server_max_window_bits=010", None),
    ("permessage-deflate; server_max_window_bits=+9", None),
    ("permessage-deflate; server_max_window_bits", None),
    ("permessage-deflate; server_max_window_bits=", None),
    ("permessage-deflate; client_max_window_bits=7", None),
    ("permessage-deflate; client_max_window_bits=16", None),
    ("permessage-deflate; client_max_window_bits=x", None),
    ("permessage-deflate; server_no_context_takeover=1", None),
    ("permessage-deflate; client_no_context_takeover=true", None),
    ("permessage-deflate; unknown", None),
    ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
    ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=10", None),
    ("permessage-deflate;", None),
    ("x-webkit-deflate-frame", None),
    ("permessage-bzip2", None),
    ("", None),
    (",", None),
    # The first that can be met is taken (section 5.1).
    ("permessage-deflate; server_max_window_bits=8, permessage-deflate", {}),
    (
        "x-other, permessage-deflate; unknown, permessage-deflate; server_max_window_bits=9, permessage-deflate",
        {"server_max_window_bits": "9"},
    ),
    (", ".join(["permessage-deflate; unknown"] * 300), None),
]


def parameters(extension: str) -> Parameters:
    name, *parts = (part.strip() for part in extension.split(";"))
    assert name == "permessage-deflate"
    pairs = [part.partition("=") for part in parts]
    assert len({key for key, _, _ in pairs}) == len(pairs), "a parameter stands there twice"
    return {key: value if equals else None for key, equals, value in pairs}


@pytest.mark.parametrize(("offer", "agreed"), OFFERS, ids=[str(offer)[:60] for offer, _ in OFFERS])
async def test_offers(gateway: ServedGateway, offer: str | None, agreed: Parameters | None) -> None:
    """Whatever is agreed, the socket works; a client may not be given what it did not offer."""
    response = await shake(gateway, extensions=offer)
    assert response.status == 101
    answer = response.head.get("sec-websocket-extensions")
    if agreed is None:
        assert answer is None
    else:
        assert answer is not None
        found = parameters(answer)
        # Every client has to accept these two (sections 7.1.1.2 and 7.1.2.1), offered or not.
        assert found.pop("client_no_context_takeover", None) is None
        assert int(found.setdefault("server_max_window_bits", "15") or 0) in range(9, 11)
        assert found == {"server_max_window_bits": "10", **agreed}
    client = SessionClient(RawSocket(response.connection, context="server_no_context" not in (answer or "")))
    stream = await client.create("demo-n20-gap0")
    assert_whole(await client.rest(stream))
    assert bool(client.socket.compressed) is (agreed is not None)


@pytest.mark.parametrize("mode", ["context", "shared", "off"])
async def test_modes(serve: Serve, mode: str) -> None:
    gateway = await serve(sockets={"compression": mode})
    response = await shake(gateway, extensions="permessage-deflate; client_max_window_bits")
    answer = response.head.get("sec-websocket-extensions")
    if mode == "off":
        assert answer is None
        return
    assert answer is not None
    assert ("server_no_context_takeover" in parameters(answer)) is (mode == "shared")
    client = SessionClient(RawSocket(response.connection, context=mode == "context"))
    assert_whole(await client.rest(await client.create("demo-n20-gap0")))


BITS = [None, *range(9, 16)]
SETTINGS: list[dict[str, Any]] = [
    {"server_no_context_takeover": no_context, "client_no_context_takeover": not_ours, "server_max_window_bits": bits}
    for no_context, not_ours, bits in itertools.product((False, True), (False, True), (None, 9, 12, 15))
] + [{"server_max_window_bits": bits, "client_max_window_bits": bits or True} for bits in BITS]


@pytest.mark.parametrize("mode", ["context", "shared"])
async def test_a_library_with_all_parameters(serve: Serve, mode: str) -> None:
    """`websockets` checks what is agreed, and inflates with just the window that was."""
    gateway = await serve(sockets={"compression": mode})
    whole = None
    for settings in SETTINGS:
        async with by_websockets(gateway, JSON, deflate=settings) as socket:
            assert [extension.name for extension in socket.connection.protocol.extensions] == ["permessage-deflate"]
            client = SessionClient(socket)
            long = await client.ask("ping", note="x" * 500)
            assert long["type"] == "error"
            pushes = await client.rest(await client.create("demo-n60-gap0"))
            assert_whole(pushes)
            whole = whole or text(pushes)
            assert text(pushes) == whole, settings


@pytest.mark.parametrize("protocol", [JSON, MSGPACK])
@pytest.mark.parametrize("mode", ["context", "shared"])
async def test_it_saves(serve: Serve, upstream: OpenAIServer, mode: str, protocol: str) -> None:
    """Most of an event is its envelope, which is like the one before it; on its own each event has less to save."""
    gateway = await serve(sockets={"compression": mode})
    upstream.scripts["m"] = Script(deltas=words(300))
    stream = (await gateway.create("m", lease="finish"))["id"]
    sizes = {}
    for extensions in (None, "permessage-deflate"):
        client = await session(gateway, protocol=protocol, extensions=extensions)
        received = 0
        receive = client.socket.line.receive

        async def count(receive: Any = receive, client: Any = client) -> bool:
            nonlocal received
            before = len(client.socket.line.unread)
            more = bool(await receive())
            received += len(client.socket.line.unread) - before
            return more

        client.socket.line.receive = count  # type: ignore[method-assign]
        await client.subscribe(stream)
        await client.rest(stream)
        sizes[extensions] = received
    saved = 1 - sizes["permessage-deflate"] / sizes[None]
    assert saved > (0.6 if mode == "context" else 0.05), sizes


async def test_small_messages_are_left_alone(gateway: ServedGateway) -> None:
    client = await session(gateway, extensions="permessage-deflate")
    assert (await client.ask("ping"))["type"] == "ok"
    assert client.socket.compressed == 0
    assert (await client.refused("stream.subscribe", stream="nothing"))["code"] == "unknown_stream"
    assert client.socket.compressed == 1


async def test_contexts_are_each_sockets_own(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Sockets that came at different moments, with different windows, see the same events in bytes of their own."""
    upstream.scripts["m"] = script = Script(deltas=words(60), gate=(gate := Gate()))
    offers = [None, "permessage-deflate", "permessage-deflate; server_no_context_takeover"]
    offers += [f"permessage-deflate; server_max_window_bits={bits}" for bits in (9, 10)]
    offers += [f"{offer}; server_no_context_takeover" for offer in offers[3:]]
    stream = (await gateway.create("m", lease=60))["id"]
    clients = []
    for number in range(28):
        client = await session(gateway, extensions=offers[number % 7], protocol=(JSON, MSGPACK)[number % 2])
        await client.subscribe(stream)
        clients.append(client)
        gate.release(2)
    gate.open()
    for client in clients:
        assert text(await client.rest(stream)) == script.text


# ---- what clients send


def deflated(compressor: Any, data: bytes) -> bytes:
    return bytes(compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize("bits", range(9, 16))
async def test_what_clients_compress(gateway: ServedGateway, bits: int) -> None:
    """With any window, at any level, in any number of frames, and control frames between them."""
    socket = await raw_socket(gateway, extensions=f"permessage-deflate; client_max_window_bits={bits}")
    client = SessionClient(socket)
    for level in (0, 1, 9):
        ref = f"{bits}-{level}-" + "abc" * 1000
        message = f'{{"type":"ping","ref":"{ref}"}}'.encode()
        data = deflated(zlib.compressobj(level, zlib.DEFLATED, -bits), message)
        await socket.send(TEXT, data, rsv=RSV1)
        assert (await client.reply(ref))["type"] == "ok"
        pieces = [data[at : at + 7] for at in range(0, len(data), 7)]
        for index, piece in enumerate(pieces):
            first, last = index == 0, index == len(pieces) - 1
            await socket.send(TEXT if first else CONTINUATION, piece, rsv=RSV1 if first else 0, fin=last)
            await socket.send(PING, b"between")
        assert (await client.reply(ref))["type"] == "ok"


async def test_not_every_message_need_be_compressed(gateway: ServedGateway) -> None:
    """Section 6: each message says so by itself."""
    socket = await raw_socket(gateway, extensions="permessage-deflate")
    client = SessionClient(socket)
    for number in range(10):
        message = f'{{"type":"ping","ref":{number}}}'.encode()
        if number % 2:
            compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
            await socket.send(TEXT, deflated(compressor, message), rsv=RSV1)
        else:
            await socket.send(TEXT, message)
        assert (await client.reply(number))["type"] == "ok"


async def test_a_client_may_not_build_on_earlier_messages(gateway: ServedGateway) -> None:
    """It was told `client_no_context_takeover`: what refers to an earlier message cannot be inflated."""
    response = await shake(gateway, extensions="permessage-deflate")
    assert "client_no_context_takeover" in parameters(response.head["sec-websocket-extensions"])
    socket = RawSocket(response.connection)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    message = b'{"type":"ping","ref":"' + bytes(range(97, 123)) * 4 + b'"}'
    await socket.send(TEXT, deflated(compressor, message), rsv=RSV1)
    await socket.message()
    await socket.offer(b"")
    await socket.send(TEXT, deflated(compressor, message), rsv=RSV1)
    assert (await socket.closed()).code == 1007


async def test_an_empty_message(gateway: ServedGateway) -> None:
    """Section 7.2.3.6: one byte of zero is nothing, compressed."""
    client = await session(gateway, extensions="permessage-deflate")
    await client.socket.send(TEXT, b"\x00", rsv=RSV1)
    assert (await client.reply(None))["code"] == "invalid_json"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("one block", bytes.fromhex("f248cdc9c90700")),
        ("no compression", bytes.fromhex("000500faff48656c6c6f00")),
        ("the last block marked", bytes.fromhex("f348cdc9c9070000")),
        ("two blocks", bytes.fromhex("f248050000 00ffffcac9c90700".replace(" ", ""))),
    ],
)
async def test_the_examples_of_the_standard(gateway: ServedGateway, name: str, data: bytes) -> None:
    """Section 7.2.3: all of them say `Hello`, which is no JSON."""
    client = await session(gateway, extensions="permessage-deflate")
    await client.socket.send(TEXT, data, rsv=RSV1)
    error = await client.reply(None)
    await client.socket.send(TEXT, b"Hello")
    assert (await client.reply(None)) == error, name
