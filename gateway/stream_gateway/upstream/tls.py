"""TLS as a filter between bytes: `ssl.SSLObject` on memory buffers, so that the pump can read it too."""

import ssl
from typing import Final

_PLAINTEXT_READ: Final = 65_536


class TlsFilter:
    """The client's end of one TLS connection, without I/O.

    Args:
        context: verifies the server; make it with `ssl.create_default_context`.
        host: the name that the server's certificate must carry.
    """

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

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
        self._object.write(data)

    def outgoing(self) -> bytes:
        """Ciphertext that must be sent now."""
        return self._outgoing.read()
