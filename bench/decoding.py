"""Decoders of content codings, fed as bytes arrive."""

import sys
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def decoder(coding: str) -> Callable[[bytes], bytes]:
    """Takes the next bytes of a body, returns what can be decoded by now."""
    if coding == "gzip":
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress
    if coding == "deflate":
        return zlib.decompressobj().decompress
    if coding == "br":
        process: Callable[[bytes], bytes] = brotli.Decompressor().process
        return process
    if coding == "zstd":
        return zstd.ZstdDecompressor().decompress
    if coding == "identity":
        return bytes
    raise ValueError(f"there is no decoder for {coding!r}")
