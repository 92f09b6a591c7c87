"""WebSockets over HTTP/2 (RFC 8441): the same path, the same commands, on one stream of many."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wsproto.connection import CLIENT, Connection
from wsproto.events import CloseConnection, Message, TextMessage

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import CHAT, MESSAGES, STREAMS, chat_body, native_text, openai_text
from tests.doubles.h2_client import H2Client, H2Stream, h2_connect
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.waiting import until

HANDSHAKE = {"sec-websocket-version": "13", "sec-websocket-protocol": "stream-gateway.v1+json"}


class Socket:
    """A WebSocket client on an HTTP/2 stream."""

    def __init__(self, client: H2Client, stream: H2Stream) -> None:
        self.stream = stream
        self._client = client
        self._protocol = Connection(CLIENT)
        self._read = 0
        self._waiting: list[dict[str, Any]] = []
        self.closed: int | None = None

    async def send(self, event: Message | CloseConnection) -> None:
        self._client.h2.send_data(self.stream.id, self._protocol.send(event))
        await self._client.flush()

    async def say(self, **command: Any) -> None:
        await self.send(TextMessage(json.dumps(command)))

    async def next(self) -> dict[str, Any]:
        while not self._waiting and self.closed is None:
            size = self._read
            await self._client.until(lambda size=size: len(self.stream.body) > size or self.stream.reset is not None)
            self._protocol.receive_data(bytes(self.stream.body[size:]))
            self._read = len(self.stream.body)
            for event in self._protocol.events():
                if isinstance(event, TextMessage):
                    self._waiting.append(json.loads(event.data))
                elif isinstance(event, CloseConnection):
                    self.closed = int(event.code)
        return self._waiting.pop(0) if self._waiting else {}

    async def text(self) -> str:
        """All text up to the end of a stream."""
        text = ""
        while True:
            event = (await self.next()).get("event", {})
            text += event.get("text", "")
            if event.get("type") == "stream.finished":
                return text


async def connect(client: H2Client, path: str = "/v1/connect", **headers: str) -> Socket:
    await client.until(lambda: client.h2.remote_settings.enable_connect_protocol == 1)
    fields = {":protocol": "websocket", **HANDSHAKE, **headers}
    stream = await client.open("CONNECT", path, headers=fields, end=False)
    return Socket(client, await stream.until_answered())


async def test_commands_and_events(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(30))
    async with h2_connect(gateway.host, gateway.port) as client:
        socket = await connect(client)
        assert socket.stream.status == 200
        assert socket.stream.headers["sec-websocket-protocol"] == "stream-gateway.v1+json"
        assert "sec-websocket-accept" not in socket.stream.headers
        await socket.say(type="stream.create", ref=1, request={"model": "m", "messages": MESSAGES})
        assert (await socket.next())["type"] == "stream.created"
        assert await socket.text() == script.text
        await socket.send(CloseConnection(code=1000))
        await socket.next()
        assert socket.closed == 1000
        client.h2.end_stream(socket.stream.id)
        await client.flush()
        await until(lambda: gateway.now.sockets == 0)


async def test_resume_crosswise(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """From an SSE body to a socket, on the same connection."""
    upstream.scripts["m"] = script = Script(deltas=words(30), gate=(gate := Gate(10)))
    created = await gateway.create("m", lease=60)
    async with h2_connect(gateway.host, gateway.port) as client:
        body = await client.request("GET", f"{STREAMS}/{created['id']}/events")
        seen = await body.take(5)
        await client.cancel(body)
        socket = await connect(client)
        await socket.say(type="stream.subscribe", ref=1, stream=created["id"], after=seen[-1].id)
        assert (await socket.next())["type"] == "stream.subscribed"
        gate.open()
        assert native_text(seen) + await socket.text() == script.text


async def test_sockets_beside_bodies(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(30), gate=(gate := Gate(3)))
    created = await gateway.create("m", lease=60)
    async with h2_connect(gateway.host, gateway.port) as client:
        body = await client.request("POST", CHAT, payload=chat_body("demo-n5-gap0"))
        sockets = [await connect(client) for _ in range(10)]
        for socket in sockets:
            await socket.say(type="stream.subscribe", ref=1, stream=created["id"])
        gate.open()
        for socket in sockets:
            assert await socket.text() == script.text
        assert openai_text(await body.rest())
        await client.cancel(sockets[0].stream)
        await until(lambda: gateway.now.sockets == 9)
    await until(lambda: gateway.now.sockets == 0)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/models", {}, 400),
        ("/v1/nothing", {}, 404),
        ("/v1/connect", {"sec-websocket-version": "8"}, 426),
        ("/v1/connect", {":protocol": "connect-udp"}, 400),
        ("/v1/connect", {"origin": "https://evil.example"}, 403),
        ("/v1/connect", {"sec-websocket-protocol": "soap"}, 400),
    ],
)
async def test_refusals(gateway: ServedGateway, path: str, headers: dict[str, str], status: int) -> None:
    async with h2_connect(gateway.host, gateway.port) as client:
        await client.request("GET", "/v1/models")
        socket = await connect(client, path, **headers)
        assert socket.stream.status == status
        plain = await client.request("GET", "/v1/connect")
        assert plain.status == 426
