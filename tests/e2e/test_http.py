"""HTTP/1.1 as clients of all kinds use it."""

from __future__ import annotations

import json

import pytest

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import CHAT, STREAMS, chat_body, native_text, openai_text, refused
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Connection
from tests.doubles.served_gateway import Serve, ServedGateway

DEMO = "demo-n5-gap0"
GET_MODELS = b"GET /v1/models HTTP/1.1\r\nHost: gateway\r\n\r\n"


# ---- connections


async def test_keep_alive(gateway: ServedGateway) -> None:
    """One connection, all kinds of exchanges, one after the other."""
    connection = await gateway.connect()
    for _ in range(3):
        streamed = await connection.request("POST", CHAT, payload=chat_body(DEMO))
        text = openai_text(await streamed.events().rest())
        whole = await connection.request("POST", CHAT, payload=chat_body(DEMO, stream=False))
        assert (await whole.json())["choices"][0]["message"]["content"] == text
        assert (await (await connection.request("GET", "/v1/models")).json())["object"] == "list"
        assert (await connection.request("HEAD", "/v1/models")).status == 200
        await refused(await connection.request("GET", "/v1/streams/x"), 404)
    assert gateway.now.connections == 1


async def test_pipelining(gateway: ServedGateway) -> None:
    """Requests that came together are answered in order, each by itself."""
    connection = await gateway.connect()
    requests = [
        connection.render("POST", CHAT, payload=chat_body("demo-n3-gap0")),
        GET_MODELS,
        connection.render("POST", CHAT, payload=chat_body("demo-n7-gap0")),
        connection.render("POST", CHAT, payload=chat_body("demo-n3-gap0", stream=False)),
    ]
    await connection.send(b"".join(requests))
    first = openai_text(await (await connection.response()).events().rest())
    assert (await (await connection.response()).json())["object"] == "list"
    assert openai_text(await (await connection.response()).events().rest()) != first
    whole = await (await connection.response()).json()
    assert whole["choices"][0]["message"]["content"] == first


