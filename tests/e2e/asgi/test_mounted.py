"""Everything that the gateway's own server does, below a prefix of somebody else's."""

from __future__ import annotations

import json

import pytest
import trio
from trio_websocket import open_websocket_url

from stream_gateway.api.home import Home
from stream_gateway.asgi import GatewayApp
from stream_gateway.config import Config
from stream_gateway.gateway import Gateway
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import MESSAGES, GatewayClient, chat_body, last_id, native_text, openai_text
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.waiting import until
from tests.e2e.asgi.conftest import PREFIX, Host, ServeApp, in_fastapi, in_starlette

HOSTS = [(in_fastapi, PREFIX), (in_starlette, "/a/b"), (lambda app: app, "")]


def core_of(app: GatewayApp) -> Gateway:
    """What runs behind an application."""
    home: Home | None = app._entered
    assert home is not None
    assert home._core is not None
    return home._core


@pytest.mark.parametrize(("host", "prefix"), HOSTS, ids=["fastapi", "starlette", "alone"])
async def test_a_stream_and_its_resource(
    serve_app: ServeApp, settings: Config, upstream: OpenAIServer, host: Host, prefix: str
) -> None:
    upstream.scripts["m"] = script = Script()
    client = await serve_app(host(GatewayApp(config=settings)))
    response = await client.request("POST", f"{prefix}/v1/chat/completions", payload=chat_body("m"))
    assert response.status == 200
    assert response.head["content-type"] == "text/event-stream"
    events = await response.events().rest()
    assert openai_text(events) == script.text
    assert events[-1].data == "[DONE]"
    body = {"model": "m", "messages": MESSAGES}
    created = await (await client.request("POST", f"{prefix}/v1/streams", payload=body)).json()
    assert created["links"]["events"] == f"{prefix}/v1/streams/{created['id']}/events"
    assert native_text(await (await client.get(created["links"]["events"])).events().rest()) == script.text
    shown = await (await client.get(created["links"]["self"])).json()
    assert shown["links"] == created["links"]


