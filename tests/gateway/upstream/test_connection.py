"""One exchange with a provider, from the request's first byte to the response's last."""

import socket
from collections.abc import Callable

import httpx
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stream_gateway.upstream.http1.connection import Http1Connection
from stream_gateway.upstream.sink import EXTENSION, LINGER, Silence
from tests.gateway.upstream.conftest import MakePool, Serve
from tests.gateway.upstream.loopback import OK, Handler, Peer, Pool, TakingSink, answer, chunks

pytestmark = pytest.mark.deadline(1000)

Clock = trio.testing.MockClock
both_pumps = pytest.mark.parametrize("pump", ["epoll", "tasks"], indirect=True)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def in_pieces(*pieces: bytes) -> Handler:
    async def handle(peer: Peer) -> None:
        while await peer.request():
            await peer.send(*pieces)

    return handle


# Whole responses


async def test_a_response_without_a_sink(serve: Serve, pool: Pool) -> None:
    reply = b"HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\nX: a\r\nX: b\r\nContent-Length: 4\r\n\r\nbusy"
    response = await pool.ask(await serve(answer(reply)))
    assert response.status_code == 429
    assert response.headers["retry-after"] == "7"
    assert response.headers.get_list("x") == ["a", "b"]
    assert response.content == b"busy"


@pytest.mark.parametrize(
    "reply",
    [
        b"".join(chunks(b"o", b"k")),
        HEAD + b"Content-Length: 2\r\n\r\nok",
        HEAD + b"Connection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK,
        HEAD + b"Transfer-Encoding: Chunked\r\n\r\n2;ext=1\r\nok\r\n0\r\nTrailer: x\r\n\r\n",
    ],
    ids=["chunked", "length", "until it closes", "HTTP/1.0", "after informational ones", "extensions and trailers"],
)
@pytest.mark.parametrize("with_sink", [True, False])
async def test_every_way_to_send_a_body_in_any_pieces(
    serve: Serve, make_pool: MakePool, reply: bytes, with_sink: bool
) -> None:
    for size in (1, 7, len(reply)):
        sink = TakingSink()
        server = await serve(answer_in(reply, size))
        response = await make_pool().ask(server, sink=sink if with_sink else None)
        assert response.status_code == 200
        assert (sink.body, response.content) == ((b"ok", b"") if with_sink else (b"", b"ok"))
        assert sink.ended == with_sink


def answer_in(reply: bytes, size: int) -> Handler:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(*(reply[at : at + size] for at in range(0, len(reply), size)))

    return handle


@both_pumps
async def test_a_sink_hears_of_each_read_at_once(serve: Serve, pool: Pool) -> None:
    sink = TakingSink()
    bodies: list[bytes] = []

    async def handle(peer: Peer) -> None:
        await peer.request()
        head, *rest = chunks(b"a", b"b" * 10_000, b"c")
        await peer.send(head)
        for piece in rest:
            await wait_all_tasks_blocked()
            bodies.append(sink.body)
            await peer.send(piece)

    await pool.ask(await serve(handle), sink=sink)
    assert bodies == [b"", b"a", b"a" + b"b" * 10_000, b"a" + b"b" * 10_000 + b"c"]
    assert (sink.status, sink.ended) == (200, 1)


async def test_many_chunks_in_one_read_are_one_flush(serve: Serve, pool: Pool) -> None:
    sink = TakingSink()
    await pool.ask(await serve(in_pieces(b"".join(chunks(*[b"x"] * 1000, last=b"")), b"0\r\n\r\n")), sink=sink)
    assert sink.body == b"x" * 1000
    assert sink.flushes == 1


async def test_a_sink_that_declines_leaves_the_body_to_the_response(serve: Serve, pool: Pool) -> None:
    sink = TakingSink(take=False)
    response = await pool.ask(await serve(in_pieces(*chunks(b"no", b"pe"))), sink=sink)
    assert response.content == b"nope"
    assert (sink.body, sink.flushes, sink.ended) == (b"", 0, 0)


