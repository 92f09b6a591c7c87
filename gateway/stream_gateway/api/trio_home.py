"""A gateway in the Trio run of its application."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from stream_gateway.api.home import Home, safely
from stream_gateway.gateway import Gateway

T = TypeVar("T")


class TrioHome(Home):
    """Beside a Trio application, in its own run."""

    def __init__(self, make: Callable[[], Gateway]) -> None:
        super().__init__(make)
        self.key = self._token = trio.lowlevel.current_trio_token()
        trio.lowlevel.spawn_system_task(self._serve)

    async def _serve(self) -> None:
        try:
            await self._run()
        finally:
            self._end()

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        if not self._ended.is_set():
            function(*args)

    def reply(self, function: Callable[..., Any], *args: Any) -> None:
        function(*args)

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(safely, function, *args)

    def _cancel(self) -> None:
        self._scope.cancel()

    async def inside(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        return await function(*args)

    async def outside(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        return await function(*args)
