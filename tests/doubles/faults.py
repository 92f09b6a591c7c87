"""What goes wrong on a wire: bytes cut anywhere, connections that die instead of ending."""

from __future__ import annotations

import enum
import socket
import struct
from collections.abc import Iterator

import trio

_LINGER_ZERO = struct.pack("ii", 1, 0)


class Ending(enum.Enum):
    """How an answer ends once its deltas are out."""

    DONE = "the finish chunk, the usage chunk if it was asked for, and [DONE]"
    RESET = "the connection is reset (RST)"
    CLOSE = "the connection is closed (FIN) without the last HTTP chunk"
    NO_DONE = "the HTTP body ends properly, and the finish chunk and [DONE] are missing"
    SILENCE = "nothing more comes, and the connection stays open"
    ERROR = "an error event in the stream, then the body ends without [DONE]"
    CUT = "the connection is closed (FIN) inside an HTTP chunk"
    GARBAGE = "an event that is not JSON, then the body ends properly"


class Fault(enum.Enum):
    """What comes instead of an answer."""

    RESET = "the connection is reset before there is a status line"
    CLOSE = "the connection is closed before there is a status line"
    HTML = "status 200, and a page for people"
    GARBAGE = "status 200, and a body that is not what its content type says"


def pieces(data: bytes, size: int | None) -> Iterator[bytes]:
    """`data` in pieces of `size` bytes, wherever that cuts; whole without a size."""
    if size is None:
        yield data
        return
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def reset(stream: trio.SocketStream) -> None:
    """Close so that the peer sees a reset: a lingering time of zero discards what is unsent and sends RST."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    await stream.aclose()
