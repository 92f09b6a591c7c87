"""Flow control: a paused stream holds its provider back, and nobody else."""

from __future__ import annotations

import contextlib

import httpx
import pytest
import trio
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame
from trio.testing import wait_all_tasks_blocked

from stream_gateway.upstream.http2 import limits
from tests.doubles.h2_peer import H2Peer, H2Request
from tests.doubles.waiting import until
from tests.gateway.upstream.conftest import Serve
from tests.gateway.upstream.loopback import Pool, TakingSink, http2

PIECE = b"x" * 10_000


class PausingSink(TakingSink):
    """Pauses as soon as it is asked, and counts."""

    def __init__(self, *, paused: bool) -> None:
        super().__init__()
        self.paused = paused
        self.size = 0

    def feed(self, data: bytes) -> None:
        self.size += len(data)
        self.fed.set()
        if self.paused:
            self.valve.pause()


class Generous:
    """Sends on every stream as much as it may, and counts."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sent: dict[int, int] = {}

    async def handle(self, peer: H2Peer) -> None:
        async with trio.open_nursery() as nursery:
            try:
                while True:
                    nursery.start_soon(self._answer, peer, await peer.request())
            except trio.EndOfChannel:
                nursery.cancel_scope.cancel()

    async def _answer(self, peer: H2Peer, request: H2Request) -> None:
        self.sent[request.id] = 0
        await peer.respond(request)
        while self.sent[request.id] < self.size and not request.left.is_set():
            await peer.send(request, PIECE)
            self.sent[request.id] += len(PIECE)
        await peer.send(request, b"", end=True)


async def test_a_paused_stream_holds_the_provider_back_while_99_others_flow(serve: Serve, pool: Pool) -> None:
    size = 100 * len(PIECE)
    provider = Generous(size)
    server = await serve(http2(provider.handle))
    paused, others = PausingSink(paused=True), [PausingSink(paused=False) for _ in range(99)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: pool.ask(server, sink=paused))
        await paused.fed.wait()
        async with trio.open_nursery() as crowd:
            for sink in others:
                crowd.start_soon(lambda sink=sink: pool.ask(server, sink=sink))
        # All others are through, with more than the connection's own window holds; the paused one stands.
        assert [sink.size for sink in others] == [size] * 99
        assert 99 * size > limits.CONNECTION_WINDOW
        assert provider.sent[1] <= limits.STREAM_WINDOW
        assert paused.size <= limits.MAX_FRAME
        paused.paused = False
        paused.valve.resume()
    assert (paused.size, paused.ended) == (size, 1)
    assert server.accepted == 1


async def test_a_hundred_paused_streams_do_not_close_the_connection_to_another(serve: Serve, pool: Pool) -> None:
    provider = Generous(2 * limits.STREAM_WINDOW)
    server = await serve(http2(provider.handle))
    assert 100 * limits.STREAM_WINDOW > limits.CONNECTION_WINDOW
    sinks = [PausingSink(paused=True) for _ in range(100)]
    async with trio.open_nursery() as nursery:
        for sink in sinks:
            nursery.start_soon(lambda sink=sink: pool.ask(server, sink=sink))
        for sink in sinks:
            await sink.fed.wait()
        await until(lambda: all(sent > limits.STREAM_WINDOW - 2 * len(PIECE) for sent in provider.sent.values()))
        lively = PausingSink(paused=False)
        await pool.ask(server, sink=lively)
        assert lively.size >= provider.size
        nursery.cancel_scope.cancel()
    assert all(sent <= limits.STREAM_WINDOW for number, sent in provider.sent.items() if number < 200)


async def test_pausing_and_resuming_loses_nothing_and_keeps_the_order(serve: Serve, pool: Pool) -> None:
    text = b"".join(b"%08d" % number for number in range(100_000))

    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request)
        await peer.send(request, text, end=True)
        await peer.until_left()

    sink = TakingSink()
    feed = sink.feed
    pieces = 0

    def pause(data: bytes) -> None:
        nonlocal pieces
        pieces += 1
        feed(data)
        if pieces % 3 == 0:
            sink.valve.pause()

    sink.feed = pause  # type: ignore[method-assign]
    server = await serve(http2(handle))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: pool.ask(server, sink=sink))
        while not sink.ended:
            await wait_all_tasks_blocked()
            sink.valve.resume()
            await trio.lowlevel.checkpoint()
    assert sink.body == text


async def test_a_provider_that_sends_more_than_a_paused_stream_admits(serve: Serve, pool: Pool) -> None:
    async def handle(peer: H2Peer) -> None:
        request, neighbour = await peer.request(), await peer.request()
        await peer.respond(request)
        frame = DataFrame(request.id, b"x" * limits.MAX_FRAME)
        await peer.say(*[frame] * (limits.STREAM_WINDOW // limits.MAX_FRAME + 1))
        await request.left.wait()
        assert request.reset == ErrorCodes.FLOW_CONTROL_ERROR
        await peer.respond(neighbour)
        await peer.send(neighbour, b"ok", end=True)
        await peer.until_left()

    server = await serve(http2(handle))
    sink = PausingSink(paused=True)

    async def ask_in_vain() -> None:
        with pytest.raises(httpx.RemoteProtocolError, match="more than the stream's window admits"):
            await pool.ask(server, sink=sink)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_in_vain)
        await wait_all_tasks_blocked()
        assert (await pool.ask(server)).content == b"ok"
        sink.paused = False
        sink.valve.resume()
    assert sink.size == limits.STREAM_WINDOW


async def test_what_was_held_back_is_given_out_before_the_end_is_told(serve: Serve, pool: Pool) -> None:
    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request)
        await peer.send(request, b"first")
        await wait_all_tasks_blocked()
        await peer.send(request, b"second")

    sink = PausingSink(paused=True)
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(Exception, match="closed the connection"):
                await pool.ask(server, sink=sink)

        server = await serve(http2(handle))
        nursery.start_soon(ask)
        await sink.fed.wait()
        await server.has_open(0)
        await wait_all_tasks_blocked()
        assert sink.size == len(b"first")
        sink.paused = False
        sink.valve.resume()
    assert (sink.size, sink.ended) == (len(b"firstsecond"), 0)


@pytest.mark.deadline(100)  # by the test's clock
async def test_a_paused_stream_is_not_silent(serve: Serve, pool: Pool, patient_clock: trio.testing.MockClock) -> None:
    provider = Generous(2 * limits.STREAM_WINDOW)
    sink = PausingSink(paused=True)
    server = await serve(http2(provider.handle))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: pool.ask(server, sink=sink))
        await sink.fed.wait()
        await trio.sleep(60)
        sink.paused = False
        sink.valve.resume()
    assert sink.size >= provider.size


async def test_data_and_padding_of_streams_that_were_left_open_the_connections_window_again(
    serve: Serve, pool: Pool
) -> None:
    async def handle(peer: H2Peer) -> None:
        total = 0
        while total < 2 * limits.CONNECTION_WINDOW:
            request = await peer.request()
            await peer.respond(request)
            window = min(peer.h2.local_flow_control_window(request.id), limits.STREAM_WINDOW)
            for _ in range(window // 16_000):
                with contextlib.suppress(ProtocolError):  # it was left already
                    peer.h2.send_data(request.id, PIECE + b"y" * 5_000, pad_length=200)
                    total += 15_201
            await peer.flush()
            await request.left.wait()
        while True:
            request = await peer.request()
            await peer.respond(request)
            await peer.send(request, b"ok", end=True)

    server = await serve(http2(handle))
    for _ in range(1_000):
        sink = PausingSink(paused=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda sink=sink: pool.ask(server, sink=sink))
            await sink.fed.wait()
            nursery.cancel_scope.cancel()
        if sink.size == len(b"ok"):
            break
    assert (await pool.ask(server)).content == b"ok"
    assert server.accepted == 1


# What we send


@pytest.mark.parametrize("window", [1_000, 16_384])
async def test_a_body_goes_out_as_the_windows_open(serve: Serve, pool: Pool, window: int) -> None:
    bodies: list[bytes] = []

    async def handle(peer: H2Peer) -> None:
        for _ in range(3):
            request = await peer.request()
            bodies.append(bytes(request.body))
            await peer.respond(request, end=True)
        await peer.until_left()

    async def narrow(peer: H2Peer) -> None:
        await peer.update({SettingCodes.INITIAL_WINDOW_SIZE: window})
        await handle(peer)

    server = await serve(http2(narrow))
    text = bytes(range(256)) * 500
    for _ in range(3):
        await pool.ask(server, body=text)
    assert bodies == [text] * 3


async def test_a_provider_that_does_not_read_stops_the_bodies_and_not_the_loop(serve: Serve, pool: Pool) -> None:
    bodies: list[int] = []

    async def handle(peer: H2Peer) -> None:
        for _ in range(4):
            request = await peer.request()
            bodies.append(len(request.body))
            await peer.respond(request, end=True)
        await peer.until_left()

    server = await serve(http2(handle, {SettingCodes.INITIAL_WINDOW_SIZE: 10_000_000}))
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(lambda: pool.ask(server, body=b"x" * 3_000_000))
    assert bodies == [3_000_000] * 4
