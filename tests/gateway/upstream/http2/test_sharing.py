"""How many connections there are: as few as carry the requests, and never one for each that came first."""

from __future__ import annotations

import httpx
import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe import frame as f
from trio.testing import wait_all_tasks_blocked

from stream_gateway.upstream.http2 import limits
from tests.doubles.h2_peer import H2Peer, H2Request
from tests.doubles.waiting import until
from tests.gateway.certificates import client_context, server_context
from tests.gateway.upstream.conftest import MakePool, Serve
from tests.gateway.upstream.loopback import Handler, Loopback, Peer, Pool, TakingSink, answer_all, http2

MAX_STREAMS = SettingCodes.MAX_CONCURRENT_STREAMS


class Crowd:
    """A provider that answers nobody until it is told to."""

    def __init__(self, allowed: int | None = None) -> None:
        self.peers: list[H2Peer] = []
        self.requests: list[H2Request] = []
        self.most = 0
        self.go_on = trio.Event()
        settings = {} if allowed is None else {MAX_STREAMS: allowed}
        self.handler: Handler = http2(self._handle, settings)

    async def _handle(self, peer: H2Peer) -> None:
        self.peers.append(peer)
        async with trio.open_nursery() as nursery:
            try:
                while True:
                    request = await peer.request()
                    self.requests.append(request)
                    self.most = max(self.most, peer.h2.open_inbound_streams)
                    nursery.start_soon(self._answer, peer, request)
            except trio.EndOfChannel:
                nursery.cancel_scope.cancel()

    async def _answer(self, peer: H2Peer, request: H2Request) -> None:
        await self.go_on.wait()
        await peer.respond(request)
        await peer.send(request, b"ok", end=True)


