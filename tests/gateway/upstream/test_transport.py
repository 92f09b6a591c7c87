"""The pool: connections are reused, counted, bounded, and never lost, wherever a request is cancelled."""

import socket

import httpx
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stream_gateway.upstream.pool import KEEP_IDLE
from stream_gateway.upstream.transport import PoolStatistics
from stream_protocols.errors import LocalError
from tests.gateway.upstream.conftest import MakePool, Serve
from tests.gateway.upstream.loopback import OK, Loopback, Peer, Pool, TakingSink, always_ok, answer, chunks

both_pumps = pytest.mark.parametrize("pump", ["epoll", "tasks"], indirect=True)


@both_pumps
async def test_one_connection_serves_one_request_after_another(serve: Serve, pool: Pool) -> None:
    server = await serve(always_ok)
    for _ in range(5):
        response = await pool.ask(server)
        assert (response.status_code, response.content) == (200, b"ok")
        assert pool.counts == (0, 1)
    assert server.accepted == 1


async def test_a_request_goes_out_as_it_is(serve: Serve, pool: Pool) -> None:
    seen: list[bytes] = []

    async def handle(peer: Peer) -> None:
        while request := await peer.request():
            seen.append(request)
            await peer.send(OK)

    server = await serve(handle)
    await pool.ask(server, body=b"x" * 300_000)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1 HTTP/1.1\r\n")
    assert b"content-length: 300000" in head.lower()
    assert body == b"x" * 300_000
    await pool.ask(server, body=b"")
    assert seen[1].endswith(b"\r\n\r\n")


def post(server: Loopback, **headers: str) -> httpx.Request:
    return httpx.Request("POST", f"http://127.0.0.1:{server.port}/v1", headers=headers, content=b"{}")


@both_pumps
async def test_with_an_idle_connection_a_request_leaves_at_once(serve: Serve, pool: Pool) -> None:
    """Before whoever awaits the answer has a turn; and the answer may be there before that."""
    asked = trio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        asked.set()
        await peer.send(OK)

    server = await serve(handle)
    await pool.ask(server)
    answer = pool.transport.handle_async_request(post(server))
    await asked.wait()
    await wait_all_tasks_blocked()
    assert pool.counts == (1, 0)
    assert (await answer).read() == b"ok"
    assert pool.transport.busy == 0


async def test_a_request_that_breaks_off_before_its_answer_is_awaited(serve: Serve, pool: Pool) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.stream.receive_some(1000)
        peer.reset()

    server = await serve(handle)
    await pool.ask(server)
    request = post(server)
    request.stream = httpx.ByteStream(b"x" * 20_000_000)
    answer = pool.transport.handle_async_request(request)
    await server.has_open(0)
    await wait_all_tasks_blocked()
    with pytest.raises(httpx.TransportError):
        await answer
    assert pool.counts == (0, 0)


async def test_a_header_that_would_forge_another_is_not_sent(serve: Serve, pool: Pool) -> None:
    server = await serve(always_ok)
    await pool.ask(server)
    with pytest.raises(LocalError):
        await pool.transport.handle_async_request(post(server, authorization="a\r\nX: b"))
    assert pool.counts == (0, 0)
    assert (await pool.ask(server)).content == b"ok"


async def test_the_connection_used_last_is_used_first(serve: Serve, pool: Pool) -> None:
    served: list[Peer] = []

    async def handle(peer: Peer) -> None:
        while await peer.request():
            served.append(peer)
            await peer.send(OK)

    server = await serve(handle)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(pool.ask, server)
    assert pool.counts == (0, 3)
    await pool.ask(server)
    last = served[-1]
    for _ in range(3):
        await pool.ask(server)
        assert served[-1] is last


