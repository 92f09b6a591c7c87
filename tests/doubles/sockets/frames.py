"""WebSocket frames as clients send and read them, down to the bit (RFC 6455, section 5.2).

It shares no code with the gateway. Writing forbids nothing, because tests send what is forbidden; reading forgives
nothing: a server's frame that is masked, or longer than it says, is a failing test.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
CONTROL = (CLOSE, PING, PONG)
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10


@dataclass(frozen=True)
class Frame:
    """A frame that was received."""

    fin: bool
    rsv: int
    opcode: int
    payload: bytes

    @property
    def code(self) -> int | None:
        """A close frame's code; None when it has none."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else None

    @property
    def reason(self) -> str:
        """A close frame's reason."""
        return self.payload[2:].decode()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """The bytes of a frame, masked as a client's has to be."""
    first = (0x80 if fin else 0) | rsv | opcode
    head = bytes([first]) + _length(len(payload), 0x80 if masked else 0)
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + _mask(payload, key)


def head(opcode: int, length: int, *, fin: bool = True, rsv: int = 0) -> bytes:
    """The head of a masked frame whose payload (masked with zeros: as it is) is sent bit by bit, or never."""
    return bytes([(0x80 if fin else 0) | rsv | opcode]) + _length(length, 0x80) + bytes(4)


def close(code: int | None = None, reason: str = "") -> bytes:
    """A close frame."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode())


def take_frame(data: bytearray) -> Frame | None:
    """Remove a server's frame from the front of `data`, or return None as long as it is incomplete."""
    if len(data) < 2:
        return None
    assert not data[1] & 0x80, "servers do not mask"
    start, length = 2, data[1]
    if length > 125:
        start = 4 if length == 126 else 10
        if len(data) < start:
            return None
        length = int.from_bytes(data[2:start], "big")
        assert length > (125 if start == 4 else 65_535), "the length is written in more bytes than it needs"
    if len(data) < start + length:
        return None
    found = Frame(bool(data[0] & 0x80), data[0] & 0x70, data[0] & 0x0F, bytes(data[start : start + length]))
    del data[: start + length]
    assert found.opcode in (CONTINUATION, TEXT, BINARY, *CONTROL), found
    assert found.opcode not in CONTROL or (found.fin and not found.rsv and length <= 125), found
    return found


def _length(length: int, mask: int) -> bytes:
    if length < 126:
        return bytes([mask | length])
    if length < 65_536:
        return bytes([mask | 126]) + length.to_bytes(2, "big")
    return bytes([mask | 127]) + length.to_bytes(8, "big")


def _mask(payload: bytes, key: bytes) -> bytes:
    size = len(payload)
    pad = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
