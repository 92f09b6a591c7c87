"""Whatever a provider does, there is a clear `httpx` error, and its neighbours go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe import frame as f
from trio.testing import wait_all_tasks_blocked

from stream_gateway.upstream.http2 import limits
from tests.doubles.faults import Ending
from tests.doubles.h2_peer import SSE, H2Peer, H2Request
from tests.doubles.openai_h2_server import OpenAIH2Server
from tests.doubles.openai_script import Script
from tests.gateway.upstream.conftest import MakePool, Serve
from tests.gateway.upstream.loopback import Peer, Pool, TakingSink, answer_all, http2

Fault = Callable[[H2Peer, H2Request], Awaitable[None]]


async def reset_before_the_head(peer: H2Peer, request: H2Request) -> None:
    await peer.reset(request)


async def reset_in_the_middle(peer: H2Peer, request: H2Request) -> None:
    await peer.respond(request)
    await peer.send(request, b"a")
    await peer.reset(request)


async def reset_without_an_error(peer: H2Peer, request: H2Request) -> None:
    await peer.respond(request)
    await peer.send(request, b"a")
    await peer.reset(request, ErrorCodes.NO_ERROR)


async def refused_in_the_middle(peer: H2Peer, request: H2Request) -> None:
    await peer.respond(request)
    await peer.reset(request, ErrorCodes.REFUSED_STREAM)


async def too_little(peer: H2Peer, request: H2Request) -> None:
    await peer.respond(request, {"content-length": "5"})
    await peer.say(f.DataFrame(request.id, b"1234", flags=["END_STREAM"]))


async def too_much(peer: H2Peer, request: H2Request) -> None:
    await peer.respond(request, {"content-length": "5"})
    await peer.say(f.DataFrame(request.id, b"123456"))


async def a_body_without_a_head(peer: H2Peer, request: H2Request) -> None:
    await peer.say(f.DataFrame(request.id, b"1234", flags=["END_STREAM"]))


async def a_strange_status(peer: H2Peer, request: H2Request) -> None:
    await peer.respond(request, status=20)


async def too_wide_a_window(peer: H2Peer, request: H2Request) -> None:
    for _ in range(2):
        await peer.say(f.WindowUpdateFrame(request.id, window_increment=2**31 - 1))


async def an_unknown_coding(peer: H2Peer, request: H2Request) -> None:
    await peer.respond(request, {**SSE, "content-encoding": "compress"})


async def a_coding_that_it_does_not_keep_to(peer: H2Peer, request: H2Request) -> None:
    await peer.respond(request, {**SSE, "content-encoding": "zstd"})
    await peer.send(request, b"this is not zstd", end=True)


@pytest.mark.parametrize("sink", [True, False])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (reset_before_the_head, "reset the stream: INTERNAL_ERROR"),
        (reset_in_the_middle, "reset the stream: INTERNAL_ERROR"),
        (reset_without_an_error, "reset the stream: NO_ERROR"),
        (refused_in_the_middle, "reset the stream: REFUSED_STREAM"),
        (too_little, "shorter than its head says"),
        (too_much, "longer than its head says"),
        (a_body_without_a_head, "a body without a head"),
        (a_strange_status, "without a status"),
        (too_wide_a_window, "broke HTTP/2: FLOW_CONTROL_ERROR"),
        (an_unknown_coding, "not asked for: compress"),
        (a_coding_that_it_does_not_keep_to, "broken"),
    ],
)
async def test_a_fault_of_one_stream_harms_no_other(
    serve: Serve, pool: Pool, fault: Fault, message: str, sink: bool
) -> None:
    async def handle(peer: H2Peer) -> None:
        neighbour = await peer.request()
        await peer.respond(neighbour)
        await peer.send(neighbour, b"one ")
        await fault(peer, await peer.request())
        await wait_all_tasks_blocked()
        await peer.send(neighbour, b"two", end=True)
        await answer_all(peer)

    server = await serve(http2(handle))
    neighbour, victim = TakingSink(), TakingSink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: pool.ask(server, sink=neighbour))
        await neighbour.fed.wait()
        with pytest.raises(httpx.TransportError, match=message):
            await pool.ask(server, sink=victim if sink else None)
        assert victim.ended == 0
    assert (neighbour.body, neighbour.ended) == (b"one two", 1)
    assert (await pool.ask(server)).content == b"ok"
    assert server.accepted == 1


# Faults of the connection


def head(stream: int, size: int, *flags: str) -> bytes:
    return f.HeadersFrame(stream, b"\x88" + b"\x40\x01a\x01b" * (size // 5), flags=flags).serialize()


CONNECTION_FAULTS: dict[str, tuple[bytes, str]] = {
    "a huge frame": ((2**24 - 1).to_bytes(3, "big") + b"\0\0\0\0\0\1", "a frame of 16777215 bytes"),
    "an unknown stream": (f.DataFrame(99, b"x").serialize(), "a stream that does not exist"),
    "a stream of its own": (f.DataFrame(2, b"x").serialize(), "a stream that does not exist"),
    "a push": (f.PushPromiseFrame(1, 2, b"\x82", flags=["END_HEADERS"]).serialize(), "broke HTTP/2"),
    "padding without a frame": (b"\0\0\1\0\x08\0\0\0\1\x05", "more padding than frame"),
    "an endless head": (
        head(1, 16_000) + b"".join(f.ContinuationFrame(1, b"\x40\x01a\x01b" * 3_000).serialize() for _ in range(5)),
        "an endless header block",
    ),
    "a frame inside of a head": (head(1, 100) + f.DataFrame(1, b"x").serialize(), "inside of a header block"),
    "a head that unpacks": (
        f.HeadersFrame(
            1, b"\x88\x7f" + b"\x81\x1f" + b"a" * 4000 + b"\x00" + b"\xbe" * 100, flags=["END_HEADERS"]
        ).serialize(),
        "broke HTTP/2",
    ),
    "a window of nothing": (f.WindowUpdateFrame(0, window_increment=2**31 - 1).serialize() * 2, "broke HTTP/2"),
    "a flood of pings": (f.PingFrame(0, b"01234567").serialize() * 2_500, "too many frames"),
    "a flood of settings": (f.SettingsFrame(0, {1: 10}).serialize() * 2_500, "too many frames"),
    "a flood of nothing": (head(1, 0, "END_HEADERS") + f.DataFrame(1, b"").serialize() * 2_500, "too many frames"),
    "settings of the wrong size": (b"\0\0\5\4\0\0\0\0\0\0\0\0\0\0", "broke HTTP/2"),
    "an impossible window": (f.SettingsFrame(0, {4: 2**31}).serialize(), "broke HTTP/2"),
    "a goodbye that is too short": (b"\0\0\1\7\0\0\0\0\0\0", "GOAWAY"),
}


@pytest.mark.parametrize(("said", "message"), CONNECTION_FAULTS.values(), ids=CONNECTION_FAULTS)
async def test_a_fault_of_the_connection_ends_it_and_no_other(
    serve: Serve, make_pool: MakePool, said: bytes, message: str
) -> None:
    peers: list[H2Peer] = []

    async def handle(peer: H2Peer) -> None:
        peers.append(peer)
        if len(peers) > 1:
            await answer_all(peer)
            return
        await peer.request()
        await peer.say(said)
        await peer.until_left()

    server = await serve(http2(handle))
    pool = make_pool(http2="prior-knowledge")
    with pytest.raises(httpx.RemoteProtocolError, match=message):
        await pool.ask(server, sink=TakingSink())
    assert pool.counts == (0, 0)
    await peers[0].closed.wait()
    assert peers[0].goaway is not None
    assert peers[0].goaway.error_code != 0
    assert (await pool.ask(server)).content == b"ok"


async def test_more_than_the_connections_window(serve: Serve, pool: Pool) -> None:
    async def handle(peer: H2Peer) -> None:
        await peer.request()
        await peer.say(f.DataFrame(1, b"x" * 16_384).serialize() * (limits.CONNECTION_WINDOW // 16_384 + 200))
        await peer.until_left()

    # What arrives opens the window again, so it takes an endless stream to break it: that stream ends for itself.
    with pytest.raises(httpx.RemoteProtocolError, match="a body without a head"):
        await pool.ask(await serve(http2(handle)))


@pytest.mark.parametrize("moment", ["before", "head", "middle"])
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_connection_that_breaks(serve: Serve, pool: Pool, moment: str, how: str) -> None:
    async def handle(peer: Peer) -> None:
        async def inner(h2: H2Peer) -> None:
            request = await h2.request()
            if moment != "before":
                await h2.respond(request)
            if moment == "middle":
                await h2.send(request, b"a")
            await wait_all_tasks_blocked()

        await http2(inner)(peer)
        if how == "reset":
            peer.reset()

    server = await serve(handle)
    sink = TakingSink()
    with pytest.raises(httpx.ReadError, match=r"closed the connection|broke"):
        await pool.ask(server, sink=sink)
    assert (sink.body, sink.ended) == (b"a" if moment == "middle" else b"", 0)
    assert pool.counts == (0, 0)


async def test_settings_that_change_all_the_time(serve: Serve, pool: Pool) -> None:
    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request)
        for number in range(100):
            await peer.update(
                {
                    SettingCodes.MAX_CONCURRENT_STREAMS: number % 3,
                    SettingCodes.INITIAL_WINDOW_SIZE: number * 1000,
                    SettingCodes.MAX_FRAME_SIZE: 16_384 + number * 10_000,
                    SettingCodes.HEADER_TABLE_SIZE: number * 10_000_000,
                }
            )
        await peer.send(request, b"ok", end=True)
        await peer.update({SettingCodes.MAX_CONCURRENT_STREAMS: 10})
        await answer_all(peer)

    server = await serve(http2(handle))
    for _ in range(3):
        assert (await pool.ask(server, body=b"x" * 70_000)).content == b"ok"


async def test_a_provider_that_asks_more_than_it_listens(serve: Serve, pool: Pool) -> None:
    # It may ask a thousand things before it reads an answer; then it is not read any more, until it does.
    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request)
        for _ in range(10):
            await peer.say(f.PingFrame(0, b"01234567").serialize() * 100)
        await peer.send(request, b"ok", end=True)
        await answer_all(peer)

    server = await serve(http2(handle))
    for _ in range(3):
        assert (await pool.ask(server)).content == b"ok"


async def test_frames_that_nobody_knows_are_ignored(serve: Serve, pool: Pool) -> None:
    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.say(b"\0\0\x03\xee\xff\0\0\0\0abc", f.PriorityFrame(1, depends_on=0), b"\0\0\x02\x0c\0\0\0\0\x01xy")
        await peer.respond(request)
        await peer.send(request, b"ok", end=True)
        await peer.say(f.RstStreamFrame(1, error_code=0), f.WindowUpdateFrame(1, window_increment=5))
        await answer_all(peer)

    server = await serve(http2(handle))
    for _ in range(2):
        assert (await pool.ask(server)).content == b"ok"
    assert server.accepted == 1


@pytest.mark.parametrize("ending", [Ending.RESET, Ending.CLOSE])
async def test_an_answer_that_is_broken_off_is_no_answer(
    nursery: trio.Nursery, make_pool: MakePool, ending: Ending
) -> None:
    server = OpenAIH2Server()
    server.scripts["mock"] = Script(ending=ending)
    await nursery.start(server.run)
    transport = make_pool(http2="prior-knowledge").transport_to(server.port)
    request = httpx.Request("POST", f"{server.base_url}/chat/completions", json={"model": "mock", "stream": True})
    with pytest.raises(httpx.ReadError):
        await transport.handle_async_request(request)
