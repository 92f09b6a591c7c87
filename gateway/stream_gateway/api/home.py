"""Where a gateway runs when it is part of an application: beside the application's own event loop.

The gateway knows Trio only. Within a Trio application it is a system task of the same run, and calls go straight
through. Within an asyncio application it is a Trio run in a thread of its own, and calls cross over as callbacks
(docs/decisions/0013-embedded.md says why). Either way an application meets it through `call` and `reply` alone.
"""

from __future__ import annotations

import abc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import anyio
import structlog
import trio

from stream_gateway.gateway import Gateway

_log = structlog.get_logger()

T = TypeVar("T")

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
        self._nursery: trio.Nursery | None = None

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
    async def inside(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await something where the gateway runs. Cancelling this cancels that, and waits for it."""

    @abc.abstractmethod
    async def outside(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """The other way round: await something of the application's, from where the gateway runs."""

    @abc.abstractmethod
    def _cancel(self) -> None:
        """Cancel the run."""

    async def _run(self) -> None:
        """The gateway's life. Nothing but cancellation from outside leaves it."""
        try:
            with self._scope:
                core = self._make()
                async with trio.open_nursery() as self._nursery:
                    await self._nursery.start(core.run)
                    self._core = core
                    self.reply(self._ready.set)
        except Exception as error:
            if self._core is not None:
                _log.exception("embedded_gateway_failed")
            self._error = error
        finally:
            self._core = self._nursery = None

    def _end(self) -> None:
        """It has ended: tell everybody."""
        self.stopping = True
        self._ready.set()
        self._ended.set()
        for guest in list(self.guests):
            guest.stopped()


def safely(function: Callable[..., Any], *args: Any) -> None:
    """Call a function from Trio's loop, which ends the run when a callback raises: it takes that for its own defect."""
    try:
        function(*args)
    except Exception:
        _log.exception("embedded_gateway_failed")
