"""Hang-ups: who has left is noticed at once, without a task that reads each connection all the time.

While a request is served nobody reads its connection: what a client sends ahead waits in the kernel. That it
has closed its end is an event of its own (`EPOLLRDHUP`), and one task waits for that of all connections.
"""

import select
import socket
from collections.abc import Callable
from typing import Protocol

import structlog
import trio

_log = structlog.get_logger()


class Hangups(Protocol):
    """Calls back when a peer has closed its end, or the connection broke."""

    async def run(self) -> None:
        """Serve until cancelled."""

    def add(self, sock: socket.socket, on_hangup: Callable[[], None]) -> None:
        """Watch a socket; the callback is called once, and must not wait."""

    def remove(self, sock: socket.socket) -> None:
        """Stop watching; must come before the socket is closed."""


class EpollHangups:
    """Where the kernel has epoll (Linux)."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for number, _ in self._epoll.poll(0):
                    callback = self._callbacks.get(number)
                    if callback is not None:
                        _call(callback)
        finally:
            self._epoll.close()

    def add(self, sock: socket.socket, on_hangup: Callable[[], None]) -> None:
        """Watch a socket. Edge-triggered: a hang-up is told once, not for as long as nobody closes the socket."""
        self._epoll.register(sock.fileno(), select.EPOLLRDHUP | select.EPOLLET)
        self._callbacks[sock.fileno()] = on_hangup

    def remove(self, sock: socket.socket) -> None:
        """Stop watching."""
        if self._callbacks.pop(sock.fileno(), None) is not None and not self._epoll.closed:
            self._epoll.unregister(sock.fileno())


class PollingHangups:
    """Elsewhere: looks at all sockets ten times a second, without taking what they hold."""

    INTERVAL = 0.1

    def __init__(self) -> None:
        self._watched: dict[socket.socket, Callable[[], None]] = {}

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await trio.sleep(self.INTERVAL)
            for sock, callback in list(self._watched.items()):
                # An earlier callback of this round may have removed it.
                if sock in self._watched and self._gone(sock):
                    del self._watched[sock]
                    _call(callback)

    @staticmethod
    def _gone(sock: socket.socket) -> bool:
        try:
            return sock.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def add(self, sock: socket.socket, on_hangup: Callable[[], None]) -> None:
        """Watch a socket."""
        self._watched[sock] = on_hangup

    def remove(self, sock: socket.socket) -> None:
        """Stop watching."""
        self._watched.pop(sock, None)


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:  # it concerns one connection only
        _log.exception("hangup_failed")


def open_hangups() -> Hangups:
    """The best watch that this platform has."""
    return EpollHangups() if hasattr(select, "epoll") else PollingHangups()
