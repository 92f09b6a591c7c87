"""Providers over TLS: verified, reused, and broken off in every way."""

import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stream_gateway.config import ConfigError, ProviderSettings
from stream_gateway.tls import server_end
from stream_gateway.upstream.pump import Pump
from stream_gateway.upstream.transport import dialer_for, open_transport
from tests.gateway.certificates import authority, client_context, server_context
from tests.gateway.upstream.conftest import MakePool, Serve
from tests.gateway.upstream.loopback import OK, Loopback, Peer, Pool, TakingSink, always_ok, answer, chunks

ADDRESS = "127.0.0.1"

Make = Callable[..., Pool]


@pytest.fixture
def pool(make_pool: MakePool) -> Pool:
    """A pool that trusts the tests' authority."""
    return make_pool(ssl_context=client_context())


async def ask(pool: Pool, server: Loopback, sink: TakingSink | None = None, body: bytes = b"{}") -> httpx.Response:
    return await pool.ask(server, sink=sink, body=body, scheme="https")


@pytest.mark.parametrize("pump", ["epoll", "tasks"], indirect=True)
@pytest.mark.parametrize("newest", [True, False], ids=["1.3", "1.2"])
async def test_one_connection_serves_one_request_after_another(serve: Serve, pool: Pool, newest: bool) -> None:
    async def handle(peer: Peer) -> None:
        while request := await peer.request():
            await peer.send(*(chunks(b"a", b"b" * 100_000) if b"stream" in request else [OK]))

    server = await serve(handle, server_context(ADDRESS, newest=newest))
    for _ in range(3):
        assert (await ask(pool, server)).content == b"ok"
        sink = TakingSink()
        await ask(pool, server, sink, b"stream")
        assert sink.body == b"a" + b"b" * 100_000
    assert server.accepted == 1
    assert pool.counts == (0, 1)


async def test_a_large_request(serve: Serve, pool: Pool) -> None:
    sizes: list[int] = []

    async def handle(peer: Peer) -> None:
        sizes.append(len(await peer.request()))
        await peer.send(OK)

    server = await serve(handle, server_context(ADDRESS))
    await ask(pool, server, body=b"x" * 8_000_000)
    assert sizes[0] > 8_000_000


async def test_the_name_is_sent_and_verified(serve: Serve, pool: Pool) -> None:
    server = await serve(always_ok, server_context("localhost"))
    assert (await pool.ask(server, scheme="https", host="localhost")).content == b"ok"
    pool.close()
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        await ask(pool, server)


async def test_an_authority_that_nobody_trusts(serve: Serve, pool: Pool) -> None:
    server = await serve(always_ok, server_context(ADDRESS, trusted=False))
    with pytest.raises(httpx.ConnectError, match=r"TLS with 127\.0\.0\.1:\d+ failed: CERTIFICATE_VERIFY_FAILED"):
        await ask(pool, server)
    await server.has_open(0)


async def test_without_a_context_of_its_own_it_trusts_what_the_system_does(serve: Serve, make_pool: MakePool) -> None:
    server = await serve(always_ok, server_context(ADDRESS))
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        await ask(make_pool(), server)


async def test_a_provider_that_speaks_no_tls(serve: Serve, pool: Pool) -> None:
    async def plain(peer: Peer) -> None:
        await peer.stream.receive_some(1000)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await serve(plain)
    with pytest.raises(httpx.ConnectError, match=r"TLS with .* failed"):
        await ask(pool, server)
    await server.has_open(0)


async def test_a_provider_that_closes_in_the_middle_of_the_handshake(serve: Serve, pool: Pool) -> None:
    async def close(peer: Peer) -> None:
        await peer.stream.receive_some(1000)

    with pytest.raises(httpx.ConnectError):
        await ask(pool, await serve(close))


async def test_a_provider_that_says_nothing_in_the_handshake(
    serve: Serve, make_pool: MakePool, autojump_clock: trio.testing.MockClock
) -> None:
    async def silent(peer: Peer) -> None:
        await peer.left()

    server = await serve(silent)
    pool = make_pool(ssl_context=client_context(), connect_timeout=3.0)
    began = trio.current_time()
    with pytest.raises(httpx.ConnectTimeout):
        await ask(pool, server)
    assert trio.current_time() - began == pytest.approx(3)
    await server.has_open(0)


# The end of a body


async def test_a_body_without_length_ends_with_the_connection(serve: Serve, pool: Pool) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", b"hel", b"lo")
        await peer.stream.aclose()

    server = await serve(handle, server_context(ADDRESS))
    sink = TakingSink()
    await ask(pool, server, sink)
    assert (sink.body, sink.ended) == (b"hello", 1)


