"""A Trio run that a synchronous test drives step by step; a state machine of hypothesis is such a test."""

import contextlib
import threading
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeVar

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

T = TypeVar("T")


class TrioThread:
    """Runs Trio in a thread of its own. Between two steps everything in it is blocked, and time stands still.

    Attributes:
        clock: its time; see `jump`.
        nursery: for what the steps start.
    """

    def __init__(self) -> None:
        self.clock = MockClock()
        self.nursery: trio.Nursery
        self._token: trio.lowlevel.TrioToken
        self._ready = threading.Event()
        self._stop = trio.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        try:
            trio.run(self._main, clock=self.clock)
        except BaseException as error:  # given to the test by its next step
            self._error = error

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self.nursery:
            self._ready.set()
            await self._stop.wait()
            self.nursery.cancel_scope.cancel()

    def do(self, function: Callable[..., T | Awaitable[T]], *args: Any) -> T:
        """Call a function, plain or asynchronous, and let everybody do all they can."""
        try:
            return trio.from_thread.run(self._step, function, args, trio_token=self._token)
        except (trio.RunFinishedError, trio.Cancelled):
            self._thread.join()
            raise self._error or RuntimeError("Trio has stopped") from None

    async def _step(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        result = function(*args)
        if isawaitable(result):
            result = await result
        await wait_all_tasks_blocked()
        return result

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self.do(self.clock.jump, seconds)

    def stop(self) -> None:
        """End the run; raises what ended it before."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._stop.set)
        self._thread.join()
        if self._error is not None:
            raise self._error
