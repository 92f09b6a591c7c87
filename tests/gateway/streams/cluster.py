"""Several gateways' registries on one shelf, in one process: nodes that die, sleep, and wake too late."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from stream_gateway.config import StreamSettings
from stream_gateway.engines.engine import Entry
from stream_gateway.engines.memory import MemoryEngine, Shelf
from stream_gateway.guard.principal import ANONYMOUS
from stream_gateway.server.delivery import resume
from stream_gateway.streams.budget import Budget
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.storage import Storage
from stream_gateway.streams.stream import Stream
from stream_protocols.events import Record, StreamFinished, StreamStarted
from stream_protocols.request import Lease, Request
from tests.gateway.streams.outlet import SlowOutlet
from tests.gateway.streams.rig import BUDGET, Reader, native, texts

LEASE = 10.0
REQUEST = Request("openai_chat", "demo", True, b"{}")
FINISHED: list[Record] = [(StreamFinished("stop"), None)]


class SleepyEngine(MemoryEngine):
    """Whose node can fall asleep: nothing that it asks is answered before it wakes up."""

    def __init__(self, shelf: Shelf, **settings: float) -> None:
        super().__init__(shelf, **settings)
        self.awake = trio.Event()
        self.awake.set()

    async def commit(self, writes):  # type: ignore[no-untyped-def]
        await self.awake.wait()
        return await super().commit(writes)

    async def beat(self) -> None:
        await self.awake.wait()
        await super().beat()


class Node:
    """One gateway's streams."""

    def __init__(self, nursery: trio.Nursery, shelf: Shelf, *, strict: bool, **settings: float) -> None:
        self.settings = StreamSettings(**settings)  # type: ignore[arg-type]
        self.engine = SleepyEngine(shelf, lease=LEASE, retain_for=self.settings.retain_for)
        self.storage = Storage(self.engine, strict=strict, lease=LEASE)
        self.budget = Budget(BUDGET)
        self.registry = Registry(self.settings, self.budget, storage=self.storage)
        self.scope = trio.CancelScope()
        self.gone = trio.Event()
        self._nursery = nursery
        self._shelf = shelf

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            await self.registry.run(task_status=task_status)
        self.gone.set()

    def create(self, *, lease: Lease = "finish", request: Request | None = None, key: str | None = None) -> Stream:
        """A stream whose producer is the test."""
        stream = self.registry.create(
            "demo", owner=ANONYMOUS.id, dialect=None, lease=lease, request=request, key=key, asked=b"digest"
        )
        stream.extend([(StreamStarted("demo"), None)])
        return stream

    def say(self, stream: Stream, *words: str) -> None:
        """Append words."""
        stream.extend(texts(*words))

    async def reader(self, name: str, after: str | None = None, room: float = float("inf")) -> Reader:
        """A client that comes to this node, with a cursor if it has one."""
        await trio.sleep(0.02)  # by the tests' clock: what was just said is stored, if it can be
        stream = await self.registry.open(name, ANONYMOUS, after)
        start = resume(stream, after, "native")
        reader = Reader(stream, SlowOutlet(room), native(stream), start.after, start.offset)
        reader.gap = start.gap
        await self._nursery.start(reader.run)
        return reader

    def die(self) -> None:
        """Vanish without a word: nothing more is stored or renewed, and nobody is told."""
        self.engine.awake = trio.Event()
        self._shelf.inboxes.pop(self.engine.node, None)

    def continuing(self, say: Sequence[Record]) -> None:
        """From now on answers that others left are continued with these records."""

        def revive(entry: Entry, records: Sequence[Record]) -> Callable[[Stream], Awaitable[None]]:
            async def generate(stream: Stream) -> None:
                stream.extend(say)

            return generate

        self.storage.revive = revive


class Cluster:
    """All nodes."""

    def __init__(self, nursery: trio.Nursery, *, strict: bool = False) -> None:
        self.shelf = Shelf()
        self._nursery = nursery
        self._strict = strict

    async def node(self, **settings: float) -> Node:
        """One more."""
        node = Node(self._nursery, self.shelf, strict=self._strict, **settings)
        await self._nursery.start(node.run)
        return node
