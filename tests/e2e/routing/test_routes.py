"""Routes over real sockets: conversations, capabilities, timeouts, and what the status of a stream tells."""

from __future__ import annotations

import json

import pytest

from stream_gateway.guard.principal import ANONYMOUS
from tests.doubles.faults import Ending
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import native_text, openai_text, refused
from tests.doubles.openai_script import BUSY, Script
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.routes import ROUTE, counted, in_order, routed, target
from tests.doubles.served_gateway import Serve
from tests.doubles.waiting import until

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.test/a.png"}}]}]


async def test_a_conversation_stays_at_its_target(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await serve(**routed([target("a"), target("b"), target("c")], sticky=True))
    upstream.scripts |= {model: Script() for model in "abc"}
    for key in ("one", "two", "three", "four"):
        upstream.exchanges.clear()
        for stream in (True, False):
            await (await gateway.chat(ROUTE, stream=stream, headers={"Conversation-Id": key})).read()
            await (await gateway.chat(ROUTE, stream=stream, conversation=key)).read()
        await gateway.create(ROUTE, conversation=key, lease="finish")
        await until(lambda: len(upstream.exchanges) == 5)
        assert len({exchange.request.json["model"] for exchange in upstream.exchanges}) == 1
        assert all("conversation" not in exchange.request.json for exchange in upstream.exchanges)


async def test_a_request_goes_where_it_can_be_answered(upstream: OpenAIServer, serve: Serve) -> None:
    targets = [target("plain", capabilities=[]), target("skilled", priority=1, capabilities=["tools"])]
    gateway = await serve(**routed(targets))
    upstream.scripts |= {"plain": Script(), "skilled": Script()}
    await (await gateway.chat(ROUTE)).read()
    await (await gateway.chat(ROUTE, tools=TOOLS)).read()
    assert [exchange.request.json["model"] for exchange in upstream.exchanges] == ["plain", "skilled"]
    for stream in (True, False):
        error = await refused(await gateway.chat(ROUTE, stream=stream, messages=PICTURE), 400)
        assert (error["code"], error["param"]) == ("invalid_field", "model")
        assert "images" in error["message"]


async def test_a_target_of_another_dialect(upstream: OpenAIServer, serve: Serve) -> None:
    """Its bytes, or none, are no bytes of the stream's dialect: it is encoded for whoever reads it."""
    gateway = await serve(**routed([target("bad"), {"provider": "demo", "model": "demo-n5", "priority": 1}]))
    upstream.scripts["bad"] = Script(refusal=BUSY)
    events = await (await gateway.chat(ROUTE)).events().rest()
    assert openai_text(events) == openai_text(await (await gateway.chat("demo-n5")).events().rest()) != ""
    assert events[-1].data == "[DONE]"
    assert len([event for event in events if '"role"' in event.data]) == 1


async def test_the_status_of_a_stream_tells_its_attempts(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await serve(**routed(in_order("bad", "good")))
    upstream.scripts |= {"bad": Script(refusal=BUSY), "good": Script(gate=(gate := Gate(2)))}
    created = await gateway.create(ROUTE)
    events = (await gateway.subscribe(created["id"])).events()
    await events.take(3)
    bad, good = (await gateway.status(created["id"]))["attempts"]
    assert (bad["target"], bad["kind"], bad["outcome"], bad["code"]) == ("mock/bad", "first", "failed", "http_503")
    assert bad["first_token"] is None
    assert (good["target"], good["kind"], good["outcome"], good["code"]) == ("mock/good", "retry", "running", None)
    assert created["id"]
    assert 0 <= good["first_token"] < 20
    assert good["duration"] is None
    assert bad["started"] <= good["started"]
    gate.open()
    assert native_text(await events.rest())
    assert "sk-upstream" not in json.dumps(await gateway.status(created["id"]))


# ---- timeouts


@pytest.mark.parametrize("script", [Script(head_gate=Gate()), Script(gate=Gate())], ids=["no head", "no token"])
async def test_a_first_token_that_does_not_come(upstream: OpenAIServer, serve: Serve, script: Script) -> None:
    gateway = await serve(**routed(in_order("late", "good"), timeouts={"first_token": 0.1}))
    upstream.scripts |= {"late": script, "good": Script()}
    assert openai_text(await (await gateway.chat(ROUTE)).events().rest()) == Script().text
    assert counted(gateway, "late").failures == {"upstream_timeout": 1}


async def test_silence_after_it(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await serve(**routed([target("m")], timeouts={"first_token": 600.0, "between_tokens": 0.1}))
    upstream.scripts["m"] = Script(ending=Ending.SILENCE)
    events = await (await gateway.chat(ROUTE)).events().rest()
    assert openai_text(events) == Script().text
    assert events[-1].json["error"]["code"] == "upstream_timeout"


async def test_patience_with_the_first_token_is_not_patience_with_the_next(
    upstream: OpenAIServer, serve: Serve
) -> None:
    """A route's own timeout wins over the provider's silence, both ways."""
    sections = routed([target("m")], timeouts={"first_token": 600.0, "between_tokens": 0.1})
    gateway = await serve(provider={"silence_timeout": 0.2}, **sections)
    upstream.scripts["m"] = Script(head_gate=(gate := Gate()), ending=Ending.SILENCE)
    created = await gateway.create(ROUTE)
    exchange = await upstream.next_exchange()
    stream = gateway.gateway._registry.get(created["id"], ANONYMOUS)
    await gateway.chat("demo-n1-first500", stream=False)  # more time than silence is given elsewhere
    assert not exchange.left.is_set()
    gate.open()
    await stream.ended.wait()
    assert native_text(await (await gateway.subscribe(created["id"])).events().rest()) == Script().text


@pytest.mark.parametrize("stream", [True, False])
async def test_the_whole_answer_has_its_time(upstream: OpenAIServer, serve: Serve, stream: bool) -> None:
    gateway = await serve(**routed([target("m")]), timeouts={"total": 0.2})
    upstream.scripts["m"] = Script(head_gate=Gate())
    error = await refused(await gateway.chat(ROUTE, stream=stream), 504)
    assert "0.2 seconds" in error["message"]
    assert len(upstream.exchanges) == 1
