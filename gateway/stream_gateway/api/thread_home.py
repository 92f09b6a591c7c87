"""A gateway in a thread beside an asyncio application."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

import anyio
import outcome
import trio

from stream_gateway.api.home import FAREWELL, Home, safely
from stream_gateway.gateway import Gateway

T = TypeVar("T")


class ThreadHome(Home):
    """Beside an asyncio application, in a thread."""

    def __init__(self, make: Callable[[], Gateway]) -> None:
        super().__init__(make)
        self.key = self._loop = asyncio.get_running_loop()
        self._token: trio.lowlevel.TrioToken | None = None
        self._watch: AsyncGenerator[None, None] | None = None
        self._waiting: set[anyio.Event] = set()  # who has something running there
        # A daemon: an application that forgets a stream can still end.
        self._thread = threading.Thread(target=self._serve, name="stream-gateway", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            trio.run(self._run_here)
        finally:
            self.soon(self._end)

    async def _run_here(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        if self.stopping:  # said before there was a token
            self._scope.cancel()
        await self._run()

    async def running(self) -> Gateway:
        if self._watch is None:
            self._watch = self._until_the_loop_ends()
            await anext(self._watch)
        return await super().running()

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        """Whoever shuts an asyncio loop down closes the generators that have begun in it: this is how we hear of it."""
        try:
            yield
        finally:
            if not self._ended.is_set():
                self.stop()
                await self.stopped()

    def _end(self) -> None:
        self._thread.join()  # it is on its last line
        super()._end()
        for done in self._waiting:
            done.set()
        if self._watch is not None:
            with contextlib.suppress(StopIteration, RuntimeError):  # RuntimeError: it is what waits for this
                self._watch.aclose().send(None)

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(safely, function, *args)

    def reply(self, function: Callable[..., Any], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: nobody is there who could read
            self._scope.cancel()

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)

    def _cancel(self) -> None:
        self.call(self._scope.cancel)

    async def inside(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        scope, done = trio.CancelScope(), anyio.Event()
        results: list[outcome.Value[T] | outcome.Error] = []

        async def run() -> None:
            try:
                with scope:
                    results.append(outcome.Value(await function(*args)))
            except Exception as error:
                results.append(outcome.Error(error))
            finally:
                self.reply(done.set)

        self._waiting.add(done)
        self.call(self._start_soon, run)
        try:
            await done.wait()
        finally:
            if not done.is_set():
                self.call(scope.cancel)
                with anyio.move_on_after(FAREWELL, shield=True):
                    await done.wait()
            self._waiting.discard(done)
        if not results:
            raise RuntimeError("the gateway has stopped")
        return results[0].unwrap()

    def _start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        if self._nursery is not None and not self.stopping:
            self._nursery.start_soon(function)

    async def outside(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        done = trio.Event()
        future = asyncio.run_coroutine_threadsafe(_awaited(function, *args), self._loop)
        future.add_done_callback(lambda _: self.call(done.set))
        try:
            await done.wait()
        finally:
            future.cancel()  # nothing happens if it is done
        return future.result()


async def _awaited(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    return await function(*args)
