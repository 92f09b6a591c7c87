"""Several sockets on one stream, one stream for several creates, and who keeps a stream alive."""

from __future__ import annotations

import dataclasses

import pytest
import trio

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import MESSAGES, STREAMS, native_text
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Connection
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sockets.raw_socket import JSON, MSGPACK
from tests.doubles.sockets.served import service_of
from tests.doubles.sockets.session_client import SessionClient, assert_whole, session, text, types
from tests.doubles.waiting import until

SCRIPT = Script(deltas=words(30))


def gated(upstream: OpenAIServer, model: str = "m") -> Gate:
    gate = Gate()
    upstream.scripts[model] = dataclasses.replace(SCRIPT, gate=gate)
    return gate


def request(model: str) -> dict[str, object]:
    return {"model": model, "messages": MESSAGES}


# ---- many subscribers


async def test_everybody_gets_everything(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Whenever they came, in whichever encoding, compressed or not; and the provider was asked once."""
    gate = gated(upstream)
    creator = await session(gateway)
    stream = await creator.create("m", lease=60)
    clients = [creator]
    ways = [(JSON, None), (MSGPACK, None), (JSON, "permessage-deflate"), (MSGPACK, "permessage-deflate")]
    for number in range(24):
        gate.release(1)
        protocol, extensions = ways[number % len(ways)]
        client = await session(gateway, protocol=protocol, extensions=extensions)
        await client.subscribe(stream)
        clients.append(client)
    assert gateway.now.subscriptions == len(clients)
    gate.open()
    everything = [await client.rest(stream) for client in clients]
    assert all(pushes == everything[0] for pushes in everything)
    assert text(everything[0]) == SCRIPT.text
    assert_whole(everything[0])
    assert len(upstream.exchanges) == 1
    assert gateway.now.subscriptions == 0


async def test_one_that_leaves_is_not_missed(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    gate = gated(upstream)
    first, second, third = [await session(gateway) for _ in range(3)]
    stream = await first.create("m", lease=0)
    await second.subscribe(stream)
    await third.subscribe(stream)
    gate.release(10)
    await second.take(stream, 10)
    assert isinstance(first.socket.line, Connection)
    await first.socket.line.reset()
    assert (await third.ask("stream.unsubscribe", stream=stream))["type"] == "ok"
    await until(lambda: gateway.now.subscriptions == 1)
    gate.open()
    rest = await second.rest(stream)
    assert types(rest)[-1] == "stream.finished"
    assert (await third.ask("ping"))["type"] == "ok"
    assert third.waiting(stream) <= 11, "it was sent what it had unsubscribed from"


async def test_a_socket_beside_a_body(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    gate = gated(upstream)
    client = await session(gateway)
    stream = await client.create("m", lease=60)
    events = (await gateway.subscribe(stream)).events()
    gate.open()
    assert native_text(await events.rest()) == text(await client.rest(stream)) == SCRIPT.text


async def test_unsubscribed_and_subscribed_again(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    gate = gated(upstream)
    client = await session(gateway)
    stream = await client.create("m", lease=60)
    gate.release(10)
    seen = await client.take(stream, 11)
    assert (await client.ask("stream.unsubscribe", stream=stream))["type"] == "ok"
    gate.release(10)
    await client.subscribe(stream, seen[-1]["id"])
    gate.open()
    seen += await client.rest(stream)
    assert text(seen) == SCRIPT.text
    assert_whole(seen)


# ---- one stream for several creates


async def test_a_create_with_a_key_twice(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """The reply to the first was lost with its socket; the second finds the stream, and nobody pays twice."""
    gate = gated(upstream)
    first = await session(gateway)
    await first.send("stream.create", request=request("m"), key="order-1", lease=60)
    await upstream.next_exchange()
    assert isinstance(first.socket.line, Connection)
    await first.socket.line.reset()
    gate.release(10)
    second = await session(gateway, protocol=MSGPACK)
    stream = await second.create("m", key="order-1", lease=60)
    gate.open()
    pushes = await second.rest(stream)
    assert text(pushes) == SCRIPT.text
    assert_whole(pushes)
    assert len(upstream.exchanges) == 1
    assert gateway.now.streams == 1


async def test_a_key_for_another_request(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Giving back the answer to another question would be worse than any error."""
    upstream.scripts["m"] = SCRIPT
    client = await session(gateway)
    stream = await client.create("m", key="k")
    other = {"model": "m", "messages": [{"role": "user", "content": "something else"}]}
    error = await client.refused("stream.create", request=other, key="k")
    assert (error["code"], error["param"]) == ("key_conflict", "key")
    assert_whole(await client.rest(stream))
    assert gateway.now.streams == 1


async def test_creates_with_one_key_at_once(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = SCRIPT
    clients = [await session(gateway) for _ in range(20)]
    streams = []

    async def create(client: SessionClient) -> None:
        streams.append(await client.create("m", key="k", lease=60))

    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(create, client)
    assert len(streams) == 20
    assert len(set(streams)) == 1
    for client in clients:
        assert text(await client.rest(streams[0])) == SCRIPT.text
    assert len(upstream.exchanges) == 1


async def test_a_key_after_the_end(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = SCRIPT
    client = await session(gateway)
    stream = await client.create("m", key="k")
    whole = await client.rest(stream)
    assert await client.create("m", key="k") == stream
    assert await client.rest(stream) == whole
    assert len(upstream.exchanges) == 1


async def test_other_keys_are_other_streams(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = SCRIPT
    client = await session(gateway)
    streams = [await client.create("m", key=key) for key in ("a", "b", "A", "ä", "x" * 128)]
    streams += [await client.create("m"), await client.create("m")]
    assert len(set(streams)) == 7


async def test_a_key_is_as_old_as_its_stream(serve: Serve, upstream: OpenAIServer) -> None:
    gateway = await serve(streams={"retain_for": 0.05})
    upstream.scripts["m"] = SCRIPT
    client = await session(gateway)
    stream = await client.create("m", key="k")
    await client.rest(stream)
    await until(lambda: gateway.now.streams == 0)
    assert await client.create("m", key="k") != stream
    for _ in range(2):
        await upstream.next_exchange()


@pytest.mark.parametrize("key", ["", "x" * 129])
async def test_keys_that_are_none(gateway: ServedGateway, key: str) -> None:
    client = await session(gateway)
    error = await client.refused("stream.create", request=request("demo-n1-gap0"), key=key)
    assert (error["code"], error["param"]) == ("invalid_field", "key")
    assert gateway.now.streams == 0


async def test_a_refused_create_leaves_its_key_free(gateway: ServedGateway) -> None:
    client = await session(gateway)
    await client.refused("stream.create", request={"model": "demo-n1-gap0"}, key="k")
    await client.refused("stream.create", request=request("demo-n1-gap0"), key="k", lease=-1)
    assert await client.create("demo-n1-gap0", key="k")


async def test_a_key_of_a_stream_already_here(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    gated(upstream)
    client = await session(gateway)
    stream = await client.create("m", key="k")
    error = await client.refused("stream.create", request=request("m"), key="k")
    assert error["param"] == "key"
    assert stream in error["message"]
    assert gateway.now.subscriptions == 1


# ---- leases


async def test_the_lease_begins_when_the_socket_goes(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """One at once, one never, for all the streams of the socket."""
    for model in ("cut", "kept"):
        gated(upstream, model)
    client = await session(gateway)
    cut, kept = await client.create("cut", lease=0), await client.create("kept", lease="finish")
    exchanges = {
        exchange.request.json["model"]: exchange for exchange in [await upstream.next_exchange() for _ in range(2)]
    }
    assert isinstance(client.socket.line, Connection)
    await client.socket.line.reset()
    await exchanges["cut"].left.wait()
    assert (await gateway.status(cut))["status"] == "cancelled"
    assert (await gateway.status(kept))["status"] == "running"
    assert not exchanges["kept"].ended.is_set()
    assert gateway.now.subscriptions == 0


@pytest.mark.parametrize("answers", [True, False])
async def test_the_lease_begins_with_the_close_frame(serve: Serve, upstream: OpenAIServer, answers: bool) -> None:
    """And not when the peer is done with closing: it could take its time, at the provider's cost."""
    gateway = await serve(sockets={"close_timeout": 15.0})
    gated(upstream)
    client = await session(gateway)
    await client.create("m", lease=0)
    exchange = await upstream.next_exchange()
    if answers:
        await client.socket.send(0x8, (1000).to_bytes(2, "big"))
    else:
        service_of(gateway).drain()
    await exchange.left.wait()
    assert gateway.now.sockets == 1, "it was over before"


async def test_a_lease_of_seconds(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    gated(upstream)
    client = await session(gateway)
    stream = await client.create("m", lease=0.05)
    exchange = await upstream.next_exchange()
    await client.take(stream, 1)
    await client.socket.close()
    await exchange.left.wait()
    again = await session(gateway)
    await again.subscribe(stream)
    assert (await again.rest(stream))[-1]["event"] == {"type": "stream.cancelled", "reason": "lease"}


async def test_unsubscribing_begins_the_lease_too(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    gated(upstream)
    client = await session(gateway)
    stream = await client.create("m", lease=0)
    exchange = await upstream.next_exchange()
    assert (await client.ask("stream.unsubscribe", stream=stream))["type"] == "ok"
    await exchange.left.wait()


async def test_coming_back_ends_the_lease(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    gate = gated(upstream)
    client = await session(gateway)
    stream = await client.create("m", lease=60)
    await client.socket.close()
    await until(lambda: gateway.now.subscriptions == 0)
    client = await session(gateway)
    await client.subscribe(stream)
    gate.open()
    assert text(await client.rest(stream)) == SCRIPT.text


async def test_the_lease_in_the_request_and_the_command(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Either place will do; the command's wins."""
    gated(upstream)
    client = await session(gateway)
    in_request = {**request("m"), "lease": 0}
    await client.ask("stream.create", request=in_request)
    await client.ask("stream.create", request=in_request, lease="finish")
    first, second = [await upstream.next_exchange() for _ in range(2)]
    await client.socket.close()
    await first.left.wait()
    await until(lambda: gateway.now.sockets == 0)
    assert not second.ended.is_set()
    assert "lease" not in second.request.json


async def test_cancelling(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """From any socket; every subscriber hears it as the stream's end."""
    gate = gated(upstream)
    client, other = await session(gateway), await session(gateway)
    stream = await client.create("m", lease="finish")
    exchange = await upstream.next_exchange()
    gate.release(5)
    await client.take(stream, 5)
    assert (await other.ask("stream.cancel", stream=stream))["type"] == "ok"
    rest = await client.rest(stream)
    assert rest[-1]["event"] == {"type": "stream.cancelled", "reason": "client"}
    await exchange.left.wait()
    assert (await other.ask("stream.cancel", stream=stream))["type"] == "ok", "again, which changes nothing"
    assert (await gateway.request("GET", f"{STREAMS}/{stream}")).status == 200
