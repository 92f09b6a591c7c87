"""Reminders: one task that calls many things back when they are due, without a task or a timer for each."""

import heapq
import itertools
from collections.abc import Callable

import structlog
import trio

_log = structlog.get_logger()


class Reminder:
    """One callback of `Reminders`, until its context is left."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], float]) -> None:
        self.callback: Callable[[], float] | None = callback

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc_info: object) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Call back no more."""
        self.callback = None  # the heap keeps the husk until it is due, and nothing that it held


class Reminders:
    """Calls functions when they are due. A function returns when it wants to be called next, in Trio's time;
    infinity: never."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Reminder]] = []
        self._numbers = itertools.count()
        self._news = trio.Event()

    def remind(self, due: float, callback: Callable[[], float]) -> Reminder:
        """Call back at `due`, and then whenever the callback says, until the context that this returns is left."""
        reminder = Reminder(callback)
        self._push(due, reminder)
        return reminder

    def _push(self, due: float, reminder: Reminder) -> None:
        heapq.heappush(self._heap, (due, next(self._numbers), reminder))
        if self._heap[0][2] is reminder:
            self._news.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            self._news = trio.Event()
            due = self._heap[0][0] if self._heap else float("inf")
            with trio.move_on_at(due):
                await self._news.wait()
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                reminder = heapq.heappop(self._heap)[2]
                if reminder.callback is not None:
                    try:
                        due = reminder.callback()
                    except Exception:  # it ends this reminder only
                        _log.exception("reminder_failed")
                    else:
                        if due < float("inf"):
                            self._push(due, reminder)
