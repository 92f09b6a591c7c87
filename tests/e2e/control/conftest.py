"""A gateway's control plane, asked without a socket between."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from stream_gateway.config import Changes, Config
from stream_gateway.control.access import Access
from stream_gateway.control.app import make_app
from stream_gateway.guard.guard import Guard
from stream_gateway.observe.catalogue import Scene
from stream_gateway.observe.statistics import ConnectionStatistics
from stream_gateway.streams.registry import Registry
from tests.doubles.served_gateway import ServedGateway


class Subject:
    """A gateway in this process, which nobody's signals reach.

    Attributes:
        reloads: what becomes of a reload; an exception is raised.
        data_plane: where browsers find it.
    """

    def __init__(self, served: ServedGateway) -> None:
        self.served = served
        self.stopped = trio.Event()
        self.data_plane: str | None = served.base_url
        self.reloads: Changes | Exception = Changes(Config(), ("log.level",), ("server.port",))

    @property
    def registry(self) -> Registry:
        return self.served.gateway.registry

    @property
    def guard(self) -> Guard:
        return self.served.gateway.guard

    def scene(self) -> Scene:
        return self.served.gateway.scene()

    def connected(self) -> list[ConnectionStatistics]:
        return self.served.gateway.connected()

    def unready(self) -> str | None:
        return self.served.gateway.unready()

    def stop(self) -> None:
        self.stopped.set()

    def reload(self) -> Changes:
        if isinstance(self.reloads, Exception):
            raise self.reloads
        return self.reloads


@pytest.fixture
def subject(gateway: ServedGateway) -> Subject:
    return Subject(gateway)


@pytest.fixture
async def admin(subject: Subject) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(make_app(subject, Access((), None)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090") as client:
        yield client
