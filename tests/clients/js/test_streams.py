"""The JavaScript client against the real gateway: every transport, from one to another, resuming, leaving."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from stream_protocols.events import TextDelta
from tests.chaos.node import TRANSPORTS, node_storm
from tests.chaos.storm import GATEWAY, answer_to
from tests.clients.js.conftest import QUICK
from tests.doubles.chaos_proxy import FATAL, ChaosProxy, Fault
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import MESSAGES
from tests.doubles.js import npm
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until

pytestmark = pytest.mark.deadline(60)  # a Node process has to start, on a machine that may be busy


def request(model: str, **fields: Any) -> dict[str, Any]:
    """What a stream asks."""
    return {"model": model, "messages": MESSAGES, **fields}


def text_of(model: str) -> str:
    """What a demo model answers."""
    return "".join(event.text for event in answer_to(request(model)) if isinstance(event, TextDelta))


@pytest.mark.parametrize("bundle", [False, True], ids=["modules", "bundle"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_whole(gateway: ServedGateway, transport: str, bundle: bool) -> None:
    plan = {"url": gateway.base_url, "transports": [transport], "bundle": bundle, "streams": [request("demo-n40-gap5")]}
    (stream,) = (await npm.read(plan))["streams"]
    assert stream["text"] == text_of("demo-n40-gap5")
    assert (stream["types"][0], stream["types"][-1]) == ("stream.started", "stream.finished")
    assert (stream["connects"], stream["transport"]) == (1, transport)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_from_after_a_cursor(gateway: ServedGateway, transport: str) -> None:
    (first,) = (await npm.read({"url": gateway.base_url, "streams": [request("demo-n40", lease="finish")]}))["streams"]
    cursor = first["ids"][20]
    asked = [{"id": first["id"], "after": cursor}, {"id": first["id"], "after": first["ids"][-1]}]
    rest, nothing = (await npm.read({"url": gateway.base_url, "transports": [transport], "streams": asked}))["streams"]
    assert rest["ids"][-1] == first["ids"][-1]
    assert first["text"].endswith(rest["text"])
    assert nothing["types"] == []
    assert "error" not in nothing


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_leaving_ends_the_generation_unless_it_has_a_lease(gateway: ServedGateway, transport: str) -> None:
    model = "demo-n1000-gap20"
    plan = {"url": gateway.base_url, "transports": [transport], "leave": 3, "settings": QUICK}
    seen = await npm.read({**plan, "streams": [request(model)] * 2 + [request(model, lease=60)]})
    assert [len(stream["ids"]) for stream in seen["streams"]] == [3, 3, 3]
    await until(lambda: gateway.now.running == 1)
    assert gateway.now.subscriptions == 0


async def test_one_socket_for_all_and_another_when_it_is_full(serve: Serve) -> None:
    gateway = await serve(sockets={"streams": 8})
    plan = {"url": gateway.base_url, "transports": ["websocket"], "settings": QUICK}
    reading = npm.Reading({**plan, "streams": [request("demo-n9-gap0-first60000")] * 20})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reading.run)
        await until(lambda: gateway.now.subscriptions == 20, within=20)
        assert gateway.now.sockets == 3
        nursery.cancel_scope.cancel()


async def test_a_stream_moves_from_a_blocked_websocket_to_sse_and_new_ones_back(
    upstream: OpenAIServer, proxy: ChaosProxy
) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(12), gate=(gate := Gate(5)))
    settings = {**QUICK, "retryBetter": 0.3}
    plan = {"url": proxy.url, "settings": settings, "tell": 4, "streams": [request("m")]}
    reading = npm.Reading({**plan, "then": [request("demo-n3-first400"), request("demo-n3")]})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reading.run)
        await reading.reached.wait()
        proxy.no_upgrades = True
        proxy.strike(Fault.CUT)
        await until(lambda: proxy.open > 0 and proxy.accepted > 2)
        gate.open()
        proxy.no_upgrades = False
    seen = await reading.seen()
    stream = seen["streams"][0]
    assert stream["text"] == script.text
    assert len(upstream.exchanges) == 1
    assert seen["transports"][0] == "websocket"
    assert "sse" in seen["transports"]
    assert seen["streams"][-1]["transport"] == "websocket", "the better one is taken again when it works again"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_streams_survive_anything(serve: Serve, transport: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m tests.chaos --client js` is the same with 500 streams."""
    gateway = await serve(**GATEWAY)
    faults = [*FATAL * 3, *Fault]  # in two seconds there are few, and at least one has to be fatal
    outcome = await node_storm(gateway.host, gateway.port, transport, streams=25, model="demo-n30-gap60", faults=faults)
    with capsys.disabled():
        print("\n" + outcome.line(f"js {transport}"))
    assert outcome.errors == []
    assert (outcome.lost, outcome.twice, outcome.uptime) == (0, 0, 1.0)
    assert outcome.reconnects > 0
    assert sum(outcome.faults.get(fault, 0) for fault in FATAL) > 0
