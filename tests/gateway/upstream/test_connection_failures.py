"""What can break in an exchange: always one clear error, a connection that is closed, and a pool that goes on."""

import socket

import httpx
import pytest
import trio
from structlog.typing import EventDict
from trio.testing import wait_all_tasks_blocked

from stream_gateway.upstream.http1.connection import MAX_HEAD
from tests.gateway.upstream.conftest import MakePool, Serve
from tests.gateway.upstream.loopback import OK, Handler, Peer, Pool, TakingSink, always_ok, answer, chunks

Clock = trio.testing.MockClock
both_pumps = pytest.mark.parametrize("pump", ["epoll", "tasks"], indirect=True)


async def fails(pool: Pool, handler: Handler, serve: Serve, match: str, sink: TakingSink | None = None) -> None:
    """A request to this handler fails in the way it should, and the next one, to a good provider, does not."""
    server = await serve(handler)
    with pytest.raises(httpx.ReadError, match=match):
        await pool.ask(server, sink=sink)
    assert pool.counts == (0, 0)
    await server.has_open(0)
    server.handler = always_ok
    assert (await pool.ask(server)).content == b"ok"


# The provider breaks off


@both_pumps
async def test_before_the_head(serve: Serve, pool: Pool) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()

    await fails(pool, handle, serve, "closed the connection")


@both_pumps
@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Le"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"short"],
        chunks(b"a", last=b""),
        chunks(b"a", last=b"5\r\nab"),
        chunks(b"a", last=b"0\r\n"),
    ],
    ids=["in the head", "before its length", "between chunks", "in a chunk", "in the last chunk"],
)
@pytest.mark.parametrize("with_sink", [True, False])
@pytest.mark.parametrize("reset", [True, False])
async def test_in_the_middle(serve: Serve, pool: Pool, pieces: list[bytes], with_sink: bool, reset: bool) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(*pieces)
        if reset:
            await wait_all_tasks_blocked()
            peer.reset()

    sink = TakingSink() if with_sink else None
    await fails(pool, handle, serve, "broke|closed the connection", sink)
    assert sink is None or sink.ended == 0


async def test_while_it_is_paused(serve: Serve, pool: Pool) -> None:
    sink = TakingSink()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(*chunks(b"a", last=b""))
        await sink.fed.wait()
        sink.valve.pause()
        peer.reset()
        await wait_all_tasks_blocked()
        sink.valve.resume()

    await fails(pool, handle, serve, "broke", sink)
    assert sink.body == b"a"


# The provider breaks HTTP


@pytest.mark.parametrize(
    "reply",
    [
        b"garbage\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 3 * MAX_HEAD + b"\r\n\r\n",
        b"".join(chunks(last=b"xyz\r\n")),
        b"".join(chunks(last=b"2\r\nokay\r\n")),
        b"".join(chunks(last=b"-1\r\n")),
        b"".join(chunks(last=b"f" * 30 + b"\r\n")),
        b"".join(chunks(last=b"0\r\n" + b"X: y\r\n" * 20_000)),
    ],
    ids=lambda reply: reply[:40],
)
@pytest.mark.parametrize("with_sink", [True, False])
async def test_what_is_no_http(serve: Serve, pool: Pool, reply: bytes, with_sink: bool) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply)
        await peer.left()

    await fails(pool, handle, serve, "broke HTTP|chunk", TakingSink() if with_sink else None)


async def test_a_switch_of_protocols_that_nobody_asked_for(serve: Serve, pool: Pool) -> None:
    await fails(pool, answer(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), serve, "broke HTTP")


# Too much


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"x" * 2000, b"x" * 3000],
        [b"".join(chunks(b"x" * 60, b"y" * 60))],
        list(chunks(b"x" * 60, b"y" * 60, last=b"")),
    ],
    ids=["in one read", "in several", "chunked in one read", "chunked and going on"],
)
@pytest.mark.parametrize("declined", [True, False])
async def test_a_reply_that_is_too_large(
    serve: Serve, make_pool: MakePool, pieces: list[bytes], declined: bool
) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(*pieces)
        await peer.left()

    sink = TakingSink(take=False) if declined else None
    await fails(make_pool(max_reply_bytes=100), handle, serve, "larger than 100 bytes", sink)


async def test_a_reply_just_small_enough(serve: Serve, make_pool: MakePool) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
    response = await make_pool(max_reply_bytes=100).ask(await serve(answer(reply)))
    assert len(response.content) == 100


async def test_what_a_sink_takes_is_its_own_business(serve: Serve, make_pool: MakePool) -> None:
    sink = TakingSink()
    await make_pool(max_reply_bytes=100).ask(await serve(answer(b"".join(chunks(b"x" * 50_000)))), sink=sink)
    assert len(sink.body) == 50_000


# A sink that raises


