"""Many streams through a proxy that breaks their connections all the time: what arrives, and what it takes."""

from __future__ import annotations

import collections
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import trio

from stream_gateway.client import Client, ClientError, Settings
from stream_gateway.upstream.demo import events, steering
from stream_protocols.cursor import parse_cursor
from stream_protocols.dialects.openai_chat import parse_request
from stream_protocols.dialects.registry import conversation
from stream_protocols.events import Event, TextDelta
from tests.doubles.chaos_proxy import ChaosProxy, Fault

GATEWAY = {"server": {"keepalive": 0.25}, "limits": {"connections": 20_000}}
"""Sections of a gateway's configuration that suit a storm: a link is known to be dead before the next fault."""

SETTINGS = Settings(
    connect_timeout=3.0,
    first_patience=60.0,
    patience=60.0,
    backoff_base=0.05,
    backoff_cap=1.0,
    silence=1.5,
    probe=0.5,
    poll_wait=1.0,
)


class Carriage(NamedTuple):
    """A transport as it is to be tried."""

    name: str
    transport: str
    http2: bool = False


CARRIAGES = (
    Carriage("WebSocket", "websocket"),
    Carriage("SSE, HTTP/1.1", "sse"),
    Carriage("SSE, HTTP/2", "sse", http2=True),
    Carriage("long poll", "poll"),
)


@dataclasses.dataclass
class Outcome:
    """What became of all streams of one storm.

    Attributes:
        whole: streams that gave exactly their text, and their proper end.
        lost, twice: events that never came, or came again.
        connects: connections that brought a stream.
        errors: what streams raised.
    """

    streams: int
    whole: int = 0
    events: int = 0
    lost: int = 0
    twice: int = 0
    connects: int = 0
    repeated: int = 0
    seconds: float = 0.0
    errors: list[str] = dataclasses.field(default_factory=list)
    faults: Mapping[Fault, int] = dataclasses.field(default_factory=dict)

    @property
    def uptime(self) -> float:
        """The fraction of streams that were whole."""
        return self.whole / self.streams

    @property
    def reconnects(self) -> int:
        """Connections beyond the first one of each stream."""
        return self.connects - self.streams

    def line(self, name: str) -> str:
        """For people."""
        return (
            f"{name:<14} {self.streams} streams, {self.events} events, {self.lost} lost, {self.twice} twice, "
            f"uptime {self.uptime:.2%}, {self.reconnects} reconnects, {self.repeated} repeats dropped, "
            f"{sum(self.faults.values())} faults, {self.seconds:.1f} s"
        )


async def storm(
    host: str,
    port: int,
    carriage: Carriage,
    *,
    streams: int,
    model: str,
    seed: int = 1,
    faults: Sequence[Fault] = tuple(Fault),
) -> Outcome:
    """Read so many streams at once from the gateway at `host` and `port`, through faults every 50 to 500 ms."""
    proxy = ChaosProxy(host, port, seed=seed)
    outcome = Outcome(streams)
    began = time.monotonic()
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        nursery.start_soon(proxy.rage, faults)
        transports = [carriage.transport]
        async with (
            Client(proxy.url, transports=transports, http2=carriage.http2, settings=SETTINGS) as client,
            trio.open_nursery() as readers,
        ):
            for number in range(streams):
                readers.start_soon(_read, client, model, number, outcome)
        nursery.cancel_scope.cancel()
    outcome.repeated = client.statistics().repeated
    outcome.seconds = time.monotonic() - began
    outcome.faults = proxy.faults
    return outcome


def request_of(model: str, number: int) -> dict[str, Any]:
    """What one of the streams asks."""
    return {"model": model, "messages": [{"role": "user", "content": f"stream {number}"}]}


def answer_to(request: Mapping[str, Any]) -> list[Event]:
    """The events that the demo provider answers with, after the first one, `stream.started`."""
    asked = parse_request(json.dumps(request).encode())
    return list(events(conversation(asked), steering(request["model"])))


async def _read(client: Client, model: str, number: int, outcome: Outcome) -> None:
    request = request_of(model, number)
    expected = answer_to(request)
    stream = client.stream(**request)
    came, seen = [], collections.Counter[int]()
    try:
        async for event in stream:
            came.append(event)
            assert stream.cursor is not None
            seen[parse_cursor(stream.cursor).position.seq] += 1
    except ClientError as error:
        outcome.errors.append(f"{type(error).__name__}: {error}")
    text = [event.text for event in expected if isinstance(event, TextDelta)]
    said = [event.text for event in came if isinstance(event, TextDelta)]
    outcome.events += len(came)
    outcome.connects += stream.connects
    outcome.lost += len(expected) + 1 - len(seen)  # and `stream.started`
    outcome.twice += sum(seen.values()) - len(seen)
    outcome.whole += said == text and came[-1:] == expected[-1:]
