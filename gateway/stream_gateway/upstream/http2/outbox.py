"""What a connection has to say, on its way into the socket."""

import socket
from collections.abc import Callable

from stream_gateway.tls import TlsFilter
from stream_gateway.upstream.http2 import limits
from stream_gateway.upstream.pump import Pump


class Outbox:
    """Sends at once what the socket takes; the rest is sent by the pump. Nothing here waits.

    Args:
        drained: called when there is room again after `full`.
        broken: called with the error that ends the connection.
    """

    def __init__(
        self,
        sock: socket.socket,
        pump: Pump,
        tls: TlsFilter | None,
        drained: Callable[[], None],
        broken: Callable[[OSError], None],
    ) -> None:
        self._sock = sock
        self._pump = pump
        self._tls = tls
        self._drained = drained
        self._broken = broken
        self._unsent = bytearray()

    @property
    def full(self) -> bool:
        """Whether more should not be given to it."""
        return len(self._unsent) >= limits.MAX_UNSENT

    def send(self, data: bytes) -> None:
        """Send bytes, now or as soon as it goes."""
        if self._tls is not None:
            try:
                self._tls.write(data)
            except OSError as error:  # the provider has ended TLS, and the connection not yet
                self._broken(error)
                return
            data = self._tls.outgoing()
        if self._unsent:
            self._unsent += data
            return
        sent = self._try(data)
        if sent is not None and sent < len(data):
            self._unsent += data[sent:]
            self._pump.when_writable(self._sock, self._on_writable)

    def _on_writable(self) -> None:
        was_full = self.full
        sent = self._try(self._unsent)
        if sent is None:
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._pump.when_writable(self._sock, None)
        if was_full and not self.full:
            self._drained()

    def _try(self, data: bytes | bytearray) -> int | None:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._broken(error)
            return None
