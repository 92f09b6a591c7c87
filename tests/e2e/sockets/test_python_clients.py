"""The clients that Python has: `websockets`, with compression and without, and `trio-websocket`."""

from __future__ import annotations

import pytest
import trio

from tests.doubles.gate import Gate
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sockets.libraries import LIBRARIES, Library, TrioSocket, WebsocketsSocket, by_websockets
from tests.doubles.sockets.raw_socket import JSON, MSGPACK, Closed
from tests.doubles.sockets.served import service_of, socket_of
from tests.doubles.sockets.session_client import SessionClient, assert_whole, text, types
from tests.doubles.waiting import until

libraries = pytest.mark.parametrize("library", LIBRARIES)
protocols = pytest.mark.parametrize("protocol", [None, JSON, MSGPACK])


def client_on(socket: WebsocketsSocket | TrioSocket, protocol: str | None) -> SessionClient:
    assert socket.connection.subprotocol == protocol
    return SessionClient(socket, binary=protocol == MSGPACK)


@libraries
@protocols
async def test_everything_a_client_does(
    upstream: OpenAIServer, gateway: ServedGateway, library: Library, protocol: str | None
) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(50), gate=(gate := Gate()))
    async with library(gateway, protocol) as socket:
        client = client_on(socket, protocol)
        stream = await client.create("m", lease=60)
        gate.release(20)
        seen = await client.take(stream, 20)
        assert (await client.refused("stream.subscribe", stream="nothing"))["code"] == "unknown_stream"
    assert gateway.now.sockets in (0, 1)
    async with library(gateway, protocol) as socket:
        client = client_on(socket, protocol)
        await client.subscribe(stream, seen[-1]["id"])
        other = await client.create("demo-n30-gap0")
        gate.open()
        seen += await client.rest(stream)
        assert text(seen) == script.text
        assert_whole(seen)
        assert_whole(await client.rest(other))
        stalled = await client.create("demo-n5-stall2")
        assert (await client.ask("stream.cancel", stream=stalled))["type"] == "ok"
        assert types(await client.rest(stalled))[-1] == "stream.cancelled"
        unheard = await client.create("demo-n5-stall2")
        assert (await client.ask("stream.unsubscribe", stream=unheard))["type"] == "ok"
        assert (await client.ask("ping"))["type"] == "ok"
    await until(lambda: gateway.now.sockets == 0)


@libraries
async def test_large_and_small_messages(gateway: ServedGateway, library: Library) -> None:
    """In both directions, around each length at which a frame's head changes."""
    async with library(gateway, JSON) as socket:
        client = client_on(socket, JSON)
        for size in (0, 1, 100, 125, 126, 127, 65_535, 65_536, 300_000):
            ref = "ä" * (size // 2)
            await client.say({"type": "ping", "ref": ref})
            assert await client.reply(ref) == {"type": "ok", "ref": ref}


@libraries
async def test_pings_in_both_directions(serve: Serve, library: Library) -> None:
    gateway = await serve(sockets={"ping_interval": 0.05, "commands_per_second": 100_000.0})
    async with library(gateway, JSON) as socket:
        client = client_on(socket, JSON)
        if isinstance(socket, WebsocketsSocket):
            answered = await socket.connection.ping()
            await answered.wait()
        else:
            await socket.connection.ping(b"there?")
        ours = socket_of(gateway)
        while ours.round_trip is None:
            assert (await client.ask("ping"))["type"] == "ok"


@libraries
async def test_closed_by_either_side(gateway: ServedGateway, library: Library) -> None:
    async with library(gateway, JSON) as socket:
        client = client_on(socket, JSON)
        await client.ask("ping")
        service_of(gateway).drain()
        with pytest.raises(Closed) as caught:
            await client.receive()
        assert caught.value.code == 1012
        assert caught.value.reason.startswith("restarting; retry-after=")
    await until(lambda: gateway.now.sockets == 0)


@libraries
async def test_a_close_with_a_code(gateway: ServedGateway, library: Library) -> None:
    async with library(gateway, JSON) as socket:
        await client_on(socket, JSON).ask("ping")
        ours = socket_of(gateway)
        await socket.connection.aclose(4321, "enough")
    await until(lambda: gateway.now.sockets == 0)
    assert ours.reason == "4321 enough"


async def test_the_library_answers_pings_while_it_floods(serve: Serve) -> None:
    """A client that sends at full speed, and its library's own keepalive, which wants its pongs in time."""
    gateway = await serve(sockets={"commands_per_second": 1e6})
    async with by_websockets(gateway, JSON, ping_interval=0.1, ping_timeout=5) as socket:
        client = client_on(socket, JSON)
        for _ in range(20):
            refs = [await client.send("ping") for _ in range(200)]
            for ref in refs:
                assert (await client.reply(ref))["type"] == "ok"


async def test_many_clients_of_a_library(gateway: ServedGateway) -> None:
    """A hundred of them on one stream, compressed, each with a context of its own."""
    texts: list[str] = []
    stream = (await gateway.create("demo-n100-gap2", lease=60))["id"]

    async def one() -> None:
        async with by_websockets(gateway, JSON) as socket:
            client = client_on(socket, JSON)
            await client.subscribe(stream)
            pushes = await client.rest(stream)
            assert_whole(pushes)
            texts.append(text(pushes))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(one)
    assert len(texts) == 100
    assert len(set(texts)) == 1
