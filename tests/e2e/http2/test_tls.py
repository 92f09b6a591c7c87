"""TLS: the same port, the same streams, behind ALPN."""

from __future__ import annotations

import datetime
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.doubles.certificates import Certificates
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import CHAT, chat_body, openai_text
from tests.doubles.gateway_config import KEY_VARIABLE, gateway_toml
from tests.doubles.gateway_process import _SCRIPT
from tests.doubles.h2_client import h2_connect
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Connection
from tests.doubles.served_gateway import Serve, ServedGateway, Spawn
from tests.doubles.waiting import until


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
async def secure(serve: Serve, files: Certificates) -> ServedGateway:
    return await serve(server=files.section)


async def tls_connect(gateway: ServedGateway, context: ssl.SSLContext) -> Connection:
    """A connection of the strict HTTP/1.1 client, inside TLS."""
    tcp = await trio.open_tcp_stream(gateway.host, gateway.port)
    stream = trio.SSLStream(tcp, context, server_hostname="localhost", https_compatible=True)
    await stream.do_handshake()
    return Connection(stream, "localhost")  # type: ignore[arg-type]


async def test_alpn_chooses(secure: ServedGateway, files: Certificates) -> None:
    async with h2_connect(secure.host, secure.port, context=files.client("h2", "http/1.1")) as client:
        assert client.stream.selected_alpn_protocol() == "h2"
        stream = await client.request("POST", CHAT, payload=chat_body("demo-n5-gap0"))
        assert openai_text(await stream.rest())
    for protocols in (("http/1.1",), ()):
        async with await tls_connect(secure, files.client(*protocols)) as connection:
            response = await connection.request("POST", CHAT, payload=chat_body("demo-n5-gap0"))
            assert openai_text(await response.events().rest())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_versions(secure: ServedGateway, files: Certificates, version: ssl.TLSVersion) -> None:
    context = files.client("h2")
    context.minimum_version = context.maximum_version = version
    async with h2_connect(secure.host, secure.port, context=context) as client:
        assert (await client.request("GET", "/v1/models")).status == 200


async def test_old_versions_are_refused(secure: ServedGateway, files: Certificates) -> None:
    context = files.client("h2")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((trio.BrokenResourceError, ExceptionGroup)):
        async with h2_connect(secure.host, secure.port, context=context):
            pass


async def test_many_streams_and_a_large_body(
    upstream: OpenAIServer, secure: ServedGateway, files: Certificates
) -> None:
    upstream.scripts["m"] = script = Script(deltas=["x" * 5_000] * 40)
    async with h2_connect(secure.host, secure.port, context=files.client("h2")) as client:
        streams = [await client.open("POST", CHAT, payload=chat_body("m")) for _ in range(50)]
        for stream in streams:
            assert openai_text(await stream.rest()) == script.text


async def test_a_slow_reader(upstream: OpenAIServer, secure: ServedGateway, files: Certificates) -> None:
    """What the kernel does not take waits; records stay whole."""
    upstream.scripts["m"] = script = Script(deltas=["x" * 5_000] * 400)
    async with await tls_connect(secure, files.client("http/1.1")) as connection:
        response = await connection.request("POST", CHAT, payload=chat_body("m"))
        await trio.sleep(0.3)
        assert openai_text(await response.events().rest()) == script.text


async def test_who_leaves_ends_the_generation(
    upstream: OpenAIServer, secure: ServedGateway, files: Certificates
) -> None:
    for _ in range(2):
        upstream.scripts["m"] = Script(deltas=words(50), gate=Gate(3))
        connection = await tls_connect(secure, files.client("http/1.1"))
        response = await connection.request("POST", CHAT, payload=chat_body("m"))
        await response.events().take(2)
        await trio.aclose_forcefully(connection.stream)
    await secure.idle()


async def test_the_end_is_said(secure: ServedGateway, files: Certificates) -> None:
    """close_notify: a client can tell an end from a cut."""
    tcp = await trio.open_tcp_stream(secure.host, secure.port)
    stream = trio.SSLStream(tcp, files.client("http/1.1"), server_hostname="localhost", https_compatible=False)
    await stream.send_all(b"GET /v1/models HTTP/1.0\r\n\r\n")
    answer = b""
    async for data in stream:  # an end without close_notify would raise
        answer += data
    assert answer.startswith(b"HTTP/1.1 200")
    await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
async def test_plain_http_hears_that_this_is_tls(secure: ServedGateway, first: bytes) -> None:
    response = await secure.raw(first)
    assert response.status == 400
    assert "speaks TLS" in (await response.json())["error"]["message"]


