"""The same storm for the JavaScript client, in a Node process of its own."""

from __future__ import annotations

import collections
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import trio

from stream_protocols.cursor import parse_cursor
from stream_protocols.events import Event, TextDelta
from tests.chaos.storm import Outcome, answer_to, request_of
from tests.doubles.chaos_proxy import ChaosProxy, Fault
from tests.doubles.js import npm
from tests.doubles.waiting import until

TRANSPORTS: Final = ("websocket", "sse", "ndjson", "poll")

SETTINGS: Final = {
    "connectTimeout": 3,
    "firstPatience": 60,
    "patience": 60,
    "backoffBase": 0.05,
    "backoffCap": 1,
    "silence": 1.5,
    "probe": 0.5,
    "pollWait": 1,
}
"""As `tests.chaos.storm.SETTINGS`."""


async def node_storm(
    host: str,
    port: int,
    transport: str,
    *,
    streams: int,
    model: str,
    seed: int = 1,
    faults: Sequence[Fault] = tuple(Fault),
) -> Outcome:
    """Read so many streams at once from the gateway at `host` and `port`, through faults every 50 to 500 ms."""
    proxy = ChaosProxy(host, port, seed=seed)
    requests = [request_of(model, number) for number in range(streams)]
    began = time.monotonic()
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        nursery.start_soon(_rage, proxy, faults)
        plan = {"url": proxy.url, "transports": [transport], "settings": SETTINGS, "streams": requests}
        seen = await npm.read(plan)
        nursery.cancel_scope.cancel()
    outcome = Outcome(streams, seconds=time.monotonic() - began, faults=proxy.faults)
    outcome.repeated = seen["statistics"]["repeated"]
    for request, stream in zip(requests, seen["streams"], strict=True):
        _count(outcome, stream, answer_to(request))
    return outcome


async def _rage(proxy: ChaosProxy, faults: Sequence[Fault]) -> None:
    """Break things as soon as there is something to break: Node takes a while to start."""
    await until(lambda: proxy.accepted > 0, within=30)
    await proxy.rage(faults)


def _count(outcome: Outcome, stream: Mapping[str, Any], expected: Sequence[Event]) -> None:
    numbers = collections.Counter(parse_cursor(cursor).position.seq for cursor in stream["ids"])
    text = "".join(event.text for event in expected if isinstance(event, TextDelta))
    outcome.events += len(stream["ids"])
    outcome.connects += stream["connects"]
    outcome.lost += len(expected) + 1 - len(numbers)  # and `stream.started`
    outcome.twice += sum(numbers.values()) - len(numbers)
    outcome.whole += stream["text"] == text and stream["types"][-1:] == ["stream.finished"]
    if "error" in stream:
        outcome.errors.append(": ".join(map(str, stream["error"])))