async def test_one_connection_streams_again_and_again(serve: Serve, pool: Pool) -> None:
    server = await serve(in_pieces(*chunks(b"a", b"b")))
    for _ in range(4):
        sink = TakingSink()
        await pool.ask(server, sink=sink)
        assert sink.body == b"ab"
        assert (await pool.ask(server)).content == b"ab"
    assert server.accepted == 1


class HandPump:
    """A pump that reads when the test says so."""

    def __init__(self) -> None:
        self.read: Callable[[], None]

    async def run(self) -> None:
        """See `Pump`."""

    def add(self, sock: socket.socket, on_readable: Callable[[], None]) -> None:
        """See `Pump`."""
        self.read = on_readable

    def pause(self, sock: socket.socket) -> None:
        """See `Pump`."""

    resume = remove = pause


@pytest.mark.parametrize("reply", [b"".join(chunks(b"ok")), HEAD + b"Content-Length: 2\r\n\r\nok"])
@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\n", b"\r\n", b""])
async def test_what_comes_after_the_end_counts_for_nothing(reply: bytes, extra: bytes) -> None:
    # Two reads before the waiting task has its turn: the second one is no part of the response.
    pump, sink = HandPump(), TakingSink()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    connection = Http1Connection(ours, pump, None, max_reply_bytes=1000, write_timeout=5.0)
    request = httpx.Request("POST", "http://x/", content=b"{}", extensions={EXTENSION: sink})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.handle, request, 10.0)
        await wait_all_tasks_blocked()
        theirs.send(reply)
        pump.read()
        if extra:
            theirs.send(extra)
        else:
            theirs.close()
        pump.read()
    assert (sink.body, sink.ended) == (b"ok", 1)
    assert connection.closed
    theirs.close()


# The valve


@both_pumps
async def test_a_paused_provider_is_not_read(serve: Serve, pool: Pool, nursery: trio.Nursery) -> None:
    sink = TakingSink()
    served = trio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(*chunks(b"a", last=b""))
        await sink.fed.wait()
        sink.valve.pause()
        await peer.send(*chunks(b"b")[1:])
        served.set()

    server = await serve(handle)
    nursery.start_soon(lambda: pool.ask(server, sink=sink))
    await served.wait()
    await wait_all_tasks_blocked()
    assert sink.body == b"a"
    sink.valve.resume()
    while not sink.ended:
        await trio.lowlevel.checkpoint()
    assert sink.body == b"ab"


async def test_who_pauses_and_leaves_closes_the_connection(serve: Serve, pool: Pool) -> None:
    server = await serve(in_pieces(*chunks(b"a", last=b"")))
    sink = TakingSink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: pool.ask(server, sink=sink))
        await sink.fed.wait()
        sink.valve.pause()
        nursery.cancel_scope.cancel()
    assert pool.counts == (0, 0)
    sink.valve.resume()
    sink.valve.pause()
    await server.has_open(0)


async def test_when_its_end_is_expected_a_response_gets_a_moment_for_it(
    serve: Serve, pool: Pool, autojump_clock: Clock
) -> None:
    sink = TakingSink()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(*chunks(b"[DONE]", last=b""))
        await sink.fed.wait()
        sink.valve.expect_end()
        await peer.left()

    server = await serve(handle)
    began = trio.current_time()
    response = await pool.ask(server, sink=sink)
    assert trio.current_time() - began == pytest.approx(LINGER)
    assert (response.status_code, sink.body, sink.ended) == (200, b"[DONE]", 0)
    assert pool.counts == (0, 0)


