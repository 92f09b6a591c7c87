"""zstd (RFC 8878), and dcz: zstd with a dictionary that the client has (RFC 9842 §5)."""

import sys
from typing import Any, Final

from stream_protocols.encodings.base import Codec, Compressor
from stream_protocols.encodings.dictionary import CONTENT, DIGEST

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIN_WINDOW_BITS: Final = 10

_STATE: Final = 25_600
"""Bytes of a compressor beside what grows with the window: tables for entropy coding. There is no way to less."""

_BLOCK: Final = zstd.ZstdCompressor.FLUSH_BLOCK
_FRAME: Final = zstd.ZstdCompressor.FLUSH_FRAME

_SKIPPABLE: Final = b"\x5e\x2a\x4d\x18\x20\x00\x00\x00"
"""dcz begins with a frame that other decoders skip: this head, and the dictionary's hash."""


class _Zstd:
    __slots__ = ("_compress", "_flush", "_prefix")

    def __init__(self, options: dict[int, int], prefix: bytes, reference: Any) -> None:
        compressor = zstd.ZstdCompressor(options=options, zstd_dict=reference)
        self._compress = compressor.compress
        self._flush = compressor.flush
        self._prefix = prefix

    def feed(self, data: bytes) -> bytes:
        coded = self._compress(data, _BLOCK)
        if self._prefix:
            coded, self._prefix = self._prefix + coded, b""
        return coded

    def finish(self) -> bytes:
        return self._prefix + self._flush(_FRAME)


class Zstd(Codec):
    """`zstd` at its fastest: with windows this small, higher levels find nothing more."""

    name = "zstd"
    prefix = b""
    reference: Any = None

    def __init__(self, window_bits: int) -> None:
        self._windows = list(dict.fromkeys([window_bits, MIN_WINDOW_BITS]))
        # Input, output, sequences and the hash table grow with the window, and come to about eight of it.
        self.costs = tuple(_STATE + (8 << bits) for bits in self._windows)

    def compressor(self, grade: int) -> Compressor:
        return _Zstd(_options(self._windows[grade]), self.prefix, self.reference)


class DictionaryZstd(Zstd):
    """`dcz`, with our dictionary. It is only referred to, so a compressor takes no more memory than without."""

    name = "dcz"
    dictionary = DIGEST
    prefix = _SKIPPABLE + DIGEST

    def __init__(self, window_bits: int) -> None:
        super().__init__(window_bits)
        self.reference = zstd.ZstdDict(CONTENT, is_raw=True).as_prefix


def _options(window_bits: int) -> dict[int, int]:
    names = zstd.CompressionParameter
    return {
        names.compression_level: 1,
        names.strategy: zstd.Strategy.fast,
        names.window_log: window_bits,
        names.hash_log: window_bits - 2,
        names.chain_log: 6,  # the least there is; the fast strategy has no use for it
    }
