"""The life of a stream as a resource: `/v1/streams` and what is below it."""

from __future__ import annotations

import pytest
import trio

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import (
    CHAT,
    MESSAGES,
    STREAMS,
    GatewayClient,
    native_text,
    openai_text,
    refused,
    types,
)
from tests.doubles.openai_script import BROKEN, RATE_LIMITED, Extras, Refusal, Script, ToolCall, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway, Spawn
from tests.doubles.waiting import until


async def test_creating(gateway: ServedGateway) -> None:
    body = {"model": "demo-n5-gap0", "messages": MESSAGES}
    response = await gateway.request("POST", STREAMS, payload=body)
    assert response.status == 201
    created = await response.json()
    assert response.head["stream-id"] == created["id"]
    assert created["cursor"].split(".")[::2] == [created["id"], "0"]
    assert created["status"] in ("created", "running")
    assert f"{STREAMS}/{created['id']}" in created["links"].values()
    assert f"{STREAMS}/{created['id']}/events" in created["links"].values()
    for link in set(created["links"].values()):
        assert (await gateway.get(link)).status == 200


async def test_status_follows_the_stream(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(gate=(gate := Gate()), head_gate=(head := Gate()))
    stream = (await gateway.create("m", lease=60))["id"]
    assert (await gateway.status(stream))["status"] == "created"
    head.open()
    events = (await gateway.subscribe(stream)).events()
    await events.take(1)
    running = await gateway.status(stream)
    assert running["status"] == "running"
    assert running["id"] == stream
    gate.open()
    rest = await events.rest()
    finished = await gateway.status(stream)
    assert finished["status"] == "finished"
    assert finished["cursor"] == rest[-1].id


async def test_a_stream_is_produced_with_nobody_watching(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(50))
    stream = (await gateway.create("m"))["id"]
    await (await upstream.next_exchange()).finished.wait()
    await until(lambda: gateway.now.running == 0)
    assert native_text(await (await gateway.subscribe(stream)).events().rest()) == script.text


async def test_native_events_of_everything(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    call = ToolCall(id="call_1", name="weather", fragments=('{"city":', '"Oslo"}'))
    upstream.scripts["m"] = script = Script(
        reasoning=("hm", "m"), tool_calls=(call,), extras=Extras(top={"vendor": 1}, prelude={"p": 1})
    )
    stream = (await gateway.create("m", stream_options={"include_usage": True}))["id"]
    events = [event.json for event in await (await gateway.subscribe(stream)).events().rest()]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "stream.started"
    assert kinds[-1] == "stream.finished"
    assert "".join(event["text"] for event in events if event["type"] == "reasoning.delta") == "hmm"
    calls = [event for event in events if event["type"] == "tool_call.delta"]
    assert (calls[0]["id"], calls[0]["name"]) == (call.id, call.name)
    assert "".join(event.get("arguments", "") for event in calls) == call.arguments
    (usage,) = [event for event in events if event["type"] == "usage"]
    assert usage["output_tokens"] == script.usage()["completion_tokens"]


@pytest.mark.parametrize("refusal", [RATE_LIMITED, BROKEN], ids=["429", "500"])
async def test_a_refused_stream_fails(upstream: OpenAIServer, gateway: ServedGateway, refusal: Refusal) -> None:
    """It was created, so it exists; that the provider refused it is the one thing that happened in it."""
    upstream.scripts["m"] = Script(refusal=refusal)
    stream = (await gateway.create("m"))["id"]
    await until(lambda: gateway.now.running == 0)
    assert (await gateway.status(stream))["status"] == "failed"
    (failed,) = await (await gateway.subscribe(stream)).events().rest()
    assert failed.json["type"] == "stream.failed"
    assert failed.json["status"] == refusal.status
    assert refusal.message in failed.json["message"]


async def test_deleting(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(gate=Gate(2))
    stream = (await gateway.create("m", lease="finish"))["id"]
    exchange = await upstream.next_exchange()
    await exchange.answered.wait()
    assert (await gateway.request("DELETE", f"{STREAMS}/{stream}")).status in (200, 202, 204)
    await exchange.left.wait()
    await until(lambda: gateway.now.running == 0)
    assert (await gateway.status(stream))["status"] == "cancelled"
    again = await gateway.request("DELETE", f"{STREAMS}/{stream}")
    assert again.status in (200, 202, 204), "asking twice for the same end is no error"
    await refused(await gateway.request("DELETE", f"{STREAMS}/nobody"), 404)


async def test_deleting_what_has_finished_changes_nothing(gateway: ServedGateway) -> None:
    stream = (await gateway.create("demo-n3-gap0", lease="finish"))["id"]
    whole = await (await gateway.subscribe(stream)).events().rest()
    await gateway.request("DELETE", f"{STREAMS}/{stream}")
    assert (await gateway.status(stream))["status"] == "finished"
    again = await (await gateway.subscribe(stream)).events().rest()
    assert [event.raw for event in again] == [event.raw for event in whole]


async def test_a_default_lease_from_the_configuration(serve: Serve, upstream: OpenAIServer) -> None:
    gateway = await serve(streams={"lease": 0.1})
    upstream.scripts["m"] = Script(gate=Gate())
    await gateway.create("m")
    await (await upstream.next_exchange()).left.wait()


async def test_unknown_models_are_refused_at_creation(serve: Serve) -> None:
    gateway = await serve(**{'routes."*"': {"targets": [{"provider": "demo", "model": "demo"}]}})
    assert (await gateway.create("anything"))["id"]
    response = await gateway.request("POST", STREAMS, payload={"model": "demo-", "messages": MESSAGES})
    assert response.status in (201, 404)


async def test_the_byte_budget(serve: Serve, upstream: OpenAIServer) -> None:
    """At its limit new streams are told when to come back; running ones are untouched."""
    gateway = await serve(streams={"budget_bytes": 50_000})
    upstream.scripts["m"] = script = Script(deltas=tuple(w.ljust(1000) for w in words(60)), gate=(gate := Gate()))
    running = (await gateway.chat("m")).events()
    gate.release(59)
    seen = await running.take(60)
    for response in (
        await gateway.chat("mock"),
        await gateway.request("POST", STREAMS, payload={"model": "mock", "messages": MESSAGES}),
    ):
        error = await refused(response, 503)
        assert error["code"] == "overloaded"
        assert int(response.head["retry-after"]) > 0
    gate.open()
    assert openai_text(seen + await running.rest()) == script.text
    assert openai_text(await (await gateway.chat("mock")).events().rest())


@pytest.mark.parametrize("stream", [True, False])
async def test_what_running_requests_ask_counts_too(upstream: OpenAIServer, serve: Serve, stream: bool) -> None:
    """Its bytes are kept until the end, because the request may have to be made again."""
    gateway = await serve(streams={"budget_bytes": 100_000})
    upstream.scripts["m"] = Script(head_gate=(gate := Gate()))
    long = [{"role": "user", "content": "x" * 60_000}]
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            assert (await (await gateway.chat("m", stream=stream, messages=long)).read()).strip()

        for _ in range(2):
            nursery.start_soon(ask)
        await until(lambda: gateway.now.request_bytes > 120_000)
        for streamed in (True, False):
            error = await refused(await gateway.chat("m", stream=streamed), 503)
            assert "memory" in error["message"]
        gate.open()
    await until(lambda: gateway.now.request_bytes == 0)  # a stream ends a moment before its request does
    assert (await gateway.chat("mock")).status == 200


async def test_the_console_script(spawn: Spawn, upstream: OpenAIServer) -> None:
    """The installed command, from start to stop, with its log on stderr."""
    upstream.scripts["m"] = script = Script(deltas=words(30))
    async with spawn() as process, GatewayClient(process.host, process.port) as client:
        assert openai_text(await (await client.chat("m")).events().rest()) == script.text
        assert openai_text(await (await client.chat("demo-n3-gap0")).events().rest())
        assert (await client.request("GET", CHAT)).status == 405
    assert process.process.returncode in (0, -15)
    assert all("Traceback" not in str(entry) for entry in process.log), process.log


async def test_two_streams_share_nothing(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["a"] = a = Script(deltas=("a",) * 50)
    upstream.scripts["b"] = b = Script(deltas=("b",) * 50)
    ids = [(await gateway.create(model))["id"] for model in ("a", "b")]
    texts = [native_text(await (await gateway.subscribe(stream)).events().rest()) for stream in ids]
    assert texts == [a.text, b.text]
    assert len(set(ids)) == 2


async def test_a_chat_completion_is_a_stream_too(gateway: ServedGateway) -> None:
    """What one client asked for in OpenAI's dialect, another may read in ours."""
    response = await gateway.chat("demo-n5-gap0", headers={"Stream-Lease": "60"})
    text = openai_text(await response.events().rest())
    stream = response.head["stream-id"]
    events = await (await gateway.subscribe(stream)).events().rest()
    assert native_text(events) == text
    assert types(events)[-1] == "stream.finished"
    assert (await gateway.status(stream))["status"] == "finished"
