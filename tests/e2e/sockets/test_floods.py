"""Clients that send more than anybody could want, and read little or nothing: their sockets end, and only theirs."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing

from stream_gateway.server.sockets.socket import MAX_OUTBOX, State
from stream_protocols.commands import JsonCodec
from stream_protocols.events import Event, TextDelta
from tests.doubles.gateway_client import GatewayClient
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway, Spawn
from tests.doubles.sockets.frames import BINARY, CLOSE, PING, PONG, TEXT, close, frame
from tests.doubles.sockets.memory import socket_rig, wire_of
from tests.doubles.sockets.raw_socket import Closed
from tests.doubles.sockets.served import socket_of
from tests.doubles.sockets.session_client import SessionClient, session, text
from tests.doubles.waiting import until

COMMAND = b'{"type":"ping","ref":1}'


async def answers(client: SessionClient) -> tuple[int, Closed]:
    """How many messages still come, and how the socket is closed after them."""
    count = 0
    while True:
        try:
            await client.receive()
        except Closed as closed:
            return count, closed
        count += 1


@pytest.mark.deadline(100_000)
async def test_a_command_flood(autojump_clock: trio.testing.MockClock) -> None:
    """Twice the rate may come at once; one more, and the socket is closed with a code that says stop."""
    async with socket_rig(commands_per_second=50.0, streams=10) as rig:
        client = await rig.connect()
        await client.socket.line.send(frame(TEXT, COMMAND) * 100)
        await trio.testing.wait_all_tasks_blocked()
        assert rig.socket.state is State.OPEN
        await trio.sleep(1)
        await client.socket.line.send(frame(TEXT, COMMAND) * 50)
        await trio.testing.wait_all_tasks_blocked()
        assert rig.socket.state is State.OPEN
        await client.socket.line.send(frame(TEXT, COMMAND) * 5000)
        count, closed = await answers(client)
        assert count == 150
        assert closed.code == 4529
        assert "commands" in closed.reason


async def test_a_command_flood_over_a_real_connection(harmed: ServedGateway, serve: Serve) -> None:
    gateway = await serve(sockets={"commands_per_second": 10.0, "streams": 10})
    client = await session(gateway)
    await client.socket.offer(frame(TEXT, COMMAND) * 20_000)
    count, closed = await answers(client)
    assert closed.code in (4529, None), "None: it was reset, because it never stopped sending"
    assert count < 1000
    await client.socket.line.aclose()
    await until(lambda: gateway.now.connections == 0)


async def test_pings_are_answered_in_a_flood_of_commands(harmed: ServedGateway) -> None:
    """Each ping has its pong, between the replies, and in order with them."""
    client = await session(harmed)
    await client.socket.line.send(b"".join(frame(TEXT, COMMAND) + frame(PING, b"%d" % n) for n in range(500)))
    for _ in range(500):
        await client.receive()
    await client.socket.send(PING, b"last")
    while client.socket.pongs[-1:] != [b"last"]:
        found = await client.socket.next_frame()
        assert found is not None
        assert found.opcode == PONG
        client.socket.pongs.append(found.payload)
    numbers = [int(pong) for pong in client.socket.pongs[:-1]]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 499, "the last of them was answered, whatever was left out before (RFC 6455, section 5.5.3)"


@pytest.mark.deadline(100_000)
async def test_more_pings_than_it_reads(autojump_clock: trio.testing.MockClock) -> None:
    """A client that pings without end and reads nothing costs one pong."""
    async with socket_rig(pong_timeout=1000.0) as rig:
        client = await rig.connect()
        wire = wire_of(client.socket)
        wire.take(0)
        for number in range(3000):
            await wire.send(frame(PING, b"%125d" % number))
        await trio.testing.wait_all_tasks_blocked()
        assert rig.socket.state is State.OPEN
        assert rig.socket._outbox_bytes <= 127
        wire.take(None)
        assert (await client.ask("ping"))["type"] == "ok"
        assert int(client.socket.pongs[-1]) == 2999
        assert len(client.socket.pongs) == 2, "the one that was under way, and the last"


async def test_more_pings_than_it_reads_over_a_real_connection(harmed: ServedGateway, serve: Serve) -> None:
    gateway = await serve(server={"send_buffer_bytes": 4096})
    client = await session(gateway, receive_buffer=4096)
    for start in range(0, 20_000, 1000):
        await client.socket.line.send(b"".join(frame(PING, b"%125d" % n) for n in range(start, start + 1000)))
    assert socket_of(gateway)._outbox_bytes <= MAX_OUTBOX / 2
    assert (await client.ask("ping"))["type"] == "ok"
    assert int(client.socket.pongs[-1]) == 19_999


@pytest.mark.deadline(100_000)
async def test_one_that_sends_and_never_reads(autojump_clock: trio.testing.MockClock) -> None:
    """Replies wait for it within a bound; then it is given up, with no close frame, which it would not read either."""
    async with socket_rig(commands_per_second=1e9) as rig:
        client = await rig.connect()
        wire, socket = wire_of(client.socket), rig.sockets
        await trio.testing.wait_all_tasks_blocked()
        socket = rig.socket
        wire.take(0)
        command = json.dumps({"type": "ping", "ref": "x" * 10_000}).encode()
        sent = 0
        while socket.state is State.OPEN:
            await wire.send(frame(TEXT, command))
            await trio.testing.wait_all_tasks_blocked()
            sent += len(command)
        assert MAX_OUTBOX * 0.9 < sent < MAX_OUTBOX * 1.2
        assert socket.reason == "the peer sends and does not read"
        assert wire.aborted
        await trio.testing.wait_all_tasks_blocked()
        assert rig.sockets == []


async def test_one_that_sends_and_never_reads_over_a_real_connection(harmed: ServedGateway) -> None:
    client = await session(harmed, receive_buffer=4096)
    command = frame(TEXT, json.dumps({"type": "ping", "ref": "x" * 10_000}).encode())
    with pytest.raises(trio.BrokenResourceError):
        await client.socket.line.send(command * 5000)
    await until(lambda: harmed.now.sockets == 1)


async def test_errors_are_no_way_to_fill_memory_either(harmed: ServedGateway) -> None:
    """What is wrong is answered at most at the size at which it came."""
    client = await session(harmed)
    for message in ('{"type":"' + "x" * 15_000 + '"}', '{"type":"stream.subscribe","stream":"' + "x" * 15_000 + '"}'):
        await client.socket.send(TEXT, message)
        assert len(json.dumps(await client.reply(None))) < 500


@pytest.mark.deadline(60)
async def test_one_that_follows_and_never_reads(serve: Serve, upstream: OpenAIServer) -> None:
    """After `write_timeout` without any progress it is given up; what it did not read was never copied for it."""
    gateway = await serve(server={"write_timeout": 0.5, "send_buffer_bytes": 4096})
    upstream.scripts["m"] = script = Script(deltas=tuple(word.ljust(500, ".") for word in words(2000)))
    client, neighbour = await session(gateway, receive_buffer=4096), await session(gateway)
    stream = await client.create("m", lease="finish")
    await neighbour.subscribe(stream)
    assert text(await neighbour.rest(stream)) == script.text
    await until(lambda: gateway.now.sockets == 1)
    assert (await neighbour.ask("ping"))["type"] == "ok"


@pytest.mark.deadline(60)
async def test_memory_of_those_who_do_not_read(spawn: Spawn) -> None:
    """Fifty sockets with a megabyte waiting for each: the log is there once."""
    config = {"sockets": {"ping_interval": 60.0}, "server": {"write_timeout": 60.0, "send_buffer_bytes": 4096}}
    async with spawn(**config) as process, GatewayClient(process.host, process.port) as gateway:
        reader = await session(gateway)
        stream = await reader.create("demo-n9000-gap0", lease="finish")
        clients = [await session(gateway, receive_buffer=4096) for _ in range(50)]
        before = process.resident_bytes()
        for client in clients:
            await client.send("stream.subscribe", stream=stream)
        assert len(await reader.rest(stream)) > 9000
        assert process.resident_bytes() - before < 20_000_000


# ---- while a socket closes


@pytest.mark.deadline(100_000)
@pytest.mark.parametrize(
    "what",
    [frame(PING, b"x"), frame(TEXT, COMMAND), frame(BINARY, b"\xff"), frame(PONG)],
    ids=["pings", "commands", "garbage", "pongs"],
)
async def test_what_comes_after_our_close_frame(autojump_clock: trio.testing.MockClock, what: bytes) -> None:
    """The peer may not have read it yet: it is no error, and nothing is said to it any more."""
    async with socket_rig() as rig:
        raw = await rig.raw()
        await trio.testing.wait_all_tasks_blocked()
        rig.socket.close(1012, "restarting")
        found = await raw.next_frame()
        assert found is not None
        assert (found.opcode, found.code) == (CLOSE, 1012)
        await raw.line.send(what * 30)
        await trio.testing.wait_all_tasks_blocked()
        assert rig.socket.state is State.DRAINING
        await raw.line.send(close(1012))
        assert await raw.next_frame() is None
        await raw.line.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert rig.sockets == []


@pytest.mark.deadline(100_000)
@pytest.mark.parametrize("ours", [True, False])
async def test_nothing_follows_a_close_frame(autojump_clock: trio.testing.MockClock, ours: bool) -> None:
    """No event of a stream that goes on meanwhile, and no reply (RFC 6455, section 5.5.1)."""
    async with socket_rig() as rig:
        client = await rig.connect()
        stream = rig.stream()
        await client.subscribe(stream.id)
        await client.take(stream.id, 1)
        if ours:
            rig.socket.close(1012, "restarting")
        else:
            await client.socket.line.send(close(1000))
        stream.extend([(TextDelta("at once"), None)])
        for number in range(5):
            await trio.testing.wait_all_tasks_blocked()
            stream.extend([(TextDelta(f"later {number}"), None)])
            await client.socket.offer(frame(TEXT, COMMAND))
        await client.socket.closing()
        assert await client.socket.next_frame() is None
        assert stream.subscribers == 0


@pytest.mark.deadline(100_000)
async def test_a_peer_that_does_not_close(autojump_clock: trio.testing.MockClock) -> None:
    async with socket_rig(close_timeout=5.0) as rig:
        raw = await rig.raw()
        await trio.testing.wait_all_tasks_blocked()
        socket = rig.socket
        began = trio.current_time()
        socket.close(1012, "restarting")
        assert (await raw.closing()).code == 1012
        assert socket.state is State.DRAINING
        assert await raw.next_frame() is None
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() - began == pytest.approx(5, abs=0.1)
        assert (socket.state, socket.reason) == (State.CLOSED, "1012 restarting")
        assert rig.sockets == []


# ---- what goes wrong inside


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that cannot be written in JSON, as an error of ours would have it."""
    event = JsonCodec.event

    def fail(self: JsonCodec, prefix: bytes, cursor: str, what: Event) -> bytes | None:
        if getattr(what, "text", "") == "poison":
            raise RuntimeError("as the test wants it")
        return event(self, prefix, cursor, what)

    monkeypatch.setattr(JsonCodec, "event", fail)