async def test_when_its_end_is_expected_and_comes_the_connection_is_kept(
    serve: Serve, pool: Pool, autojump_clock: Clock
) -> None:
    sink = TakingSink()

    async def handle(peer: Peer) -> None:
        while await peer.request():
            await peer.send(*chunks(b"[DONE]", last=b""))
            await sink.fed.wait()
            sink.valve.expect_end()
            await trio.sleep(LINGER / 2)
            await peer.send(b"0\r\n\r\n")

    server = await serve(handle)
    await pool.ask(server, sink=sink)
    assert sink.ended == 1
    assert pool.counts == (0, 1)


async def test_when_its_end_is_expected_talking_on_does_not_put_it_off(
    serve: Serve, pool: Pool, patient_clock: Clock
) -> None:
    class Content(TakingSink):
        def flush(self) -> None:
            super().flush()
            self.valve.expect_end()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(*chunks(b"[DONE]", last=b""))
        for _ in range(100):
            await peer.stream.send_all(b"2\r\n:\n\r\n")
            await trio.sleep(LINGER / 4)

    began = trio.current_time()
    await pool.ask(await serve(handle), sink=Content())
    assert trio.current_time() - began == pytest.approx(LINGER)
    assert pool.counts == (0, 0)


async def test_a_sink_that_pauses_at_the_end_does_not_pause_the_next_response(serve: Serve, pool: Pool) -> None:
    class Full(TakingSink):
        def end(self) -> None:
            super().end()
            self.valve.pause()

    server = await serve(in_pieces(OK))
    sink = Full()
    await pool.ask(server, sink=sink)
    assert (await pool.ask(server)).content == b"ok"
    assert server.accepted == 1
    sink.valve.pause()  # late, when the connection serves others
    assert (await pool.ask(server)).content == b"ok"


async def test_when_its_end_is_expected_a_broken_one_will_do(serve: Serve, pool: Pool) -> None:
    sink = TakingSink()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(*chunks(b"[DONE]", last=b""))
        await sink.fed.wait()
        sink.valve.expect_end()

    response = await pool.ask(await serve(handle), sink=sink)
    assert (response.status_code, sink.body) == (200, b"[DONE]")
    assert pool.counts == (0, 0)


# Silence


async def test_a_provider_that_never_answers(serve: Serve, make_pool: MakePool, autojump_clock: Clock) -> None:
    async def silent(peer: Peer) -> None:
        await peer.left()

    server = await serve(silent)
    pool = make_pool(silence_timeout=30.0)
    began = trio.current_time()
    with pytest.raises(httpx.ReadTimeout, match="silent for 30 seconds"):
        await pool.ask(server)
    assert trio.current_time() - began == pytest.approx(30)
    await server.has_open(0)


async def test_silence_is_counted_from_the_last_byte(serve: Serve, make_pool: MakePool, autojump_clock: Clock) -> None:
    last = 0.0

    async def dribble(peer: Peer) -> None:
        nonlocal last
        await peer.request()
        for piece in chunks(b"a", b"b", b"c")[:-1]:
            await trio.sleep(25)
            await peer.send(piece)
            last = trio.current_time()
        await peer.left()

    server = await serve(dribble)
    sink = TakingSink()
    with pytest.raises(httpx.ReadTimeout):
        await make_pool(silence_timeout=30.0).ask(server, sink=sink)
    assert sink.body == b"abc"
    assert trio.current_time() - last == pytest.approx(30)


async def test_who_is_not_read_cannot_be_silent(serve: Serve, make_pool: MakePool, autojump_clock: Clock) -> None:
    sink = TakingSink()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(*chunks(b"a", last=b""))
        await sink.fed.wait()
        sink.valve.pause()
        await trio.sleep(300)
        sink.valve.resume()
        await trio.sleep(29)
        await peer.send(*chunks(b"b")[1:])

    await make_pool(silence_timeout=30.0).ask(await serve(handle), sink=sink)
    assert (sink.body, sink.ended) == (b"ab", 1)


