"""Chunking strategies by name, as requests and configurations write them: `sentences`, `bytes:256`, `interval:40`."""

from collections.abc import Callable
from typing import Final

from stream_protocols.chunking.adaptive import Adaptive
from stream_protocols.chunking.base import Chunker
from stream_protocols.chunking.sizes import Bytes, Interval
from stream_protocols.chunking.structured import Json, Lines
from stream_protocols.chunking.words import Sentences, Words
from stream_protocols.errors import InvalidField

DEFAULT: Final = "adaptive"

PASSTHROUGH: Final = "passthrough"

MakeChunker = Callable[[], Chunker | None]
"""Makes a client's own chunker; None: events leave as they are, also to a client that lags."""

MAX_BYTES: Final = 65_536
MAX_INTERVAL: Final = 5_000

_PLAIN: Final[dict[str, MakeChunker]] = {
    DEFAULT: Adaptive,
    PASSTHROUGH: lambda: None,
    "words": Words,
    "sentences": Sentences,
    "lines": Lines,
    "json": Json,
}


def chunking(text: str, custom: "dict[str, MakeChunker] | None" = None) -> MakeChunker:
    """The strategy that a text names.

    Args:
        custom: further strategies by their names.

    Raises:
        InvalidField: there is none of that name, or its number is out of range.
    """
    name, _, number = text.partition(":")
    plain = (custom or {}).get(text) or _PLAIN.get(text)
    if plain is not None:
        return plain
    if name == "bytes":
        size = _number(text, number, MAX_BYTES)
        return (lambda: Bytes(size)) if size else Bytes
    if name == "interval":
        milliseconds = _number(text, number, MAX_INTERVAL)
        return (lambda: Interval(milliseconds / 1000)) if milliseconds else Interval
    known = ", ".join([*_PLAIN, "bytes:SIZE", "interval:MILLISECONDS", *(custom or {})])
    raise InvalidField(f"There is no chunking {text[:64]!r}; use one of {known}.", param="chunking")


def _number(text: str, number: str, limit: int) -> int:
    """The number of a strategy; 0 when it has none."""
    if not number and ":" not in text:
        return 0
    if not (number.isascii() and number.isdecimal() and len(number) < 10 and 1 <= int(number) <= limit):
        raise InvalidField(f"Chunking {text[:64]!r} needs a whole number from 1 to {limit}.", param="chunking")
    return int(number)
