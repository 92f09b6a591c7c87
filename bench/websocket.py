"""As much of RFC 6455 as the harness needs: a client's handshake and frames, and a server's frames read."""

import base64
import hashlib
import os
import zlib
from collections.abc import Mapping

from bench.client import request_bytes

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_COMPRESSED = 0x40
_TAIL = b"\0\0\xff\xff"
"""What the wire leaves out at the end of a compressed message (RFC 7692, section 7.2.2)."""
_ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def handshake(path: str, protocol: str, headers: Mapping[str, str], deflate: bool = False) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    asked = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13", "sec-websocket-key": key}
    if protocol:
        asked["sec-websocket-protocol"] = protocol
    if deflate:
        # What browsers ask for.
        asked["sec-websocket-extensions"] = "permessage-deflate; client_max_window_bits"
    return request_bytes("GET", path, {**headers, **asked})


def agrees_to_deflate(head: bytes) -> bool:
    """Whether the head of a response to `handshake` says that messages may be compressed (RFC 7692, section 5)."""
    return b"permessage-deflate" in head.lower()


def accept_value(key: bytes) -> bytes:
    """What a server answers to a client's key (section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _ACCEPT).digest())


def client_text(text: str) -> bytes:
    return _client_frame(_TEXT, text.encode())


def _client_frame(opcode: int, payload: bytes) -> bytes:
    # A client has to mask (section 5.3); a mask of zeros is one.
    return bytes([0x80 | opcode]) + _length(len(payload), 0x80) + b"\0\0\0\0" + payload


def server_frame(payload: bytes) -> bytes:
    return bytes([0x80 | _TEXT]) + _length(len(payload), 0) + payload


def _length(length: int, mask: int) -> bytes:
    if length < 126:
        return bytes([mask | length])
    if length < 65_536:
        return bytes([mask | 126]) + length.to_bytes(2, "big")
    return bytes([mask | 127]) + length.to_bytes(8, "big")


class Frames:
    """Reads a server's frames from pieces cut anywhere."""

    def __init__(self, deflate: bool = False) -> None:
        """`deflate`: messages may come compressed."""
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if deflate else None
        self._rest = b""
        self.closed = False
        self.replies = b""
        """Pongs that are due; the caller sends and clears them."""

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the payloads of the data frames that are complete."""
        data = self._rest + data
        position = 0
        payloads = []
        while (frame := _frame_at(data, position)) is not None:
            opcode, start, stop = frame
            if opcode < _CLOSE:
                payloads.append(self._payload(data[start:stop], bool(data[position] & _COMPRESSED)))
            elif opcode == _PING:
                self.replies += _client_frame(_PONG, data[start:stop])
            elif opcode == _CLOSE:
                self.closed = True
            position = stop
        self._rest = data[position:]
        return payloads

    def _payload(self, data: bytes, compressed: bool) -> bytes:
        if not compressed or self._inflate is None:
            return data
        return self._inflate.decompress(data + _TAIL)


def _frame_at(data: bytes, position: int) -> tuple[int, int, int] | None:
    """(opcode, start and stop of the payload), or None if the frame is not complete."""
    if len(data) < position + 2:
        return None
    opcode, length = data[position] & 0x0F, data[position + 1] & 0x7F
    start = position + 2
    if length >= 126:
        size = 2 if length == 126 else 8
        if len(data) < start + size:
            return None
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    return (opcode, start, start + length) if len(data) >= start + length else None
