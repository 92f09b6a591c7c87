"""What coming back cannot mend is one clear exception at once; what it can mend is none."""

from __future__ import annotations

import re
import socket

import msgspec
import pytest
import trio.testing

from stream_gateway.client import (
    Client,
    ClientError,
    CursorExpired,
    NotAGateway,
    Refused,
    StreamNotFound,
    Unauthorized,
    Unreachable,
    Untrusted,
    WrongUrl,
)
from tests.doubles.chaos_proxy import ChaosProxy, Fault
from tests.doubles.gateway_client import MESSAGES
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until
from tests.doubles.web_server import WebServer, answer, error
from tests.e2e.client.conftest import QUICK, Connect

PAGE = answer("404 Not Found", b"<html>nothing here</html>", content_type="text/html")
GONE = error("410 Gone", "cursor_expired", "12 events after this cursor are no longer kept.")
DENIED = error("401 Unauthorized", "unauthorized", "The token is not valid.")
BUSY = error("503 Service Unavailable", "overloaded", "Try again later.", retry_after="0")
HTTP = ("sse", "poll")


async def served(nursery: trio.Nursery, *answers: bytes) -> WebServer:
    server = WebServer(*answers)
    await nursery.start(server.run)
    return server


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://[::1", "nonsense"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(WrongUrl, match="something like http://"):
        Client(url)


@pytest.mark.parametrize("transports", [(), ("pigeon",), ("sse", "pigeon")])
def test_what_is_no_transport(transports: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="transports must be some of websocket, sse, poll"):
        Client("http://127.0.0.1", transports=transports)


def test_a_client_that_is_not_open() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        Client("http://127.0.0.1:1").stream(model="demo", messages=MESSAGES)


async def test_nobody_is_there(connect: Connect) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with connect(url) as client:
            with pytest.raises(Unreachable, match=rf"Nobody to talk to at {re.escape(url)} .*Is the address right"):
                await client.stream(model="demo", messages=MESSAGES).text()


async def test_a_gateway_that_goes_away_for_good(proxy: ChaosProxy, connect: Connect) -> None:
    hurried = msgspec.structs.replace(QUICK, patience=0.3)
    async with connect(proxy.url, settings=hurried) as client:
        stream = client.stream(model="demo-n1000-gap20", messages=MESSAGES)
        await anext(stream)
        proxy.refusing = True
        proxy.strike(Fault.CUT)
        with pytest.raises(Unreachable, match="out of reach for too long"):
            async for _ in stream:
                pass


@pytest.mark.parametrize("transport", [*HTTP, "websocket"])
async def test_a_wrong_token(nursery: trio.Nursery, transport: str) -> None:
    """Refused by WebSocket, it is asked by HTTP, and then it is final."""
    server = await served(nursery, DENIED)
    transports = (transport, "sse") if transport == "websocket" else (transport,)
    async with Client(server.url, token="wrong", transports=transports, settings=QUICK) as client:
        with pytest.raises(Unauthorized, match=r"does not let this client in.*not valid"):
            await client.stream(model="demo", messages=MESSAGES).text()
    asked = len(server.requests)
    assert asked <= 2
    assert {headers["authorization"] for headers in server.headers} == {"Bearer wrong"}


async def test_a_server_that_is_not_ours(nursery: trio.Nursery) -> None:
    for page in (PAGE, answer("200 OK", b"<html>welcome</html>", content_type="text/html")):
        server = await served(nursery, page)
        async with Client(server.url, settings=QUICK) as client:
            with pytest.raises(NotAGateway, match="not as a Stream Gateway does; check the address"):
                await client.stream(model="demo", messages=MESSAGES).text()
            for name in HTTP:
                async with Client(server.url, transports=[name], settings=QUICK) as other:
                    with pytest.raises(NotAGateway, match="Stream Gateway"):
                        await other.attach("s").text()


async def test_a_page_without_end_is_not_read_to_its_end(nursery: trio.Nursery) -> None:
    server = await served(nursery, answer("404 Not Found", b"x" * 3_000_000, content_type="text/html"))
    async with Client(server.url, transports=["sse"], settings=QUICK) as client:
        with pytest.raises(NotAGateway):
            await client.attach("s").text()


