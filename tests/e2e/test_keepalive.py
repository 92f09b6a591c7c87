"""Silence that no proxy mistakes for death: comments between whole events, from the first moment on."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
import trio

from stream_gateway.config import Config
from stream_gateway.guard.principal import ANONYMOUS
from tests.doubles import sdk as openai_sdk
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import native_text, openai_text
from tests.doubles.openai_script import BROKEN, RATE_LIMITED, UNAUTHORIZED, Refusal, Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.sdk import MESSAGES, text_of, unfinished_generators
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sse_reader import SseReader
from tests.doubles.waiting import until

pytestmark = unfinished_generators

KEEPALIVE = 0.1
DIALECTS = ("native", "openai_chat", "openai_responses", "anthropic", "gemini")
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/responses": {"input": "Hello"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 100},
}
"""Vendors' paths, Gemini's aside, whose SDKs take no comments."""


@pytest.fixture
async def gateway(serve: Serve) -> ServedGateway:
    return await serve(server={"keepalive": KEEPALIVE, "send_buffer_bytes": 4096})


async def test_in_a_silent_stream(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(6), gate=(gate := Gate()))
    events = (await gateway.chat("m")).events()
    seen = await events.take(1)
    for step in range(6):
        await events.until_comments(events.comments + 2)
        gate.release()
        seen += await events.take(1)
        assert seen[-1].json["choices"][0]["delta"]["content"] == words(6)[step]
    gate.open()
    assert openai_text(seen + await events.rest()) == script.text


async def test_after_events_that_took_their_time(upstream: OpenAIServer, serve: Serve) -> None:
    """The kernel has taken them all, and not sent the last ones yet; nothing comes that would have anybody look."""
    gateway = await serve(server={"keepalive": KEEPALIVE})
    upstream.scripts["m"] = script = Script(deltas=words(4000), gate=(gate := Gate()))
    stream = (await gateway.create("m"))["id"]
    response = await gateway.subscribe(stream, receive_buffer=4096)
    log = gateway.gateway._registry.get(stream, ANONYMOUS).log
    (follower,) = gateway.gateway._registry.get(stream, ANONYMOUS).followers
    while follower.outlet.clear():
        gate.release()
        await until(lambda head=log.head: log.head > head)  # type: ignore[misc]
    assert follower.live
    events = response.events()
    await events.until_comments(2)
    gate.open()
    assert native_text(await events.rest()) == script.text


async def test_on_every_kind_of_event_stream(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(gate=(gate := Gate()))
    stream = (await gateway.create("m"))["id"]
    audience = [(await gateway.subscribe(stream, dialect=dialect)).events() for dialect in DIALECTS]
    for path, body in ASKED.items():
        audience.append((await gateway.request("POST", path, payload={**body, "model": "m", "stream": True})).events())
    for events in audience:
        await events.until_comments(3)
    gate.open()
    for events in audience:
        assert len(await events.rest()) > 5


def test_a_silence_is_broken_before_proxies_end_it() -> None:
    """Load balancers close what is silent for 60 s; 55 s are the longest poll."""
    config = Config()
    assert config.server.keepalive < 55
    assert config.sockets.ping_interval < 55


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_its_interval_is_announced(gateway: ServedGateway, accept: str) -> None:
    stream = (await gateway.create("demo-n1-gap0"))["id"]
    responses = [await gateway.subscribe(stream, accept=accept), await gateway.chat("demo-n1-gap0")]
    assert [response.head["stream-keepalive"] for response in responses] == ["0.1", "0.1"]


async def test_from_the_moment_of_acceptance(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """The provider has not even sent a status line; the client has a response, and signs of life."""
    upstream.scripts["m"] = script = Script(head_gate=(gate := Gate()))
    response = await gateway.chat("m")
    exchange = await upstream.next_exchange()
    assert response.status == 200
    events = response.events()
    await events.until_comments(3)
    assert not exchange.answered.is_set()
    gate.open()
    assert openai_text(await events.rest()) == script.text


@pytest.mark.parametrize("refusal", [UNAUTHORIZED, RATE_LIMITED, BROKEN], ids=["401", "429", "500"])
async def test_a_refusal_after_the_head_comes_in_band(
    upstream: OpenAIServer, gateway: ServedGateway, refusal: Refusal
) -> None:
    upstream.scripts["m"] = Script(head_gate=(gate := Gate()), refusal=refusal)
    events = (await gateway.chat("m")).events()
    await events.until_comments(1)
    gate.open()
    (event,) = await events.rest()
    error = event.json["error"]
    assert error["code"] == refusal.code
    assert refusal.message in error["message"]


async def test_the_sdk_raises_on_a_refusal_in_band(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(head_gate=(gate := Gate()), refusal=RATE_LIMITED)

    async def read(sdk: openai.AsyncOpenAI) -> list[Any]:
        stream = await sdk.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        # The head is here, so the refusal can only come inside the stream.
        gate.open()
        return [chunk async for chunk in stream]

    async with openai_sdk.client(f"{gateway.base_url}/v1") as sdk:
        with pytest.raises(openai.APIError, match="Rate limit reached"):
            await read(sdk)


async def test_a_refusal_before_the_head_keeps_its_status(serve: Serve, upstream: OpenAIServer) -> None:
    gateway = await serve(server={"keepalive": 30.0})
    upstream.scripts["m"] = Script(head_gate=(gate := Gate()), refusal=RATE_LIMITED)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_open_after_arrival, upstream, gate)
        response = await gateway.chat("m")
    assert response.status == 429
    assert response.head["retry-after"] == "7"


async def _open_after_arrival(upstream: OpenAIServer, gate: Gate) -> None:
    await upstream.next_exchange()
    gate.open()


async def test_the_sdk_survives_keepalives_after_ids(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Its decoder holds on to an `id`, and takes a blank line after a comment for an empty event."""
    upstream.scripts["m"] = script = Script(deltas=words(5), gate=(gate := Gate()))
    seen = []
    async with openai_sdk.client(f"{gateway.base_url}/v1") as sdk:
        raw = await sdk.chat.completions.with_raw_response.create(model="m", messages=MESSAGES, stream=True)
        witness = (await gateway.subscribe(raw.headers["stream-id"], dialect="openai_chat")).events()
        async for chunk in raw.parse():
            seen.append(chunk)
            # The witness is in the same silence: after its second comment the SDK has had one at least.
            if chunk.choices[0].finish_reason is None:
                await witness.until_comments(witness.comments + 2)
                gate.release()
    assert text_of(seen) == script.text


