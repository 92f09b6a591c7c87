"""The table of faults: what a client sees of each, what is tried again, and what is counted."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

import pytest

from tests.doubles.faults import Ending, Fault
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import native_text, openai_text, refused, types
from tests.doubles.openai_script import (
    BROKEN,
    BUSY,
    OVERLOADED,
    RATE_LIMITED,
    UNAUTHORIZED,
    Refusal,
    Script,
    words,
)
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Response
from tests.doubles.routes import ROUTE, all_given_back, counted, in_order, routed, target
from tests.doubles.served_gateway import Serve, ServedGateway

GOOD = Script(deltas=("all ", "is ", "well"))
SILENCE = {"first_token": 0.15, "between_tokens": 0.15}


class Row(NamedTuple):
    """A fault before the first token: its script, how it is counted, and the status if nothing helps."""

    script: Script
    label: str
    status: int


BEFORE = {
    "reset before the head": Row(Script(fault=Fault.RESET), "upstream_error", 502),
    "closed before the head": Row(Script(fault=Fault.CLOSE), "upstream_error", 502),
    "429": Row(Script(refusal=RATE_LIMITED), "http_429", 429),
    "500": Row(Script(refusal=BROKEN), "http_500", 500),
    "503": Row(Script(refusal=BUSY), "http_503", 503),
    "529": Row(Script(refusal=OVERLOADED), "http_529", 529),
    "a page for people": Row(Script(fault=Fault.HTML), "upstream_invalid", 502),
    "garbage at once": Row(Script(fault=Fault.GARBAGE), "upstream_invalid", 502),
}
ONLY_STREAMED = {
    "reset after the head": Row(Script(deltas=(), ending=Ending.RESET), "upstream_error", 502),
    "closed after the head": Row(Script(deltas=(), ending=Ending.CLOSE), "upstream_error", 502),
    "cut inside a chunk": Row(Script(deltas=(), ending=Ending.CUT), "upstream_error", 502),
    "silence after the head": Row(Script(deltas=(), ending=Ending.SILENCE), "upstream_timeout", 504),
    "an end without an answer": Row(Script(deltas=(), ending=Ending.NO_DONE), "upstream_truncated", 502),
    "an error in the stream": Row(Script(deltas=(), ending=Ending.ERROR), "http_502", 502),
    "garbage in the stream": Row(Script(deltas=(), ending=Ending.GARBAGE), "upstream_invalid", 502),
}
STREAMED = {**BEFORE, **ONLY_STREAMED}
ROWS = [(name, True) for name in STREAMED] + [(name, False) for name in BEFORE]


async def answer_text(response: Response, stream: bool) -> str:
    """The text of an answer that has to be whole."""
    assert response.status == 200, (response.head, await response.read())
    if not stream:
        return str((await response.json())["choices"][0]["message"]["content"])
    events = await response.events().rest()
    assert events[-1].data == "[DONE]"
    return openai_text(events)


@pytest.mark.parametrize(("name", "stream"), ROWS, ids=lambda value: str(value).replace(" ", "-"))
async def test_before_the_first_token_another_target_takes_over(
    upstream: OpenAIServer, serve: Serve, name: str, stream: bool
) -> None:
    row = STREAMED[name]
    gateway = await serve(**routed(in_order("bad", "good"), timeouts=SILENCE))
    upstream.scripts |= {"bad": row.script, "good": GOOD}
    assert await answer_text(await gateway.chat(ROUTE, stream=stream), stream) == GOOD.text
    await all_given_back(gateway)
    assert [exchange.request.json["model"] for exchange in upstream.exchanges] == ["bad", "good"]
    bad, good = counted(gateway, "bad"), counted(gateway, "good")
    assert (bad.attempts, bad.failures, bad.successes) == (1, {row.label: 1}, 0)
    assert (good.attempts, good.retries, good.successes) == (1, 1, 1)


@pytest.mark.parametrize(("name", "stream"), ROWS, ids=lambda value: str(value).replace(" ", "-"))
async def test_a_fault_that_does_not_pass_is_told_with_its_status(
    upstream: OpenAIServer, serve: Serve, name: str, stream: bool
) -> None:
    row = STREAMED[name]
    gateway = await serve(**routed(in_order("bad", "worse"), timeouts=SILENCE))
    upstream.scripts |= {"bad": row.script, "worse": row.script}
    error = await refused(await gateway.chat(ROUTE, stream=stream), row.status)
    assert error["message"]
    await all_given_back(gateway)


# Not 429, which asks to be left alone for longer than anybody waits: see the tests of Retry-After.
@pytest.mark.parametrize("name", sorted(STREAMED.keys() - {"429"}), ids=lambda value: value.replace(" ", "-"))
async def test_the_only_target_is_asked_again(upstream: OpenAIServer, serve: Serve, name: str) -> None:
    """Its beginning may have been shown already: then the second one's is left out."""
    gateway = await serve(**routed([target("m")], timeouts=SILENCE))
    faults = iter([STREAMED[name].script])
    upstream.scripts["m"] = lambda request: next(faults, GOOD)
    created = await gateway.create(ROUTE)
    events = await (await gateway.subscribe(created["id"])).events().rest()
    assert native_text(events) == GOOD.text
    assert types(events).count("stream.started") == 1
    assert types(events)[-1] == "stream.finished"
    assert "notice" not in types(events)
    await all_given_back(gateway)
    counts = counted(gateway, "m")
    assert (counts.attempts, counts.retries, counts.successes) == (2, 1, 1)


