"""Clients that leave: nobody pays for tokens that nobody reads, and nothing is left behind."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import CHAT, STREAMS, chat_body, error_of, native_text, openai_text, types
from tests.doubles.http_reader import Truncated
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Connection
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until

STORM = 1000
AT_ONCE = 200


@pytest.mark.parametrize("how", ["aclose", "reset"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_the_upstream_sees_a_client_leave(
    upstream: OpenAIServer, gateway: ServedGateway, how: str, stream: bool
) -> None:
    upstream.scripts["m"] = Script(gate=Gate())
    connection = await gateway.connect()
    await connection.send(connection.render("POST", CHAT, payload=chat_body("m", stream=stream)))
    exchange = await upstream.next_exchange()
    await getattr(connection, how)()
    await exchange.left.wait()
    await gateway.idle()


@pytest.mark.parametrize("how", ["aclose", "reset"])
async def test_leaving_in_mid_stream(upstream: OpenAIServer, gateway: ServedGateway, how: str) -> None:
    gate = Gate(10)
    upstream.scripts["m"] = Script(deltas=words(50), gate=gate)
    response = await gateway.chat("m")
    await response.events().take(10)
    exchange = await upstream.next_exchange()
    assert not exchange.left.is_set()
    await getattr(response.connection, how)()
    await exchange.left.wait()
    await gateway.idle()
    status = await gateway.status(response.head["stream-id"])
    assert status["status"] == "cancelled"


async def test_leaving_before_the_upstream_answers(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    for stream in (True, False):
        upstream.scripts["m"] = Script(head_gate=Gate())
        connection = await gateway.connect()
        await connection.send(connection.render("POST", CHAT, payload=chat_body("m", stream=stream)))
        exchange = await upstream.next_exchange()
        await connection.reset()
        await exchange.left.wait()
        assert not exchange.answered.is_set()
    await gateway.idle()


@pytest.mark.parametrize("how", ["aclose", "reset"])
async def test_leaving_right_after_asking(upstream: OpenAIServer, gateway: ServedGateway, how: str) -> None:
    """The request and the end of its connection may come together, before anybody looks at either."""
    upstream.scripts["m"] = Script(head_gate=Gate())
    for stream in (True, False):
        for _ in range(20):
            connection = await gateway.connect()
            await connection.send(connection.render("POST", CHAT, payload=chat_body("m", stream=stream)))
            await getattr(connection, how)()
    await gateway.idle()
    await upstream.all_left()


async def test_the_stream_lives_while_one_is_left(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    gate = Gate(5)
    upstream.scripts["m"] = script = Script(deltas=words(20), gate=gate)
    first = await gateway.chat("m")
    second = await gateway.subscribe(first.head["stream-id"])
    await first.events().take(3)
    await first.connection.reset()
    await until(lambda: gateway.now.subscriptions == 1)
    gate.open()
    assert native_text(await second.events().rest()) == script.text
    assert (await upstream.next_exchange()).finished.is_set()


async def test_a_lease_that_runs_out(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(gate=Gate(2))
    stream = (await gateway.create("m", lease=0.2))["id"]
    exchange = await upstream.next_exchange()
    await exchange.left.wait()
    events = await (await gateway.subscribe(stream)).events().rest()
    assert types(events)[-1] == "stream.cancelled"
    assert events[-1].json["reason"] == "lease"
    assert (await gateway.status(stream))["status"] == "cancelled"


async def test_a_lease_stands_still_while_somebody_watches(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    gate = Gate(2)
    upstream.scripts["m"] = script = Script(deltas=words(20), gate=gate)
    lease = 0.3
    stream = (await gateway.create("m", lease=lease))["id"]
    events = (await gateway.subscribe(stream)).events()
    seen = await events.take(3)
    # What is tested is that time passes and nothing happens.
    await trio.sleep(2 * lease)
    gate.open()
    assert native_text(seen + await events.rest()) == script.text


async def test_a_lease_of_finish_needs_nobody(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(20), gate=(gate := Gate(2)))
    stream = (await gateway.create("m", lease="finish"))["id"]
    events = (await gateway.subscribe(stream)).events()
    await events.take(2)
    await events.response.connection.reset()
    await until(lambda: gateway.now.subscriptions == 0)
    gate.open()
    await (await upstream.next_exchange()).finished.wait()
    assert native_text(await (await gateway.subscribe(stream)).events().rest()) == script.text


async def test_cancelling(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(gate=Gate(2))
    stream = (await gateway.create("m", lease="finish"))["id"]
    events = (await gateway.subscribe(stream)).events()
    chat = (await gateway.subscribe(stream, dialect="openai_chat")).events()
    await events.take(2)
    exchange = await upstream.next_exchange()
    response = await gateway.request("DELETE", f"{STREAMS}/{stream}")
    assert response.status in (200, 202, 204)
    await exchange.left.wait()
    ending = await events.rest()
    assert types(ending)[-1] == "stream.cancelled"
    assert ending[-1].json["reason"] == "client"
    assert "[DONE]" not in [event.data for event in await chat.rest()], "a cancelled answer is not a whole one"
    await until(lambda: gateway.now.running == gateway.now.upstream_busy == 0)


async def test_a_client_that_never_reads_its_answer_can_leave(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """What was sent fills every buffer; then the client goes, with all of it unread."""
    upstream.scripts["m"] = Script(deltas=tuple("x" * 65_536 for _ in range(400)))
    connection = await gateway.connect(receive_buffer=4096)
    await connection.send(connection.render("POST", CHAT, payload=chat_body("m")))
    exchange = await upstream.next_exchange()
    await exchange.answered.wait()
    await until(lambda: gateway.now.subscriptions == 1)
    await connection.reset()
    await exchange.ended.wait()
    await gateway.idle()


async def test_nobody_waits_for_a_gateway_that_stops(serve: Serve, upstream: OpenAIServer) -> None:
    """The whole gateway is cancelled under load: its clients and its upstream see ends, not silence."""
    upstream.scripts["m"] = lambda _: Script(deltas=words(20), gate=Gate(3))
    async with trio.open_nursery() as nursery:
        gateway = await serve(nursery=nursery)
        streams = [(await gateway.chat("m")).events() for _ in range(20)]
        for events in streams:
            await events.take(2)
        nursery.cancel_scope.cancel()
    for events in streams:
        try:
            seen = await events.rest()
        except Truncated:
            continue
        assert "[DONE]" not in [event.data for event in seen]
    await upstream.all_left()


# ---- the storm


class Storm:
    """Clients that leave at different moments of their request, in different ways."""

    def __init__(self, gateway: ServedGateway) -> None:
        self._gateway = gateway
        self._limit = trio.CapacityLimiter(AT_ONCE)

    async def rage(self, count: int) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(self._come_and_go, number)

    async def _come_and_go(self, number: int) -> None:
        async with self._limit:
            connection = await Connection.open(self._gateway.host, self._gateway.port)
            await self._ask(connection, number)
            await (connection.reset() if number % 2 else connection.aclose())

    async def _ask(self, connection: Connection, number: int) -> None:
        """Go a different way into the exchange, depending on the number."""
        model = ("steps", "silent", "quick", "demo-n500-gap5")[number // 6 % 4]
        whole = number % 24 == 17
        request = connection.render("POST", CHAT, payload=chat_body(model, stream=not whole))
        stage = number % 6
        await connection.send(request[: len(request) // 2] if stage == 0 else request)
        if stage in (0, 1) or whole or model == "silent":
            return
        if stage == 2:
            await connection.response("POST")
        else:
            await (await connection.response("POST")).events().take(stage - 2)


@pytest.mark.deadline(60)
async def test_a_storm_of_a_thousand(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["steps"] = Script(deltas=words(20), gate=Gate(5000))
    upstream.scripts["silent"] = Script(head_gate=Gate())
    upstream.scripts["quick"] = Script(deltas=words(20))
    upstream.scripts["after"] = after = Script(deltas=words(20))
    storm = Storm(gateway)
    await storm.rage(50)
    tasks = await _tasks_when_settled(upstream, gateway)
    await storm.rage(STORM)
    assert await _tasks_when_settled(upstream, gateway) == tasks
    assert gateway.busy == dict.fromkeys(gateway.busy, 0)
    assert openai_text(await (await gateway.chat("after")).events().rest()) == after.text
    whole = await (await gateway.chat("after", stream=False)).json()
    assert whole["choices"][0]["message"]["content"] == after.text


async def _tasks_when_settled(upstream: OpenAIServer, gateway: ServedGateway) -> int:
    """How many tasks there are once everybody has left.

    Upstream connections that wait in the pool may stay, and no others; the double has two tasks for each.
    """
    await gateway.idle()
    await upstream.all_left()
    await until(lambda: upstream.open_connections == gateway.now.upstream_idle)
    await trio.testing.wait_all_tasks_blocked()
    return trio.lowlevel.current_statistics().tasks_living - 2 * upstream.open_connections


async def test_unknown_streams_do_not_pile_up(gateway: ServedGateway) -> None:
    for number in range(50):
        response = await gateway.get(f"{STREAMS}/nobody{number}")
        assert response.status == 404
        assert (await error_of(response))["code"] == "unknown_stream"
    assert gateway.now.streams == 0
