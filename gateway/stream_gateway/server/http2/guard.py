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
_PADDED: Final = 0x8


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
        frames: how many have begun.
    """

    def __init__(self, settings: LimitSettings) -> None:
        self.goaway = False
        self.block_since: float | None = None
        self.frames = 0
        resets = settings.resets_per_second
        self._resets = Bucket(Rate(resets * limits.RESET_BURST + settings.streams_per_connection, resets))
        self._settings = Bucket(limits.SETTINGS)
        self._pings = Bucket(limits.PINGS)
        self._empty = Bucket(limits.EMPTY_DATA)
        self._tiny = Bucket(limits.TINY_DATA)
        self._updates = Bucket(limits.WINDOW_UPDATES)
        self._late = Bucket(limits.LATE_HEADERS)
        self._large = Bucket(limits.LARGE_HEADS)
        self._idle = Bucket(limits.IDLE_FRAMES)
        self._max_block = settings.header_bytes * limits.HEADER_SLACK
        self._block_bytes = 0
        self._continuations = 0
        self._closes_block = False  # the frame whose head has passed is a block's last
        self._newest = 0  # the highest stream seen
        self._left_streams: dict[int, None] = {}  # those that the client has reset, oldest first
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
                count += limits.BLOCK_WEIGHT if data[at + 3] == _HEADERS else 1
                if self._drop:
                    parts.append(data[begin:at])
                    begin = min(at + self._left, size)
            step = min(self._left, size - at)
            at += step
            self._left -= step
            if self._drop:
                self._drop, begin = bool(self._left), at
            elif self._closes_block and not self._left:
                self._closes_block, self.block_since = False, None
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
        """The client made us reset or refuse a stream, which is no better than resetting it itself (CVE-2025-8671).

        Raises:
            Violation: too often.
        """
        self._take(self._resets, now, "too many streams came to nothing")

    def count_large_head(self, now: float) -> None:
        """A header list was over the limit.

        Raises:
            Violation: too often.
        """
        self._take(self._large, now, "too many header lists over the limit")

    def _look(self, data: bytes, at: int, now: float) -> int:
        """Judge the frame whose head begins at `at`; the length of its payload."""
        length = int.from_bytes(data[at : at + 3], "big")
        kind, flags = data[at + 3], data[at + 4]
        self.frames += 1
        if length > limits.MAX_FRAME:
            raise Violation(ErrorCodes.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
        if kind == _DATA:
            small = limits.SMALL_DATA + (limits.PADDING if flags & _PADDED else 0)
            if length < small and not flags & _END_STREAM:
                self._take(self._tiny if length else self._empty, now, "too many DATA frames with next to no data")
        elif kind == _HEADERS:
            self._look_at_headers(_stream(data, at), now)
            self._look_at_block(length, flags)
        elif kind == _CONTINUATION:
            self._continuations += 1
            self._look_at_block(length, flags)
        elif kind == _UPDATE:
            self._take(self._updates, now, "too many WINDOW_UPDATE frames")
        elif kind == _RESET:
            self._look_at_reset(_stream(data, at), now)
        elif kind == _PING:
            self._take(self._pings, now, "too many PING frames")
        elif kind == _SETTINGS:
            self._take(self._settings, now, "too many SETTINGS frames")
            if length > 6 * limits.MAX_SETTINGS:
                raise Violation(ErrorCodes.ENHANCE_YOUR_CALM, "too many settings")
        elif kind != _PUSH:
            self._look_at_idle(kind, length, _stream(data, at), now)
        return length

    def _look_at_reset(self, stream: int, now: float) -> None:
        """A stream comes to nothing once: clients answer what was under way to it with another RST_STREAM."""
        if stream in self._left_streams:
            self._take(self._idle, now, "too many frames that say nothing")
            return
        self._left_streams[stream] = None
        if len(self._left_streams) > limits.CLOSED_STREAMS:
            del self._left_streams[next(iter(self._left_streams))]
        self._take(self._resets, now, "too many streams came to nothing")

    def _look_at_headers(self, stream: int, now: float) -> None:
        if stream <= self._newest:
            self._take(self._late, now, "too many HEADERS for streams that have had theirs")
        self._newest = max(stream, self._newest)
        self._block_bytes = self._continuations = 0
        if self.block_since is None:
            self.block_since = now

    def _look_at_block(self, length: int, flags: int) -> None:
        """A header block in one frame or several (RFC 9113 §6.10)."""
        if self.block_since is None:
            raise Violation(ErrorCodes.PROTOCOL_ERROR, "CONTINUATION without HEADERS before it")
        self._block_bytes += length
        if self._continuations > limits.MAX_CONTINUATIONS or self._block_bytes > self._max_block:
            raise Violation(ErrorCodes.ENHANCE_YOUR_CALM, "an endless header block")
        self._closes_block = bool(flags & _END_HEADERS)

    def _look_at_idle(self, kind: int, length: int, stream: int, now: float) -> None:
        """What asks nothing of us. h2 need not see it, except between the frames of a header block, as an error."""
        self._take(self._idle, now, "too many frames that say nothing")
        if (kind == _PRIORITY and length != 5) or (kind == _GOAWAY and length < 8):
            raise Violation(ErrorCodes.FRAME_SIZE_ERROR, f"a frame of type {kind} with {length} bytes")
        if (kind == _PRIORITY and not stream) or (kind == _GOAWAY and stream):
            raise Violation(ErrorCodes.PROTOCOL_ERROR, f"a frame of type {kind} on stream {stream}")
        if kind == _GOAWAY:
            # h2 would stop sending at once; the streams that run have a right to end (RFC 9113 §6.8).
            self.goaway = True
        self._drop = self.block_since is None

    @staticmethod
    def _take(bucket: Bucket, now: float, message: str) -> None:
        if not bucket.take(now):
            raise Violation(ErrorCodes.ENHANCE_YOUR_CALM, message)


def _stream(data: bytes, at: int) -> int:
    """The stream of the frame whose head begins at `at`."""
    return int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFF_FFFF