async def test_a_server_that_speaks_no_http(nursery: trio.Nursery) -> None:
    server = await served(nursery, b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    async with Client(server.url, transports=["sse"], settings=QUICK) as client:
        with pytest.raises(Unreachable, match=r"Nobody to talk to.*SSH"):
            await client.stream(model="demo", messages=MESSAGES).text()


async def test_an_address_that_leads_elsewhere(nursery: trio.Nursery) -> None:
    server = await served(nursery, answer("308 Permanent Redirect", b"", location="https://new.example/"))
    async with Client(server.url, settings=QUICK) as client:
        with pytest.raises(WrongUrl, match=re.escape("leads to https://new.example/")):
            await client.stream(model="demo", messages=MESSAGES).text()


async def test_an_address_with_a_path_too_many(gateway: ServedGateway) -> None:
    async with Client(f"{gateway.base_url}/v1", settings=QUICK) as client:
        with pytest.raises(WrongUrl, match="without a path"):
            await client.stream(model="demo", messages=MESSAGES).text()


async def test_what_the_gateway_refuses(gateway: ServedGateway, connect: Connect) -> None:
    async with connect(gateway.base_url) as client:
        with pytest.raises(Refused, match="`messages` is empty") as caught:
            await client.stream(model="demo", messages=[]).text()
        assert caught.value.code == "invalid_field"
        with pytest.raises(StreamNotFound, match="no stream 'none'"):
            await client.attach("none").text()
        with pytest.raises(Refused, match="no cursor of this gateway"):
            await client.attach((await gateway.create("demo-n1-gap0"))["id"], after="x y").text()
        assert client.statistics().losses == 0


async def test_a_cursor_of_another_stream(gateway: ServedGateway, connect: Connect) -> None:
    one, other = await gateway.create("demo-n1-gap0"), await gateway.create("demo-n1-gap0")
    async with connect(gateway.base_url) as client:
        with pytest.raises(Refused, match="belongs to stream") as caught:
            await client.attach(one["id"], after=other["cursor"]).text()
        assert caught.value.code == "cursor_of_another_stream"
        assert client.statistics().losses == 0


async def test_a_chunking_that_is_none(gateway: ServedGateway) -> None:
    name = (await gateway.create("demo-n1-gap0"))["id"]
    for transport in ("websocket", "sse"):
        async with Client(gateway.base_url, transports=[transport], settings=QUICK) as client:
            with pytest.raises(Refused, match="sentences"):
                await client.attach(name, chunking="novels").text()


async def test_a_stream_that_is_forgotten(serve: Serve, connect: Connect) -> None:
    gateway = await serve(streams={"retain_for": 0.05})
    created = await gateway.create("demo-n1-gap0")
    await until(lambda: gateway.now.streams == 0)
    async with connect(gateway.base_url) as client:
        with pytest.raises(CursorExpired, match=f"cannot go on after {created['cursor']}"):
            await client.attach(created["id"], after=created["cursor"]).text()


@pytest.mark.parametrize("transport", HTTP)
async def test_a_cursor_that_has_expired(nursery: trio.Nursery, transport: str) -> None:
    server = await served(nursery, GONE)
    async with Client(server.url, transports=[transport], settings=QUICK) as client:
        with pytest.raises(CursorExpired, match="12 events") as caught:
            await client.attach("s", after="s.e.1").text()
    assert (caught.value.code, caught.value.status) == ("cursor_expired", 410)
    assert len(server.requests) == 1


@pytest.mark.parametrize("transport", HTTP)
async def test_a_gateway_that_is_busy_is_asked_again(nursery: trio.Nursery, transport: str) -> None:
    server = await served(nursery, BUSY, BUSY, DENIED)
    losses = []
    client = Client(server.url, transports=[transport], settings=QUICK, on_status=losses.append)
    async with client:
        with pytest.raises(Unauthorized):
            await client.stream(model="demo", messages=MESSAGES).text()
    assert [status.reason for status in losses] == ["the gateway answered: Try again later."] * 2
    assert server.requests == ["POST /v1/streams"] * 3
    assert len({headers["idempotency-key"] for headers in server.headers}) == 1


async def test_two_tasks_cannot_read_one_stream(gateway: ServedGateway) -> None:
    async with Client(gateway.base_url, settings=QUICK) as client, trio.open_nursery() as nursery:
        stream = client.stream(model="demo-n9-gap0-first5000", messages=MESSAGES)
        await anext(stream)
        nursery.start_soon(anext, stream)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="another task"):
            await anext(stream)
        nursery.cancel_scope.cancel()


def test_all_errors_have_one_root() -> None:
    for kind in (CursorExpired, NotAGateway, Refused, StreamNotFound, Unauthorized, Unreachable, Untrusted, WrongUrl):
        assert issubclass(kind, ClientError)
