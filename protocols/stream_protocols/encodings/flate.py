"""gzip and deflate: zlib with a small window (RFC 9110 §8.4.1.2, §8.4.1.3).

One window of 2^10 bytes holds several events' worth of envelope, and that is nearly all there is to save: with
2^15 it is two to five points more, for sixteen times the memory (docs/encodings.md).
"""

import zlib
from typing import Final

from stream_protocols.encodings.base import Codec, Compressor

MIN_WINDOW_BITS: Final = 10
"""zlib can do 9, but then finds next to nothing in events of 250 bytes."""

_STATE: Final = 6144
"""Bytes of zlib's own state and of the Python object, beside window and tables."""

_GZIP: Final = 16
"""Added to the window's bits, it asks zlib for gzip's header and trailer."""


class _Zlib:
    """A compressor of zlib's. Every flush is a full `Z_SYNC_FLUSH`: a partial one would save 3 bytes more, but some
    decoders (Go's among them) hand out what they have only where they see its empty stored block."""

    __slots__ = ("_compress", "_flush")

    def __init__(self, level: int, bits: int, memory: int) -> None:
        compressor = zlib.compressobj(level, zlib.DEFLATED, bits, memory)
        self._compress = compressor.compress
        self._flush = compressor.flush

    def feed(self, data: bytes) -> bytes:
        return self._compress(data) + self._flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._flush(zlib.Z_FINISH)


class _Flate(Codec):
    """What gzip and deflate share."""

    wrapper: int

    def __init__(self, level: int, window_bits: int) -> None:
        self._level = level
        # The window as configured, then the smallest, then that with the smallest table of symbols.
        wanted = [(window_bits, window_bits - 8), (MIN_WINDOW_BITS, 2), (MIN_WINDOW_BITS, 1)]
        self._grades = list(dict.fromkeys(wanted))
        self.costs = tuple(_cost(bits, memory) for bits, memory in self._grades)

    def compressor(self, grade: int) -> Compressor:
        bits, memory = self._grades[grade]
        return _Zlib(self._level, self.wrapper + bits, memory)


class Gzip(_Flate):
    """`gzip`."""

    name = "gzip"
    wrapper = _GZIP


class Deflate(_Flate):
    """`deflate`, which is zlib's format and not bare deflate, whatever some servers have sent."""

    name = "deflate"
    wrapper = 0


def _cost(bits: int, memory: int) -> int:
    """As zlib's manual has it; measured within 1 KiB (zlib 1.2.13)."""
    return (1 << (bits + 2)) + (1 << (memory + 9)) + _STATE
