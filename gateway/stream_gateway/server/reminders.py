"""Reminders: one task that calls many things back when they are due, without a task or a timer for each."""

import contextlib
import heapq
import itertools
from collections.abc import Callable, Iterator

import trio


class Reminders:
    """Calls functions when they are due. A function returns when it wants to be called next, in Trio's time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, list[Callable[[], float]]]] = []
        self._numbers = itertools.count()
        self._news = trio.Event()

    @contextlib.contextmanager
    def remind(self, due: float, callback: Callable[[], float]) -> Iterator[None]:
        """Call back at `due`, and then whenever the callback says, until the context is left."""
        entry = [callback]  # emptied on leaving, so that the heap keeps nothing of it in memory
        self._push(due, entry)
        try:
            yield
        finally:
            entry.clear()

    def _push(self, due: float, entry: list[Callable[[], float]]) -> None:
        heapq.heappush(self._heap, (due, next(self._numbers), entry))
        if self._heap[0][2] is entry:
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
                entry = heapq.heappop(self._heap)[2]
                if entry:
                    self._push(entry[0](), entry)
