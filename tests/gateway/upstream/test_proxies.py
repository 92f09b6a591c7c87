"""Proxies: who leads to whom is decided by settings and environment, and no password is ever shown."""

from __future__ import annotations

import httpx
import pytest
import trio

from stream_gateway.config import ConfigError, ProviderSettings
from stream_gateway.upstream.proxies import BadProxy, parse_proxy, proxy_for
from stream_gateway.upstream.transport import dialer_for
from tests.doubles.proxy import TunnelProxy
from tests.gateway.certificates import client_context, server_context
from tests.gateway.upstream.conftest import MakePool, Serve
from tests.gateway.upstream.loopback import Pool, always_ok, answer_all, http2

ORIGIN = httpx.URL("https://api.example.com")


def through(text: str | None, origin: httpx.URL = ORIGIN) -> str | None:
    proxy = proxy_for(origin, text)
    return None if proxy is None else f"{proxy.host}:{proxy.port}"


@pytest.fixture
async def proxy(nursery: trio.Nursery) -> TunnelProxy:
    proxy = TunnelProxy()
    await nursery.start(proxy.run)
    return proxy


# Which proxy


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_the_environment_names_one(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    assert through(None) is None
    monkeypatch.setenv(variable, "http://proxy.test:3128/")
    assert through(None) == "proxy.test:3128"
    assert through(None, httpx.URL("http://api.example.com")) is None


def test_plain_origins_have_a_variable_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "proxy.test")
    assert through(None, httpx.URL("http://api.example.com:8000")) == "proxy.test:80"
    assert through(None) is None


