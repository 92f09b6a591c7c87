"""TLS with clients: a transport that encrypts what is written through, and decrypts what is read."""

import contextlib
import ssl
from typing import Final

from stream_gateway.server.transport import Transport
from stream_gateway.tls import server_end

MAX_ANSWERS: Final = 65_536
"""Bytes of answers of TLS itself that may wait for a client which does not read: key updates may be asked for without
end, and each is answered (RFC 8446 §4.6.3)."""


class TlsTransport(Transport):
    """A transport that speaks TLS once `handshake` has returned. Writing stays as it is: plain calls, no tasks.

    Args:
        transport: the connection; this one takes its place, and owns the socket from now on.
        context: the server's.
        initial: what has been read of it already.
    """

    def __init__(self, transport: Transport, context: ssl.SSLContext, initial: bytes = b"") -> None:
        super().__init__(transport.sock, transport.write_timeout, transport.peer)
        self._tls = server_end(context)
        self._open = False
        if initial:
            self._tls.feed(initial)

    async def handshake(self) -> str | None:
        """Shake hands; the protocol that ALPN agreed on.

        Raises:
            OSError: the connection broke, or TLS did not come about (ssl.SSLError).
        """
        try:
            while not self._tls.handshake():
                await self._send_outgoing()
                self._feed(await super().receive_some())
        finally:
            # Also when it failed: the alert says why.
            if self._rest is None and not self.closed and (data := self._tls.outgoing()):
                super().write_now(data)
        await self.flush()
        self._open = True
        return self._tls.protocol

    async def _send_outgoing(self) -> None:
        if (data := self._tls.outgoing()) and not super().write_now(data):
            await self.flush()

    def _feed(self, data: bytes) -> None:
        if not data:
            raise ConnectionResetError("the client left during the handshake")
        self._tls.feed(data)

    def write_now(self, data: bytes) -> bool:
        """Encrypt and write (see `Transport`)."""
        if self._rest is not None:
            raise RuntimeError("write_now while an earlier write is not flushed")
        if data:
            self._tls.write(data)
        return super().write_now(self._tls.outgoing())

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some plaintext, or none at the end: after close_notify, or without it.

        Raises:
            OSError: the connection is broken, or the client makes TLS answer and does not read.
        """
        while True:
            data = self._tls.read()
            if self._tls.pending and self._rest is None:
                super().write_now(self._tls.outgoing())
            elif self._tls.pending > MAX_ANSWERS:
                raise ConnectionAbortedError("the client asks for new keys and does not read")
            if data is not None:
                return data
            self._tls.feed(await super().receive_some(max_bytes))

    def shut_down_writing(self) -> None:
        """Say that nothing more will be written, in TLS and below it."""
        self._say_goodbye()
        super().shut_down_writing()

    def close(self) -> None:
        """Close; the kernel still delivers what was written."""
        if not self.closed:
            self._say_goodbye()
            super().close()

    def _say_goodbye(self) -> None:
        """close_notify, so that the peer can tell an end from a cut (RFC 8446 §6.1); not after half a record."""
        if self._open and self._rest is None:
            self._open = False
            self._tls.close()
            with contextlib.suppress(OSError):
                super().write_now(self._tls.outgoing())

    def abort(self) -> None:
        """Close at once."""
        self._open = False
        super().abort()


def is_tls(first: bytes) -> bool:
    """Whether a connection begins with a TLS record of the type handshake (RFC 8446 §5.1)."""
    return first[:1] == b"\x16"
