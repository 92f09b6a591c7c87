"""Two thousand sockets come at once, half of them vanish without a word: nothing of them stays."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from stream_gateway.config import StreamSettings
from stream_protocols.events import StreamFinished, TextDelta
from tests.doubles.gate import Gate
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve
from tests.doubles.sockets.memory import socket_rig, wire_of
from tests.doubles.sockets.session_client import SessionClient, session, text
from tests.doubles.waiting import until

SOCKETS = 2000
AT_ONCE = 200
"""Clients that connect at the same time: each needs two file descriptors here, where both ends are."""


@pytest.mark.deadline(100_000)
async def test_a_storm_on_the_tests_clock(autojump_clock: trio.testing.MockClock) -> None:
    """With the default settings: who never answers is gone after 40 s, and who answers stays."""
    async with socket_rig(StreamSettings(lease=1.0)) as rig:
        await trio.testing.wait_all_tasks_blocked()
        baseline = trio.lowlevel.current_statistics().tasks_living
        streams = [rig.stream() for _ in range(20)]
        clients = [await rig.connect(binary=number % 2 == 1) for number in range(SOCKETS)]
        for number, client in enumerate(clients):
            await client.send("stream.subscribe", stream=streams[number % 20].id)
        await trio.testing.wait_all_tasks_blocked()
        assert (len(rig.sockets), rig.registry.subscriptions) == (SOCKETS, SOCKETS)
        there, gone = clients[::2], clients[1::2]
        texts: list[str] = []
        async with trio.open_nursery() as nursery:
            for number, client in enumerate(there):
                nursery.start_soon(follow, client, streams[2 * number % 20].id, texts)
            for _ in range(30):
                await trio.sleep(5)
                for stream in streams:
                    stream.extend([(TextDelta("word "), None)])
            assert (len(rig.sockets), rig.registry.subscriptions) == (SOCKETS / 2, SOCKETS / 2)
            assert all(wire_of(client.socket).aborted for client in gone)
            for stream in streams:
                stream.extend([(StreamFinished("stop"), None)])
        assert texts == ["word " * 30] * len(there)
        await trio.testing.wait_all_tasks_blocked()
        assert (len(rig.sockets), rig.registry.subscriptions) == (0, 0)
        assert trio.lowlevel.current_statistics().tasks_living == baseline


async def follow(client: SessionClient, stream: str, texts: list[str]) -> None:
    """Read a stream to its end, answering pings; then close as clients do."""
    texts.append(text(await client.rest(stream)))
    await client.socket.close()


@pytest.mark.deadline(120)
async def test_a_storm_over_real_connections(serve: Serve, upstream: OpenAIServer, nursery: trio.Nursery) -> None:
    """Through the kernel, with short pings: the vanished keep their connections open and never read again."""
    gateway = await serve(sockets={"ping_interval": 2.0, "pong_timeout": 3.0}, server={"backlog": 4096})
    upstream.scripts["m"] = script = Script(deltas=words(20), gate=(gate := Gate(5)))
    creator = await session(gateway)
    stream = await creator.create("m", lease=60)
    await creator.take(stream, 5)
    baseline = trio.lowlevel.current_statistics().tasks_living
    there: list[str] = []
    came = trio.CapacityLimiter(AT_ONCE)
    subscribed = 0

    async def one(number: int) -> None:
        nonlocal subscribed
        async with came:
            client = await session(gateway)
            await client.subscribe(stream)
        subscribed += 1
        if number % 2:
            return  # and never to be heard of again
        there.append(text(await client.rest(stream)))
        await client.socket.close()

    async with trio.open_nursery() as storm:
        storm.start_soon(keep_reading, creator, storm.cancel_scope)
        async with trio.open_nursery() as clients:
            for number in range(SOCKETS):
                clients.start_soon(one, number)
            await until(lambda: subscribed == SOCKETS, within=60)
            await until(lambda: gateway.now.sockets == SOCKETS / 2 + 1, within=60)
            assert gateway.now.subscriptions == SOCKETS / 2 + 1
            gate.open()
        await until(lambda: gateway.now.sockets == 1, within=30)
        storm.cancel_scope.cancel()
    assert there == [script.text] * (SOCKETS // 2)
    await until(lambda: gateway.now.subscriptions == 0)
    await until(lambda: trio.lowlevel.current_statistics().tasks_living <= baseline)
    assert (await creator.ask("ping"))["type"] == "ok"


async def keep_reading(client: SessionClient, scope: trio.CancelScope) -> None:
    """Answer pings until cancelled; a socket that closes meanwhile is a failure."""
    while not scope.cancel_called:
        await client.receive()


@pytest.mark.deadline(60)
async def test_a_storm_that_resets(serve: Serve) -> None:
    """Five hundred connect, ask for something, and are gone at any moment of it."""
    gateway = await serve()

    async def one(number: int) -> None:
        client = await session(gateway)
        if number % 5:
            await client.send("stream.create", request=DEMO, lease=0)
            for _ in range(number % 7):
                await client.receive()
        await client.socket.line.reset()  # type: ignore[attr-defined]

    limit = trio.CapacityLimiter(100)

    async def limited(number: int) -> None:
        async with limit:
            await one(number)

    async with trio.open_nursery() as nursery:
        for number in range(500):
            nursery.start_soon(limited, number)
    await until(lambda: not any(gateway.busy.values()))
    assert gateway.now.sockets == 0


DEMO = {"model": "demo-n50-gap2", "messages": [{"role": "user", "content": "hello"}]}
