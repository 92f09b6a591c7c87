"""Keepalive on streamed bodies: one task for all of them, which speaks up where it has been silent too long."""

import contextlib
import heapq
import itertools
from collections.abc import Iterator

import trio

from stream_gateway.streams.subscription import Subscription


class Keepalive:
    """Watches subscriptions.

    A write only notes its time. Each subscription has one entry in a heap, which is looked at when it might
    be due, and put back for later when there was a write in between.

    Args:
        interval: seconds of silence after which a subscription says that it is still there.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._heap: list[tuple[float, int, list[Subscription]]] = []
        self._numbers = itertools.count()
        self._news = trio.Event()

    @contextlib.contextmanager
    def watching(self, subscription: Subscription, began: float) -> Iterator[None]:
        """Keep a subscription alive; it has been silent since `began` (Trio's time)."""
        subscription.last_write = began
        entry = [subscription]  # emptied on leaving, so that the heap keeps no subscription in memory
        self._push(began + self.interval, entry)
        try:
            yield
        finally:
            entry.clear()

    def _push(self, due: float, entry: list[Subscription]) -> None:
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
            self._serve(trio.current_time())

    def _serve(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)[2]
            if entry:
                subscription = entry[0]
                if subscription.last_write + self.interval <= now:
                    subscription.keep_alive()
                self._push(max(subscription.last_write, now - self.interval / 2) + self.interval, entry)