async def test_silence_after_a_pause_counts_from_its_end(
    serve: Serve, make_pool: MakePool, autojump_clock: Clock
) -> None:
    sink = TakingSink()
    resumed = 0.0

    async def handle(peer: Peer) -> None:
        nonlocal resumed
        await peer.request()
        await peer.send(*chunks(b"a", last=b""))
        await sink.fed.wait()
        await trio.sleep(20)
        sink.valve.pause()
        await trio.sleep(100)
        sink.valve.resume()
        resumed = trio.current_time()
        await peer.left()

    server = await serve(handle)
    with pytest.raises(httpx.ReadTimeout):
        await make_pool(silence_timeout=30.0).ask(server, sink=sink)
    assert trio.current_time() - resumed == pytest.approx(30)


@pytest.mark.parametrize("limit", [10.0, 90.0])
async def test_a_request_may_bring_its_own_patience(
    serve: Serve, make_pool: MakePool, autojump_clock: Clock, limit: float
) -> None:
    server = await serve(lambda peer: peer.left())
    began = trio.current_time()
    with pytest.raises(httpx.ReadTimeout, match=f"silent for {limit:g} seconds"):
        await make_pool(silence_timeout=30.0).ask(server, silence=Silence(limit))
    assert trio.current_time() - began == pytest.approx(limit)


@pytest.mark.parametrize(("later", "expected"), [(5.0, 5.0), (200.0, 200.0), (None, 30.0)])
async def test_patience_may_change_while_an_answer_comes(
    serve: Serve, make_pool: MakePool, autojump_clock: Clock, later: float | None, expected: float
) -> None:
    """The time that runs already is measured by the new patience, not by the one with which it began."""
    sink, silence = TakingSink(), Silence(90.0)
    spoke = 0.0

    async def handle(peer: Peer) -> None:
        nonlocal spoke
        await peer.request()
        await trio.sleep(80)
        await peer.send(*chunks(b"a", last=b""))
        spoke = trio.current_time()
        await sink.fed.wait()
        silence.set(later)
        await peer.left()

    server = await serve(handle)
    with pytest.raises(httpx.ReadTimeout):
        await make_pool(silence_timeout=30.0).ask(server, sink=sink, silence=silence)
    assert trio.current_time() - spoke == pytest.approx(expected)


async def test_new_patience_does_not_end_a_pause(serve: Serve, make_pool: MakePool, autojump_clock: Clock) -> None:
    sink, silence = TakingSink(), Silence(90.0)

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(*chunks(b"a", last=b""))
        await sink.fed.wait()
        sink.valve.pause()
        silence.set(1.0)
        await trio.sleep(300)
        sink.valve.resume()
        await peer.send(*chunks(b"b")[1:])

    await make_pool(silence_timeout=30.0).ask(await serve(handle), sink=sink, silence=silence)
    assert (sink.body, sink.ended) == (b"ab", 1)


async def test_a_provider_that_does_not_take_the_request(
    serve: Serve, make_pool: MakePool, autojump_clock: Clock
) -> None:
    async def stubborn(peer: Peer) -> None:
        await trio.sleep(100)

    server = await serve(stubborn)
    pool = make_pool(write_timeout=30.0)
    began = trio.current_time()
    with pytest.raises(httpx.WriteTimeout):
        await pool.ask(server, body=b"x" * 20_000_000)
    assert trio.current_time() - began == pytest.approx(30)


async def test_a_provider_that_takes_the_request_slowly(
    serve: Serve, make_pool: MakePool, patient_clock: Clock
) -> None:
    body = b"x" * 20_000_000

    async def slow(peer: Peer) -> None:
        for taken in range(5_000_000, len(body) + 1, 5_000_000):
            await peer.rest_of_body(taken)
            await trio.sleep(4)
        await trio.sleep(4)
        await peer.stream.send_all(OK)

    pool = make_pool(write_timeout=15.0, silence_timeout=10.0)
    # The whole takes longer than both, but nothing stands still for so long.
    response = await pool.ask(await serve(slow), body=body)
    assert response.content == b"ok"
