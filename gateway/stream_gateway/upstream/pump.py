"""The pump: the one task that reads all upstream sockets.

A task for each socket would cost two task switches for each chunk. Instead the sockets stand in an epoll
set of our own; the task waits until the set's descriptor is readable, and then calls, for each socket that
is ready, a plain function that reads, decodes, appends and writes through, all in one run.
"""

import contextlib
import select
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

import structlog
import trio

_log = structlog.get_logger()

READ_SIZE: Final = 16_384
"""Bytes taken from a socket in one go: some sixty chunks, half a millisecond of work, for which all others wait."""

_SLICE: Final = 32  # sockets read between two checkpoints, so that other tasks get their turn under load


class Pump(Protocol):
    """Calls back when sockets have something to read."""

    async def run(self) -> None:
        """Serve until cancelled."""

    def add(self, sock: socket.socket, on_readable: Callable[[], None]) -> None:
        """Watch a socket. The callback must not wait; what it raises is logged, and ends only its own watch."""

    def pause(self, sock: socket.socket) -> None:
        """Do not call back until `resume`."""

    def resume(self, sock: socket.socket) -> None:
        """Call back again."""

    def when_writable(self, sock: socket.socket, on_writable: Callable[[], None] | None) -> None:
        """Call back, paused or not, whenever a watched socket takes bytes; None: no more."""

    def remove(self, sock: socket.socket) -> None:
        """Stop watching; must come before the socket is closed."""


class _Watch:
    """One socket of the `EpollPump`."""

    __slots__ = ("events", "on_readable", "on_writable")

    def __init__(self, on_readable: Callable[[], None]) -> None:
        self.on_readable = on_readable
        self.on_writable: Callable[[], None] | None = None
        self.events = select.EPOLLIN


class EpollPump:
    """The pump where the kernel has epoll (Linux).

    Args:
        turn: entered around each batch of sockets, so that what they lead to can leave together.
    """

    def __init__(self, turn: AbstractContextManager[None] | None = None) -> None:
        self._turn = turn or contextlib.nullcontext()
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}

    async def run(self) -> None:
        """Serve until cancelled."""
        descriptor = self._epoll.fileno()
        try:
            while True:
                await trio.lowlevel.wait_readable(descriptor)
                with self._turn:
                    for number, events in self._epoll.poll(0, _SLICE):
                        watch = self._watches.get(number)
                        if watch is not None:  # an earlier callback of this batch may have removed it
                            self._call(number, watch, events)
        finally:
            self._epoll.close()

    def _call(self, number: int, watch: _Watch, events: int) -> None:
        try:
            if events & select.EPOLLOUT and watch.on_writable is not None:
                watch.on_writable()
            if events != select.EPOLLOUT and self._watches.get(number) is watch:
                watch.on_readable()
        except Exception:
            _log.exception("pump_callback_failed")
            failed = self._watches.pop(number, None)
            if failed is not None and failed.events:
                self._epoll.unregister(number)

    def add(self, sock: socket.socket, on_readable: Callable[[], None]) -> None:
        """Watch a socket."""
        number = sock.fileno()
        self._epoll.register(number, select.EPOLLIN)
        self._watches[number] = _Watch(on_readable)

    def pause(self, sock: socket.socket) -> None:
        """Watch for reading no more."""
        self._modify(sock, 0, select.EPOLLIN)

    def resume(self, sock: socket.socket) -> None:
        """Watch for reading again."""
        self._modify(sock, select.EPOLLIN, 0)

    def when_writable(self, sock: socket.socket, on_writable: Callable[[], None] | None) -> None:
        """Watch for writing too, or no more."""
        if watch := self._watches.get(sock.fileno()):
            watch.on_writable = on_writable
        if on_writable is None:
            self._modify(sock, 0, select.EPOLLOUT)
        else:
            self._modify(sock, select.EPOLLOUT, 0)

    def _modify(self, sock: socket.socket, more: int, less: int) -> None:
        number = sock.fileno()
        watch = self._watches.get(number)
        # When the gateway stops, streams may end after the pump.
        if watch is None or self._epoll.closed:
            return
        before, watch.events = watch.events, (watch.events | more) & ~less
        if not watch.events:
            # The set would go on to tell of a connection that broke, again and again, and nobody may read it now.
            if before:
                self._epoll.unregister(number)
        elif before:
            self._epoll.modify(number, watch.events)
        else:
            self._epoll.register(number, watch.events)

    def remove(self, sock: socket.socket) -> None:
        """Stop watching."""
        watch = self._watches.pop(sock.fileno(), None)
        if watch is not None and watch.events and not self._epoll.closed:
            self._epoll.unregister(sock.fileno())


class _TaskWatch:
    """One socket of the `TaskPump`."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.writing = trio.CancelScope()
        self.flowing = trio.Event()
        self.flowing.set()


class TaskPump:
    """The pump elsewhere: a task for each socket; the same behaviour at a higher price."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._watches: dict[int, _TaskWatch] = {}

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def add(self, sock: socket.socket, on_readable: Callable[[], None]) -> None:
        """Watch a socket."""
        if self._nursery is None:
            raise RuntimeError("the pump is not running")
        watch = self._watches[sock.fileno()] = _TaskWatch()
        self._nursery.start_soon(self._watch, sock.fileno(), watch, on_readable)

    async def _watch(self, number: int, watch: _TaskWatch, on_readable: Callable[[], None]) -> None:
        with watch.scope:
            while True:
                await watch.flowing.wait()
                await trio.lowlevel.wait_readable(number)
                if self._watches.get(number) is not watch:
                    return  # another callback has removed it since it became readable
                if watch.flowing.is_set() and not self._call(number, watch, on_readable):
                    return

    async def _write(self, number: int, watch: _TaskWatch, on_writable: Callable[[], None]) -> None:
        with watch.writing as scope:
            while watch.writing is scope and self._watches.get(number) is watch:
                await trio.lowlevel.wait_writable(number)
                if watch.writing is scope and self._watches.get(number) is watch:
                    self._call(number, watch, on_writable)

    def _call(self, number: int, watch: _TaskWatch, callback: Callable[[], None]) -> bool:
        try:
            callback()
        except Exception:
            _log.exception("pump_callback_failed")
            if self._watches.get(number) is watch:
                del self._watches[number]
            return False
        return True

    def pause(self, sock: socket.socket) -> None:
        """Read no more."""
        if watch := self._watches.get(sock.fileno()):
            watch.flowing = trio.Event()

    def resume(self, sock: socket.socket) -> None:
        """Read again."""
        if watch := self._watches.get(sock.fileno()):
            watch.flowing.set()

    def when_writable(self, sock: socket.socket, on_writable: Callable[[], None] | None) -> None:
        """Watch for writing too, in a task for as long as it is wanted; or no more."""
        watch = self._watches.get(sock.fileno())
        if watch is None or self._nursery is None:
            return
        watch.writing.cancel()
        watch.writing = trio.CancelScope()
        if on_writable is not None:
            self._nursery.start_soon(self._write, sock.fileno(), watch, on_writable)

    def remove(self, sock: socket.socket) -> None:
        """Stop watching."""
        watch = self._watches.pop(sock.fileno(), None)
        if watch is not None:
            watch.scope.cancel()
            watch.writing.cancel()
            trio.lowlevel.notify_closing(sock.fileno())


def open_pump(turn: AbstractContextManager[None] | None = None) -> Pump:
    """The best pump that this platform has; `turn`: see `EpollPump`."""
    return EpollPump(turn) if hasattr(select, "epoll") else TaskPump()