@pytest.mark.parametrize("name", ONLY_STREAMED, ids=lambda value: value.replace(" ", "-"))
async def test_one_role_only_however_often_a_target_is_asked(upstream: OpenAIServer, serve: Serve, name: str) -> None:
    gateway = await serve(**routed([target("m")], timeouts=SILENCE))
    faults = iter([STREAMED[name].script])
    upstream.scripts["m"] = lambda request: next(faults, GOOD)
    events = await (await gateway.chat(ROUTE)).events().rest()
    assert openai_text(events) == GOOD.text
    roles = [event for event in events if '"role"' in event.data]
    assert len(roles) == 1


async def test_nobody_is_there(upstream: OpenAIServer, serve: Serve) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
        gone = {"provider": "gone", "model": "m"}
        sections = routed([gone, target("good", priority=1)])
        gateway = await serve(**sections, **{"providers.gone": {"dialect": "openai_chat", "base_url": url}})
        upstream.scripts["good"] = GOOD
        for stream in (True, False):
            assert await answer_text(await gateway.chat(ROUTE, stream=stream), stream) == GOOD.text
    failures = next(t.failures for t in gateway.now.targets if t.target == "gone/m")
    assert failures == {"upstream_error": 2}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_wrong_with_the_request_is_not_tried_again(
    upstream: OpenAIServer, serve: Serve, status: int, stream: bool
) -> None:
    gateway = await serve(**routed(in_order("bad", "good")))
    upstream.scripts |= {"bad": Script(refusal=Refusal(status=status, code="no", message="No.")), "good": GOOD}
    error = await refused(await gateway.chat(ROUTE, stream=stream), status)
    assert (error["code"], error["message"]) == ("no", "No.")
    assert len(upstream.exchanges) == 1
    assert counted(gateway, "bad").failures == {"http_4xx": 1}


