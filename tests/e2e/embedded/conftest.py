"""A gateway inside an application, on Trio and on asyncio, in front of the upstream double."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import anyio
import pytest
import trio

from tests.conftest import UPSTREAM_KEY
from tests.doubles.openai_server import OpenAIServer

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds after which an application has hung."""


class World:
    """Runs applications on one event loop, while the upstream double runs on pytest's Trio."""

    def __init__(self, library: str) -> None:
        self.library = library

    async def run(self, application: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run an application to its end."""

        async def limited() -> T:
            with anyio.fail_after(PATIENCE):
                return await application(*args)

        if self.library == "trio":
            return await limited()
        return await trio.to_thread.run_sync(asyncio.run, limited())

    def do(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function where the double runs: its state is no other thread's business."""
        return function(*args) if self.library == "trio" else trio.from_thread.run_sync(function, *args)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait, without holding up the application's loop, until something is so where the double runs."""
        while not self.do(holds):  # noqa: ASYNC110 - nothing announces it
            await anyio.sleep(0.005)

    def tasks(self) -> list[str]:
        """A gateway's tasks in the application's loop; of asyncio all but this one."""
        if self.library == "trio":
            return [name for name in _names_below(trio.lowlevel.current_root_task()) if "stream_gateway." in name]
        return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    def threads(self) -> list[str]:
        """Threads in which gateways run."""
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("stream-gateway")]


@pytest.fixture(params=["trio", "asyncio"])
async def world(
    request: pytest.FixtureRequest, upstream: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """Either loop; provider `openai` is the double, as its SDK's variables say. Nothing may be left of a gateway."""
    monkeypatch.setenv("OPENAI_API_KEY", UPSTREAM_KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", upstream.base_url)
    world = World(request.param)
    yield world
    with trio.fail_after(PATIENCE):
        while upstream.open_connections or world.threads():  # noqa: ASYNC110
            await trio.sleep(0.005)


def _names_below(task: trio.lowlevel.Task | None) -> list[str]:
    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks] if task else []
    return [name for child in children for name in (child.name, *_names_below(child))]