async def test_never_inside_an_event(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """An event larger than all buffers is half written for a while; silence there is not silence."""
    text = "ü" * 300_000
    upstream.scripts["m"] = Script(deltas=(text, "end"), gate=(gate := Gate()))
    for dialect in ("native", "openai_chat"):
        stream = (await gateway.create("m", lease="finish"))["id"]
        events = (await gateway.subscribe(stream, receive_buffer=4096, dialect=dialect)).events()
        seen = await events.take(1)
        gate.release()
        # Time has to pass while the client does not read: that is the case under test.
        await trio.sleep(4 * KEEPALIVE)
        seen += await events.take(1)
        assert text in seen[-1].data
        await events.until_comments(events.comments + 1)
        gate.release(2)
        seen += await events.rest()
        assert (native_text if dialect == "native" else openai_text)(seen) == text + "end"


async def test_a_keepalive_is_one_line(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(gate=(gate := Gate()))
    response = await gateway.chat("m")
    body = b""
    while b"\n\n:\n:\n" not in body:
        body += await response.read_some()
    gate.open()
    body += await response.read()
    assert b":\n\n" not in body
    assert len(SseReader().feed(body)) > 5


async def test_a_lagging_reader_is_not_silent(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Keepalives fill silence; between events that wait to be sent there is none."""
    upstream.scripts["m"] = script = Script(deltas=tuple(word.ljust(4000) for word in words(60)))
    stream = (await gateway.create("m", lease="finish"))["id"]
    events = (await gateway.subscribe(stream, receive_buffer=4096)).events()
    seen = await events.take(1)
    await trio.sleep(2 * KEEPALIVE)
    assert native_text(seen + await events.rest()) == script.text


async def test_ndjson_is_json_lines_only(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """NDJSON has no comments: whatever keeps it alive must not break a parser of lines."""
    upstream.scripts["m"] = Script(gate=(gate := Gate()))
    stream = (await gateway.create("m"))["id"]
    witness = (await gateway.subscribe(stream)).events()
    response = await gateway.subscribe(stream, accept="application/x-ndjson")
    await witness.until_comments(3)
    gate.open()
    lines = [line for line in (await response.read()).splitlines() if line.strip()]
    assert [json.loads(line)["event"]["type"] for line in lines][-1] == "stream.finished"
