"""The gateway goes, and its clients come back: who hears what, and what becomes of their streams."""

from __future__ import annotations

import re

import pytest
import trio
import trio.testing

from stream_gateway.server.sockets.service import COME_BACK_WITHIN
from stream_gateway.server.sockets.socket import State
from stream_protocols.closing import CloseCode, should_reconnect
from stream_protocols.errors import Overloaded
from stream_protocols.events import TextDelta
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import refused
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.sockets.memory import socket_rig, wire_of
from tests.doubles.sockets.raw_socket import CONNECT, handshake
from tests.doubles.sockets.served import service_of
from tests.doubles.sockets.session_client import assert_whole, session, text
from tests.doubles.waiting import until

HINT = re.compile(r"restarting; retry-after=(\d+\.\d+)")


async def test_everybody_is_asked_to_come_back(gateway: ServedGateway) -> None:
    """At moments of their own, so that they do not come all at once."""
    clients = [await session(gateway) for _ in range(50)]
    service_of(gateway).drain()
    waits = []
    for client in clients:
        closed = await client.socket.closed()
        assert closed.code == 1012
        assert should_reconnect(1012)
        match = HINT.fullmatch(closed.reason)
        assert match is not None, closed.reason
        waits.append(float(match[1]))
    assert all(0 <= wait <= COME_BACK_WITHIN for wait in waits)
    assert len(set(waits)) > 20
    await until(lambda: gateway.now.sockets == 0)
    await service_of(gateway).gone()


async def test_the_stream_is_there_when_they_come_back(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Over another protocol here: this process takes no more sockets."""
    upstream.scripts["m"] = script = Script(deltas=words(40), gate=(gate := Gate()))
    client = await session(gateway)
    stream = await client.create("m", lease=60)
    gate.release(20)
    seen = await client.take(stream, 20)
    service_of(gateway).drain()
    await client.socket.closed()
    gate.open()
    events = await (await gateway.subscribe(stream, last=seen[-1]["id"])).events().rest()
    rest = [{"id": event.id, "event": event.json} for event in events]
    assert text(seen + rest) == script.text
    assert_whole(seen + rest)


async def test_who_comes_during_it(gateway: ServedGateway) -> None:
    """On a connection that was open already."""
    connection = await gateway.connect()
    await (await connection.request("GET", "/v1/models")).read()
    service_of(gateway).drain()
    response = await connection.request("GET", CONNECT, headers=handshake())
    assert int(response.head["retry-after"]) > 0
    assert (await refused(response, 503))["code"] == "overloaded"


@pytest.mark.deadline(100_000)
async def test_who_was_about_to_come(autojump_clock: trio.testing.MockClock) -> None:
    """The handshake was accepted, and the socket begins to live after the drain has begun."""
    async with socket_rig() as rig:
        raw = await rig.raw()
        assert rig.sockets == []
        rig.service.drain()
        assert (await raw.closing()).code == 1012
        with pytest.raises(Overloaded):
            await rig.raw()


@pytest.mark.deadline(100_000)
async def test_state_and_reason_can_be_seen(autojump_clock: trio.testing.MockClock) -> None:
    async with socket_rig() as rig:
        client = await rig.connect()
        await trio.testing.wait_all_tasks_blocked()
        socket = rig.socket
        assert (socket.state, socket.reason) == (State.OPEN, None)
        assert rig.service.states() == {State.OPEN: 1}
        rig.service.drain()
        await trio.testing.wait_all_tasks_blocked()
        assert socket.state is State.DRAINING
        assert socket.reason is not None
        assert socket.reason.startswith("1012 restarting; retry-after=")
        assert rig.service.states() == {State.DRAINING: 1}
        await client.socket.closed()
        await trio.testing.wait_all_tasks_blocked()
        assert socket.state is State.CLOSED
        assert socket.reason.startswith("1012 restarting"), "why it began to close, and not how it ended"
        assert rig.service.states() == {}


@pytest.mark.deadline(100_000)
@pytest.mark.parametrize(("code", "reason", "said"), [(1000, "bye", "1000 bye"), (4001, "", "4001")])
async def test_the_clients_reason_can_be_seen(
    autojump_clock: trio.testing.MockClock, code: int, reason: str, said: str
) -> None:
    async with socket_rig() as rig:
        raw = await rig.raw()
        await trio.testing.wait_all_tasks_blocked()
        socket = rig.socket
        await raw.close(code, reason)
        assert (socket.state, socket.reason) == (State.CLOSED, said)


@pytest.mark.deadline(100_000)
async def test_what_was_queued_leaves_first(autojump_clock: trio.testing.MockClock) -> None:
    """Replies do; what waits of a stream is in its log, and the client resumes there."""
    async with socket_rig(pong_timeout=1000.0) as rig:
        client = await rig.connect()
        stream = rig.stream()
        await client.subscribe(stream.id)
        await client.take(stream.id, 1)
        wire = wire_of(client.socket)
        wire.take(0)
        stream.extend([(TextDelta("on the wire"), None)])
        await trio.testing.wait_all_tasks_blocked()
        stream.extend([(TextDelta("in the log"), None)])
        refs = [await client.send("ping") for _ in range(5)]
        await trio.testing.wait_all_tasks_blocked()
        rig.service.drain()
        await trio.testing.wait_all_tasks_blocked()
        assert stream.subscribers == 0
        wire.take(None)
        for ref in refs:
            await client.reply(ref)
        assert [push["event"]["text"] for push in await client.take(stream.id, 1)] == ["on the wire"]
        closed = await client.socket.closed()
        assert closed.code == 1012
        assert client.waiting(stream.id) == 0


@pytest.mark.parametrize("code", [code for code in CloseCode if code >= 4000])
def test_our_own_codes_say_whether_to_come_back(code: CloseCode) -> None:
    assert should_reconnect(code) == (code < 4500)