async def crowd_asks(pool: Pool, server: Loopback, crowd: Crowd, count: int, *, arrive: int, scheme: str) -> None:
    """So many ask at once; of them so many arrive before the first is answered."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(lambda: pool.ask(server, scheme=scheme))
        await until(lambda: len(crowd.requests) == arrive)
        await wait_all_tasks_blocked()
        assert pool.statistics.streams == arrive
        assert pool.statistics.waiting == count - arrive
        crowd.go_on.set()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_hundred_streams_use_one_connection_and_the_next_ones_a_second(
    serve: Serve, make_pool: MakePool, scheme: str
) -> None:
    crowd = Crowd(100)
    context = server_context("127.0.0.1", protocol="h2")
    server = await serve(crowd.handler, context if scheme == "https" else None)
    pool = make_pool(http2="auto" if scheme == "https" else "prior-knowledge", ssl_context=client_context())
    await crowd_asks(pool, server, crowd, 100, arrive=100, scheme=scheme)
    assert (server.accepted, crowd.most) == (1, 100)
    crowd.requests.clear()
    crowd.go_on = trio.Event()
    await crowd_asks(pool, server, crowd, 150, arrive=150, scheme=scheme)
    assert (server.accepted, crowd.most) == (2, 100)
    assert pool.counts == (0, 2)


async def test_without_a_limit_of_the_provider_there_is_one_of_ours(serve: Serve, make_pool: MakePool) -> None:
    pool = make_pool(http2="prior-knowledge", silence_timeout=60.0)  # a thousand take a slow machine seconds
    crowd = Crowd()
    server = await serve(crowd.handler)
    crowd.go_on.set()
    await pool.ask(server)
    crowd.requests.clear()
    crowd.go_on = trio.Event()
    await crowd_asks(pool, server, crowd, limits.MAX_STREAMS + 1, arrive=limits.MAX_STREAMS + 1, scheme="http")
    assert (server.accepted, crowd.most) == (2, limits.MAX_STREAMS)


async def test_at_the_most_connections_requests_wait_for_a_stream(serve: Serve, make_pool: MakePool) -> None:
    crowd = Crowd(3)
    server = await serve(crowd.handler)
    pool = make_pool(http2="prior-knowledge", max_connections=2)
    crowd.go_on.set()
    await pool.ask(server)
    crowd.requests.clear()
    crowd.go_on = trio.Event()
    await crowd_asks(pool, server, crowd, 20, arrive=6, scheme="http")
    assert (server.accepted, crowd.most) == (2, 3)
    assert len(crowd.requests) == 20


async def test_what_the_first_settings_refuse_is_sent_again(serve: Serve, make_pool: MakePool) -> None:
    # A hundred requests are on their way before the provider says that it takes only five at a time.
    async def handle(peer: H2Peer) -> None:
        running = 0

        async def answer(request: H2Request) -> None:
            nonlocal running
            if running == 5:
                await peer.reset(request, ErrorCodes.REFUSED_STREAM)
                return
            running += 1
            await wait_all_tasks_blocked()
            running -= 1
            await peer.respond(request)
            await peer.send(request, b"ok", end=True)

        async with trio.open_nursery() as nursery:
            try:
                while True:
                    nursery.start_soon(answer, await peer.request())
            except trio.EndOfChannel:
                nursery.cancel_scope.cancel()

    server = await serve(http2(handle, {MAX_STREAMS: 5}))
    pool = make_pool(http2="prior-knowledge", max_connections=1)
    answers: list[bytes] = []

    async def ask() -> None:
        answers.append((await pool.ask(server)).content)

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask)
    assert answers == [b"ok"] * 100
    assert server.accepted == 1


@pytest.mark.parametrize("allowed", [0, 1])
async def test_a_provider_that_takes_next_to_nothing(
    serve: Serve, make_pool: MakePool, patient_clock: trio.testing.MockClock, allowed: int
) -> None:
    crowd = Crowd(allowed)
    server = await serve(crowd.handler)
    pool = make_pool(http2="prior-knowledge", max_connections=3, connect_timeout=2.0, silence_timeout=10.0)
    refused = 0

    async def ask() -> None:
        nonlocal refused
        with pytest.raises(httpx.PoolTimeout, match=r"takes no more requests|are busy"):
            await pool.ask(server)
        refused += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: pool.ask(server))
        await until(lambda: len(crowd.requests) == 1)
        for _ in range(5):
            nursery.start_soon(ask)
        await trio.sleep(3)
        # Without a single stream more connections are no use; with one each, there are as many as there may be.
        assert (server.accepted, refused) == ((1, 5) if allowed == 0 else (3, 3))
        crowd.go_on.set()
        if allowed:
            nursery.cancel_scope.cancel()


async def test_a_limit_that_is_raised_lets_go_on_who_waits(serve: Serve, make_pool: MakePool) -> None:
    crowd = Crowd(1)
    server = await serve(crowd.handler)
    pool = make_pool(http2="prior-knowledge", max_connections=1)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(lambda: pool.ask(server, sink=TakingSink()))
            await wait_all_tasks_blocked()
        await until(lambda: len(crowd.requests) == 1)
        assert pool.statistics.waiting == 2
        await crowd.peers[0].update({MAX_STREAMS: 3})
        await until(lambda: len(crowd.requests) == 3)
        crowd.go_on.set()


async def test_a_failed_first_connection_fails_all_that_waited_for_it(serve: Serve, pool: Pool) -> None:
    server = await serve(http2(answer_all))
    listening, server.port = server.port, 1
    failed = 0

    async def ask() -> None:
        nonlocal failed
        with pytest.raises(httpx.ConnectError, match="Cannot connect"):
            await pool.ask(server)
        failed += 1

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
    assert failed == 50
    server.port = listening
    assert (await pool.ask(server)).content == b"ok"


async def test_who_waits_goes_on_when_the_one_who_connects_is_cancelled(
    serve: Serve, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(http2(answer_all))
    connect, attempts = trio.open_tcp_stream, 0

    async def slow_at_first(host: str, port: int) -> trio.SocketStream:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            await trio.sleep_forever()
        return await connect(host, port)

    monkeypatch.setattr(trio, "open_tcp_stream", slow_at_first)
    answers: list[bytes] = []

    async def ask() -> None:
        answers.append((await pool.ask(server)).content)

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as first:
                first.start_soon(ask)
                await wait_all_tasks_blocked()
                for _ in range(20):
                    nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                assert (attempts, pool.statistics.waiting) == (1, 20)
                scope.cancel()
    assert answers == [b"ok"] * 20
    assert (attempts, server.accepted) == (2, 1)


# Goodbyes


async def test_after_a_goodbye_streams_end_and_new_ones_go_elsewhere(serve: Serve, pool: Pool) -> None:
    peers: list[H2Peer] = []
    go_on = trio.Event()

    async def handle(peer: H2Peer) -> None:
        peers.append(peer)
        if len(peers) > 1:
            await answer_all(peer)
            return
        request = await peer.request()
        await peer.respond(request)
        await peer.say(f.GoAwayFrame(0, last_stream_id=request.id, error_code=0))
        await go_on.wait()
        await peer.send(request, b"whole", end=True)
        await peer.until_left()

    server = await serve(http2(handle))
    sink = TakingSink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: pool.ask(server, sink=sink))
        await until(lambda: bool(peers) and bool(peers[0].requests))
        await wait_all_tasks_blocked(0.01)
        assert (await pool.ask(server)).content == b"ok"
        assert server.accepted == 2
        go_on.set()
    assert (sink.body, sink.ended) == (b"whole", 1)
    await server.has_open(1)
    assert pool.counts == (0, 1)


@pytest.mark.parametrize("last", [0, 1])
async def test_what_a_goodbye_leaves_out_is_sent_again_on_another_connection(
    serve: Serve, pool: Pool, last: int
) -> None:
    connections = 0

    async def handle(peer: H2Peer) -> None:
        nonlocal connections
        connections += 1
        if connections > 1:
            await answer_all(peer)
            return
        requests = [await peer.request() for _ in range(2)]
        await peer.say(f.GoAwayFrame(0, last_stream_id=last, error_code=0))
        for request in requests:
            if request.id <= last:
                await peer.respond(request)
                await peer.send(request, b"ok", end=True)
        await peer.until_left()

    server = await serve(http2(handle))
    answers: list[bytes] = []

    async def ask() -> None:
        answers.append((await pool.ask(server)).content)

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(ask)
    assert answers == [b"ok", b"ok"]
    assert connections == 2


async def test_a_goodbye_to_an_idle_connection_closes_it(serve: Serve, pool: Pool) -> None:
    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request, end=True)
        await peer.say(f.GoAwayFrame(0, last_stream_id=request.id, error_code=0))
        await peer.until_left()

    server = await serve(http2(handle))
    for _ in range(2):
        await pool.ask(server)
        await server.has_open(0)
        assert pool.counts == (0, 0)
    assert server.accepted == 2


async def test_a_connection_that_was_closed_in_this_moment_is_not_used(serve: Serve, pool: Pool) -> None:
    peers: list[Peer] = []

    async def handle(peer: Peer) -> None:
        peers.append(peer)
        await http2(answer_all)(peer)

    server = await serve(handle)
    for number in range(10):
        assert (await pool.ask(server)).content == b"ok"
        stream = peers[-1].stream
        assert isinstance(stream, trio.SocketStream)
        stream.socket.shutdown(trio.socket.SHUT_WR)
        assert server.accepted == number + 1
