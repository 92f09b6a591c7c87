"""One socket with a hundred streams: each in order and whole, and none at another's expense."""

from __future__ import annotations

import random

import pytest
import trio.testing

from stream_gateway.server.sockets.socket import PIECE_BYTES
from stream_gateway.streams.stream import Stream
from stream_protocols.events import StreamFinished, TextDelta
from tests.doubles.gate import Gate
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sockets.frames import PING
from tests.doubles.sockets.memory import socket_rig, wire_of
from tests.doubles.sockets.raw_socket import JSON, MSGPACK
from tests.doubles.sockets.session_client import assert_whole, session, text, types
from tests.doubles.waiting import until

STREAMS = 100
ROUNDS = 40


@pytest.mark.parametrize(
    ("protocol", "extensions"),
    [(JSON, None), (MSGPACK, None), (JSON, "permessage-deflate"), (MSGPACK, "permessage-deflate")],
)
async def test_a_hundred_at_different_speeds(
    upstream: OpenAIServer, gateway: ServedGateway, protocol: str, extensions: str | None
) -> None:
    """Each goes on at its own moments, by one delta or by many; a rendering that mixed them up would show."""
    chance = random.Random(4)
    gates, streams = {}, {}
    client = await session(gateway, protocol=protocol, extensions=extensions)
    for number in range(STREAMS):
        deltas = tuple(f"s{number}-{word}" for word in words(chance.randint(1, 60)))
        upstream.scripts[f"m{number}"] = Script(deltas=deltas, gate=(gate := Gate()))
        stream = await client.create(f"m{number}", lease="finish")
        gates[stream], streams[stream] = gate, "".join(deltas)
    for _ in range(ROUNDS):
        for stream in chance.sample(sorted(gates), 25):
            gates[stream].release(chance.choice((1, 1, 2, 10)))
        assert (await client.ask("ping"))["type"] == "ok"
    for gate in gates.values():
        gate.open()
    for stream, whole in streams.items():
        pushes = await client.rest(stream)
        assert text(pushes) == whole
        assert_whole(pushes)
    await until(lambda: gateway.now.subscriptions == 0)


async def test_demo_streams_at_full_speed(gateway: ServedGateway) -> None:
    """Nothing is stepped: a hundred producers with gaps from 0 to 4 ms, and commands in between."""
    client = await session(gateway)
    streams = [await client.create(f"demo-n60-gap{number % 5}", lease="finish") for number in range(STREAMS)]
    texts = set()
    for stream in streams:
        assert (await client.ask("ping"))["type"] == "ok"
        pushes = await client.rest(stream)
        assert_whole(pushes)
        texts.add(text(pushes))
    assert len(texts) == 1, "the demo's text is a function of the request, and that was the same"


async def test_coming_back_with_all_of_them(serve: Serve) -> None:
    """A client that lost its socket subscribes to everything again, at once: that is no flood."""
    gateway = await serve(sockets={"streams": 300, "commands_per_second": 10.0})
    streams = [(await gateway.create("demo-n3-gap0", lease="finish"))["id"] for _ in range(300)]
    client = await session(gateway)
    refs = [await client.send("stream.subscribe", stream=stream) for stream in streams]
    for ref in refs:
        assert (await client.reply(ref))["type"] == "stream.subscribed"
    for stream in streams:
        assert_whole(await client.rest(stream))


# ---- fairness, counted in bytes and turns and not in time


