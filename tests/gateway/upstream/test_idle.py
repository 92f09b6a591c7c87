"""Idle connections: opened before they are needed, closed when they are not, never used when they are dead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest
import trio
from structlog.typing import EventDict
from trio.testing import wait_all_tasks_blocked

from stream_gateway.upstream.repeating import STALE
from stream_gateway.upstream.transport import PATIENCE
from tests.doubles.h2_peer import H2Peer
from tests.gateway.upstream.conftest import MakePool, Serve
from tests.gateway.upstream.loopback import (
    OK,
    Handler,
    Loopback,
    Peer,
    Pool,
    TakingSink,
    always_ok,
    answer,
    answer_all,
    http2,
)

KINDS = [("off", always_ok), ("prior-knowledge", http2(answer_all))]
both_protocols = pytest.mark.parametrize(("mode", "handler"), KINDS, ids=["http1", "http2"])


@pytest.fixture
def kept(nursery: trio.Nursery, make_pool: MakePool) -> Callable[..., Awaitable[Pool]]:
    """A pool that evicts and prewarms connections to a server."""

    async def keep(server: Loopback, **options: object) -> Pool:
        pool = make_pool(**options)
        nursery.start_soon(pool.transport_to(server.port).run)
        await wait_all_tasks_blocked(0.01)
        return pool

    return keep


Kept = Callable[..., Awaitable[Pool]]


@both_protocols
@pytest.mark.deadline(500)  # by the test's clock
async def test_what_is_idle_for_too_long_is_closed(
    serve: Serve, kept: Kept, patient_clock: trio.testing.MockClock, mode: str, handler: Handler
) -> None:
    server = await serve(handler)
    pool = await kept(server, http2=mode, idle_timeout=60.0)
    for _ in range(3):
        await pool.ask(server)
        await trio.sleep(25)  # used again in time
    assert (server.accepted, pool.counts) == (1, (0, 1))
    await trio.sleep(36)
    await server.has_open(0)
    assert pool.counts == (0, 0)
    assert (await pool.ask(server)).content == b"ok"


@pytest.mark.deadline(500)
async def test_each_has_a_time_of_its_own(serve: Serve, kept: Kept, patient_clock: trio.testing.MockClock) -> None:
    server = await serve(always_ok)
    pool = await kept(server, idle_timeout=60.0)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(pool.ask, server)
    await trio.sleep(30)
    await pool.ask(server)
    await trio.sleep(40)
    assert pool.counts == (0, 1)
    await trio.sleep(21)
    assert pool.counts == (0, 0)


@both_protocols
@pytest.mark.deadline(500)
async def test_connections_are_there_before_they_are_needed_and_stay(
    serve: Serve, kept: Kept, patient_clock: trio.testing.MockClock, mode: str, handler: Handler
) -> None:
    server = await serve(handler)
    pool = await kept(server, http2=mode, prewarm=3, idle_timeout=60.0)
    assert (server.accepted, pool.counts) == (3, (0, 3))
    assert (await pool.ask(server)).content == b"ok"
    await trio.sleep(200)
    assert (server.accepted, pool.counts) == (3, (0, 3))


@pytest.mark.deadline(500)
async def test_a_warm_connection_that_is_closed_is_made_again(
    serve: Serve, kept: Kept, patient_clock: trio.testing.MockClock
) -> None:
    peers: list[Peer] = []

    async def handle(peer: Peer) -> None:
        peers.append(peer)
        await always_ok(peer)

    server = await serve(handle)
    pool = await kept(server, prewarm=2)
    await trio.sleep(100)
    await peers[0].stream.aclose()
    await trio.sleep(1)
    assert (server.accepted, pool.counts) == (3, (0, 2))


@pytest.mark.deadline(500)
async def test_a_provider_that_closes_at_once_is_not_stormed(
    serve: Serve, kept: Kept, patient_clock: trio.testing.MockClock
) -> None:
    async def close(peer: Peer) -> None:
        pass

    server = await serve(close)
    await kept(server, prewarm=1)
    await trio.sleep(120)
    assert 4 <= server.accepted <= 9  # after 1, 2, 4 … 60 seconds
    assert PATIENCE == (1.0, 60.0)


@pytest.mark.deadline(500)
async def test_a_provider_that_is_not_there_is_waited_for(
    serve: Serve, kept: Kept, patient_clock: trio.testing.MockClock, logged: list[EventDict]
) -> None:
    server = await serve(always_ok)
    listening, server.port = server.port, 1
    pool = make = await kept(server, prewarm=1)
    await trio.sleep(100)
    failures = [entry for entry in logged if entry["event"] == "prewarm_failed"]
    assert 4 <= len(failures) <= 9
    assert "Cannot connect" in failures[0]["error"]
    server.port = listening
    assert (await make.ask(server)).content == b"ok"
    assert pool.statistics.waiting == 0


async def test_requests_take_part_in_a_warm_connection_that_is_being_made(serve: Serve, kept: Kept) -> None:
    server = await serve(http2(answer_all))
    pool = await kept(server, http2="prior-knowledge", prewarm=1)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(pool.ask, server)
    assert server.accepted == 1


@both_protocols
@pytest.mark.deadline(5000)
async def test_an_old_connection_takes_no_new_requests(
    serve: Serve, make_pool: MakePool, patient_clock: trio.testing.MockClock, mode: str, handler: Handler
) -> None:
    server = await serve(handler)
    pool = make_pool(http2=mode, max_lifetime=100.0)
    await pool.ask(server)
    await trio.sleep(99)
    await pool.ask(server)
    assert server.accepted == 1
    await trio.sleep(2)
    await pool.ask(server)
    assert server.accepted == 2
    await server.has_open(1)


@pytest.mark.deadline(5000)
async def test_an_old_shared_connection_is_closed_when_its_streams_have_ended(
    serve: Serve, make_pool: MakePool, patient_clock: trio.testing.MockClock
) -> None:
    go_on = trio.Event()

    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request)
        await go_on.wait()
        await peer.send(request, b"ok", end=True)
        await peer.until_left()

    server = await serve(http2(handle))
    pool = make_pool(http2="prior-knowledge", max_lifetime=100.0, silence_timeout=1000.0)
    sink = TakingSink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: pool.ask(server, sink=sink))
        await trio.sleep(101)
        nursery.start_soon(pool.ask, server)
        await wait_all_tasks_blocked(0.01)
        assert (server.accepted, server.open) == (2, 2)
        go_on.set()
    assert sink.body == b"ok"
    await server.has_open(1)


# Sent again


def closing_after(*replies: bytes) -> tuple[Handler, list[bytes]]:
    """A provider that closes each connection when it gets the next request, and what it was asked."""
    seen: list[bytes] = []

    async def handle(peer: Peer) -> None:
        for reply in replies:
            if not (request := await peer.request()):
                return
            seen.append(request)
            await peer.stream.send_all(reply)
        if request := await peer.request():
            seen.append(request)
            peer.reset()

    return handle, seen


@pytest.mark.parametrize("sink", [True, False])
@pytest.mark.parametrize(
    ("method", "headers", "again"),
    [
        ("GET", {}, True),
        ("POST", {"Idempotency-Key": "k1"}, True),
        ("POST", {}, False),
    ],
)
async def test_a_request_that_met_a_dead_connection_is_sent_once_more_if_that_does_no_harm(
    serve: Serve, pool: Pool, method: str, headers: dict[str, str], again: bool, sink: bool
) -> None:
    handler, seen = closing_after(OK)
    server = await serve(handler)
    await pool.ask(server)
    taking = TakingSink()
    if again:
        response = await pool.ask(server, method=method, headers=headers, sink=taking if sink else None)
        assert (taking.body if sink else response.content) == b"ok"
        assert (len(seen), server.accepted) == (3, 2)
    else:
        with pytest.raises(httpx.ReadError):
            await pool.ask(server, method=method, headers=headers, sink=taking if sink else None)
        assert (len(seen), server.accepted) == (2, 1)


async def test_a_sender_may_say_that_repeating_does_no_harm(serve: Serve, pool: Pool) -> None:
    handler, seen = closing_after(OK)
    server = await serve(handler)
    await pool.ask(server)
    assert (await pool.ask(server, repeatable=True)).content == b"ok"
    assert (len(seen), server.accepted) == (3, 2)


@both_protocols
async def test_a_warm_connection_may_be_dead_too(
    serve: Serve, kept: Kept, patient_clock: trio.testing.MockClock, mode: str, handler: Handler
) -> None:
    async def dead(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async def dead_h2(peer: H2Peer) -> None:
        await peer.request()

    server = await serve(dead if mode == "off" else http2(dead_h2))
    pool = await kept(server, http2=mode, prewarm=1)
    server.handler = handler
    assert (await pool.ask(server, repeatable=True)).content == b"ok"


@both_protocols
async def test_a_connection_that_breaks_under_a_request_was_not_dead_before(
    serve: Serve, make_pool: MakePool, patient_clock: trio.testing.MockClock, mode: str, handler: Handler
) -> None:
    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.stream.send_all(OK)
        await peer.request()
        await trio.sleep(STALE)

    async def slow_h2(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request)
        await peer.send(request, b"ok", end=True)
        await peer.request()
        await trio.sleep(STALE)

    server = await serve(slow if mode == "off" else http2(slow_h2))
    pool = make_pool(http2=mode)
    await pool.ask(server)
    with pytest.raises(httpx.ReadError):
        await pool.ask(server, repeatable=True)
    assert server.accepted == 1


async def test_a_byte_of_a_response_is_one(serve: Serve, pool: Pool) -> None:
    server = await serve(answer(OK, b"H"))
    await pool.ask(server)
    with pytest.raises(httpx.ReadError):
        await pool.ask(server, repeatable=True)
    assert server.accepted == 1


async def test_a_request_is_not_sent_a_third_time(serve: Serve, pool: Pool) -> None:
    handler, seen = closing_after(OK)
    server = await serve(handler)
    await pool.ask(server)
    server.handler = closing_after()[0]
    with pytest.raises(httpx.ReadError):
        await pool.ask(server, method="GET")
    assert (len(seen), server.accepted) == (2, 2)


async def test_a_fresh_connection_that_breaks_is_an_error(serve: Serve, pool: Pool) -> None:
    handler, seen = closing_after()
    server = await serve(handler)
    with pytest.raises(httpx.ReadError):
        await pool.ask(server, method="GET")
    assert len(seen) == 1


async def test_an_answer_that_has_begun_is_not_asked_for_again(serve: Serve, pool: Pool) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
    handler, seen = closing_after(OK, head)
    server = await serve(handler)
    await pool.ask(server)
    sink = TakingSink()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(httpx.ReadError):
                await pool.ask(server, method="GET", sink=sink)
            nursery.cancel_scope.cancel()

        nursery.start_soon(ask)
        await sink.fed.wait()
        nursery.cancel_scope.cancel()
    assert (len(seen), server.accepted, sink.body) == (2, 1, b"abc")


async def test_what_was_idle_for_longer_than_a_dead_connection_is_not_tried(serve: Serve, pool: Pool) -> None:
    handler, seen = closing_after(OK)
    server = await serve(handler)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(pool.ask, server)
    assert pool.counts == (0, 3)
    await pool.ask(server, method="GET")
    assert (len(seen), server.accepted) == (5, 4)
    await server.has_open(1)
