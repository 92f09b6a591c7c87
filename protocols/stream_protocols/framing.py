"""Bytes around bytes: what a transport puts around a piece of a stream, made once and shared.

A framing is a plain function, so that a piece rendered for one subscriber is framed for all that share it; one that
cannot be shared says so (`ContextFraming`).
"""

from collections.abc import Callable
from typing import Final, TypeAlias

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


LAST_CHUNK: Final = b"0\r\n\r\n"
"""Ends a body of chunks."""