async def test_a_handshake_has_a_deadline(serve: Serve, files: Certificates) -> None:
    gateway = await serve(server=files.section, limits={"header_timeout": 0.2})
    async with await Connection.open(gateway.host, gateway.port) as connection:
        await connection.send(b"\x16\x03\x01")
        await connection.ended()
    async with await Connection.open(gateway.host, gateway.port) as connection:
        await connection.ended()
    await gateway.idle()


async def test_who_shakes_hands_and_says_nothing(serve: Serve, files: Certificates) -> None:
    """Patience for idle connections is for those that were used."""
    gateway = await serve(server=files.section, limits={"header_timeout": 0.2})
    for protocol in ("http/1.1", "h2"):
        connection = await tls_connect(gateway, files.client(protocol))
        await connection.ended()
        await trio.aclose_forcefully(connection.stream)
    await gateway.idle()


async def test_one_connection_too_many_is_closed(serve: Serve, files: Certificates) -> None:
    """Without a word: one in plain text would be no answer, and a handshake is what cannot be afforded."""
    gateway = await serve(server=files.section, limits={"connections": 1})
    async with h2_connect(gateway.host, gateway.port, context=files.client("h2")) as client:
        async with await Connection.open(gateway.host, gateway.port) as second:
            assert await second.ended() == b""
        assert (await client.request("GET", "/v1/models")).status == 200


async def test_clients_behind_a_trusted_proxy(serve: Serve, files: Certificates) -> None:
    """Many clients share a proxy's connection; each is itself, as the limit of sockets for an address shows."""
    section: dict[str, Any] = {**files.section, "trusted_proxies": ["127.0.0.0/8"]}
    gateway = await serve(server=section, sockets={"per_address": 1})
    async with h2_connect(gateway.host, gateway.port, context=files.client("h2")) as client:
        await client.until(lambda: client.h2.remote_settings.enable_connect_protocol == 1)
        statuses = []
        for forwarded in ("203.0.113.1", "203.0.113.2", "203.0.113.1", "203.0.113.9, 203.0.113.2"):
            fields = {":protocol": "websocket", "sec-websocket-version": "13", "x-forwarded-for": forwarded}
            stream = await client.open("CONNECT", "/v1/connect", headers=fields, end=False)
            statuses.append((await stream.until_answered()).status)
        assert statuses == [200, 200, 429, 429]


async def test_who_closes_one_half_has_left(upstream: OpenAIServer, secure: ServedGateway, files: Certificates) -> None:
    """An HTTP/2 connection is read all the time: its end is seen at once, whatever waits before it."""
    upstream.scripts["m"] = Script(deltas=words(50), gate=Gate(3))
    async with h2_connect(secure.host, secure.port, context=files.client("h2")) as client:
        await (await client.request("POST", CHAT, payload=chat_body("m"))).take(2)
        client.h2.ping(b"01234567")
        await client.flush()
        client.stream.transport_stream.socket.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
        await until(lambda: secure.now.running == 0)
        await client.ended()
    await secure.idle()


async def test_garbage_instead_of_a_handshake(secure: ServedGateway) -> None:
    async with await Connection.open(secure.host, secure.port) as connection:
        await connection.offer(b"\x16\x03\x01\x00\x05garbage and more of it")
        await connection.ended()
    await secure.idle()


async def test_a_reload_loses_no_connection(upstream: OpenAIServer, spawn: Spawn, files: Certificates) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(30), gate=(gate := Gate(3)))
    async with (
        spawn(server=files.section) as process,
        h2_connect(process.host, process.port, context=files.client("h2")) as client,
    ):
        stream = await client.request("POST", CHAT, payload=chat_body("m"))
        seen = await stream.take(2)
        before = client.stream.getpeercert()["serialNumber"]
        files.issue("server")
        process.process.send_signal(signal.SIGHUP)
        await until(lambda: any(entry["event"] == "reloaded" for entry in process.log))
        async with h2_connect(process.host, process.port, context=files.client("h2")) as other:
            assert other.stream.getpeercert()["serialNumber"] != before
        files.spoil()
        process.process.send_signal(signal.SIGHUP)
        await until(lambda: any(entry["event"] == "reload_failed" for entry in process.log))
        async with h2_connect(process.host, process.port, context=files.client("h2")) as other:
            assert (await other.request("GET", "/v1/models")).status == 200
        gate.open()
        assert openai_text(seen + await stream.rest()) == script.text


async def test_a_start_with_an_expired_certificate(
    files: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sk")
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate, key = files.issue("old", expires=past)
    path = tmp_path / "gateway.toml"
    path.write_text(gateway_toml("http://127.0.0.1:1", server={"tls_certificate": certificate, "tls_key": key}))
    for command in (["serve", "--config", str(path)], ["check", str(path)]):
        done = await trio.run_process(
            [str(_SCRIPT), *command], capture_stderr=True, check=False, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 2
        assert f"{certificate}: certificate has expired" in done.stderr.decode()
