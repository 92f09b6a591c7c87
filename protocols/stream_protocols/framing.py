"""Bytes around bytes: what a transport puts around a piece of a stream, made once and shared.

A framing is a plain function, so that a piece rendered for one subscriber is framed for all that share it; one that
cannot be shared says so (`ContextFraming`).
"""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from stream_protocols.errors import UpstreamError

Framing: TypeAlias = Callable[[bytes], bytes]


class ContextFraming:
    """A framing whose bytes build on those before them, as a compressor's do.

    It belongs to one client. It is called once for each piece, in the order of writing, and what it makes is written or
    the client is cut off; it is never kept for others.
    """

    __slots__ = ()

    def __call__(self, data: bytes) -> bytes:
        """Frame the next piece."""
        raise NotImplementedError  # no abstract class: asking whether a framing is one must be cheap


def identity(data: bytes) -> bytes:
    """No framing: the body ends with the connection (HTTP/1.0, RFC 9112 §6.3)."""
    return data


def chunked(data: bytes) -> bytes:
    """One HTTP/1.1 chunk (RFC 9112 §7.1). `data` must not be empty: an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


_HEAD: Final = rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n"
_PART: Final = rb"[0-9A-Fa-f]{0,15}[ \t]*(?:;[^\r\n]*)?\r?"  # what may become a head

_FIRST: Final = re.compile(_HEAD), re.compile(_PART)
_NEXT: Final = re.compile(rb"\r\n" + _HEAD), re.compile(rb"\r?|\r\n" + _PART)  # the line end of the data before it

_MAX_KEPT: Final = 16_384
"""Bytes of a chunk's head with its extensions, or of all trailers: nobody needs more, and a buffer needs an end."""


class ChunkedDecoder:
    """Takes HTTP/1.1 chunks apart (RFC 9112 §7.1). A stream is little else than chunk heads, so they must be cheap.

    Attributes:
        ended: whether the last chunk and its trailers have come.
        rest: what came after the end of the body.
    """

    def __init__(self) -> None:
        self.ended = False
        self.rest = b""
        self._left = 0  # bytes still missing of the current chunk
        self._pattern = _FIRST
        self._last = False  # the last chunk's head has come, its trailers have not
        self._kept = b""  # an incomplete head, or incomplete trailers

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they come; return the data in them, whatever the chunks it was cut into.

        Raises:
            UpstreamError: they are no chunks.
        """
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
                self.ended = True
                self.rest = data[end + 2 :]
                return
        elif data and (self._left or self._pattern[1].fullmatch(data) is None):
            raise UpstreamError("The provider's reply is not properly chunked: a chunk's head is malformed.")
        if len(data) > _MAX_KEPT:
            raise UpstreamError(f"A chunk's head or trailers in the provider's reply are over {_MAX_KEPT} bytes.")
        self._kept = data
