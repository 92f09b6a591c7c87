"""Who is still there: pings and pongs, on a clock that belongs to the test."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from stream_gateway.server.sockets.socket import MAX_PINGS, PIECE_BYTES, State
from tests.doubles.sockets.frames import PING, PONG, TEXT, head
from tests.doubles.sockets.memory import MemoryWire, socket_rig, wire_of
from tests.doubles.sockets.raw_socket import RawSocket

pytestmark = pytest.mark.deadline(100_000)  # of the test's own clock, which jumps there at once when all is stuck

INTERVAL = TIMEOUT = 20.0
"""The defaults of `sockets.ping_interval` and `sockets.pong_timeout`."""


async def test_a_ping_at_each_interval(autojump_clock: trio.testing.MockClock) -> None:
    async with socket_rig() as rig:
        socket = await rig.raw()
        began = trio.current_time()
        payloads = set()
        for number in range(1, 4):
            ping = await socket.next_frame()
            assert ping is not None
            assert ping.opcode == PING
            assert trio.current_time() == began + number * INTERVAL
            payloads.add(ping.payload)
            await socket.send(PONG, ping.payload)
        assert len(payloads) == 3


async def test_the_round_trip_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    async with socket_rig() as rig:
        socket = await rig.raw()
        await trio.testing.wait_all_tasks_blocked()
        assert rig.socket.round_trip is None
        for seconds in (0.25, 3.0):
            ping = await socket.next_frame()
            assert ping is not None
            await trio.sleep(seconds)  # the clock's seconds, which pass at once
            await socket.send(PONG, ping.payload)
            await trio.testing.wait_all_tasks_blocked()
            assert rig.socket.round_trip == pytest.approx(seconds)


async def test_the_round_trip_is_not_a_strangers_to_say(autojump_clock: trio.testing.MockClock) -> None:
    """Pongs that nobody asked for are allowed, and mean nothing (RFC 6455, section 5.5.3)."""
    async with socket_rig() as rig:
        socket = await rig.raw()
        for payload in (b"", b"unasked", bytes(4)):
            await socket.send(PONG, payload)
        await trio.testing.wait_all_tasks_blocked()
        assert rig.socket.round_trip is None
        assert rig.socket.state is State.OPEN


async def test_a_later_pong_answers_earlier_pings(autojump_clock: trio.testing.MockClock) -> None:
    """And one for an earlier ping that comes after it does not bring the older figure back."""
    async with socket_rig(pong_timeout=100.0) as rig:
        socket = await rig.raw()
        pings = [await socket.next_frame() for _ in range(3)]
        await trio.sleep(1)
        for ping in (pings[2], pings[0]):
            assert ping is not None
            await socket.send(PONG, ping.payload)
        await trio.testing.wait_all_tasks_blocked()
        assert rig.socket.round_trip == pytest.approx(1)


async def test_a_dead_peer_is_found_out(autojump_clock: trio.testing.MockClock) -> None:
    async with socket_rig() as rig:
        client = await rig.connect()
        stream = await client.create("demo-n1-gap0", lease="finish")
        await client.rest(stream)
        await client.create("demo-n5-stall2", lease="finish")
        socket, wire, heard = rig.socket, wire_of(client.socket), rig.socket.last_heard
        await wait_for_end(wire)
        assert trio.current_time() == heard + INTERVAL + TIMEOUT
        assert wire.aborted
        assert socket.state is State.CLOSED
        assert socket.reason == "no answer to a ping within 20 seconds"
        await trio.testing.wait_all_tasks_blocked()
        assert (rig.sockets, rig.registry.subscriptions) == ([], 0)


async def wait_for_end(wire: MemoryWire) -> None:
    while await wire.receive():
        pass


@pytest.mark.parametrize("life", ["pong", "ping", "command", "garbage", "part of a frame"])
async def test_anything_that_comes_is_life(autojump_clock: trio.testing.MockClock, life: str) -> None:
    """A pong may be late behind a large message, or never come from a client that talks all the time."""
    async with socket_rig() as rig:
        socket = await rig.raw()
        await socket.line.send(head(TEXT, 100_000) if life == "part of a frame" else b"")
        for _ in range(10):
            await trio.sleep(TIMEOUT - 1)
            await say(socket, life)
            await trio.testing.wait_all_tasks_blocked()
            assert rig.socket.state is State.OPEN
        await wait_for_end(wire_of(socket))
        await trio.testing.wait_all_tasks_blocked()
        assert rig.sockets == []


async def say(socket: RawSocket, what: str) -> None:
    if what == "part of a frame":
        await socket.line.send(b"x")
    elif what in ("pong", "ping"):
        await socket.send(PONG if what == "pong" else PING, b"x")
    else:
        await socket.send(TEXT, '{"type":"ping"}' if what == "command" else "no JSON")


async def test_pings_that_are_never_answered_are_not_collected(autojump_clock: trio.testing.MockClock) -> None:
    async with socket_rig() as rig:
        client = await rig.connect()
        client.socket.answers_pings = False
        for _ in range(10 * MAX_PINGS):
            assert (await client.ask("ping"))["type"] == "ok"
            await trio.sleep(INTERVAL)
        assert len(rig.socket._pings) <= MAX_PINGS


async def test_a_slow_reader_is_no_dead_one(autojump_clock: trio.testing.MockClock) -> None:
    """It cannot answer a ping that waits behind what it has not read; that it takes something at all is life."""
    async with socket_rig() as rig:
        client = await rig.connect()
        wire = wire_of(client.socket)
        stream = await client.create("demo-n5000-gap0", lease="finish")
        wire.take(1000)
        socket = rig.socket
        for _ in range(30):
            await trio.sleep(INTERVAL)
            wire.take(PIECE_BYTES)
        assert socket.state is State.OPEN
        wire.take(None)
        await client.rest(stream)
        wire.take(0)
        await client.send("ping")
        await trio.sleep(2 * (INTERVAL + TIMEOUT))
        assert socket.state is State.CLOSED, "it neither takes nor says anything any more"


async def test_pings_come_between_messages_only(autojump_clock: trio.testing.MockClock) -> None:
    """At any moment of a stream, and the client reads whole frames throughout."""
    async with socket_rig(ping_interval=0.05) as rig:
        client = await rig.connect()
        stream = await client.create("demo-n100-gap7")
        pushes = await client.rest(stream)
        assert len([push for push in pushes if push["event"]["type"] == "text.delta"]) == 100
        assert rig.socket.round_trip is not None


@pytest.mark.parametrize("closes", [True, False])
async def test_no_pings_while_it_closes(autojump_clock: trio.testing.MockClock, closes: bool) -> None:
    async with socket_rig(ping_interval=0.1, close_timeout=5.0) as rig:
        socket = await rig.raw()
        await trio.testing.wait_all_tasks_blocked()
        rig.socket.close(1000, "bye")
        assert (await socket.closing()).code == 1000
        await trio.sleep(1)
        if closes:
            await socket.line.aclose()
        assert await socket.next_frame() is None


async def test_one_task_reminds_them_all(autojump_clock: trio.testing.MockClock) -> None:
    """Pinging a thousand sockets starts no task for each."""
    async with socket_rig() as rig:
        sockets = [await rig.raw() for _ in range(100)]
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        await trio.sleep(INTERVAL + 1)
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        for socket in sockets:
            ping = await socket.next_frame()
            assert ping is not None
            assert ping.opcode == PING