@pytest.mark.deadline(100_000)
@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("extensions", [None, "permessage-deflate"])
async def test_an_event_that_fails_on_a_socket(
    autojump_clock: trio.testing.MockClock, live: bool, extensions: str | None
) -> None:
    """The producer does not feel it, nor do the others on the same stream, and the client knows that it lost something.

    Where each message builds on those before, the socket ends; elsewhere the subscription.
    """
    async with socket_rig() as rig:
        broken, whole = await rig.connect(extensions=extensions), await rig.connect(binary=True)
        stream, other = rig.stream(), rig.stream()
        for client in (broken, whole):
            for name in (stream.id, other.id):
                await client.subscribe(name)
                await client.take(name, 1)
        if not live:
            wire_of(broken.socket).take(0)
        stream.extend([(TextDelta("before"), None)])
        stream.extend([(TextDelta("poison"), None)])
        other.extend([(TextDelta("goes on"), None)])
        wire_of(broken.socket).take(None)
        assert [push["event"]["text"] for push in await whole.take(stream.id, 2)] == ["before", "poison"]
        await whole.take(other.id, 1)
        if extensions is not None:
            assert (await broken.socket.closing()).code is None
            assert rig.service.states() == {State.OPEN: 1, State.CLOSED: 1}
            return
        (before,) = await broken.take(stream.id, 1)
        while stream.id not in broken.ended:
            await broken.receive()
        ended = broken.ended[stream.id]
        assert (ended["code"], ended["after"]) == ("internal_error", before["id"])
        await broken.take(other.id, 1)
        assert (stream.subscribers, other.subscribers) == (1, 2)