@pytest.mark.deadline(100_000)
async def test_a_burst_does_not_starve_another(autojump_clock: trio.testing.MockClock) -> None:
    """Ten streams have bursts waiting on a socket that takes little; a word of an eleventh comes within a round."""
    async with socket_rig(pong_timeout=1000.0) as rig:
        client = await rig.connect()
        wire = wire_of(client.socket)
        bursts, quiet = [rig.stream() for _ in range(10)], rig.stream()
        for stream in (*bursts, quiet):
            await client.subscribe(stream.id)
            await client.take(stream.id, 1)
        wire.take(0)
        for stream in bursts:
            burst(stream)
        quiet.extend([(TextDelta("word"), None)])
        received = 0
        while not client.waiting(quiet.id):
            wire.take(1000)
            await trio.testing.wait_all_tasks_blocked()
            received += 1000
            wire.pump()
            while has_frame(wire.unread):
                await client.receive()
        # A piece is measured in the log's bytes, and each event has an envelope on the wire.
        assert received < (len(bursts) + 1) * PIECE_BYTES * 2
        assert sum(client.waiting(stream.id) for stream in bursts) < 10 * 5000 / 10


def burst(stream: Stream) -> None:
    """Five thousand events, as many at a time as come in one read."""
    for _ in range(100):
        stream.extend([(TextDelta("x" * 100), None) for _ in range(50)])


def has_frame(data: bytes) -> bool:
    """Whether a whole frame is there to be read."""
    if len(data) < 4:
        return False
    size = 2 + data[1] if data[1] < 126 else 4 + int.from_bytes(data[2:4], "big")
    return len(data) >= size


@pytest.mark.deadline(100_000)
async def test_replies_come_before_what_waits_of_streams(autojump_clock: trio.testing.MockClock) -> None:
    """A command is answered after the piece under way, however much its socket has to catch up with."""
    async with socket_rig(pong_timeout=1000.0) as rig:
        client = await rig.connect()
        wire = wire_of(client.socket)
        stream = rig.stream()
        await client.subscribe(stream.id)
        wire.take(0)
        burst(stream)
        ref = await client.send("ping")
        await client.socket.send(PING, b"there?")
        await trio.testing.wait_all_tasks_blocked()
        wire.take(None)
        await client.reply(ref)
        assert client.waiting(stream.id) * 100 < 2 * PIECE_BYTES
        assert client.socket.pongs == [] or client.socket.pongs == [b"there?"]
        stream.extend([(StreamFinished("stop"), None)])
        assert len(await client.rest(stream.id)) == 5002
        assert client.socket.pongs == [b"there?"]


async def test_a_burst_over_a_real_connection(serve: Serve, upstream: OpenAIServer) -> None:
    """The same through a kernel, whose buffers come first whatever anybody does."""
    gateway = await serve(server={"send_buffer_bytes": 4096})
    deltas = tuple(word.ljust(1000, ".") for word in words(1000))
    upstream.scripts["burst"] = Script(deltas=deltas)
    upstream.scripts["quiet"] = Script(gate=(gate := Gate()))
    client = await session(gateway, receive_buffer=4096)
    quiet = await client.create("quiet", lease="finish")
    await client.take(quiet, 1)
    burst = await client.create("burst", lease="finish")
    await until(lambda: gateway.now.running == 1)
    gate.release(1)
    await until(lambda: upstream.exchanges[0].steps_sent == 1)
    await client.event(quiet)
    assert client.waiting(burst) < len(deltas) / 4
    gate.open()
    assert types(await client.rest(quiet))[-1] == "stream.finished"
    assert text(await client.rest(burst)) == "".join(deltas)


async def test_only_so_many_streams(serve: Serve) -> None:
    gateway = await serve(sockets={"streams": 3})
    client = await session(gateway)
    streams = [await client.create("demo-n3-stall1") for _ in range(3)]
    request = {"model": "demo-n1-gap0", "messages": [{"role": "user", "content": "x"}]}
    error = await client.refused("stream.create", request=request)
    assert error["code"] == "too_many_requests"
    assert gateway.now.streams == 3, "a stream was made that nobody follows"
    done = (await gateway.create("demo-n1-gap0", lease="finish"))["id"]
    assert (await client.refused("stream.subscribe", stream=done))["code"] == "too_many_requests"
    assert (await client.ask("stream.unsubscribe", stream=streams[0]))["type"] == "ok"
    await client.subscribe(done)
    assert_whole(await client.rest(done))
    await client.subscribe(streams[0])  # the one that ended has made room