async def test_a_pipelined_request_waits_for_a_stream(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(gate=(gate := Gate(1)))
    connection = await gateway.connect()
    await connection.send(connection.render("POST", CHAT, payload=chat_body("m")) + GET_MODELS)
    events = (await connection.response()).events()
    seen = await events.take(2)
    gate.open()
    assert openai_text(seen + await events.rest()) == script.text
    assert (await (await connection.response()).json())["object"] == "list"


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_a_request_in_pieces(gateway: ServedGateway, size: int) -> None:
    connection = await gateway.connect()
    request = connection.render("POST", CHAT, payload=chat_body(DEMO))
    for at in range(0, len(request), size):
        await connection.send(request[at : at + size])
    assert openai_text(await (await connection.response()).events().rest())


async def test_a_chunked_request(gateway: ServedGateway) -> None:
    body = json.dumps(chat_body(DEMO)).encode()
    chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = await gateway.raw(head + chunks + b"0\r\n\r\n")
    assert openai_text(await response.events().rest())


async def test_connection_close(gateway: ServedGateway) -> None:
    for target in ("/v1/models", "/nowhere"):
        response = await gateway.get(target, Connection="close")
        await response.read()
        assert response.head["connection"].lower() == "close"
        assert await response.connection.ended() == b""


async def test_http10(gateway: ServedGateway) -> None:
    """It knows no chunks: a stream ends with its connection."""
    body = json.dumps(chat_body(DEMO)).encode()
    response = await gateway.raw(
        b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    assert response.head.get("transfer-encoding") is None
    events = await response.events().rest()
    assert events[-1].data == "[DONE]"
    response = await gateway.raw(b"GET /v1/models HTTP/1.0\r\n\r\n", "GET")
    assert (await response.json())["object"] == "list"
    assert await response.connection.ended() == b""


async def test_expect_continue(gateway: ServedGateway) -> None:
    connection = await gateway.connect()
    body = json.dumps(chat_body(DEMO)).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % len(body)
    await connection.send(head + b"Expect: 100-continue\r\n\r\n")
    assert (await connection.response()).status == 100
    await connection.send(body)
    assert openai_text(await (await connection.response()).events().rest())


async def test_expect_continue_for_a_body_that_is_not_wanted(serve: Serve) -> None:
    """The final status at once, instead of an invitation."""
    gateway = await serve(limits={"body_bytes": 1000})
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n"
    await refused(await gateway.raw(head), 413)


async def test_expect_continue_with_the_body_at_once(gateway: ServedGateway) -> None:
    body = json.dumps(chat_body(DEMO)).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % len(body)
    response = await gateway.raw(head + b"Expect: 100-continue\r\n\r\n" + body)
    if response.status == 100:
        response = await response.connection.response()
    assert openai_text(await response.events().rest())


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_offer_to_speak_http2_is_not_taken_up(gateway: ServedGateway, chunked: bool) -> None:
    """As Java's client makes it with every request: what matters is that the body behind it is read."""
    connection = await gateway.connect()
    body = json.dumps(chat_body(DEMO)).encode()
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n%b\r\nConnection: Upgrade, HTTP2-Settings\r\n" % length
    await connection.send(head + b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n\r\n" + framed + GET_MODELS)
    assert openai_text(await (await connection.response()).events().rest())
    assert (await (await connection.response()).json())["object"] == "list"


@pytest.mark.parametrize("target", ["/v1/models", "/v1/streams/{}", "/v1/streams/{}/events"])
async def test_head_is_get_without_a_body(gateway: ServedGateway, target: str) -> None:
    stream = (await gateway.create(DEMO, lease="finish"))["id"]
    await (await gateway.subscribe(stream)).events().rest()
    connection = await gateway.connect()
    got = await connection.request("GET", target.format(stream))
    await got.read()
    head = await connection.request("HEAD", target.format(stream))
    assert head.status == got.status
    assert head.head["content-type"] == got.head["content-type"]
    assert head.head.get("content-length") == got.head.get("content-length")
    assert (await connection.request("GET", "/v1/models")).status == 200


async def test_head_of_a_running_stream_watches_nothing(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(gate=(gate := Gate(1)))
    stream = (await gateway.create("m"))["id"]
    response = await gateway.request("HEAD", f"{STREAMS}/{stream}/events")
    assert response.head["content-type"].startswith("text/event-stream")
    assert gateway.now.subscriptions == 0
    gate.open()


# ---- what is in a response


async def test_headers_of_a_stream(gateway: ServedGateway) -> None:
    for response in (
        await gateway.chat(DEMO),
        await gateway.subscribe((await gateway.create(DEMO))["id"]),
    ):
        assert response.head["content-type"].startswith("text/event-stream")
        assert "no-cache" in response.head["cache-control"]
        assert response.head["x-accel-buffering"] == "no"
        assert response.head.get("content-length") is None
        events = await response.events().rest()
        assert response.head["stream-id"] == (events[0].id or "").split(".")[0]


async def test_models(gateway: ServedGateway) -> None:
    models = await (await gateway.get("/v1/models")).json()
    assert models["object"] == "list"
    names = {model["id"] for model in models["data"]}
    assert {"demo", "renamed"} <= names
    assert "*" not in names
    assert all(model["object"] == "model" and model["owned_by"] for model in models["data"])


async def test_a_stream_without_deltas(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(deltas=())
    events = await (await gateway.chat("m")).events().rest()
    assert openai_text(events) == ""
    assert events[-1].data == "[DONE]"


async def test_query_strings_and_absolute_targets(gateway: ServedGateway) -> None:
    assert (await gateway.get("/v1/models?limit=3")).status == 200
    absolute = b"GET http://gateway/v1/models HTTP/1.1\r\nHost: gateway\r\n\r\n"
    assert (await gateway.raw(absolute, "GET")).status == 200


# ---- the demo provider


@pytest.mark.parametrize("model", ["demo", "demo-n12-gap0", "demo-n12-gap1-first20"])
async def test_demo_says_the_same_streamed_or_not(gateway: ServedGateway, model: str) -> None:
    """Its text is a function of the request alone, however it is asked for and in whatever dialect."""
    stream = (await gateway.create(model))["id"]
    streamed = openai_text(await (await gateway.chat(model)).events().rest())
    whole = await (await gateway.chat(model, stream=False)).json()
    assert whole["choices"][0]["message"]["content"] == streamed
    assert native_text(await (await gateway.subscribe(stream)).events().rest()) == streamed
    vendor = await gateway.subscribe(stream, dialect="openai_chat")
    assert openai_text(await vendor.events().rest()) == streamed


async def test_demo_counts_its_deltas(gateway: ServedGateway) -> None:
    for count in (1, 2, 200):
        stream = (await gateway.create(f"demo-n{count}-gap0"))["id"]
        events = await (await gateway.subscribe(stream)).events().rest()
        assert [event.json["type"] for event in events].count("text.delta") == count


async def test_demo_fails_when_told(gateway: ServedGateway) -> None:
    events = await (await gateway.chat("demo-n20-gap0-fail5")).events().rest()
    assert events[-1].json["error"]["message"]
    assert len([event for event in events if "choices" in event.json]) >= 5
    response = await gateway.chat("demo-n20-gap0-fail5", stream=False)
    assert response.status >= 500
    assert (await response.json())["error"]["message"]


async def test_demo_stalls_when_told(serve: Serve) -> None:
    gateway = await serve(server={"keepalive": 0.05})
    stream = (await gateway.create("demo-n20-gap0-stall5", lease=30))["id"]
    events = (await gateway.subscribe(stream)).events()
    seen = await events.take(6)
    await events.until_comments(3)
    assert [event.json["type"] for event in seen] == ["stream.started"] + ["text.delta"] * 5
    assert (await gateway.status(stream))["status"] == "running"
    await gateway.request("DELETE", f"{STREAMS}/{stream}")
    assert [event.json["type"] for event in await events.rest()] == ["stream.cancelled"]


async def test_unknown_demo_steering_is_refused(gateway: ServedGateway) -> None:
    """A misspelt steering name must not quietly behave like another one."""
    assert (await gateway.chat("demo-nine")).status == 404


async def test_text_of_the_upstream_in_both_dialects(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    text = ("für ", "日本\u2028", '"quoted"\n', "\x01\\", "🎉")
    upstream.scripts["m"] = script = Script(deltas=text)
    response = await gateway.chat("m", headers={"Stream-Lease": "60"})
    assert openai_text(await response.events().rest()) == script.text
    native = await gateway.subscribe(response.head["stream-id"])
    assert native_text(await native.events().rest()) == script.text
    whole = await (await gateway.chat("m", stream=False)).json()
    assert whole["choices"][0]["message"]["content"] == script.text


async def test_same_bytes_as_the_upstream_sent(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Same dialect on both sides: payloads pass through, byte for byte."""
    upstream.scripts["m"] = Script(deltas=words(10), logprobs=True)
    body = chat_body("m", stream_options={"include_usage": True})
    through = await (await gateway.request("POST", CHAT, payload=body)).events().rest()
    upstream.key = None
    async with await Connection.open("127.0.0.1", upstream.port) as direct:
        events = await (await direct.request("POST", CHAT, payload=body)).events().rest()
    assert [event.data for event in through] == [event.data for event in events]
