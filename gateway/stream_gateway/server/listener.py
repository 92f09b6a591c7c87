"""The listener: accepts connections, and keeps whatever goes wrong in one inside it."""

import errno
import itertools
import socket
import time
from typing import Final

import structlog
import trio

from stream_gateway.config import LimitSettings, ServerSettings
from stream_gateway.guard.proxies import TrustedProxies, plain
from stream_gateway.observe.meters import Meters
from stream_gateway.observe.statistics import ConnectionStatistics
from stream_gateway.server.binding import bind as bind
from stream_gateway.server.binding import release
from stream_gateway.server.certificates import Certificates
from stream_gateway.server.door import Door
from stream_gateway.server.hangups import open_hangups
from stream_gateway.server.http1 import Handler
from stream_gateway.server.proxy import BadProxyHeader
from stream_gateway.server.transport import UNSENT_LOWAT, Transport
from stream_gateway.streams.turn import Turn
from stream_protocols.errors import Overloaded

_log = structlog.get_logger()

ACCEPT_PAUSE: Final = 0.1
"""Seconds to wait when the process is out of file descriptors: accepting at once would only spin."""

_FULL: Final = "The gateway has as many connections as it may (limits.connections); try again later."


class Listener:
    """Serves one listening socket.

    Args:
        certificates: for TLS; None: plaintext.
        turn: see `Http2Connection`.
        meters: what ended connections count in.

    Attributes:
        open: connections as others see them, by number.
    """

    def __init__(
        self,
        sock: socket.socket,
        handler: Handler,
        server: ServerSettings,
        limits: LimitSettings,
        *,
        certificates: Certificates | None = None,
        turn: Turn | None = None,
        meters: Meters | None = None,
    ) -> None:
        self.open: dict[int, ConnectionStatistics] = {}
        self._numbers = itertools.count(1)
        self._ended = (meters or Meters()).connections_ended
        self._hangups = open_hangups()
        self._door = Door(
            handler,
            server,
            limits,
            certificates=certificates,
            hangups=self._hangups,
            turn=turn or Turn(),
            proxies=TrustedProxies(server.trusted_proxies),
        )
        self._accepting = trio.CancelScope()
        self._exhausted = False
        self._sock = sock
        self._server = server
        self._limits = limits

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self.open)

    async def run(self) -> None:
        """Accept until cancelled; then close the listening socket and all connections."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hangups.run)
                with self._accepting:
                    while True:
                        await trio.lowlevel.wait_readable(self._sock)
                        self._accept_all(nursery)
                        await self._breathe()
                release(self._sock)
        finally:
            release(self._sock)

    def drain(self) -> None:
        """Accept no more connections; ask those with HTTP/2 to open no more streams."""
        self._accepting.cancel()
        self._door.drain()

    def reconfigure(self, server: ServerSettings, limits: LimitSettings) -> None:
        """Serve connections from now on with this `write_timeout` and these limits."""
        self._server, self._limits = server, limits
        self._door.limit(limits)

    async def idle(self) -> None:
        """Wait until nobody waits for an answer, and nobody is connected with HTTP/2."""
        await self._door.idle()

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
            nursery.start_soon(self._serve, sock, plain(address[0]) if address else "")

    async def _serve(self, sock: socket.socket, peer: str) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sock.family != socket.AF_UNIX and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LOWAT)
        transport = Transport(sock, self._server.write_timeout, peer)
        seen = ConnectionStatistics(next(self._numbers), peer, time.time())
        structlog.contextvars.bind_contextvars(connection=seen.id)  # for all that is logged from here on
        self.open[seen.id] = seen
        why = "closed"
        try:
            if self.connections > self._limits.connections:
                why = "refused"
                await self._door.refuse(transport, Overloaded(_FULL))
            else:
                await self._door.serve(transport, seen)
        except (OSError, BadProxyHeader, trio.TooSlowError, trio.ClosedResourceError) as error:
            why = _why(error)
            _log.debug("connection_broke", peer=peer, error=str(error))
        except Exception:
            why = "internal_error"
            _log.exception("connection_failed")
        finally:
            del self.open[seen.id]
            self._ended[why] += 1


def _why(error: Exception) -> str:
    """How a connection that broke is counted."""
    if isinstance(error, TimeoutError):
        return "write_timeout"
    return "opening_failed" if isinstance(error, BadProxyHeader | trio.TooSlowError) else "broke"
