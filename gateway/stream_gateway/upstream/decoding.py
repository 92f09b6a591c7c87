"""Content codings of replies: decoded as the bytes come, whatever the provider was asked for.

A decoder keeps its state from piece to piece and never sees a byte twice. What one piece may grow to is bounded.
"""

import sys
import zlib
from collections.abc import Callable
from typing import Final, Protocol

import brotli  # type: ignore[import-untyped]

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_PIECE: Final = 1_048_576
"""Bytes that one read may decode to: what is more is a decompression bomb, not a stream of text."""

_ZSTD_WINDOW: Final = 23
"""2^23 bytes: what a decoder of this coding must support, and need not exceed (RFC 9659)."""

Decode = Callable[[bytes], bytes]


class UndecodableReply(Exception):
    """A reply in a coding that was not asked for and is not known, or that is broken."""


class _Decompressor(Protocol):
    """One member of a compressed body; a body may have several, one after the other."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decode(self, data: bytes, most: int) -> bytes:
        """All that `data` decodes to, or its first `most` bytes."""


class _Zlib:
    """gzip (RFC 1952), or deflate: zlib's format (RFC 1950), or without its head, as some servers have it."""

    def __init__(self, bits: int, *, bare: bool = False) -> None:
        self._inflate = zlib.decompressobj(bits)
        self._bare = bare  # it may turn out to have no head

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decode(self, data: bytes, most: int) -> bytes:
        if self._bare and data:
            self._bare = False
            if data[0] & 0x0F != zlib.DEFLATED:  # RFC 1950 §2.2: the method stands in the first byte
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        return self._inflate.decompress(data, most)


class _Brotli:
    """br (RFC 7932). It has no members: what follows its end is an error of its own."""

    eof = False
    unused_data = b""

    def __init__(self) -> None:
        self._brotli = brotli.Decompressor()

    def decode(self, data: bytes, most: int) -> bytes:
        plain: bytes = self._brotli.process(data, output_buffer_limit=most)
        return plain


class _Zstd:
    """zstd (RFC 8878)."""

    def __init__(self) -> None:
        self._zstd = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW})

    @property
    def eof(self) -> bool:
        return self._zstd.eof

    @property
    def unused_data(self) -> bytes:
        return self._zstd.unused_data

    def decode(self, data: bytes, most: int) -> bytes:
        return self._zstd.decompress(data, most)


_CODINGS: Final[dict[bytes, Callable[[], _Decompressor]]] = {
    b"gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
    b"x-gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
    b"deflate": lambda: _Zlib(zlib.MAX_WBITS, bare=True),
    b"br": _Brotli,
    b"zstd": _Zstd,
}


def decoder_for(coding: bytes, max_piece: int = MAX_PIECE) -> Decode | None:
    """A function that decodes a body piece by piece; None when there is nothing to decode.

    Args:
        coding: the value of Content-Encoding.
        max_piece: bytes that one piece may decode to.

    Raises:
        UndecodableReply: the coding is unknown. The function raises it too, when the body is broken.
    """
    coding = coding.strip().lower()
    if coding in (b"", b"identity"):
        return None
    make = _CODINGS.get(coding)
    if make is None:
        shown = coding[:64].decode("ascii", "replace")
        raise UndecodableReply(f"The provider sent a content coding that was not asked for: {shown}.")
    decompressor = make()

    def decode(data: bytes) -> bytes:
        nonlocal decompressor
        plain = b""
        try:
            while data:
                if decompressor.eof:
                    decompressor = make()
                plain += decompressor.decode(data, max_piece + 1 - len(plain))
                if len(plain) > max_piece:
                    raise UndecodableReply(f"The provider's reply grows to over {max_piece} bytes at once.")
                data = decompressor.unused_data if decompressor.eof else b""
        except (zlib.error, brotli.error, zstd.ZstdError) as error:
            raise UndecodableReply(f"The provider's compressed reply is broken: {error}.") from None
        return plain

    return decode
