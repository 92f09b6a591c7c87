"""One thread, one epoll set, one heap of timers: all that the harness's own processes run on.

It is smaller and quicker than a general event loop because it may be: no futures, no cancellation, and
an exception in a callback ends the process, which is what a measurement wants.
"""

import heapq
import itertools
import select
import time
from collections.abc import Callable

IN = select.EPOLLIN | select.EPOLLRDHUP
OUT = select.EPOLLOUT
GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_MILLISECOND = 1_000_000

now_ns = time.monotonic_ns


class Loop:
    """Callbacks on sockets and on times of the monotonic clock, in nanoseconds."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._running = True

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        self._callbacks[fd] = callback
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """To be called before the descriptor is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def at(self, due: int, callback: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (due, next(self._order), callback))

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        self.at(now_ns() + int(seconds * 1e9), callback)

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        """Runs until `stop`."""
        self._running = True
        callbacks = self._callbacks
        while self._running:
            for fd, events in self._wait():
                # A callback earlier in this round may have closed this one.
                if (callback := callbacks.get(fd)) is not None:
                    callback(events)
            self._run_timers()

    def _run_timers(self) -> None:
        timers = self._timers
        now = now_ns()
        while timers and timers[0][0] <= now and self._running:
            heapq.heappop(timers)[2]()

    def _wait(self) -> list[tuple[int, int]]:
        if not self._timers:
            return self._epoll.poll()
        left = self._timers[0][0] - now_ns()
        if left <= 0:
            return self._epoll.poll(0)
        if left > 20 * _MILLISECOND:
            return self._epoll.poll(left // _MILLISECOND / 1000)
        # epoll counts in milliseconds: a thousand chunks a second would leave in clumps. select does not,
        # and an epoll set is a descriptor like any other.
        ready, _, _ = select.select([self._epoll], (), (), left / 1e9)
        return self._epoll.poll(0) if ready else []


def sharpen_timers() -> None:
    """Asks the kernel not to round this process's timers by its usual 50 µs; no harm where it refuses."""
    import ctypes

    pr_set_timerslack = 29
    try:
        ctypes.CDLL(None).prctl(pr_set_timerslack, 1, 0, 0, 0)
    except (OSError, AttributeError):
        return