async def test_a_storm_leaves_only_so_many_warm(serve: Serve, make_pool: MakePool) -> None:
    server = await serve(always_ok)
    pool = make_pool(max_connections=200)
    async with trio.open_nursery() as nursery:
        for _ in range(KEEP_IDLE + 20):
            nursery.start_soon(pool.ask, server)
    assert pool.counts == (0, KEEP_IDLE)
    await server.has_open(KEEP_IDLE)


async def test_closing_the_pool_closes_what_is_idle_and_keeps_nothing_more(serve: Serve, pool: Pool) -> None:
    go_on = trio.Event()

    async def handle(peer: Peer) -> None:
        while request := await peer.request():
            if b"wait" in request:
                await go_on.wait()
            await peer.stream.send_all(OK)

    server = await serve(handle)
    await pool.ask(server)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(lambda: pool.ask(server, body=b"wait"))
        await wait_all_tasks_blocked()
        await pool.ask(server)
        assert pool.counts == (2, 1)
        await pool.transport.aclose()
        assert pool.counts == (2, 0)
        go_on.set()
    assert pool.counts == (0, 0)
    await server.has_open(0)


# A provider that closes


@both_pumps
async def test_an_idle_connection_that_the_provider_closes_is_forgotten(serve: Serve, pool: Pool) -> None:
    server = await serve(answer(OK))
    await pool.ask(server)
    await server.has_open(0)
    await wait_all_tasks_blocked()
    assert pool.counts == (0, 0)
    assert (await pool.ask(server)).content == b"ok"
    assert server.accepted == 2


async def test_a_transport_leads_to_one_origin_only(serve: Serve, pool: Pool) -> None:
    server, other = await serve(always_ok), await serve(always_ok)
    await pool.ask(server)
    for url in (
        f"http://127.0.0.1:{other.port}",
        f"https://127.0.0.1:{server.port}",
        f"http://localhost:{server.port}",
    ):
        with pytest.raises(httpx.UnsupportedProtocol, match=f"leads to 127.0.0.1:{server.port} only"):
            await pool.transport.handle_async_request(httpx.Request("GET", url))
    assert other.accepted == 0


async def test_statistics(serve: Serve, make_pool: MakePool) -> None:
    go_on = trio.Event()

    async def handle(peer: Peer) -> None:
        while request := await peer.request():
            if b"wait" in request:
                await go_on.wait()
            await peer.stream.send_all(OK)

    server = await serve(handle)
    pool = make_pool(max_connections=2)
    await pool.ask(server)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(lambda: pool.ask(server, body=b"wait"))
        await wait_all_tasks_blocked()
        assert pool.statistics == PoolStatistics(connections=2, idle=0, busy=2, streams=2, waiting=1)
        go_on.set()
    assert pool.statistics == PoolStatistics(connections=2, idle=2)


async def test_an_idle_connection_closed_while_nobody_looked_is_not_used(serve: Serve, pool: Pool) -> None:
    peers: list[Peer] = []

    async def handle(peer: Peer) -> None:
        peers.append(peer)
        await always_ok(peer)

    server = await serve(handle)
    for _ in range(10):
        await pool.ask(server)
        # It is closed in the very moment in which the next request begins: the pump has not run in between.
        peer = peers[-1].stream
        assert isinstance(peer, trio.SocketStream)
        peer.socket.shutdown(socket.SHUT_WR)
        assert (await pool.ask(server)).content == b"ok"


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\n", b"\r\n", b"x"])
async def test_an_idle_connection_that_speaks_is_out_of_step(serve: Serve, pool: Pool, extra: bytes) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK, extra)
        await peer.left()

    server = await serve(handle)
    await pool.ask(server)
    await server.has_open(0)
    assert pool.counts == (0, 0)


