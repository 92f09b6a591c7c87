"""Bytes around bytes: what a transport puts around a piece of a stream, made once and shared.

A framing is a plain function, so that a piece rendered for one subscriber is framed for all that share it.
"""

from collections.abc import Callable
from typing import TypeAlias

Framing: TypeAlias = Callable[[bytes], bytes]


def identity(data: bytes) -> bytes:
    """No framing: the body ends with the connection (HTTP/1.0, RFC 9112 §6.3)."""
    return data


def chunked(data: bytes) -> bytes:
    """One HTTP/1.1 chunk (RFC 9112 §7.1). `data` must not be empty: an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
