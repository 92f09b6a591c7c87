"""Places at targets: who waits for one, who goes elsewhere, and what a client that leaves gives back."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from stream_gateway.guard.principal import ANONYMOUS
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import CHAT, STREAMS, openai_text, refused
from tests.doubles.openai_script import BUSY, Refusal, Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Connection
from tests.doubles.routes import ROUTE, all_given_back, counted, in_order, routed, target
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until
from tests.e2e.routing.test_hedging import warmed

WAYS = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


async def asking(gateway: ServedGateway, *, stream: bool = True, **fields: Any) -> Connection:
    """A client that has asked, and waits."""
    connection = await gateway.connect()
    body = {"model": ROUTE, "stream": stream, "messages": [{"role": "user", "content": "hello"}], **fields}
    await connection.send(connection.render("POST", CHAT, payload=body))
    return connection


def waits(gateway: ServedGateway, count: int) -> bool:
    """Whether one attempt is made at the target `m`, and so many wait."""
    counts = counted(gateway, "m")
    return (counts.in_flight, counts.waiting) == (1, count)


@WAYS
async def test_who_finds_no_place_waits_in_line(upstream: OpenAIServer, serve: Serve, stream: bool) -> None:
    gateway = await serve(**routed([target("m", concurrency=1, queue=2)]))
    gate = Gate()
    upstream.scripts["m"] = Script(deltas=words(3), gate=gate)
    clients = []
    for waiting in range(3):
        clients.append(await asking(gateway, stream=stream))
        await until(partial(waits, gateway, waiting))
    error = await refused(await gateway.chat(ROUTE, stream=stream), 503)
    assert error["code"] == "overloaded"
    gate.open()
    for client in clients:
        assert (await client.response("POST")).status == 200
    await all_given_back(gateway)
    assert len(upstream.exchanges) == 3


@WAYS
async def test_who_has_waited_for_long_enough_is_told_when_to_come_back(
    upstream: OpenAIServer, serve: Serve, stream: bool
) -> None:
    gateway = await serve(**routed([target("m", concurrency=1, queue=2)], queue_timeout=0.05))
    upstream.scripts["m"] = Script(gate=Gate())
    client = await asking(gateway)
    await upstream.next_exchange()
    response = await gateway.chat(ROUTE, stream=stream)
    await refused(response, 503)
    assert response.head["retry-after"] == "1"
    assert counted(gateway, "m").waiting == 0
    await client.reset()
    await all_given_back(gateway)


async def test_or_goes_to_the_next_target(upstream: OpenAIServer, serve: Serve) -> None:
    targets = [target("m", concurrency=1, queue=1), target("other", priority=1)]
    gateway = await serve(**routed(targets, queue_timeout=0.05))
    upstream.scripts |= {"m": Script(gate=Gate()), "other": Script()}
    await asking(gateway)
    await upstream.next_exchange()
    assert openai_text(await (await gateway.chat(ROUTE)).events().rest()) == Script().text
    assert counted(gateway, "other").attempts == 1


# ---- leaving


async def leaves(gateway: ServedGateway, upstream: OpenAIServer, client: Connection) -> None:
    """The client leaves; nothing of it may stay anywhere."""
    connections = gateway.now.connections
    await client.reset()
    await all_given_back(gateway)
    await upstream.all_left()
    await until(lambda: gateway.now.connections == connections - 1)
    nursery = gateway.gateway._registry._nursery
    assert nursery is not None
    await until(lambda: len(nursery.child_tasks) == 3)  # the registry's own


@WAYS
async def test_while_waiting_in_line(upstream: OpenAIServer, serve: Serve, stream: bool) -> None:
    gateway = await serve(**routed([target("m", concurrency=1, queue=2)], queue_timeout=600.0))
    upstream.scripts["m"] = Script(gate=Gate())
    first = await asking(gateway)
    await upstream.next_exchange()
    waiting = await asking(gateway, stream=stream)
    await until(lambda: counted(gateway, "m").waiting == 1)
    await waiting.reset()
    await until(lambda: counted(gateway, "m").waiting == 0)
    assert counted(gateway, "m").attempts == 1
    await leaves(gateway, upstream, first)


@WAYS
async def test_during_the_pause_before_a_retry(upstream: OpenAIServer, serve: Serve, stream: bool) -> None:
    again = Refusal(status=503, code=None, message="Later.", headers={"Retry-After": "600"})
    retries = {"attempts": 3, "budget": 1.0, "max_wait": 1000.0}
    gateway = await serve(**routed([target("m")], retries=retries))
    upstream.scripts["m"] = Script(refusal=again)
    client = await asking(gateway, stream=stream)
    await upstream.next_exchange()
    await until(lambda: counted(gateway, "m").failures == {"http_503": 1})
    assert gateway.now.connections == 1
    await leaves(gateway, upstream, client)
    assert len(upstream.exchanges) == 1


ATTEMPTS = {
    "head": (lambda: Script(head_gate=Gate()), True),
    "role": (lambda: Script(gate=Gate()), True),
    "middle": (lambda: Script(gate=Gate(3)), True),
    "whole": (lambda: Script(gate=Gate()), False),
}


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_during_an_attempt(upstream: OpenAIServer, serve: Serve, name: str) -> None:
    gateway = await serve(**routed(in_order("bad", "m")))
    script, stream = ATTEMPTS[name]
    upstream.scripts |= {"bad": Script(refusal=BUSY), "m": script()}
    client = await asking(gateway, stream=stream)
    await upstream.next_exchange()
    exchange = await upstream.next_exchange()
    await leaves(gateway, upstream, client)
    assert exchange.left.is_set()
    assert counted(gateway, "m").cancelled == 1


async def test_while_two_attempts_race(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await warmed(upstream, serve)
    upstream.scripts |= {"first": Script(head_gate=Gate()), "second": Script(gate=Gate())}
    client = await asking(gateway)
    first, second = await upstream.next_exchange(), await upstream.next_exchange()
    await leaves(gateway, upstream, client)
    assert first.left.is_set()
    assert second.left.is_set()
    assert (counted(gateway, "first").cancelled, counted(gateway, "second").cancelled) == (1, 1)


async def test_the_gateway_stops_while_two_attempts_race(upstream: OpenAIServer, serve: Serve, nursery: Any) -> None:
    """The race's nursery must not keep the stream from its end."""
    gateway = await warmed(upstream, serve)
    upstream.scripts |= {"first": Script(head_gate=Gate()), "second": Script(gate=Gate())}
    created = await gateway.create(ROUTE)
    stream = gateway.gateway._registry.get(created["id"], ANONYMOUS)
    await upstream.next_exchange()
    await upstream.next_exchange()
    registry = gateway.gateway._registry._nursery
    assert registry is not None
    registry.cancel_scope.cancel()
    await stream.ended.wait()
    assert stream.state == "cancelled"
    await all_given_back(gateway)


async def test_a_stream_is_cancelled_while_it_waits(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await serve(**routed([target("m", concurrency=1, queue=2)], queue_timeout=600.0))
    upstream.scripts["m"] = Script(gate=Gate())
    first, second = await gateway.create(ROUTE), await gateway.create(ROUTE)
    await until(lambda: counted(gateway, "m").waiting == 1)
    for created in (second, first):
        response = await gateway.request("DELETE", f"{STREAMS}/{created['id']}")
        assert (await response.json())["status"] == "cancelled"
    await all_given_back(gateway)
    assert counted(gateway, "m").attempts == 1
