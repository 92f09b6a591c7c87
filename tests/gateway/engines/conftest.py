"""Every engine, behind one handle: nodes that share it, and time that passes."""

from __future__ import annotations

import abc
import gc
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from stream_gateway.engines.engine import Engine
from stream_gateway.engines.memory import MemoryEngine, Shelf
from stream_gateway.engines.redis.engine import RedisEngine
from stream_gateway.engines.sqlite.engine import SqliteEngine
from stream_gateway.engines.sqlite.file import Clock
from tests.doubles.redis_server import redis_server

UNCLOSED = pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")
"""coredis leaves the channels inside of a connection that broke to the garbage collector."""

LEASE = 10.0
RETAIN_FOR = 100.0


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a test leaves to the garbage collector is collected before the next one."""
    yield
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unclosed <MemoryObject", ResourceWarning)
        gc.collect()


class Node:
    """An engine that runs, and the messages that it has heard."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.heard: list[bytes] = []


class Rack(abc.ABC):
    """Nodes of one kind of engine.

    Attributes:
        lease, retain_for: seconds.
    """

    lease = LEASE
    retain_for = RETAIN_FOR

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    @abc.abstractmethod
    def make(self) -> Engine:
        """An engine that shares everything with those made before."""

    @abc.abstractmethod
    async def wait(self, seconds: float) -> None:
        """Let time pass, as leases and retention count it."""

    async def node(self) -> Node:
        """A node that has renewed its lease once."""
        node = Node(self.make())
        await self._nursery.start(node.engine.run, node.heard.append)
        await node.engine.beat()
        return node


class MemoryRack(Rack):
    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self._shelf = Shelf()
        self._passed = 0.0
        self._shelf.now = lambda: trio.current_time() + self._passed

    def make(self) -> Engine:
        return MemoryEngine(self._shelf, lease=self.lease, retain_for=self.retain_for)

    async def wait(self, seconds: float) -> None:
        self._passed += seconds


class SqliteRack(Rack):
    def __init__(self, nursery: trio.Nursery, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(nursery)
        self._path = str(folder / "streams.db")
        self._clock = Clock()
        self._passed = 0.0
        now, wall = self._clock.now, time.time
        self._clock.now = lambda: now() + self._passed
        monkeypatch.setattr("stream_gateway.engines.sqlite.tables.time.time", lambda: wall() + self._passed)

    def make(self) -> Engine:
        return SqliteEngine(
            self._path, lease=self.lease, retain_for=self.retain_for, shared=True, clock=self._clock, fsync="off"
        )

    async def wait(self, seconds: float) -> None:
        self._passed += seconds


class RedisRack(Rack):
    """Redis has a clock of its own, which nobody can turn: everything is short, and time has to pass."""

    lease = 0.6
    retain_for = 1.2

    def __init__(self, nursery: trio.Nursery, url: str) -> None:
        super().__init__(nursery)
        self._url = url

    def make(self) -> Engine:
        return RedisEngine(self._url, lease=self.lease, retain_for=self.retain_for)

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def rack(
    request: pytest.FixtureRequest, nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rack]:
    if request.param == "memory":
        yield MemoryRack(nursery)
    elif request.param == "sqlite":
        yield SqliteRack(nursery, tmp_path, monkeypatch)
    else:
        async with redis_server(tmp_path) as server:
            yield RedisRack(nursery, server.url)
            nursery.cancel_scope.cancel()
