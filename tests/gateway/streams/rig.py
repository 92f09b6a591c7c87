"""Streams without a provider and subscriptions without a network, for tests that play both."""

import json
from collections.abc import Sequence
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from stream_gateway.config import StreamSettings
from stream_gateway.guard.principal import ANONYMOUS
from stream_gateway.streams.budget import Budget
from stream_gateway.streams.log import cost
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.stream import Stream
from stream_gateway.streams.subscription import Subscription
from stream_protocols.chunking import Chunker, Conditions
from stream_protocols.cursor import Gap
from stream_protocols.dialects.native import NativeEncoder
from stream_protocols.events import Event, Record, StreamStarted, TextDelta
from stream_protocols.render import Renderer, SseRenderer
from stream_protocols.request import Lease
from tests.gateway.streams.outlet import SlowOutlet

BUDGET = 1_000_000


class Valve:
    """Counts what a stream asks of its producer."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")


class Reader:
    """A client: one subscription, run by a task of its own, and what became of it."""

    def __init__(
        self,
        stream: Stream,
        outlet: SlowOutlet,
        renderer: Renderer,
        after: int,
        offset: int,
        chunker: Chunker | None = None,
    ) -> None:
        self.outlet = outlet
        self.gap: Gap | None = None
        self.subscription = Subscription(stream, renderer, outlet, after=after, offset=offset, chunker=chunker)
        self.scope = trio.CancelScope()
        self.left = trio.Event()
        self.outcome: Any = "running"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the stream; the outcome is what `Subscription.run` returned or raised, or "cancelled"."""
        try:
            with self.scope, self.subscription:
                task_status.started()
                try:
                    self.outcome = await self.subscription.run()
                except trio.Cancelled:
                    self.outcome = "cancelled"
                    raise
                except Exception as error:
                    self.outcome = error
        finally:
            self.left.set()

    def texts(self) -> list[str]:
        """The texts of the events that arrived."""
        payloads = [json.loads(event.data) for event in self.outlet.events()]
        return [payload["text"] for payload in payloads if payload["type"] == "text.delta"]

    def ids(self) -> list[str | None]:
        """Their ids."""
        return [event.id for event in self.outlet.events()]


class Rig:
    """A running registry, and short ways to make streams and readers."""

    def __init__(self, nursery: trio.Nursery, settings: StreamSettings, budget: int) -> None:
        self.nursery = nursery
        self.settings = settings
        self.budget = Budget(budget)
        self.registry = Registry(settings, self.budget)

    def stream(self, *, lease: Lease | None = "finish", dialect: str | None = None, started: bool = True) -> Stream:
        """A stream whose producer is the test."""
        stream = self.registry.create("demo", owner=ANONYMOUS.id, dialect=dialect, lease=lease)
        if started:
            stream.extend([(StreamStarted("demo"), None)])
        return stream

    async def reader(
        self,
        stream: Stream,
        *,
        room: float = float("inf"),
        renderer: Renderer | None = None,
        after: int = 0,
        offset: int = 0,
        chunker: Chunker | None = None,
        network: Conditions | None = None,
    ) -> Reader:
        """A client of a stream, running, and as far as it gets without more room."""
        if renderer is None:
            renderer = native(stream)
        reader = Reader(stream, SlowOutlet(room), renderer, after, offset, chunker)
        reader.outlet.network = network or reader.outlet.network
        await self.nursery.start(reader.run)
        await wait_all_tasks_blocked()
        return reader


def native(stream: Stream) -> Renderer:
    """The stream's renderer for native clients over SSE; one for all, as in the gateway."""
    renderer = stream.renderers.get("native")
    if renderer is None:
        renderer = SseRenderer(stream.id, stream.log.epoch, NativeEncoder(), stream.dialect)
        stream.renderers["native"] = renderer
    return renderer


def texts(*words: str) -> list[Record]:
    """Text deltas that no vendor said."""
    return [(TextDelta(word), None) for word in words]


def sized(size: int, count: int = 1) -> list[Record]:
    """Records that count for `size` bytes each."""
    empty: Event = TextDelta("")
    return [(TextDelta("x" * (size - cost((empty, None)))), None)] * count


def total(records: Sequence[Record]) -> int:
    """What records count for."""
    return sum(map(cost, records))


async def settle() -> None:
    """Let everybody do all they can."""
    await wait_all_tasks_blocked()
