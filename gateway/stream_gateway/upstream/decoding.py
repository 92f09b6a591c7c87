"""Content codings of replies: decoded as the bytes come, whatever the provider was asked for."""

import zlib
from collections.abc import Callable
from typing import Final

MAX_PIECE: Final = 1_048_576
"""Bytes that one read may decode to: what is more is a decompression bomb, not a stream of text."""

_ZLIB: Final = {b"gzip": zlib.MAX_WBITS | 16, b"x-gzip": zlib.MAX_WBITS | 16, b"deflate": zlib.MAX_WBITS}

Decode = Callable[[bytes], bytes]


class UndecodableReply(Exception):
    """A reply in a coding that was not asked for and is not known, or that is broken."""


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
    if coding not in _ZLIB:
        raise UndecodableReply(
            f"The provider sent a content coding that was not asked for: {coding.decode('latin-1')}."
        )
    decompressor = zlib.decompressobj(_ZLIB[coding])

    def decode(data: bytes) -> bytes:
        try:
            plain = decompressor.decompress(data, max_piece)
        except zlib.error as error:
            raise UndecodableReply(f"The provider's compressed reply is broken: {error}.") from None
        if decompressor.unconsumed_tail:
            raise UndecodableReply(f"The provider's reply grows to over {max_piece} bytes at once.")
        return plain

    return decode
