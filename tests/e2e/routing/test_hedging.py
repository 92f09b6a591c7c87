"""Hedges: a second target beside a late first one; the first to speak wins, and the other is let go."""

from __future__ import annotations

from typing import Any

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import openai_text, refused
from tests.doubles.openai_script import BUSY, Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.routes import ROUTE, all_given_back, counted, in_order, routed
from tests.doubles.served_gateway import Serve, ServedGateway

FAST = Script(deltas=("quick",))
SLOW = Script(deltas=words(5))


async def warmed(upstream: OpenAIServer, serve: Serve, budget: float = 1.0, **settings: Any) -> ServedGateway:
    """A gateway that knows how long the first tokens of its route usually take."""
    hedge = {"quantile": 0.95, "budget": budget}
    gateway = await serve(**routed(in_order("first", "second"), hedge=hedge, **settings))
    upstream.scripts |= {"first": FAST, "second": FAST}
    for _ in range(20):
        assert openai_text(await (await gateway.chat(ROUTE)).events().rest()) == "quick"
        await upstream.next_exchange()
    assert counted(gateway, "second").attempts == 0
    await all_given_back(gateway)
    return gateway


async def test_the_second_wins_and_the_first_is_let_go(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await warmed(upstream, serve)
    upstream.scripts["first"] = Script(head_gate=Gate())
    upstream.scripts["second"] = SLOW
    response = await gateway.chat(ROUTE)
    assert openai_text(await response.events().rest()) == SLOW.text
    late = await upstream.next_exchange()
    await late.left.wait()
    await all_given_back(gateway)
    first, second = counted(gateway, "first"), counted(gateway, "second")
    assert (first.attempts, first.cancelled, first.successes, first.failures) == (21, 1, 20, {})
    assert (second.attempts, second.hedges, second.successes) == (1, 1, 1)
    status = await gateway.status(response.head["stream-id"])
    assert [(a["target"], a["kind"], a["outcome"]) for a in status["attempts"]] == [
        ("mock/first", "first", "cancelled"),
        ("mock/second", "hedge", "finished"),
    ]


async def test_the_first_wins_after_all(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await warmed(upstream, serve)
    gate = Gate()
    upstream.scripts["first"] = Script(deltas=words(5), gate=gate)
    upstream.scripts["second"] = Script(deltas=words(5), gate=Gate())  # says its role, and nothing more
    connection = await gateway.connect()
    await connection.offer(connection.render("POST", "/v1/chat/completions", payload=_body()))
    await upstream.next_exchange()
    hedge = await upstream.next_exchange()
    gate.open()
    assert openai_text(await (await connection.response("POST")).events().rest()) == SLOW.text
    await hedge.left.wait()
    await all_given_back(gateway)
    first, second = counted(gateway, "first"), counted(gateway, "second")
    assert (first.successes, first.cancelled) == (21, 0)
    assert (second.attempts, second.hedges, second.cancelled) == (1, 1, 1)


async def test_an_empty_answer_wins_too(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await warmed(upstream, serve)
    gate = Gate()
    upstream.scripts |= {"first": Script(deltas=(), gate=gate), "second": Script(gate=Gate())}
    connection = await gateway.connect()
    await connection.offer(connection.render("POST", "/v1/chat/completions", payload=_body()))
    await upstream.next_exchange()
    hedge = await upstream.next_exchange()
    gate.open()
    events = await (await connection.response("POST")).events().rest()
    assert (openai_text(events), events[-1].data) == ("", "[DONE]")
    await hedge.left.wait()
    await all_given_back(gateway)


async def test_the_hedge_goes_on_when_the_first_fails(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await warmed(upstream, serve)
    refuse, speak = Gate(), Gate()
    upstream.scripts["first"] = Script(head_gate=refuse, refusal=BUSY)
    upstream.scripts["second"] = Script(deltas=words(5), gate=speak)
    connection = await gateway.connect()
    await connection.offer(connection.render("POST", "/v1/chat/completions", payload=_body()))
    first = await upstream.next_exchange()
    await upstream.next_exchange()
    refuse.open()
    await first.finished.wait()
    speak.open()
    assert openai_text(await (await connection.response("POST")).events().rest()) == SLOW.text
    await all_given_back(gateway)
    assert counted(gateway, "first").failures == {"http_503": 1}
    assert counted(gateway, "second").attempts == 1


async def test_when_both_fail_it_is_tried_again(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await warmed(upstream, serve)
    refuse = Gate()
    upstream.scripts["first"] = lambda request: next(firsts, SLOW)
    firsts = iter([Script(head_gate=refuse, refusal=BUSY)])
    upstream.scripts["second"] = Script(head_gate=refuse, refusal=BUSY)
    connection = await gateway.connect()
    await connection.offer(connection.render("POST", "/v1/chat/completions", payload=_body()))
    await upstream.next_exchange()
    await upstream.next_exchange()
    refuse.open()
    assert openai_text(await (await connection.response("POST")).events().rest()) == SLOW.text
    await all_given_back(gateway)
    assert counted(gateway, "first").retries == 1


async def test_the_budget_holds(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await warmed(upstream, serve, budget=0.05, timeouts={"first_token": 0.5}, retries={"attempts": 1})
    upstream.scripts |= {"first": Script(head_gate=Gate()), "second": SLOW}
    assert openai_text(await (await gateway.chat(ROUTE)).events().rest()) == SLOW.text
    # What was saved up is spent, and a request brings a twentieth of the next: nobody comes to help.
    for _ in range(3):
        await refused(await gateway.chat(ROUTE), 504)
    assert counted(gateway, "second").hedges == 1


def _body() -> dict[str, Any]:
    return {"model": ROUTE, "stream": True, "messages": [{"role": "user", "content": "hello"}]}
