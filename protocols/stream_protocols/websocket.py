"""WebSocket frames built for writing through, and the opening handshake's arithmetic (RFC 6455).

Reading frames is a library's work. Building them is three lines, and done once for all subscribers.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import Final, TypeAlias

TEXT: Final = 0x1
BINARY: Final = 0x2

_FIN: Final = 0x80
_RSV1: Final = 0x40  # "compressed", with permessage-deflate (RFC 7692 §6)

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Packer: TypeAlias = Callable[[int, bytes], bytes]
"""Opcode and payload of a message to its frame."""


def frame(opcode: int, payload: bytes, compressed: bool = False) -> bytes:
    """A whole message in one unmasked frame, as servers send it (RFC 6455 §5.2). Itself a `Packer`."""
    first = _FIN | opcode | (_RSV1 if compressed else 0)
    length = len(payload)
    if length < 126:
        return b"%c%c%b" % (first, length, payload)
    if length < 65_536:
        return b"%c\x7e%b%b" % (first, length.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (first, length.to_bytes(8, "big"), payload)


def accept_key(key: str) -> str | None:
    """The value of Sec-WebSocket-Accept for a client's key; None when that is no key (RFC 6455 §4.2.2)."""
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            return None
    except (binascii.Error, ValueError):
        return None
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
