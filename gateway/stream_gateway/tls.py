"""TLS as a filter between bytes: `ssl.SSLObject` on memory buffers, so that no task has to wait inside it."""

import contextlib
import ssl
from collections.abc import Callable
from typing import Final

_PLAINTEXT_READ: Final = 65_536


class TlsFilter:
    """One end of a TLS connection, without I/O. Made by `client_end` and `server_end`.

    Attributes:
        outgoing: takes the ciphertext that must be sent now.
    """

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, host: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=host)
        self.outgoing: Callable[[], bytes] = self._outgoing.read

    @property
    def pending(self) -> int:
        """Bytes of ciphertext that must be sent."""
        return self._outgoing.pending

    @property
    def protocol(self) -> str | None:
        """What was agreed on by ALPN (RFC 7301), once the handshake is complete."""
        return self._object.selected_alpn_protocol()

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is complete.

        Raises:
            ssl.SSLError: it failed, for example because the certificate is not valid.
        """
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def feed(self, data: bytes) -> None:
        """Ciphertext that arrived; empty at the end of the connection."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def read(self) -> bytes | None:
        """All plaintext that is there: None when there is none yet, empty at the end."""
        parts = []
        try:
            while part := self._object.read(_PLAINTEXT_READ):
                parts.append(part)
        except ssl.SSLWantReadError:
            return b"".join(parts) or None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        """Plaintext to be sent; `outgoing` has the ciphertext."""
        sent = self._object.write(data)
        while sent < len(data):
            sent += self._object.write(memoryview(data)[sent:])

    def close(self) -> None:
        """Say that no more plaintext comes (close_notify, RFC 8446 §6.1)."""
        # The peer has not said so yet, or the handshake was never complete.
        with contextlib.suppress(ssl.SSLError):
            self._object.unwrap()

    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER, once the handshake is complete."""
        return self._object.getpeercert(binary_form=True)


def client_end(context: ssl.SSLContext, host: str | None) -> TlsFilter:
    """A client's end.

    Args:
        context: verifies the server; make it with `ssl.create_default_context`.
        host: the name that the server's certificate must carry.
    """
    return TlsFilter(context, server_side=False, host=host)


def server_end(context: ssl.SSLContext) -> TlsFilter:
    """A server's end; the context has its certificate."""
    return TlsFilter(context, server_side=True)
