"""Servers that are not ours, that we do not trust, or that do not want us now: one clear answer, and no retry loop."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import trio
import trio_websocket

from stream_gateway.client import Client, NotAGateway, Status, Unauthorized, Unreachable, Untrusted
from stream_protocols.commands import JSON_PROTOCOL
from tests.doubles.certificates import Certificates
from tests.doubles.gateway_client import MESSAGES
from tests.doubles.served_gateway import Serve
from tests.doubles.web_server import WebServer, answer, error
from tests.e2e.client.conftest import QUICK

DENIED = error("403 Forbidden", "forbidden", "This token may not create streams.")
BUSY = error("503 Service Unavailable", "overloaded", "Try again later.", retry_after="7")
NATIVE = b'data: {"type":"text.delta","text":"Hello"}\n\n'
OPENAI = b'data: {"object":"chat.completion.chunk","choices":[{"delta":{"content":"Hello"}}]}\n\n'
ANTHROPIC = b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n'


async def served(nursery: trio.Nursery, *answers: bytes) -> WebServer:
    server = WebServer(*answers)
    await nursery.start(server.run)
    return server


async def echoing(nursery: trio.Nursery, subprotocol: str | None) -> str:
    """The address of a WebSocket server that says what it hears, and speaks no other HTTP."""

    async def echo(request: trio_websocket.WebSocketRequest) -> None:
        socket = await request.accept(subprotocol=subprotocol)
        try:
            while True:
                await socket.send_message(await socket.get_message())
        except trio_websocket.ConnectionClosed:
            return

    server = await nursery.start(trio_websocket.serve_websocket, echo, "127.0.0.1", 0, None)
    return f"http://127.0.0.1:{server.port}"


@pytest.mark.parametrize("subprotocol", [None, JSON_PROTOCOL])
@pytest.mark.parametrize("attached", [False, True])
async def test_a_server_that_echoes(nursery: trio.Nursery, subprotocol: str | None, attached: bool) -> None:
    url = await echoing(nursery, subprotocol)
    async with Client(url, settings=QUICK) as client:
        stream = client.attach("s") if attached else client.stream(model="demo", messages=MESSAGES)
        with pytest.raises(NotAGateway, match="not as a Stream Gateway does; check the address"):
            await stream.text()
        assert client.statistics().losses == (subprotocol is None)  # then HTTP is asked, too


@pytest.mark.parametrize("body", [NATIVE, OPENAI, ANTHROPIC, b"data: [DONE]\n\n"])
async def test_an_event_stream_without_ids(nursery: trio.Nursery, body: bytes) -> None:
    server = await served(nursery, answer("200 OK", body, content_type="text/event-stream"))
    async with Client(server.url, transports=["sse"], settings=QUICK) as client:
        with pytest.raises(NotAGateway, match="of a Stream Gateway"):
            await client.attach("s").text()
    assert len(server.requests) == 1


@pytest.mark.parametrize("transport", ["sse", "poll", "websocket"])
async def test_a_token_that_is_not_good_for_this(nursery: trio.Nursery, transport: str) -> None:
    server = await served(nursery, DENIED)
    transports = dict.fromkeys((transport, "sse"))
    async with Client(server.url, token="t0ken", transports=list(transports), settings=QUICK) as client:
        with pytest.raises(Unauthorized, match=r"403.*may not create") as caught:
            await client.stream(model="demo", messages=MESSAGES).text()
    assert "t0ken" not in str(caught.value)
    assert len(server.requests) == 1 + (transport == "websocket")


@pytest.mark.parametrize("transport", ["sse", "poll", "websocket"])
async def test_who_is_asked_to_wait_waits(nursery: trio.Nursery, transport: str) -> None:
    server = await served(nursery, BUSY)
    told: list[Status] = []
    with trio.CancelScope() as scope:

        def tell(status: Status) -> None:
            told.append(status)
            scope.cancel()

        async with Client(server.url, transports=[transport], settings=QUICK, on_status=tell) as client:
            await client.stream(model="demo", messages=MESSAGES).text()
    (status,) = told
    assert status.kind == "lost"
    assert 7 <= status.wait <= 7 + QUICK.backoff_base
    assert len(server.requests) == 1


async def test_a_host_that_does_not_exist() -> None:
    url = "http://gateway.invalid:8080"
    for transports in (["websocket"], ["sse"]):
        hurried = msgspec.structs.replace(QUICK, first_patience=0.05)
        async with Client(url, transports=transports, settings=hurried) as client:
            with pytest.raises(Unreachable, match=rf"Nobody to talk to at {re.escape(url)}.*Is the address right"):
                await client.stream(model="demo", messages=MESSAGES).text()


@pytest.mark.parametrize("transport", ["websocket", "sse", "poll"])
@pytest.mark.parametrize("wrong", ["authority", "name"])
async def test_a_certificate_that_is_not_trusted(serve: Serve, tmp_path: Path, transport: str, wrong: str) -> None:
    files = Certificates(tmp_path)
    host, context = ("127.0.0.2", files.client()) if wrong == "name" else ("127.0.0.1", None)
    gateway = await serve(server={**files.section, "host": host})
    url = f"https://{host}:{gateway.port}"
    async with Client(url, transports=[transport], ssl_context=context, settings=QUICK) as client:
        with pytest.raises(Untrusted, match=rf"certificate of {host}:{gateway.port} is not trusted: .*SSL_CERT_FILE"):
            await client.stream(model="demo", messages=MESSAGES).text()
        assert client.statistics().losses == 0