@pytest.mark.parametrize("sink", [True, False])
@pytest.mark.parametrize("reply", [OK, b"".join(chunks(b"ok"))], ids=["length", "chunked"])
async def test_bytes_after_a_response_are_not_taken_for_the_next_one(
    serve: Serve, pool: Pool, reply: bytes, sink: bool
) -> None:
    reply += b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    server = await serve(answer(reply, reply))
    for asked in range(2):
        taking = TakingSink()
        response = await pool.ask(server, sink=taking if sink else None)
        assert (taking.body if sink else response.content) == b"ok"
        assert pool.counts == (0, 0)
        assert server.accepted == asked + 1


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: Close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
@pytest.mark.parametrize("sink", [True, False])
async def test_a_connection_that_is_to_be_closed_is_not_kept(
    serve: Serve, pool: Pool, reply: bytes, sink: bool
) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply)
        await peer.left()

    server = await serve(handle)
    taking = TakingSink()
    response = await pool.ask(server, sink=taking if sink else None)
    assert response.content + taking.body == b"ok"
    assert pool.counts == (0, 0)
    await server.has_open(0)


# A limit


async def test_requests_beyond_the_limit_wait_for_a_place(serve: Serve, make_pool: MakePool) -> None:
    under_way = most = 0

    async def handle(peer: Peer) -> None:
        nonlocal under_way, most
        while await peer.request():
            under_way += 1
            most = max(most, under_way)
            await wait_all_tasks_blocked(0.001)
            under_way -= 1
            await peer.stream.send_all(OK)

    server = await serve(handle)
    pool = make_pool(max_connections=3)
    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(pool.ask, server)
    assert most == 3
    assert server.accepted == 3
    assert pool.counts == (0, 3)


async def test_who_gets_no_place_in_time_hears_of_it(
    serve: Serve, make_pool: MakePool, autojump_clock: trio.testing.MockClock
) -> None:
    async def silent(peer: Peer) -> None:
        await peer.left()

    server = await serve(silent)
    pool = make_pool(max_connections=1, connect_timeout=2.0, silence_timeout=10.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.ask, server)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        with pytest.raises(httpx.PoolTimeout, match=r"All 1 connections to 127\.0\.0\.1:\d+ are busy"):
            await pool.ask(server)
        assert trio.current_time() - began == pytest.approx(2.0)
        nursery.cancel_scope.cancel()


async def test_a_place_that_a_failed_request_held_is_free_again(serve: Serve, make_pool: MakePool) -> None:
    async def break_off(peer: Peer) -> None:
        await peer.request()

    server = await serve(break_off)
    pool = make_pool(max_connections=1)
    for _ in range(3):
        with pytest.raises(httpx.ReadError):
            await pool.ask(server)
        assert pool.counts == (0, 0)


# No connection


async def test_nobody_listens(serve: Serve, pool: Pool) -> None:
    server = await serve(always_ok)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        server.port = sock.getsockname()[1]
        with pytest.raises(httpx.ConnectError, match=f"Cannot connect to 127.0.0.1:{server.port}"):
            await pool.ask(server)


async def test_nobody_has_that_name(serve: Serve, pool: Pool) -> None:
    server = await serve(always_ok)
    with pytest.raises(httpx.ConnectError, match=r"Cannot connect to name\.invalid:"):
        await pool.ask(server, host="name.invalid")


async def test_a_connection_that_takes_too_long(
    make_pool: MakePool, serve: Serve, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def never(host: str, port: int) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", never)
    server = await serve(always_ok)
    pool = make_pool(connect_timeout=3.0)
    with pytest.raises(httpx.ConnectTimeout, match="within 3 seconds"):
        await pool.ask(server)


async def test_a_provider_that_takes_nothing(serve: Serve, make_pool: MakePool) -> None:
    async def deaf(peer: Peer) -> None:
        await trio.sleep_forever()

    pool = make_pool(write_timeout=0.3, silence_timeout=15.0)
    server = await serve(deaf)
    # Whoever notices first, the kernel or we: it is long before the silence would.
    with pytest.raises((httpx.NetworkError, httpx.WriteTimeout)):
        await pool.ask(server, body=b"x" * 30_000_000)
    assert pool.counts == (0, 0)
