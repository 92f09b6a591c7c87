"""The listener: accepts connections, and keeps whatever goes wrong in one inside it."""

import errno
import socket
from typing import Final

import structlog
import trio

from stream_gateway.config import LimitSettings, ServerSettings
from stream_gateway.server.hangups import open_hangups
from stream_gateway.server.http1 import Handler, Http1Connection
from stream_gateway.server.transport import Transport
from stream_protocols.errors import Overloaded

_log = structlog.get_logger()

ACCEPT_PAUSE: Final = 0.1
"""Seconds to wait when the process is out of file descriptors: accepting at once would only spin."""

_TCP_NOTSENT_LOWAT: Final = 16_384
"""Bytes not yet on the wire at which a socket counts as writable (as Trio sets it): lag stays in the log."""


def bind(settings: ServerSettings) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.send_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer_bytes)  # accepted ones inherit it
        sock.bind((settings.host, settings.port))
        sock.listen(settings.backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


class Listener:
    """Serves one listening socket."""

    def __init__(self, sock: socket.socket, handler: Handler, server: ServerSettings, limits: LimitSettings) -> None:
        self.connections = 0
        self._hangups = open_hangups()
        self._exhausted = False
        self._sock = sock
        self._handler = handler
        self._server = server
        self._limits = limits

    async def run(self) -> None:
        """Accept until cancelled; then close the listening socket and all connections."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hangups.run)
                while True:
                    await trio.lowlevel.wait_readable(self._sock)
                    self._accept_all(nursery)
                    await self._breathe()
        finally:
            self._sock.close()

    async def _breathe(self) -> None:
        if self._exhausted:
            _log.warning("out_of_file_descriptors", connections=self.connections)
            await trio.sleep(ACCEPT_PAUSE)

    def _accept_all(self, nursery: trio.Nursery) -> None:
        """Take what waits in the backlog: a storm of clients should not wait a loop's turn each."""
        self._exhausted = False
        for _ in range(self._server.backlog):
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # EMFILE and its like pass; anything else concerns only the connection that was not made.
                self._exhausted = error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
                return
            nursery.start_soon(self._serve, sock, address[0])

    async def _serve(self, sock: socket.socket, peer: str) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _TCP_NOTSENT_LOWAT)
        transport = Transport(sock, self._server.write_timeout, peer)
        self.connections += 1
        try:
            if self.connections > self._limits.connections:
                await _turn_away(transport)
            else:
                await Http1Connection(transport, self._handler, self._limits, self._hangups).serve()
        except OSError as error:
            _log.debug("connection_broke", error=str(error))
        except Exception:
            _log.exception("connection_failed")
        finally:
            self.connections -= 1
            transport.close()


async def _turn_away(transport: Transport) -> None:
    body = Overloaded("The gateway has as many connections as it may (limits.connections); try again later.").to_json()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    await transport.send_all(head.encode() + body)
