"""Frames of a provider, cut out of what is read and counted before anything acts on them (RFC 9113 §4.1)."""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from h2.errors import ErrorCodes

from stream_gateway.upstream.http2 import limits

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, UPDATE, CONTINUATION = range(10)

END_STREAM: Final = 0x1
_ACK: Final = 0x1
_END_HEADERS: Final = 0x4
_PADDED: Final = 0x8

_HEAD: Final = struct.Struct(">HBBBI")  # length in three bytes, type, flags, stream
_HEAD_SIZE: Final = 9


class Violation(Exception):
    """The provider broke HTTP/2 or a limit of ours: the connection, or the stream that it concerns, must end."""

    def __init__(self, code: ErrorCodes, message: str) -> None:
        super().__init__(message)
        self.code = code


class Frame(NamedTuple):
    """One frame. `content`: the payload of a DATA frame, the whole bytes of any other."""

    kind: int
    flags: int
    stream: int
    content: bytes


class FrameReader:
    """Cuts frames out of pieces cut anywhere, and sees to it that they are few, small, and in order."""

    def __init__(self) -> None:
        self._kept = b""
        self._greeted = False
        self._block = 0  # the stream whose header block is not complete
        self._block_bytes = 0
        self._overhead = limits.OVERHEAD_BURST
        self._seen = 0.0

    def frames(self, data: bytes, now: float) -> Iterator[Frame]:
        """The frames that are complete.

        Raises:
            Violation: the connection must end; the frames before the wrong one have been given out.
        """
        if self._kept:
            data, self._kept = self._kept + data, b""
        at, size = 0, len(data)
        while size - at >= _HEAD_SIZE:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            length = high << 8 | low
            if not self._greeted:
                self._greet(kind, flags)
            if length > limits.MAX_FRAME:
                raise Violation(ErrorCodes.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            end = at + _HEAD_SIZE + length
            if end > size:
                break
            stream &= 0x7FFFFFFF
            if kind == DATA and not self._block:
                if not length and not flags & END_STREAM:
                    self._count(now)
                yield Frame(kind, flags, stream, data[at + _HEAD_SIZE : end])
            else:
                self._count(now)
                self._look_at_block(kind, flags, stream, length)
                yield Frame(kind, flags, stream, data[at:end])
            at = end
        self._kept = data[at:]

    def earn(self) -> None:
        """Something was sent that the provider may answer."""
        self._overhead = min(self._overhead + limits.OVERHEAD_EARNED, limits.OVERHEAD_BURST)

    def _greet(self, kind: int, flags: int) -> None:
        """RFC 9113 §3.4: SETTINGS come first. Servers of another protocol are found out here."""
        if kind != SETTINGS or flags & _ACK:
            raise Violation(ErrorCodes.PROTOCOL_ERROR, "what it says is not HTTP/2")
        self._greeted = True

    def _count(self, now: float) -> None:
        self._overhead = min(self._overhead + (now - self._seen) * limits.OVERHEAD_RATE, limits.OVERHEAD_BURST) - 1
        self._seen = now
        if self._overhead < 0:
            raise Violation(ErrorCodes.ENHANCE_YOUR_CALM, "too many frames that bring nothing")

    def _look_at_block(self, kind: int, flags: int, stream: int, length: int) -> None:
        """A header block comes in one piece, whatever the number of its frames (RFC 9113 §6.10)."""
        if self._block and (kind != CONTINUATION or stream != self._block):
            raise Violation(ErrorCodes.PROTOCOL_ERROR, "a frame inside of a header block")
        if kind in (HEADERS, CONTINUATION):
            self._block_bytes = length + (self._block_bytes if self._block else 0)
            if self._block_bytes > limits.MAX_HEAD:
                raise Violation(ErrorCodes.ENHANCE_YOUR_CALM, "an endless header block")
            self._block = 0 if flags & _END_HEADERS else stream


def unpadded(frame: Frame) -> bytes:
    """The data of a DATA frame; its padding counts for flow control only (RFC 9113 §6.1).

    Raises:
        Violation: there is more padding than frame.
    """
    if not frame.flags & _PADDED:
        return frame.content
    if not frame.content or frame.content[0] >= len(frame.content):
        raise Violation(ErrorCodes.PROTOCOL_ERROR, "more padding than frame")
    return frame.content[1 : len(frame.content) - frame.content[0]]


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame (RFC 9113 §6.9)."""
    return _HEAD.pack(0, 4, UPDATE, 0, stream) + increment.to_bytes(4, "big")


def reset(stream: int, code: int) -> bytes:
    """An RST_STREAM frame (RFC 9113 §6.4)."""
    return _HEAD.pack(0, 4, RESET, 0, stream) + code.to_bytes(4, "big")


def goodbye(frame: Frame) -> tuple[int, int]:
    """Last stream and error code of a GOAWAY frame (RFC 9113 §6.8).

    Raises:
        Violation: it is too short for that.
    """
    payload = frame.content[_HEAD_SIZE:]
    if len(payload) < 8 or frame.stream:
        raise Violation(ErrorCodes.FRAME_SIZE_ERROR, "a GOAWAY frame that is none")
    return int.from_bytes(payload[:4], "big") & 0x7FFFFFFF, int.from_bytes(payload[4:8], "big")


def code_name(code: int) -> str:
    """An error code's name, for people."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"error {code}"
