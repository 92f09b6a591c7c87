"""The listener's other doors: Unix sockets, shared ports, proxies in front."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
import trio

from stream_gateway.server import proxy
from tests.doubles.certificates import Certificates
from tests.doubles.h2_client import PREFACE, H2Client, h2_connect
from tests.doubles.raw_client import Connection
from tests.doubles.served_gateway import Serve
from tests.doubles.waiting import until

GET = b"GET /v1/models HTTP/1.1\r\nHost: gateway\r\n\r\n"


async def unix_connect(path: Path) -> Connection:
    return Connection(await trio.open_unix_socket(str(path)), "gateway")


async def test_a_unix_socket(serve: Serve, tmp_path: Path, nursery: trio.Nursery) -> None:
    path = tmp_path / "gateway.sock"
    async with trio.open_nursery() as inner:
        await serve(inner, server={"unix": str(path)})
        async with await unix_connect(path) as connection:
            assert (await connection.request("GET", "/v1/models")).status == 200
        stream = await trio.open_unix_socket(str(path))
        async with stream:
            client = H2Client(stream)
            await nursery.start(client.run)
            assert (await client.request("GET", "/v1/models")).status == 200
        with pytest.raises(OSError, match="somebody listens"):
            await serve(inner, server={"unix": str(path)})
        inner.cancel_scope.cancel()
    await until(lambda: not path.exists())


async def test_a_socket_file_that_was_left(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    await serve(server={"unix": str(path)})
    async with await unix_connect(path) as connection:
        assert (await connection.request("GET", "/v1/models")).status == 200


async def test_a_file_that_is_no_socket(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "precious.txt"
    path.write_text("data")
    with pytest.raises(OSError, match="no socket"):
        await serve(server={"unix": str(path)})
    assert path.read_text() == "data"


async def test_a_shared_port(serve: Serve) -> None:
    first = await serve(server={"reuse_port": True})
    second = await serve(server={"reuse_port": True, "port": first.port})
    assert second.port == first.port
    with pytest.raises(OSError, match="in use"):
        await serve(server={"port": first.port})


# ---- PROXY protocol


def header(address: str = "203.0.113.7", *, command: int = 0x21, extra: bytes = b"") -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    ip = socket.inet_pton(family, address)
    body = ip + ip + struct.pack("!HH", 1234, 80) + extra
    return proxy.SIGNATURE + struct.pack("!BBH", command, 0x21 if ":" in address else 0x11, len(body)) + body


async def test_proxy_protocol(serve: Serve) -> None:
    gateway = await serve(server={"proxy_protocol": True}, sockets={"per_address": 1})
    for data in (header() + GET, header("2001:db8::7", extra=b"\x04\x00\x01x") + GET, header(command=0x20) + GET):
        assert (await gateway.raw(data)).status == 200
    async with await Connection.open(gateway.host, gateway.port) as connection:
        for at in range(len(header())):
            await connection.send(header()[at : at + 1])
        await connection.send(GET)
        assert (await connection.response()).status == 200


async def test_proxy_protocol_before_http2_and_tls(serve: Serve, tmp_path: Path) -> None:
    files = Certificates(tmp_path)
    gateway = await serve(server={"proxy_protocol": True})
    async with await Connection.open(gateway.host, gateway.port) as connection:
        await connection.send(header() + PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        assert await connection.receive()
        assert connection.unread[3] == 4  # SETTINGS
    secure = await serve(server={"proxy_protocol": True, **files.section})
    tcp = await trio.open_tcp_stream(secure.host, secure.port)
    await tcp.send_all(header())
    stream = trio.SSLStream(tcp, files.client("http/1.1"), server_hostname="localhost", https_compatible=True)
    async with stream:
        await stream.send_all(GET)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent",
    [
        GET,
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n" + GET,
        header(command=0x11) + GET,
        proxy.SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 4) + b"1234" + GET,
        proxy.SIGNATURE + struct.pack("!BBH", 0x21, 0x31, 0) + GET,
        proxy.SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 65_000),
        header()[:20],
    ],
)
async def test_without_its_header_nobody_gets_in(serve: Serve, sent: bytes) -> None:
    gateway = await serve(server={"proxy_protocol": True}, limits={"header_timeout": 0.3})
    async with await Connection.open(gateway.host, gateway.port) as connection:
        await connection.send(sent)
        assert await connection.ended() == b""


# ---- X-Forwarded-For


async def test_forwarded_for_counts_only_from_trusted_proxies(serve: Serve) -> None:
    """Seen by the limit of sockets for each address."""
    for trusted, second in ((["127.0.0.0/8"], 101), ([], 429)):
        gateway = await serve(server={"trusted_proxies": trusted}, sockets={"per_address": 1})
        for client, status in (("203.0.113.1", 101), ("203.0.113.2", second), ("203.0.113.1", 429)):
            headers = {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                "X-Forwarded-For": f"10.0.0.1, {client}, 127.0.0.5",
            }
            response = await gateway.request("GET", "/v1/connect", headers=headers)
            assert response.status == status, (trusted, client)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_a_trusted_proxy_that_comes_over_a_socket_for_both(serve: Serve) -> None:
    gateway = await serve(
        server={"host": "::", "trusted_proxies": ["127.0.0.1"]}, sockets={"per_address": 1}, guard={"anonymous": True}
    )
    async with h2_connect("127.0.0.1", gateway.port) as client:
        await client.until(lambda: client.h2.remote_settings.enable_connect_protocol == 1)
        for client_address in ("203.0.113.1", "203.0.113.2"):
            fields = {":protocol": "websocket", "sec-websocket-version": "13", "x-forwarded-for": client_address}
            stream = await client.open("CONNECT", "/v1/connect", headers=fields, end=False)
            assert (await stream.until_answered()).status == 200


async def test_the_first_bytes_may_come_one_by_one(serve: Serve) -> None:
    gateway = await serve()
    for request in (GET, b"P" + b"OST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"):
        async with await Connection.open(gateway.host, gateway.port) as connection:
            for at in range(len(request)):
                await connection.send(request[at : at + 1])
            assert (await connection.response()).status in (200, 404)
    async with h2_connect(gateway.host, gateway.port) as client:
        assert (await client.request("GET", "/v1/models")).status == 200
