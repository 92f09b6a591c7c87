"""The pump: the one task that reads all upstream sockets.

A task for each socket would cost two task switches for each chunk. Instead the sockets stand in an epoll
set of our own; the task waits until the set's descriptor is readable, and then calls, for each socket that
is ready, a plain function that reads, decodes, appends and writes through, all in one run.
"""

import select
import socket
from collections.abc import Callable
from typing import Final, Protocol

import structlog
import trio

_log = structlog.get_logger()

READ_SIZE: Final = 65_536
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

    def remove(self, sock: socket.socket) -> None:
        """Stop watching; must come before the socket is closed."""


class EpollPump:
    """The pump where the kernel has epoll (Linux)."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}

    async def run(self) -> None:
        """Serve until cancelled."""
        descriptor = self._epoll.fileno()
        try:
            while True:
                await trio.lowlevel.wait_readable(descriptor)
                for number, _ in self._epoll.poll(0, _SLICE):
                    callback = self._callbacks.get(number)
                    if callback is not None:  # an earlier callback of this batch may have removed it
                        self._call(number, callback)
        finally:
            self._epoll.close()

    def _call(self, number: int, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            _log.exception("pump_callback_failed")
            if self._callbacks.pop(number, None) is not None:
                self._epoll.unregister(number)

    def add(self, sock: socket.socket, on_readable: Callable[[], None]) -> None:
        """Watch a socket."""
        number = sock.fileno()
        self._epoll.register(number, select.EPOLLIN)
        self._callbacks[number] = on_readable

    def pause(self, sock: socket.socket) -> None:
        """Leave the socket in the set, but for errors only."""
        if sock.fileno() in self._callbacks:
            self._epoll.modify(sock.fileno(), 0)

    def resume(self, sock: socket.socket) -> None:
        """Watch for reading again."""
        if sock.fileno() in self._callbacks:
            self._epoll.modify(sock.fileno(), select.EPOLLIN)

    def remove(self, sock: socket.socket) -> None:
        """Stop watching."""
        if self._callbacks.pop(sock.fileno(), None) is not None and not self._epoll.closed:
            self._epoll.unregister(sock.fileno())


class TaskPump:
    """The pump elsewhere: a task for each socket; the same behaviour at a higher price."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._scopes: dict[int, trio.CancelScope] = {}
        self._flowing: dict[int, trio.Event] = {}

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

    def add(self, sock: socket.socket, on_readable: Callable[[], None]) -> None:
        """Watch a socket."""
        if self._nursery is None:
            raise RuntimeError("the pump is not running")
        number = sock.fileno()
        self._scopes[number] = trio.CancelScope()
        self.resume(sock)
        self._nursery.start_soon(self._watch, number, self._scopes[number], on_readable)

    async def _watch(self, number: int, scope: trio.CancelScope, on_readable: Callable[[], None]) -> None:
        with scope:
            while True:
                await self._flowing[number].wait()
                await trio.lowlevel.wait_readable(number)
                try:
                    on_readable()
                except Exception:
                    _log.exception("pump_callback_failed")
                    return

    def pause(self, sock: socket.socket) -> None:
        """Read no more after the next readiness."""
        self._flowing[sock.fileno()] = trio.Event()

    def resume(self, sock: socket.socket) -> None:
        """Read again."""
        flowing = self._flowing.setdefault(sock.fileno(), trio.Event())
        flowing.set()

    def remove(self, sock: socket.socket) -> None:
        """Stop watching."""
        scope = self._scopes.pop(sock.fileno(), None)
        if scope is not None:
            del self._flowing[sock.fileno()]
            scope.cancel()
            trio.lowlevel.notify_closing(sock.fileno())


def open_pump() -> Pump:
    """The best pump that this platform has."""
    return EpollPump() if hasattr(select, "epoll") else TaskPump()
