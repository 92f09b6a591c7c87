"""What an ASGI server may do, and hypercorn does not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from stream_gateway.asgi import GatewayApp
from stream_gateway.asgi.exchange import split_path
from stream_gateway.asgi.messages import Message
from stream_gateway.config import config_from_toml
from tests.doubles.gateway_client import MESSAGES


class Server:
    """Plays a server: what the application gets, and what it said."""

    def __init__(self, **scope: Any) -> None:
        self.scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], **scope}
        self.sent: list[Message] = []
        self.said, self._heard = trio.open_memory_channel[Message](100)
        self.sending = trio.Event()
        self.takes = trio.Event()
        self.takes.set()

    async def receive(self) -> Message:
        return await self._heard.receive()

    async def send(self, message: Message) -> None:
        self.sending.set()
        await self.takes.wait()
        self.sent.append(message)

    def types(self) -> list[str]:
        return [message["type"] for message in self.sent]


@pytest.fixture
async def app() -> AsyncIterator[GatewayApp]:
    """The demo provider, patient for a second."""
    app = GatewayApp(config=config_from_toml("[server]\nwrite_timeout = 1\nkeepalive = 0.02"))
    yield app
    if app._entered is not None:
        app._entered.stop()
        await app._entered.stopped()


def posting(path: str, body: Any) -> Server:
    server = Server(method="POST", path=path)
    data = json.dumps(body).encode()
    server.said.send_nowait({"type": "http.request", "body": data[:10], "more_body": True})
    server.said.send_nowait({"type": "http.request", "body": data[10:]})
    return server


@pytest.mark.parametrize(
    ("root", "path", "found"),
    [
        ("", "/v1/models", ("", "/v1/models")),
        ("/ai", "/ai/v1/models", ("/ai", "/v1/models")),
        ("/ai", "/v1/models", ("/ai", "/v1/models")),
        ("/ai/", "/ai", ("/ai", "/")),
        ("/ai", "/aid", ("/ai", "/aid")),
        ("/v1", "/v1/v1/models", ("/v1", "/v1/models")),
    ],
)
def test_where_it_is_mounted(root: str, path: str, found: tuple[str, str]) -> None:
    assert split_path({"root_path": root, "path": path}) == found


async def test_a_body_in_pieces(app: GatewayApp) -> None:
    server = posting("/v1/chat/completions", {"model": "demo-n3-gap0", "messages": MESSAGES})
    await app(server.scope, server.receive, server.send)
    assert server.types() == ["http.response.start", "http.response.body"]
    assert server.sent[0]["status"] == 200
    assert server.sent[1]["more_body"] is False


async def test_who_leaves_before_the_request_is_whole(app: GatewayApp) -> None:
    server = Server(method="POST", path="/v1/chat/completions")
    server.said.send_nowait({"type": "http.request", "body": b"{", "more_body": True})
    server.said.send_nowait({"type": "http.disconnect"})
    await app(server.scope, server.receive, server.send)
    assert server.sent == []


async def test_a_stream_says_that_it_is_still_there(app: GatewayApp) -> None:
    server = posting("/v1/chat/completions", {"model": "demo-n9-first600", "stream": True, "messages": MESSAGES})
    await app(server.scope, server.receive, server.send)
    bodies = [message["body"] for message in server.sent[1:]]
    assert b":\n\n" in bodies or b":\n" in bodies
    assert bodies[-2].endswith(b"data: [DONE]\n\n")
    assert server.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_who_takes_nothing_is_given_up(app: GatewayApp) -> None:
    server = posting("/v1/chat/completions", {"model": "demo-n1000-gap1", "stream": True, "messages": MESSAGES})
    server.takes = trio.Event()
    await app(server.scope, server.receive, server.send)
    assert server.sent == []
    assert app._entered is not None
    assert app._entered._core is not None
    assert not app._entered._core.registry.subscriptions


async def test_a_socket_that_can_only_be_refused_with_a_close(app: GatewayApp) -> None:
    server = Server(type="websocket", path="/v1/models")
    server.said.send_nowait({"type": "websocket.connect"})
    await app(server.scope, server.receive, server.send)
    assert server.sent == [{"type": "websocket.close"}]


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 4001])
async def test_a_peer_that_goes(app: GatewayApp, code: int) -> None:
    server = Server(type="websocket", path="/v1/connect")
    server.said.send_nowait({"type": "websocket.connect"})
    server.said.send_nowait({"type": "websocket.receive", "text": '{"type":"nothing","ref":1}'})
    server.said.send_nowait({"type": "websocket.disconnect", "code": code})
    await app(server.scope, server.receive, server.send)
    assert server.types()[:2] == ["websocket.accept", "websocket.send"]
    assert json.loads(server.sent[1]["text"])["code"] == "invalid_field"


async def test_messagepack_is_binary(app: GatewayApp) -> None:
    import msgpack

    headers = [(b"sec-websocket-protocol", b"stream-gateway.v1+msgpack")]
    server = Server(type="websocket", path="/v1/connect", headers=headers)
    command = {"type": "stream.create", "ref": 1, "request": {"model": "demo-n2-gap0", "messages": MESSAGES}}
    server.said.send_nowait({"type": "websocket.connect"})
    server.said.send_nowait({"type": "websocket.receive", "bytes": msgpack.packb(command)})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, server.scope, server.receive, server.send)
        while not server.sent or b"stream.finished" not in server.sent[-1].get("bytes", b""):  # noqa: ASYNC110
            await trio.sleep(0.005)
        server.said.send_nowait({"type": "websocket.disconnect", "code": 1000})
    assert server.sent[0]["subprotocol"] == "stream-gateway.v1+msgpack"
    assert msgpack.unpackb(server.sent[1]["bytes"])["type"] == "stream.created"


async def test_a_drained_socket_is_closed_with_its_code(app: GatewayApp) -> None:
    server = Server(type="websocket", path="/v1/connect")
    server.said.send_nowait({"type": "websocket.connect"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, server.scope, server.receive, server.send)
        await server.sending.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert app._entered is not None
        assert app._entered._core is not None
        app._entered._core.drain()
    assert server.sent[-1]["type"] == "websocket.close"
    assert server.sent[-1]["code"] == 1012
    assert server.sent[-1]["reason"].startswith("restarting")
