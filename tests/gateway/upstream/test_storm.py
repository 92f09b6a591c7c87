"""Ten thousand requests, cancelled at random moments: nothing leaks, each abort is seen, and the next request works."""

from __future__ import annotations

import collections
import functools
import os
import random

import httpx
import pytest
import trio

from tests.doubles.h2_peer import H2Peer, H2Request
from tests.doubles.waiting import until
from tests.gateway.certificates import client_context, server_context
from tests.gateway.upstream.conftest import MakePool, Serve
from tests.gateway.upstream.loopback import Handler, Loopback, Peer, Pool, TakingSink, chunks, http2

BATCH = 100
STEPS = 24
"""Steps of the loop after which a request is left at the latest: it is connecting, or waits for a connection, or …"""


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


class Provider:
    """Answers in two parts; of every fourth answer the second never comes."""

    def __init__(self) -> None:
        self.begun = 0
        self.finished = 0
        self.left = 0

    def _is_silent(self) -> bool:
        self.begun += 1
        return self.begun % 4 == 0

    async def http1(self, peer: Peer) -> None:
        head, first, second, end = chunks(b"a", b"b")
        while await peer.request():
            silent = self._is_silent()
            try:
                await peer.stream.send_all(head + first)
                if silent:
                    await peer.left()
                    return
                await peer.stream.send_all(second + end)
                self.finished += 1
            finally:
                # What was not taken shows when the connection is asked for the next request.
                self.left += silent

    async def http2(self, peer: H2Peer) -> None:
        async with trio.open_nursery() as nursery:
            try:
                while True:
                    nursery.start_soon(self._answer, peer, await peer.request())
            except trio.EndOfChannel:
                pass

    async def _answer(self, peer: H2Peer, request: H2Request) -> None:
        silent = self._is_silent()
        await peer.respond(request)
        await peer.send(request, b"a")
        if silent:
            await request.left.wait()
        else:
            await peer.send(request, b"b", end=True)
            self.finished += not request.left.is_set()
        self.left += request.left.is_set()


async def ask_and_leave(
    pool: Pool, server: Loopback, scheme: str, steps: int, *, reading: bool, outcomes: collections.Counter[str]
) -> None:
    async def leave() -> None:
        if reading:
            await sink.fed.wait()  # … it has its answer's beginning
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    sink = TakingSink()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(leave)
            await pool.ask(server, sink=sink, scheme=scheme)
        nursery.cancel_scope.cancel()
    if not scope.cancelled_caught:
        outcomes["answered"] += 1
        assert sink.body == b"ab"
    else:
        outcomes["reading" if sink.body else "waiting"] += 1


async def storm(pool: Pool, server: Loopback, count: int, scheme: str = "http") -> None:
    """Send requests in batches, each of which is left at a moment of its own."""
    dice = random.Random(count)
    outcomes: collections.Counter[str] = collections.Counter()
    for _ in range(count // BATCH):
        async with trio.open_nursery() as nursery:
            for number in range(BATCH):
                reading = number % 2 == 0
                steps = dice.randrange(4 if reading else STEPS)
                leave = functools.partial(ask_and_leave, reading=reading, outcomes=outcomes)
                nursery.start_soon(leave, pool, server, scheme, steps)
        assert pool.counts[0] == 0
        assert (pool.statistics.waiting, pool.statistics.streams) == (0, 0)
    assert sum(outcomes.values()) == count
    assert min(outcomes["waiting"], outcomes["reading"]) > count // 20, outcomes


@pytest.mark.deadline(60)
@pytest.mark.parametrize(
    ("speaks", "secure", "count"),
    [("http1", False, 10_000), ("http2", False, 10_000), ("http1", True, 500), ("http2", True, 1_000)],
)
async def test_a_storm(serve: Serve, make_pool: MakePool, speaks: str, secure: bool, count: int) -> None:
    provider = Provider()
    handler: Handler = provider.http1 if speaks == "http1" else http2(provider.http2, {3: 10})
    context = server_context("127.0.0.1", protocol="http/1.1" if speaks == "http1" else "h2")
    server = await serve(handler, context if secure else None)
    before = open_files()
    mode = {"http1": "off", "http2": "auto" if secure else "prior-knowledge"}[speaks]
    pool = make_pool(max_connections=20, http2=mode, ssl_context=client_context())
    scheme = "https" if secure else "http"
    await storm(pool, server, count, scheme)
    await server.has_open(pool.counts[1])
    sink = TakingSink()
    while not sink.body.endswith(b"b"):  # every fourth request is answered by half
        sink = TakingSink()
        with trio.move_on_after(0.2):
            await pool.ask(server, sink=sink, scheme=scheme)
    if speaks == "http2":
        await until(lambda: provider.left + provider.finished == provider.begun)
        assert provider.left > count // 20
    pool.close()
    await server.has_open(0)
    assert pool.statistics.connections == 0
    await until(lambda: open_files() == before)


@pytest.mark.parametrize("speaks", ["http1", "http2"])
async def test_a_storm_against_nobody(make_pool: MakePool, serve: Serve, speaks: str) -> None:
    async def nothing(peer: Peer) -> None:
        pass

    server = await serve(nothing)
    pool = make_pool(max_connections=20, http2="off" if speaks == "http1" else "prior-knowledge")
    before = open_files()
    failed = 0

    async def ask() -> None:
        nonlocal failed
        with pytest.raises(httpx.TransportError):
            await pool.ask(server)
        failed += 1

    for _ in range(5):
        async with trio.open_nursery() as nursery:
            for _ in range(BATCH):
                nursery.start_soon(ask)
    assert failed == 5 * BATCH
    assert pool.counts == (0, 0)
    await server.has_open(0)
    await until(lambda: open_files() == before)