async def test_nor_is_a_wrong_key(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await serve(provider={"api_key_env": "PATH"}, **routed(in_order("one", "two")))
    await refused(await gateway.chat(ROUTE), UNAUTHORIZED.status)
    assert len(upstream.exchanges) == 1


# ---- after the first token

AFTER = {
    "reset": (Ending.RESET, "upstream_error"),
    "closed": (Ending.CLOSE, "upstream_error"),
    "cut inside a chunk": (Ending.CUT, "upstream_error"),
    "silence": (Ending.SILENCE, "upstream_timeout"),
    "an end without an end": (Ending.NO_DONE, "upstream_truncated"),
    "an error in the stream": (Ending.ERROR, "model_gone"),
    "garbage": (Ending.GARBAGE, "upstream_invalid"),
}


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", AFTER, ids=lambda value: value.replace(" ", "-"))
async def test_after_it_the_client_hears_of_it(
    upstream: OpenAIServer, serve: Serve, name: str, compressed: bool
) -> None:
    ending, code = AFTER[name]
    gateway = await serve(**routed(in_order("bad", "good"), timeouts=SILENCE))
    gate = Gate(5)
    upstream.scripts |= {"bad": Script(ending=ending, gzip=compressed, gate=gate), "good": GOOD}
    created = await gateway.create(ROUTE)
    reader = (await gateway.subscribe(created["id"])).events()
    native = await reader.take(6)
    gate.open()
    native += await reader.rest()
    assert types(native)[-1] == "stream.failed"
    assert native[-1].json["code"] == code
    chat = await (await gateway.subscribe(created["id"], dialect="openai_chat")).events().rest()
    assert chat[-1].json["error"]["code"] == code
    assert "[DONE]" not in [event.data for event in chat]
    assert openai_text(chat) == native_text(native) == Script().text
    assert {exchange.request.json["model"] for exchange in upstream.exchanges} == {"bad"}
    assert counted(gateway, "bad").successes == 0
    await all_given_back(gateway)


@pytest.mark.parametrize("split", [1, 7])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
async def test_what_is_no_fault(upstream: OpenAIServer, serve: Serve, split: int, compressed: bool) -> None:
    """An event that comes in pieces, and a reply in a coding that nobody asked for."""
    gateway = await serve(**routed(in_order("m", "good")))
    upstream.scripts["m"] = script = Script(deltas=words(20), split=split, gzip=compressed)
    assert await answer_text(await gateway.chat(ROUTE), stream=True) == script.text
    await all_given_back(gateway)
    counts = counted(gateway, "m")
    assert (counts.attempts, counts.successes) == (1, 1)


# ---- Retry-After, budgets, breakers


async def statuses(gateway: ServedGateway, count: int, **fields: Any) -> list[int]:
    """What so many requests, one after the other, are answered with."""
    return [(await gateway.chat(ROUTE, **fields)).status for _ in range(count)]


async def test_a_long_retry_after_is_handed_on(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await serve(**routed([target("m")]))
    upstream.scripts["m"] = Script(refusal=RATE_LIMITED)
    for stream in (True, False):
        response = await gateway.chat(ROUTE, stream=stream)
        await refused(response, 429)
        assert response.head["retry-after"] == "7"
    assert len(upstream.exchanges) == 2


async def test_a_target_that_asked_for_it_is_left_alone(upstream: OpenAIServer, serve: Serve) -> None:
    gateway = await serve(**routed(in_order("busy", "good")))
    upstream.scripts |= {"busy": Script(refusal=RATE_LIMITED), "good": GOOD}
    assert await statuses(gateway, 5) == [200] * 5
    assert [exchange.request.json["model"] for exchange in upstream.exchanges] == ["busy"] + ["good"] * 5


async def test_a_budget_that_is_used_up(upstream: OpenAIServer, serve: Serve) -> None:
    retries = {"attempts": 2, "budget": 0.1, "backoff": 0.01}
    gateway = await serve(**routed([target("m")], retries=retries))
    upstream.scripts["m"] = Script(refusal=BROKEN)
    assert set(await statuses(gateway, 40, stream=False)) == {500}
    assert len(upstream.exchanges) == 40 + 10 + 3  # the reserve, and a tenth of those who came after it was used


async def test_when_all_targets_fail_they_are_left_alone(upstream: OpenAIServer, serve: Serve) -> None:
    rules = {"retries": {"attempts": 1}, "breaker": {"failures": 2, "open_for": 60.0}}
    gateway = await serve(**routed([target("a"), target("b")], **rules))
    upstream.scripts |= {"a": Script(refusal=BROKEN), "b": Script(refusal=BROKEN)}
    assert await statuses(gateway, 4) == [500] * 4
    for stream in (True, False):
        response = await gateway.chat(ROUTE, stream=stream)
        error = await refused(response, 503)
        assert error["code"] == "overloaded"
        assert 55 <= int(response.head["retry-after"]) <= 60
    assert len(upstream.exchanges) == 4
    assert {t.breaker for t in gateway.now.targets if t.route == ROUTE} == {"open"}
