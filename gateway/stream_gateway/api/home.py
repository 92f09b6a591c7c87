"""Where a gateway runs when it is part of an application: beside the application's own event loop.

The gateway knows Trio only. Within a Trio application it is a system task of the same run, and calls go straight
through. Within an asyncio application it is a Trio run in a thread of its own, and calls cross over as callbacks
(docs/decisions/0013-embedded.md says why). Either way an application meets it through `call` and `reply` alone.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, Protocol

import anyio
import structlog
import trio

from stream_gateway.gateway import Gateway

_log = structlog.get_logger()

FAREWELL: Final = 5.0
"""Seconds for which leaving waits for connections to be closed; they are closed all the same."""


class Guest(Protocol):
    """Who waits for something of a gateway."""

    def stopped(self) -> None:
        """The gateway has stopped: nothing more will come."""


class Home(abc.ABC):
    """A running gateway, and the event loop that it serves. Its methods are for that loop's thread, except `soon`.

    It stops when its last user has gone, or when the loop ends.

    Args:
        make: makes the gateway, in the thread in which it will run.

    Attributes:
        key: the loop.
        guests: who is told when it stops.
        stopping: whether nobody should come any more.
    """

    key: object

    def __init__(self, make: Callable[[], Gateway]) -> None:
        self.guests: weakref.WeakSet[Guest] = weakref.WeakSet()
        self.stopping = False
        self._make = make
        self._users = 0
        self._scope = trio.CancelScope()
        self._ready = anyio.Event()
        self._ended = anyio.Event()
        self._error: BaseException | None = None
        self._core: Gateway | None = None

    # ---- its users

    def enter(self) -> None:
        """One user more; to be followed by `release`."""
        self._users += 1

    def release(self) -> None:
        """One user less."""
        self._users -= 1
        if not self._users:
            self.stop()

    async def running(self) -> Gateway:
        """Wait until it runs. What is returned must be used within `call` alone.

        Raises:
            Exception: whatever kept it from starting.
        """
        await self._ready.wait()
        if self._core is None:
            raise self._error or RuntimeError("the gateway has stopped")
        return self._core

    def stop(self) -> None:
        """End it: generations are cancelled at their providers, connections closed."""
        self.stopping = True
        self._cancel()

    async def stopped(self) -> None:
        """Wait until nothing of it is left, if it is stopping."""
        if self.stopping:
            with anyio.move_on_after(FAREWELL, shield=True):
                await self._ended.wait()

    # ---- between the two

    @abc.abstractmethod
    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function where the gateway runs, now or soon, in order; not at all when it has ended."""

    @abc.abstractmethod
    def reply(self, function: Callable[..., Any], *args: Any) -> None:
        """The other way round."""

    @abc.abstractmethod
    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the loop's thread, from whatever thread, and from a finalizer."""

    @abc.abstractmethod
    def _cancel(self) -> None:
        """Cancel the run."""

    async def _run(self) -> None:
        """The gateway's life. Nothing but cancellation from outside leaves it."""
        try:
            with self._scope:
                core = self._make()
                async with trio.open_nursery() as nursery:
                    await nursery.start(core.run)
                    self._core = core
                    self.reply(self._ready.set)
        except Exception as error:
            if self._core is not None:
                _log.exception("embedded_gateway_failed")
            self._error = error
        finally:
            self._core = None

    def _end(self) -> None:
        """It has ended: tell everybody."""
        self.stopping = True
        self._ready.set()
        self._ended.set()
        for guest in list(self.guests):
            guest.stopped()


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
            self._token.run_sync_soon(_safely, function, *args)

    def _cancel(self) -> None:
        self._scope.cancel()


class ThreadHome(Home):
    """Beside an asyncio application, in a thread."""

    def __init__(self, make: Callable[[], Gateway]) -> None:
        super().__init__(make)
        self.key = self._loop = asyncio.get_running_loop()
        self._token: trio.lowlevel.TrioToken | None = None
        self._watch: AsyncGenerator[None, None] | None = None
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
        if self._watch is not None:
            with contextlib.suppress(StopIteration, RuntimeError):  # RuntimeError: it is what waits for this
                self._watch.aclose().send(None)

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(_safely, function, *args)

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


def _safely(function: Callable[..., Any], *args: Any) -> None:
    """Trio takes what a callback raises for a defect of its own, and ends the run."""
    try:
        function(*args)
    except Exception:
        _log.exception("embedded_gateway_failed")


def loop_key() -> object:
    """What tells the event loop that we are called in from every other.

    Raises:
        RuntimeError: it is neither Trio's nor asyncio's, or there is none.
    """
    if trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_trio_token()
    return asyncio.get_running_loop()


class Homes:
    """The homes of one gateway, by loop: module-level gateways are met in several.

    Args:
        make: see `Home`.
    """

    def __init__(self, make: Callable[[], Gateway]) -> None:
        self._make = make
        self._homes: weakref.WeakValueDictionary[object, Home] = weakref.WeakValueDictionary()

    def here(self) -> Home:
        """The one of the loop that we are called in; made if there is none. The caller has to `enter` it.

        Raises:
            RuntimeError: see `loop_key`.
        """
        key = loop_key()
        home = self._homes.get(key)
        if home is None or home.stopping:
            home = self._homes[key] = (TrioHome if trio.lowlevel.in_trio_run() else ThreadHome)(self._make)
        return home
