"""Decoders of content codings, as clients have them: fed with what has arrived, they say what can be known of it."""

from __future__ import annotations

import sys
import zlib
from typing import Protocol

import brotli  # type: ignore[import-untyped]

from stream_protocols.encodings.dictionary import CONTENT, DIGEST

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DCZ_HEAD = bytes([0x5E, 0x2A, 0x4D, 0x18, 0x20, 0, 0, 0]) + DIGEST
"""What a dcz body begins with (RFC 9842, section 5), written down once more."""


class Decoder(Protocol):
    """Of one body."""

    def feed(self, data: bytes) -> bytes:
        """What can be decoded, now that these bytes have arrived."""

    @property
    def ended(self) -> bool:
        """Whether the coding itself says that this was all."""


class _Zlib:
    def __init__(self, bits: int) -> None:
        self._inflate = zlib.decompressobj(bits)

    def feed(self, data: bytes) -> bytes:
        return self._inflate.decompress(data)

    @property
    def ended(self) -> bool:
        return self._inflate.eof and not self._inflate.unused_data


class _Brotli:
    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()

    def feed(self, data: bytes) -> bytes:
        decoded: bytes = self._decompressor.process(data)
        return decoded

    @property
    def ended(self) -> bool:
        return bool(self._decompressor.is_finished())


class _Zstd:
    def __init__(self, dictionary: bytes = b"") -> None:
        reference = zstd.ZstdDict(dictionary, is_raw=True).as_prefix if dictionary else None
        self._decompressor = zstd.ZstdDecompressor(zstd_dict=reference)

    def feed(self, data: bytes) -> bytes:
        return self._decompressor.decompress(data)

    @property
    def ended(self) -> bool:
        return self._decompressor.eof and not self._decompressor.unused_data


class _Dcz(_Zstd):
    def __init__(self) -> None:
        super().__init__(CONTENT)
        self._head = DCZ_HEAD

    def feed(self, data: bytes) -> bytes:
        size = min(len(self._head), len(data))
        assert data[:size] == self._head[:size], f"no head of a dcz body: {data[:48]!r}"
        self._head = self._head[size:]
        return super().feed(data[size:])


class _Identity:
    ended = True

    def feed(self, data: bytes) -> bytes:
        return data


def decoder(coding: str | None) -> Decoder:
    """A decoder for the value of Content-Encoding."""
    match coding:
        case "gzip":
            return _Zlib(16 + zlib.MAX_WBITS)
        case "deflate":
            return _Zlib(zlib.MAX_WBITS)  # the zlib format, and nothing else
        case "br":
            return _Brotli()
        case "zstd":
            return _Zstd()
        case "dcz":
            return _Dcz()
        case None:
            return _Identity()
    raise AssertionError(f"nobody asked for {coding}")