@pytest.mark.parametrize(
    ("no_proxy", "reached"),
    [
        ("api.example.com", False),
        ("example.com", False),
        (".example.com", False),
        ("other.test, api.example.com:8443", False),
        ("*", False),
        ("ample.com", True),
        ("api.example.com:9", True),
        ("", True),
    ],
)
def test_exceptions(monkeypatch: pytest.MonkeyPatch, no_proxy: str, reached: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (through(None, httpx.URL("https://api.example.com:8443")) is not None) == reached


def test_a_providers_own_setting_counts_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    assert through("http://[::1]:81") == "::1:81"
    assert through("none") is None


def test_user_and_password_are_for_the_proxy_alone() -> None:
    proxy = parse_proxy("http://us%40er:p%3Ass@proxy.test:3128")
    assert proxy.authorization == b"Basic dXNAZXI6cDpzcw=="
    assert "dXNAZXI6cDpzcw==" not in repr(proxy)
    assert parse_proxy("http://proxy.test").authorization is None


@pytest.mark.parametrize(
    "text",
    [
        "https://u:secret@p",
        "socks5://u:secret@p",
        "http://u:secret@",
        "http://u:secret@p:0",
        "http://u:secret@p/path",
        "http://u:secret@p:x",
    ],
)
def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(BadProxy, match=r"expected `http://HOST:PORT`") as caught:
        parse_proxy(text)
    assert "secret" not in str(caught.value)
    settings = ProviderSettings(dialect="openai_chat", base_url="https://api.example.com/v1", proxy=text)
    with pytest.raises(ConfigError, match=r'key `providers\."own"\.proxy`: expected') as told:
        dialer_for("own", settings)
    assert "secret" not in str(told.value)
    monkeypatch.setenv("HTTPS_PROXY", text)
    settings = ProviderSettings(dialect="openai_chat", base_url="https://api.example.com/v1")
    with pytest.raises(ConfigError, match="environment variable HTTPS_PROXY: expected") as read:
        dialer_for("own", settings)
    assert "secret" not in str(read.value)


# Through it


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("protocol", ["http1", "http2"])
async def test_a_tunnel(serve: Serve, make_pool: MakePool, proxy: TunnelProxy, scheme: str, protocol: str) -> None:
    context = server_context("127.0.0.1", protocol="h2" if protocol == "http2" else "http/1.1")
    handler = http2(answer_all) if protocol == "http2" else always_ok
    server = await serve(handler, context if scheme == "https" else None)
    proxy.greeting = b"Via: 1.1 double\r\n"
    pool = make_pool(
        http2="prior-knowledge" if protocol == "http2" else "off",
        ssl_context=client_context(),
        proxy=parse_proxy(f"http://127.0.0.1:{proxy.port}"),
    )
    for _ in range(3):
        assert (await pool.ask(server, scheme=scheme)).content == b"ok"
    assert proxy.asked == [f"127.0.0.1:{server.port}".encode()]


async def test_a_proxy_that_wants_to_know_who_asks(serve: Serve, make_pool: MakePool, proxy: TunnelProxy) -> None:
    proxy.credentials = "user:secret"
    server = await serve(always_ok)
    pool = make_pool(proxy=parse_proxy(f"http://user:secret@127.0.0.1:{proxy.port}"))
    assert (await pool.ask(server)).content == b"ok"
    for wrong in ("", "user:wrong-secret@"):
        pool = make_pool(proxy=parse_proxy(f"http://{wrong}127.0.0.1:{proxy.port}"))
        with pytest.raises(httpx.ProxyError, match="it said 407 Proxy Authentication Required; give a user") as caught:
            await pool.ask(server)
        assert "secret" not in str(caught.value)
        assert f"127.0.0.1:{proxy.port}" in str(caught.value)


@pytest.mark.parametrize(
    ("refusal", "kind", "message"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", httpx.ProxyError, "it said 403 Forbidden"),
        (b"HTTP/1.0 502\r\nX: y\r\n\r\n", httpx.ProxyError, "it said 502"),
        (b"SSH-2.0-Open\r\n\r\n", httpx.ProxyError, r"its answer is no HTTP/1\.1"),
        (b"HTTP/1.1 200 Conn", httpx.ConnectError, "its answer is not complete"),
        (b"HTTP/1.1 200 " + b"x" * 20_000, httpx.ConnectError, "its answer is too long"),
    ],
)
async def test_a_proxy_that_refuses(
    serve: Serve, make_pool: MakePool, proxy: TunnelProxy, refusal: bytes, kind: type[Exception], message: str
) -> None:
    proxy.refusal = refusal
    server = await serve(always_ok)
    pool = make_pool(proxy=parse_proxy(f"http://127.0.0.1:{proxy.port}"))
    with pytest.raises(kind, match=message) as caught:
        await pool.ask(server)
    assert f"127.0.0.1:{proxy.port}" in str(caught.value)
    assert (server.accepted, pool.counts) == (0, (0, 0))


async def test_a_proxy_that_is_not_there(serve: Serve, make_pool: MakePool) -> None:
    server = await serve(always_ok)
    with pytest.raises(
        httpx.ConnectError, match=r"Cannot connect to .* through the proxy 127\.0\.0\.1:1: Connection refused"
    ):
        await make_pool(proxy=parse_proxy("http://127.0.0.1:1")).ask(server)


async def test_a_proxy_that_says_nothing(
    serve: Serve, make_pool: MakePool, patient_clock: trio.testing.MockClock
) -> None:
    silent = await serve(lambda peer: peer.left())
    pool = make_pool(proxy=parse_proxy(f"http://127.0.0.1:{silent.port}"), connect_timeout=3.0)
    began = trio.current_time()
    with pytest.raises(httpx.ConnectTimeout, match="within 3 seconds through the proxy"):
        await pool.ask(await serve(always_ok))
    assert trio.current_time() - began == pytest.approx(3.0)
    await silent.has_open(0)


async def test_a_whole_provider_through_the_environments_proxy(
    serve: Serve, make_pool: MakePool, proxy: TunnelProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(always_ok)
    origin = httpx.URL(f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    pool: Pool = make_pool(proxy=proxy_for(origin))
    assert (await pool.ask(server)).content == b"ok"
    assert len(proxy.asked) == 1
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert proxy_for(origin) is None
