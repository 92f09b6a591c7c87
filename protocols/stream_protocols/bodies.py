"""Bodies of HTTP/1.1 messages, taken out of a connection's bytes as they come (RFC 9112 §6 and §7)."""

import re
from typing import Final, Protocol

from stream_protocols.errors import MalformedHttp

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
"""A method or a header's name (RFC 9110 §5.6.2). It is possessive: what it has matched it does not give back."""

VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]*+"
"""A header's value with the blanks around it (RFC 9110 §5.5)."""

_CUT: Final = "The connection ended before the body of the message did."


class BodyDecoder(Protocol):
    """Takes one body out of the bytes of a connection.

    Attributes:
        ended: whether the body is whole.
        rest: what came after the end of the body.
    """

    ended: bool
    rest: bytes

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they come, before the body has ended; return what is in them of it.

        Raises:
            MalformedHttp: they are no part of a body.
        """

    def close(self) -> None:
        """Nothing more will come.

        Raises:
            MalformedHttp: the body is not whole.
        """


class SizedDecoder:
    """A body of a known length (RFC 9112 §6.2)."""

    def __init__(self, length: int) -> None:
        self.ended = not length
        self.rest = b""
        self._left = length

    def feed(self, data: bytes) -> bytes:
        """See `BodyDecoder`."""
        if len(data) < self._left:
            self._left -= len(data)
            return data
        self.ended = True
        self.rest = data[self._left :]
        return data[: self._left]

    def close(self) -> None:
        """See `BodyDecoder`."""
        raise MalformedHttp(_CUT)


class UnsizedDecoder:
    """A body that ends when its connection does (RFC 9112 §6.3): whether it was cut off, nobody can tell."""

    def __init__(self) -> None:
        self.ended = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """See `BodyDecoder`."""
        return data

    def close(self) -> None:
        """See `BodyDecoder`."""
        self.ended = True


_HEAD: Final = rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;%b)?\r\n" % VALUE
_PART: Final = rb"[0-9A-Fa-f]{0,15}[ \t]*(?:;%b)?\r?" % VALUE  # what may become a head

_FIRST: Final = re.compile(_HEAD), re.compile(_PART)
_NEXT: Final = re.compile(rb"\r\n" + _HEAD), re.compile(rb"\r?|\r\n" + _PART)  # the line end of the data before it

_TRAILERS: Final = re.compile(rb"(?:%b:%b\r\n)*+" % (TOKEN, VALUE))

_MAX_KEPT: Final = 16_384
"""Bytes of a chunk's head with its extensions, or of all trailers: nobody needs more, and a buffer needs an end."""


class ChunkedDecoder:
    """A body in chunks (RFC 9112 §7.1). A stream is little else than chunk heads, so they must be cheap."""

    def __init__(self) -> None:
        self.ended = False
        self.rest = b""
        self._left = 0  # bytes still missing of the current chunk
        self._pattern = _FIRST
        self._last = False  # the last chunk's head has come, its trailers have not
        self._kept = b""  # an incomplete head, or incomplete trailers

    def feed(self, data: bytes) -> bytes:
        """See `BodyDecoder`. What is returned joins all chunks whose data came."""
        if self._kept:
            data, self._kept = self._kept + data, b""
        parts: list[bytes] = []
        at = 0
        while not self._last:
            if self._left:
                piece = data[at : at + self._left]
                parts.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
            match = self._pattern[0].match(data, at)
            if match is None:
                break
            at = match.end()
            self._left = int(match[1], 16)
            self._pattern = _NEXT
            self._last = not self._left
        self._keep(data[at:])
        return b"".join(parts)

    def _keep(self, data: bytes) -> None:
        """What could not be used yet: the beginning of a head, or trailers."""
        if self._last:
            # Trailers are dropped: the first empty line ends them, and it may come at once.
            end = 0 if data[:2] == b"\r\n" else data.find(b"\r\n\r\n") + 2
            if end != 1:
                if _TRAILERS.fullmatch(data, 0, end) is None:
                    raise MalformedHttp("The trailers after the last chunk are malformed.")
                self.ended = True
                self.rest = data[end + 2 :]
                return
        elif data and (self._left or self._pattern[1].fullmatch(data) is None):
            raise MalformedHttp("The body is not properly chunked: a chunk's head is malformed.")
        if len(data) > _MAX_KEPT:
            raise MalformedHttp(f"A chunk's head, or the trailers, are over {_MAX_KEPT} bytes.")
        self._kept = data

    def close(self) -> None:
        """See `BodyDecoder`."""
        raise MalformedHttp(_CUT)