async def test_a_whole_answer_and_errors(serve_app: ServeApp, settings: Config, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = script = Script()
    client = await serve_app(in_fastapi(GatewayApp(config=settings)))
    path = f"{PREFIX}/v1/chat/completions"
    reply = await (await client.request("POST", path, payload=chat_body("m", stream=False))).json()
    assert reply["choices"][0]["message"]["content"] == script.text
    assert (await client.request("POST", path, payload=chat_body("nope"))).status == 404
    refused = await client.request("POST", path, payload={"model": 7})
    assert refused.status == 400
    assert (await refused.json())["error"]["param"] == "model"
    assert (await client.get(f"{PREFIX}/nothing")).status == 404
    assert (await client.get(f"{PREFIX}/v1/connect")).status == 426
    assert await (await client.get("/hello")).json() == "hello"


async def test_each_event_comes_when_it_is_made(serve_app: ServeApp, settings: Config, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = Script(gate=(gate := Gate()))
    client = await serve_app(in_fastapi(GatewayApp(config=settings)))
    response = await client.request("POST", f"{PREFIX}/v1/chat/completions", payload=chat_body("m"))
    events = response.events()
    await events.next()
    for number in range(5):
        gate.release()
        assert openai_text(await events.take(1)) == f"w{number} "
    gate.open()
    assert (await events.rest())[-1].data == "[DONE]"


async def test_resuming(serve_app: ServeApp, settings: Config, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = script = Script(gate=(gate := Gate(2)))
    client = await serve_app(in_fastapi(GatewayApp(config=settings)))
    body = {"model": "m", "messages": MESSAGES, "lease": 60}
    created = await (await client.request("POST", f"{PREFIX}/v1/streams", payload=body)).json()
    path = created["links"]["events"]
    first = await client.get(path)
    seen = await first.events().take(3)
    await first.connection.aclose()
    gate.open()
    rest = await (await client.get(path, Last_Event_ID=last_id(seen))).events().rest()
    assert native_text(seen + rest) == script.text


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_stops_the_provider(
    serve_app: ServeApp, settings: Config, upstream: OpenAIServer, stream: bool
) -> None:
    upstream.scripts["m"] = Script(gate=Gate(1) if stream else Gate())
    app = GatewayApp(config=settings)
    client = await serve_app(in_fastapi(app))
    connection = await client.connect()
    body = chat_body("m", stream=stream)
    await connection.send(connection.render("POST", f"{PREFIX}/v1/chat/completions", payload=body))
    exchange = await upstream.next_exchange()
    if stream:
        await exchange.answered.wait()
    await connection.aclose()
    await exchange.left.wait()
    await until(lambda: not core_of(app).registry.subscriptions)


async def test_who_does_not_read_holds_up_the_provider(
    serve_app: ServeApp, settings: Config, upstream: OpenAIServer
) -> None:
    upstream.scripts["m"] = Script(deltas=("x" * 5000,) * 5000)  # 25 MB do not fit into any socket
    app = GatewayApp(config=settings)
    client = await serve_app(in_fastapi(app))
    payload = {**chat_body("m"), "lease": 0}
    response = await client.request("POST", f"{PREFIX}/v1/chat/completions", payload=payload)
    events = response.events()
    await events.next()
    (stream,) = core_of(app).registry._streams.values()
    await until(lambda: stream.paused)
    assert len(openai_text(await events.rest())) == 5000 * 5000


async def test_a_socket(serve_app: ServeApp, settings: Config, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(30))
    client = await serve_app(in_fastapi(GatewayApp(config=settings)))
    url = f"ws://{client.host}:{client.port}{PREFIX}/v1/connect"
    async with open_websocket_url(url, subprotocols=["stream-gateway.v1+json"]) as socket:
        assert socket.subprotocol == "stream-gateway.v1+json"
        request = {"model": "m", "messages": MESSAGES}
        for ref in range(3):
            await socket.send_message(json.dumps({"type": "stream.create", "ref": ref, "request": request}))
        texts: dict[str, str] = {}
        ended = 0
        while ended < 3:
            message = json.loads(await socket.get_message())
            if message["type"] == "event":
                event, name = message["event"], message["stream"]
                texts[name] = texts.get(name, "") + event.get("text", "")
                ended += event["type"] == "stream.finished"
        assert list(texts.values()) == [script.text] * 3
        await socket.send_message("{")
        assert json.loads(await socket.get_message())["code"] == "invalid_json"


async def test_leaving_a_socket_stops_its_streams(
    serve_app: ServeApp, settings: Config, upstream: OpenAIServer
) -> None:
    upstream.scripts["m"] = Script(gate=Gate(1))
    app = GatewayApp(config=settings)
    client = await serve_app(in_fastapi(app))
    async with open_websocket_url(f"ws://{client.host}:{client.port}{PREFIX}/v1/connect") as socket:
        request = {"model": "m", "messages": MESSAGES}
        await socket.send_message(json.dumps({"type": "stream.create", "ref": 1, "request": request, "lease": 0}))
        exchange = await upstream.next_exchange()
    await exchange.left.wait()
    await until(lambda: not core_of(app)._sockets.sockets)


async def test_a_socket_is_refused_in_our_words(serve_app: ServeApp, settings: Config) -> None:
    client = await serve_app(in_fastapi(GatewayApp(config=settings)))
    handshake = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    handshake["Sec-WebSocket-Key"] = "MDEyMzQ1Njc4OUFCQ0RFRg=="
    other = {**handshake, "Sec-WebSocket-Protocol": "other"}
    refused = await client.request("GET", f"{PREFIX}/v1/connect", headers=other)
    assert refused.status == 400
    assert "None of the subprotocols" in (await refused.json())["error"]["message"]
    assert (await client.request("GET", f"{PREFIX}/nothing", headers=handshake)).status == 404


async def test_the_embedded_gateway_and_its_mount_share_streams(serve_app: ServeApp) -> None:
    """And nothing is started twice."""
    from fastapi import FastAPI

    from stream_gateway import StreamingGateway

    gateway = StreamingGateway("demo")
    host = FastAPI()

    @host.get("/ask")
    async def ask() -> dict[str, str | None]:
        stream = gateway.stream(model="demo-n5-gap0", messages=MESSAGES)
        return {"text": await stream.text(), "id": stream.id}

    host.mount(PREFIX, GatewayApp.of(gateway))
    client: GatewayClient = await serve_app(host)
    assert (await client.get(f"{PREFIX}/v1/models")).status == 200
    asked = await (await client.get("/ask")).json()
    again = await client.get(f"{PREFIX}/v1/streams/{asked['id']}/events")
    assert native_text(await again.events().rest()) == asked["text"]


async def test_a_gateway_that_cannot_start_says_so(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the server's lifespan: it does not come up at all."""
    from tests.doubles.gateway_config import KEY_VARIABLE

    app = GatewayApp(config=settings)
    monkeypatch.delenv(KEY_VARIABLE)
    sent = []

    async def send(message: object) -> None:
        sent.append(message)

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    await app({"type": "lifespan"}, receive, send)  # type: ignore[arg-type]
    (failed,) = sent
    assert failed["type"] == "lifespan.startup.failed"  # type: ignore[index]
    assert KEY_VARIABLE in failed["message"]  # type: ignore[index]
    await trio.lowlevel.checkpoint()
