"""Content codings for streams: each piece can be decoded the moment it arrives.

A `Codec` makes `Compressor`s, one for each response; `registry` finds codecs by the names in a configuration; a
`Budget` decides which one a client gets while memory is short; `dictionary` is what clients may have beforehand.
"""

from stream_protocols.encodings.base import Codec, Compressor
from stream_protocols.encodings.budget import Budget, Grant
from stream_protocols.encodings.registry import Tuning, load_codec

__all__ = ["Budget", "Codec", "Compressor", "Grant", "Tuning", "load_codec"]
