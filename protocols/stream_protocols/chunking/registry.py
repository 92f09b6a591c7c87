"""Chunking strategies by name, as requests and configurations write them: `sentences`, `bytes:256`, `interval:40`."""

from collections.abc import Callable, Mapping
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


def chunking(text: str, custom: Mapping[str, MakeChunker] | None = None, *, field: str = "chunking") -> MakeChunker:
    """The strategy that a text names.

    Args:
        custom: further strategies by their names.
        field: where the text stood, for the error.

    Raises:
        InvalidField: there is none of that name, or its number is out of range.
    """
    name, _, number = text.partition(":")
    plain = _PLAIN.get(text) or (custom or {}).get(text)
    if plain is not None:
        return plain
    if name == "bytes":
        size = _number(text, number, MAX_BYTES, field)
        return (lambda: Bytes(size)) if size else Bytes
    if name == "interval":
        milliseconds = _number(text, number, MAX_INTERVAL, field)
        return (lambda: Interval(milliseconds / 1000)) if milliseconds else Interval
    known = ", ".join([*_PLAIN, "bytes:SIZE", "interval:MILLISECONDS", *(custom or {})])
    raise InvalidField(f"Field `{field}` is wrong: there is no chunking {text[:64]!r}; known: {known}.", param=field)


def is_taken(name: str) -> bool:
    """Whether a name cannot be given to a strategy of somebody's own."""
    return name in _PLAIN or name.partition(":")[0] in ("bytes", "interval")


def _number(text: str, number: str, limit: int, field: str) -> int:
    """The number of a strategy; 0 when it has none."""
    if not number and ":" not in text:
        return 0
    if not (number.isascii() and number.isdecimal() and len(number) < 10 and 1 <= int(number) <= limit):
        message = f"Field `{field}` is wrong: {text[:64]!r} needs a whole number from 1 to {limit}."
        raise InvalidField(message, param=field)
    return int(number)
