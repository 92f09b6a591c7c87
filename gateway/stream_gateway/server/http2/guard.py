"""The guard: looks at the heads of frames before h2 does, counts them, and cuts a flood short.

h2 handles all that it is given, at some 12 µs a frame, so 64 KiB of empty frames would hold up every
other connection. Looking at nine bytes is cheap; what is left after that is given to h2 in slices.
"""

from collections.abc import Iterator
from typing import Final

from h2.errors import ErrorCodes

from stream_gateway.config import LimitSettings
from stream_gateway.server.http2 import limits
from stream_gateway.server.http2.limits import Rate

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_HEAD: Final = 9  # length (3), type, flags, stream (4): RFC 9113 §4.1

_DATA, _HEADERS, _PRIORITY, _RESET, _SETTINGS, _PUSH, _PING, _GOAWAY, _UPDATE, _CONTINUATION = range(10)
_END_STREAM: Final = 0x1
_END_HEADERS: Final = 0x4


class Violation(Exception):
    """The connection must end, with this code; the message goes into the GOAWAY frame."""

    def __init__(self, code: ErrorCodes, message: str) -> None:
        super().__init__(message)
        self.code = code


class Bucket:
    """A token bucket."""

    __slots__ = ("_rate", "_seen", "_tokens")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._tokens = rate.burst
        self._seen = 0.0

    def take(self, now: float) -> bool:
        """Take a token; False when there is none."""
        if self._seen:
            self._tokens = min(self._tokens + (now - self._seen) * self._rate.per_second, self._rate.burst)
        self._seen = now
        self._tokens -= 1
        return self._tokens >= 0

    def give(self, tokens: float) -> None:
        """Put some back."""
        self._tokens = min(self._tokens + tokens, self._rate.burst)


class Guard:
    """Counts the frames of one connection.

    Attributes:
        goaway: the client has said that it will open no more streams.
        block_since: when the header block began that is not complete yet; None: there is none.
        frames: how many have passed.
    """

    def __init__(self, settings: LimitSettings) -> None:
        self.goaway = False
        self.block_since: float | None = None
        self.frames = 0
        self._resets = Bucket(Rate(settings.resets_per_second * limits.RESET_BURST, settings.resets_per_second))
        self._settings = Bucket(limits.SETTINGS)
        self._pings = Bucket(limits.PINGS)
        self._empty = Bucket(limits.EMPTY_DATA)
        self._tiny = Bucket(limits.TINY_DATA)
        self._updates = Bucket(limits.WINDOW_UPDATES)
        self._idle = Bucket(limits.IDLE_FRAMES)
        self._max_block = settings.header_bytes * limits.HEADER_SLACK
        self._block_bytes = 0
        self._continuations = 0
        self._preface = len(PREFACE)
        self._kept = b""  # an incomplete head
        self._left = 0  # bytes still to come of the frame whose head has passed
        self._drop = False  # that frame is not for h2

    def slices(self, data: bytes, now: float) -> Iterator[bytes]:
        """What h2 is to see of `data`, in pieces of at most `SLICE` frames.

        Raises:
            Violation: some limit is passed; the connection must end, so the rest does not matter.
        """
        if self._kept:
            data, self._kept = self._kept + data, b""
        at = begin = 0
        parts: list[bytes] = []
        if self._preface:
            at = min(self._preface, len(data))
            self._preface -= at
        count = 0
        size = len(data)
        while at < size:
            if not self._left:
                if size - at < _HEAD:
                    self._kept = data[at:]
                    break
                self._left = _HEAD + self._look(data, at, now)
                count += 1
                if self._drop:
                    parts.append(data[begin:at])
                    begin = min(at + self._left, size)
            step = min(self._left, size - at)
            at += step
            self._left -= step
            if not self._left and self._drop:
                self._drop, begin = False, at
            elif self._drop:
                begin = at
            if count >= limits.SLICE and not self._left:
                yield b"".join([*parts, data[begin:at]])
                parts, begin, count = [], at, 0
        rest = b"".join([*parts, data[begin : size - len(self._kept)]])
        if rest:
            yield rest

    def refund(self) -> None:
        """A DATA frame left whole: the client may answer it."""
        self._updates.give(limits.UPDATES_EARNED)

    def count_reset(self, now: float) -> None:
        """The client made us reset a stream, which is no better than resetting it itself (CVE-2025-8671).

        Raises:
            Violation: too often.
        """
        self._take(self._resets, now, "too many streams were reset")

    def _look(self, data: bytes, at: int, now: float) -> int:
        """Judge the frame whose head begins at `at`; the length of its payload."""
        length = int.from_bytes(data[at : at + 3], "big")
        kind, flags = data[at + 3], data[at + 4]
        self.frames += 1
        if length > limits.MAX_FRAME:
            raise Violation(ErrorCodes.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
        if kind == _DATA:
            if length < limits.SMALL_DATA and not flags & _END_STREAM:
                self._take(self._tiny if length else self._empty, now, "too many DATA frames with next to no data")
        elif kind in (_HEADERS, _CONTINUATION):
            self._look_at_block(kind, length, flags, now)
        elif kind == _UPDATE:
            self._take(self._updates, now, "too many WINDOW_UPDATE frames")
        elif kind == _RESET:
            self._take(self._resets, now, "too many streams were reset")
        elif kind == _PING:
            self._take(self._pings, now, "too many PING frames")
        elif kind == _SETTINGS:
            self._take(self._settings, now, "too many SETTINGS frames")
            if length > 6 * limits.MAX_SETTINGS:
                raise Violation(ErrorCodes.ENHANCE_YOUR_CALM, "too many settings")
        elif kind != _PUSH:
            self._look_at_idle(kind, now)
        return length

    def _look_at_block(self, kind: int, length: int, flags: int, now: float) -> None:
        """A header block in one frame or several; what breaks their order is h2's to see (RFC 9113 §6.10)."""
        if kind == _HEADERS:
            self._block_bytes = self._continuations = 0
        else:
            self._continuations += 1
        self._block_bytes += length
        if self._continuations > limits.MAX_CONTINUATIONS or self._block_bytes > self._max_block:
            raise Violation(ErrorCodes.ENHANCE_YOUR_CALM, "an endless header block")
        if flags & _END_HEADERS:
            self.block_since = None
        elif kind == _HEADERS:
            self.block_since = now

    def _look_at_idle(self, kind: int, now: float) -> None:
        """What asks nothing of us. h2 need not see it, except between the frames of a header block, as an error."""
        self._take(self._idle, now, "too many frames that say nothing")
        if kind == _GOAWAY:
            # h2 would stop sending at once; the streams that run have a right to end (RFC 9113 §6.8).
            self.goaway = True
        self._drop = self.block_since is None

    @staticmethod
    def _take(bucket: Bucket, now: float, message: str) -> None:
        if not bucket.take(now):
            raise Violation(ErrorCodes.ENHANCE_YOUR_CALM, message)