@both_pumps
@pytest.mark.parametrize("where", ["begin", "feed", "flush", "end"])
@pytest.mark.parametrize("length", [True, False])
async def test_a_sink_with_a_bug_hurts_its_own_exchange_only(
    serve: Serve, pool: Pool, where: str, length: bool, logged: list[EventDict]
) -> None:
    calm, going_on = TakingSink(), trio.Event()

    async def handle(peer: Peer) -> None:
        if b"calm" in await peer.request():
            await peer.send(*chunks(b"a", last=b""))
            await going_on.wait()
            await peer.send(*chunks(b"b")[1:])
        elif length:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"o", b"k")
        else:
            await peer.send(*chunks(b"o", b"k"))
        await peer.left()

    server = await serve(handle)
    sink = TakingSink()
    sink.fail_in = where
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: pool.ask(server, sink=calm, body=b"calm"))
        await calm.fed.wait()
        with pytest.raises(httpx.ReadError, match="its log says why"):
            await pool.ask(server, sink=sink)
        assert [entry["event"] for entry in logged] == ["sink_failed"]
        await server.has_open(1)
        going_on.set()
    assert (calm.body, calm.ended) == (b"ab", 1)


# An answer that comes early


BIG = b"x" * 20_000_000

REFUSAL = b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge"


async def early(pool: Pool, handler: Handler, serve: Serve) -> None:
    """A request that is refused before it has been sent is answered at once, and its connection given up."""
    server = await serve(handler)
    began = trio.current_time()
    response = await pool.ask(server, body=BIG)
    assert (response.status_code, response.content) == (413, b"large")
    assert trio.current_time() - began < 0.1
    assert pool.counts == (0, 0)


@both_pumps
@pytest.mark.parametrize("refusal", [REFUSAL, REFUSAL.replace(b"Connection: close\r\n", b"")])
async def test_an_answer_while_the_request_is_still_being_sent(
    serve: Serve, pool: Pool, refusal: bytes, autojump_clock: Clock
) -> None:
    async def handle(peer: Peer) -> None:
        await peer.stream.receive_some(1000)
        await peer.send(refusal)
        await peer.left()

    await early(pool, handle, serve)


async def test_an_answer_and_no_more_reading(serve: Serve, pool: Pool, autojump_clock: Clock) -> None:
    async def handle(peer: Peer) -> None:
        await peer.stream.receive_some(1000)
        await peer.send(REFUSAL)
        await trio.sleep_forever()

    await early(pool, handle, serve)


async def test_an_answer_and_then_no_more_of_either(serve: Serve, pool: Pool, autojump_clock: Clock) -> None:
    async def handle(peer: Peer) -> None:
        await peer.stream.receive_some(1000)
        await peer.send(REFUSAL)
        await peer.stream.send_eof()
        await trio.sleep_forever()

    await early(pool, handle, serve)


async def test_a_provider_that_resets_while_the_request_is_being_sent(serve: Serve, pool: Pool) -> None:
    async def handle(peer: Peer) -> None:
        await peer.stream.receive_some(1000)
        await wait_all_tasks_blocked()
        peer.reset()

    server = await serve(handle)
    with pytest.raises((httpx.ReadError, httpx.WriteError)):
        await pool.ask(server, body=BIG)
    assert pool.counts == (0, 0)


async def test_a_provider_that_closes_while_the_request_is_being_sent(serve: Serve, pool: Pool) -> None:
    async def handle(peer: Peer) -> None:
        await peer.stream.receive_some(1000)
        assert isinstance(peer.stream, trio.SocketStream)
        peer.stream.socket.shutdown(socket.SHUT_WR)
        await trio.sleep_forever()

    server = await serve(handle)
    with pytest.raises(httpx.ReadError):
        await pool.ask(server, body=BIG)
    assert pool.counts == (0, 0)


async def test_a_stream_that_begins_before_the_request_has_been_sent(serve: Serve, pool: Pool) -> None:
    async def handle(peer: Peer) -> None:
        await peer.stream.receive_some(1000)
        await peer.send(*chunks(b"a", last=b""))
        await peer.rest_of_body(len(BIG))
        await peer.send(*chunks(b"b")[1:])

    sink = TakingSink()
    await pool.ask(await serve(handle), body=BIG, sink=sink)
    assert (sink.body, sink.ended) == (b"ab", 1)


async def test_what_fails_once_fails_once(serve: Serve, pool: Pool) -> None:
    server = await serve(always_ok)
    good = await pool.ask(server)
    server.handler = answer(b"garbage\r\n\r\n")
    assert (await pool.ask(server)).content == good.content
    pool.close()
    with pytest.raises(httpx.ReadError):
        await pool.ask(server)
    server.handler = answer(OK)
    assert (await pool.ask(server)).content == b"ok"