async def test_a_goodbye_ends_the_body_although_the_connection_stays_open(serve: Serve, pool: Pool) -> None:
    # Servers that are strict say goodbye, and wait until the client has said so too (RFC 8446 §6.1).
    async def handle(peer: Peer) -> None:
        tls = server_end(server_context(ADDRESS))
        while not tls.handshake():
            await peer.stream.send_all(tls.outgoing())
            tls.feed(bytes(await peer.stream.receive_some()))
        while not tls.read():
            tls.feed(bytes(await peer.stream.receive_some()))
        tls.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        tls.close()
        await peer.stream.send_all(tls.outgoing())
        await peer.left()

    response = await ask(pool, await serve(handle))
    assert response.content == b"hello"


async def test_tickets_after_the_handshake_are_no_reason_to_close(
    serve: Serve, make_pool: MakePool, nursery: trio.Nursery
) -> None:
    # Most servers send them at once (RFC 8446 §4.6.1), also on a connection that nobody has used yet.
    async def handle(peer: Peer) -> None:
        tls = server_end(server_context(ADDRESS))
        while not tls.handshake():
            await peer.stream.send_all(tls.outgoing())
            tls.feed(bytes(await peer.stream.receive_some()))
        tickets = tls.outgoing()
        assert tickets
        await peer.stream.send_all(tickets)
        while not tls.read():
            tls.feed(bytes(await peer.stream.receive_some()))
        tls.write(OK)
        await peer.stream.send_all(tls.outgoing())
        await peer.left()

    server = await serve(handle)
    pool = make_pool(ssl_context=client_context(), prewarm=1)
    nursery.start_soon(pool.transport_to(server.port, "https").run)
    await wait_all_tasks_blocked(0.02)
    assert pool.counts == (0, 1)
    assert (await ask(pool, server)).content == b"ok"
    assert server.accepted == 1


async def test_a_body_that_is_cut_off(serve: Serve, pool: Pool) -> None:
    server = await serve(answer(b"".join(chunks(b"a", last=b""))), server_context(ADDRESS))
    sink = TakingSink()
    with pytest.raises(httpx.ReadError, match="closed the connection"):
        await ask(pool, server, sink)
    assert (sink.body, sink.ended) == (b"a", 0)
    assert pool.counts == (0, 0)


async def test_bytes_that_were_tampered_with(serve: Serve, pool: Pool) -> None:
    async def handle(peer: Peer) -> None:
        stream = peer.stream
        assert isinstance(stream, trio.SSLStream)
        await peer.request()
        await peer.send(*chunks(b"a", last=b""))
        await wait_all_tasks_blocked()
        await stream.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
        await stream.transport_stream.receive_some(1)

    server = await serve(handle, server_context(ADDRESS))
    sink = TakingSink()
    with pytest.raises(httpx.ReadError, match="broke"):
        await ask(pool, server, sink)
    assert sink.body == b"a"
    assert pool.counts == (0, 0)


async def test_an_idle_connection_that_the_provider_closes_is_forgotten(serve: Serve, pool: Pool) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.stream.aclose()

    server = await serve(handle, server_context(ADDRESS))
    for _ in range(3):
        assert (await ask(pool, server)).content == b"ok"
        await server.has_open(0)
        await wait_all_tasks_blocked()
        assert pool.counts == (0, 0)


async def test_a_context_is_made_once(serve: Serve, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []
    context = client_context()

    def make() -> ssl.SSLContext:
        made.append(context)
        return context

    monkeypatch.setattr(ssl, "create_default_context", make)
    pool = make_pool()
    server = await serve(answer(OK), server_context(ADDRESS))
    for _ in range(2):
        await ask(pool, server)
    assert (server.accepted, len(made)) == (2, 1)


# Authorities


def settings(**options: str) -> ProviderSettings:
    return ProviderSettings(dialect="openai_chat", base_url="https://127.0.0.1:1/v1", **options)


async def test_an_authority_of_ones_own_is_added_by_a_file(
    nursery: trio.Nursery, serve: Serve, pump: Pump, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(str(file))
    server = await serve(always_ok, server_context(ADDRESS))
    base_url = f"https://{ADDRESS}:{server.port}/v1"
    request = httpx.Request("POST", f"{base_url}/chat/completions", content=b"{}")
    own = ProviderSettings(dialect="openai_chat", base_url=base_url, ca_file=str(file))
    transport = open_transport("own", own, pump)
    assert (await transport.handle_async_request(request)).read() == b"ok"
    await transport.aclose()
    transport = open_transport("own", msgspec.structs.replace(own, ca_file=None), pump)
    with pytest.raises(httpx.ConnectError, match="name it in `ca_file`"):
        await transport.handle_async_request(request)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "No such file"), ("", "no certificate"), ("nonsense", "no certificate")]
)
def test_a_file_that_holds_no_authority(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=rf'key `providers\."own"\.ca_file`: {file} cannot be used: .*{message}'):
        dialer_for("own", settings(ca_file=str(file)))
