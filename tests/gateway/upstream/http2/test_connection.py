"""One HTTP/2 connection: requests go out as they are, responses come back whole, streams do not disturb each other."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Callable

import brotli
import httpx
import pytest
import trio
from hyperframe import frame as f
from trio.testing import wait_all_tasks_blocked

from stream_gateway.upstream.decoding import zstd
from stream_gateway.upstream.http2 import limits
from stream_gateway.upstream.sink import Silence
from tests.doubles.h2_peer import SSE, H2Peer
from tests.doubles.openai_h2_server import OpenAIH2Server
from tests.doubles.openai_script import Script, words
from tests.gateway.certificates import client_context, server_context
from tests.gateway.upstream.conftest import MakePool, Serve
from tests.gateway.upstream.loopback import Pool, TakingSink, always_ok, answer_all, http2

both_pumps = pytest.mark.parametrize("pump", ["epoll", "tasks"], indirect=True)


@both_pumps
async def test_one_connection_serves_one_request_after_another(serve: Serve, pool: Pool) -> None:
    server = await serve(http2(answer_all))
    for _ in range(5):
        response = await pool.ask(server)
        assert (response.status_code, response.content) == (200, b"ok")
        sink = TakingSink()
        await pool.ask(server, sink=sink)
        assert (sink.status, sink.body, sink.ended) == (200, b"ok", 1)
        assert pool.counts == (0, 1)
    assert server.accepted == 1


async def test_a_request_goes_out_as_it_is(serve: Serve, pool: Pool) -> None:
    seen: list[tuple[dict[str, str], bytes]] = []

    async def handle(peer: H2Peer) -> None:
        while True:
            request = await peer.request()
            seen.append((request.headers, bytes(request.body)))
            await peer.respond(request, end=True)

    server = await serve(http2(handle))
    await pool.ask(server, body=b"x" * 300_000, headers={"X-Own": "yes", "Connection": "close", "TE": "gzip"})
    await pool.ask(server, body=b"", method="GET")
    headers, body = seen[0]
    assert body == b"x" * 300_000
    assert headers[":method"] == "POST"
    assert headers[":path"] == "/v1"
    assert headers[":authority"] == f"127.0.0.1:{server.port}"
    assert headers["x-own"] == "yes"
    assert headers["content-length"] == "300000"
    assert not headers.keys() & {"connection", "te", "host"}
    assert seen[1][0][":method"] == "GET"


async def test_a_providers_key_is_never_indexed(serve: Serve, pool: Pool) -> None:
    """Clients write fields on the same connection, and a table that they share with a secret can be asked about it."""
    seen: list[set[str]] = []

    async def handle(peer: H2Peer) -> None:
        while True:
            request = await peer.request()
            seen.append(request.never_indexed)
            await peer.respond(request, end=True)

    server = await serve(http2(handle))
    for name in ("Authorization", "x-api-key", "x-goog-api-key", "anthropic-beta"):
        await pool.ask(server, headers={name: "sk-secret"})
    assert seen == [{"authorization"}, {"x-api-key"}, {"x-goog-api-key"}, set()]


async def test_with_a_connection_a_request_leaves_at_once(serve: Serve, pool: Pool) -> None:
    """Before whoever awaits the answer has a turn; and the answer may be there before that."""
    answered = trio.Event()

    async def handle(peer: H2Peer) -> None:
        for _ in range(2):
            request = await peer.request()
            await peer.respond(request)
            await peer.send(request, b"ok", end=True)
        answered.set()
        await peer.until_left()

    server = await serve(http2(handle))
    await pool.ask(server)
    request = httpx.Request("POST", f"http://127.0.0.1:{server.port}/v1", content=b"{}")
    answer = pool.transport.handle_async_request(request)
    await answered.wait()
    await wait_all_tasks_blocked()
    assert pool.counts == (1, 0)
    assert (await answer).read() == b"ok"
    assert pool.counts == (0, 1)


async def test_a_request_that_is_none_costs_no_place(serve: Serve, pool: Pool) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{}"

    server = await serve(http2(answer_all))
    await pool.ask(server)
    with pytest.raises(AssertionError):  # httpx's word for it
        await pool.transport.handle_async_request(
            httpx.Request("POST", f"http://127.0.0.1:{server.port}/v1", content=body())
        )
    assert pool.counts == (0, 1)


async def test_a_patience_of_its_own_that_changes_on_the_way(
    serve: Serve, pool: Pool, patient_clock: trio.testing.MockClock
) -> None:
    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request)
        await peer.until_left()

    server = await serve(http2(handle))
    silence = Silence(15.0)
    began = trio.current_time()

    async def ask_in_vain() -> None:
        with pytest.raises(httpx.ReadTimeout, match="silent for 2 seconds"):
            await pool.ask(server, sink=TakingSink(), silence=silence)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_in_vain)
        await trio.sleep(6)
        silence.set(2.0)
    assert trio.current_time() - began == pytest.approx(6.0)


@pytest.mark.parametrize("sink", [True, False])
async def test_an_event_split_at_every_byte(serve: Serve, pool: Pool, sink: bool) -> None:
    text = 'data: {"ü": 1}\n\n'.encode()

    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request)
        for at in range(len(text)):
            await peer.send(request, text[at : at + 1], end=at + 1 == len(text))
            await wait_all_tasks_blocked()
        await peer.until_left()

    taking = TakingSink()
    response = await pool.ask(await serve(http2(handle)), sink=taking if sink else None)
    assert (taking.body if sink else response.content) == text


async def test_frames_cut_anywhere(serve: Serve, pool: Pool) -> None:
    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        peer.h2.send_headers(request.id, [(":status", "200"), *SSE.items()])
        peer.h2.send_data(request.id, b"hello ", pad_length=17)
        peer.h2.send_data(request.id, b"world", end_stream=True)
        for byte in peer.h2.data_to_send():
            await peer.say(bytes([byte]))
            await wait_all_tasks_blocked()
        await peer.until_left()

    sink = TakingSink()
    await pool.ask(await serve(http2(handle)), sink=sink)
    assert (sink.body, sink.ended) == (b"hello world", 1)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
@pytest.mark.parametrize("sink", [True, False])
async def test_a_reply_that_is_compressed_all_the_same(serve: Serve, pool: Pool, coding: str, sink: bool) -> None:
    text = b"".join(b"data: %d\n\n" % number for number in range(1000))
    pack: Callable[[bytes], bytes] = {
        "gzip": gzip.compress,
        "br": brotli.compress,
        "zstd": zstd.compress,
        "deflate": zlib.compress,
    }[coding]

    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request, {**SSE, "content-encoding": coding})
        packed = pack(text)
        for at in range(0, len(packed), 100):
            await peer.send(request, packed[at : at + 100])
        await peer.send(request, b"", end=True)
        await peer.until_left()

    taking = TakingSink()
    response = await pool.ask(await serve(http2(handle)), sink=taking if sink else None)
    assert (taking.body if sink else response.content) == text
    assert sink or "content-encoding" not in response.headers


@pytest.mark.parametrize("sink", [True, False])
async def test_a_bomb(serve: Serve, pool: Pool, sink: bool) -> None:
    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request, {**SSE, "content-encoding": "gzip"})
        await peer.send(request, gzip.compress(b"0" * 50_000_000), end=True)
        await answer_all(peer)

    server = await serve(http2(handle))
    with pytest.raises(httpx.ReadError, match=r"grows to over|larger than"):
        await pool.ask(server, sink=TakingSink() if sink else None)
    assert (await pool.ask(server)).content == b"ok"
    assert server.accepted == 1


async def test_trailers_and_informational_responses_are_not_the_answer(serve: Serve, pool: Pool) -> None:
    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        peer.h2.send_headers(request.id, [(":status", "103"), ("link", "</x>")])
        peer.h2.send_headers(request.id, [(":status", "200"), ("content-length", "2")])
        peer.h2.send_data(request.id, b"ok")
        peer.h2.send_headers(request.id, [("grpc-status", "0")], end_stream=True)
        await peer.flush()
        await answer_all(peer)

    server = await serve(http2(handle))
    for _ in range(2):
        response = await pool.ask(server)
        assert (response.status_code, response.content) == (200, b"ok")
    assert server.accepted == 1


async def test_a_response_without_a_body(serve: Serve, pool: Pool) -> None:
    async def handle(peer: H2Peer) -> None:
        while True:
            request = await peer.request()
            await peer.respond(
                request, {"content-length": "10"} if request.headers[":method"] == "HEAD" else {}, end=True
            )

    server = await serve(http2(handle))
    for method in ("HEAD", "POST", "HEAD"):
        response = await pool.ask(server, method=method, body=b"")
        assert (response.status_code, response.content) == (200, b"")
    assert server.accepted == 1


async def test_an_answer_that_does_not_wait_for_the_whole_request(serve: Serve, pool: Pool) -> None:
    async def handle(peer: H2Peer) -> None:
        while not peer.requests:
            await peer.news()
        (request,) = peer.requests.values()
        await peer.respond(request, status=413)
        await peer.send(request, b"too much", end=True)
        await request.left.wait()
        await answer_all(peer)

    server = await serve(http2(handle, opens_windows=False))
    response = await pool.ask(server, body=b"x" * 1_000_000)
    assert (response.status_code, response.content) == (413, b"too much")
    assert (await pool.ask(server, body=b"")).content == b"ok"
    assert server.accepted == 1


async def test_whoever_leaves_resets_one_stream_and_no_other(serve: Serve, pool: Pool) -> None:
    peers: list[H2Peer] = []

    async def handle(peer: H2Peer) -> None:
        peers.append(peer)
        one, two = await peer.request(), await peer.request()
        await peer.respond(one)
        await peer.respond(two)
        await peer.send(one, b"a")
        await one.left.wait()
        await peer.say(f.DataFrame(one.id, b"late" * 1000))  # it was under way
        await peer.send(two, b"b", end=True)
        await peer.until_left()

    server = await serve(http2(handle))
    sinks = TakingSink(), TakingSink()
    async with trio.open_nursery() as nursery:
        leaver = trio.CancelScope()

        async def leave() -> None:
            with leaver:
                await pool.ask(server, sink=sinks[0])

        nursery.start_soon(leave)
        await wait_all_tasks_blocked()
        nursery.start_soon(lambda: pool.ask(server, sink=sinks[1]))
        await sinks[0].fed.wait()
        leaver.cancel()
    assert (sinks[0].body, sinks[0].ended) == (b"a", 0)
    assert (sinks[1].body, sinks[1].ended) == (b"b", 1)
    assert [request.reset for request in peers[0].requests.values()] == [8, None]
    assert pool.counts == (0, 1)


async def test_a_sink_that_fails_costs_its_own_stream_only(serve: Serve, pool: Pool) -> None:
    server = await serve(http2(answer_all))
    for where in ("begin", "feed", "flush", "end"):
        sink = TakingSink()
        sink.fail_in = where
        with pytest.raises(httpx.ReadError, match="could not process"):
            await pool.ask(server, sink=sink)
    assert (await pool.ask(server)).content == b"ok"
    assert server.accepted == 1


async def test_what_a_sink_does_not_take_is_in_the_response(serve: Serve, pool: Pool) -> None:
    response = await pool.ask(await serve(http2(answer_all)), sink=TakingSink(take=False))
    assert response.content == b"ok"


async def test_a_reply_that_is_too_large(serve: Serve, make_pool: MakePool) -> None:
    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request)
        await peer.send(request, b"x" * 1_000_000, end=True)
        await answer_all(peer)

    server = await serve(http2(handle))
    pool = make_pool(http2="prior-knowledge", max_reply_bytes=1000)
    with pytest.raises(httpx.ReadError, match="larger than 1000 bytes"):
        await pool.ask(server)
    assert (await pool.ask(server)).content == b"ok"


async def test_a_sink_that_has_all_it_wants_waits_no_longer_for_the_end(
    serve: Serve, pool: Pool, patient_clock: trio.testing.MockClock
) -> None:
    resets: list[int | None] = []

    async def handle(peer: H2Peer) -> None:
        request = await peer.request()
        await peer.respond(request)
        await peer.send(request, b"[DONE]")
        await request.left.wait()
        resets.append(request.reset)
        await peer.until_left()

    sink = TakingSink()
    flush = sink.flush

    def enough() -> None:
        flush()
        if sink.body:
            sink.valve.expect_end()

    sink.flush = enough  # type: ignore[method-assign]
    began = trio.current_time()
    await pool.ask(await serve(http2(handle)), sink=sink)
    assert trio.current_time() - began == pytest.approx(1.0)
    await wait_all_tasks_blocked()
    assert resets == [8]
    assert pool.counts == (0, 1)


# Over TLS


async def test_it_is_agreed_on_over_tls(nursery: trio.Nursery, make_pool: MakePool) -> None:
    server = OpenAIH2Server(context=server_context("127.0.0.1", protocol="h2"))
    server.scripts["mock"] = script = Script(deltas=words(50))
    await nursery.start(server.run)
    transport = make_pool(ssl_context=client_context()).transport_to(server.port, "https")
    request = httpx.Request("POST", f"{server.base_url}/chat/completions", json={"model": "mock", "stream": True})
    for _ in range(3):
        response = await transport.handle_async_request(request)
        assert all(word.encode() in response.read() for word in script.deltas)
    assert (server.accepted_connections, len(server.peers)) == (1, 1)


@pytest.mark.parametrize("mode", ["auto", "off"])
async def test_a_provider_that_does_not_offer_it_is_spoken_to_in_http1(
    serve: Serve, make_pool: MakePool, mode: str
) -> None:
    server = await serve(always_ok, server_context("127.0.0.1"))
    pool = make_pool(ssl_context=client_context(), http2=mode)
    assert (await pool.ask(server, scheme="https")).content == b"ok"


async def test_prior_knowledge_that_is_wrong(serve: Serve, make_pool: MakePool) -> None:
    server = await serve(always_ok, server_context("127.0.0.1"))
    pool = make_pool(ssl_context=client_context(), http2="prior-knowledge")
    with pytest.raises(httpx.ConnectError, match="does not offer HTTP/2"):
        await pool.ask(server, scheme="https")
    server = await serve(always_ok)
    with pytest.raises(httpx.RemoteProtocolError, match="is not HTTP/2"):
        await pool.ask(server)
    assert pool.counts == (0, 0)


# Silence


async def test_a_silent_stream_ends_after_its_time_and_its_neighbours_go_on(
    serve: Serve, make_pool: MakePool, patient_clock: trio.testing.MockClock
) -> None:
    async def handle(peer: H2Peer) -> None:
        silent, lively = await peer.request(), await peer.request()
        await peer.respond(silent)
        await peer.respond(lively)
        for number in range(10):
            await trio.sleep(1)
            await peer.send(lively, b"%d" % number, end=number == 9)
        await peer.until_left()

    server = await serve(http2(handle))
    pool = make_pool(http2="prior-knowledge", silence_timeout=3.0)
    sinks = TakingSink(), TakingSink()

    async def ask_in_vain() -> None:
        began = trio.current_time()
        with pytest.raises(httpx.ReadTimeout, match="silent for 3 seconds"):
            await pool.ask(server, sink=sinks[0])
        assert trio.current_time() - began == pytest.approx(3.0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_in_vain)
        await wait_all_tasks_blocked()
        nursery.start_soon(lambda: pool.ask(server, sink=sinks[1]))
    assert sinks[1].body == b"0123456789"


@pytest.mark.deadline(200)  # by the test's clock
@pytest.mark.parametrize("answers", [True, False])
async def test_a_silent_connection_is_asked_whether_it_is_there(
    serve: Serve, make_pool: MakePool, patient_clock: trio.testing.MockClock, answers: bool
) -> None:
    pings = 0

    async def handle(peer: H2Peer) -> None:
        nonlocal pings
        peer.answers_pings = answers
        request = await peer.request()
        await peer.respond(request)
        await peer.until_left()
        pings += peer.pings

    server = await serve(http2(handle))
    pool = make_pool(http2="prior-knowledge", silence_timeout=100.0)
    began = trio.current_time()
    kind, message = (httpx.ReadTimeout, "silent for 100") if answers else (httpx.ReadError, "did not answer a PING")
    with pytest.raises(kind, match=message):
        await pool.ask(server, sink=TakingSink())
    took = trio.current_time() - began
    assert took == pytest.approx(100.0 if answers else limits.PING_AFTER + limits.PING_TIMEOUT)
    pool.close()
    await server.has_open(0)
    assert pings == (3 if answers else 1)


@pytest.mark.deadline(200)  # by the test's clock
@pytest.mark.parametrize("answers", [True, False])
async def test_a_connection_that_was_long_idle_is_asked_before_a_request_depends_on_it(
    serve: Serve, pool: Pool, patient_clock: trio.testing.MockClock, answers: bool
) -> None:
    async def handle(peer: H2Peer) -> None:
        peer.answers_pings = answers
        await answer_all(peer)

    server = await serve(http2(handle))
    await pool.ask(server)
    await trio.sleep(limits.PING_AFTER + 1)
    answered: list[bytes] = []

    async def ask() -> None:
        answered.append((await pool.ask(server)).content)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert answered == [b"ok"] * 3
    assert server.accepted == (1 if answers else 2)


async def test_a_body_that_is_not_taken(
    serve: Serve, make_pool: MakePool, patient_clock: trio.testing.MockClock
) -> None:
    async def handle(peer: H2Peer) -> None:
        await peer.until_left()

    server = await serve(http2(handle, opens_windows=False))
    pool = make_pool(http2="prior-knowledge", write_timeout=2.0)
    began = trio.current_time()
    with pytest.raises(httpx.WriteTimeout, match="did not take the request"):
        await pool.ask(server, body=b"x" * 100_000)
    assert trio.current_time() - began == pytest.approx(2.0)
