"""Strategies that look at size and time: `bytes` and `interval`."""

from typing import Final

from stream_protocols.chunking.base import Chunker, Waiting
from stream_protocols.chunking.boundaries import utf8_cut, utf8_length

CHUNK_BYTES: Final = 128
INTERVAL: Final = 0.04
"""One frame in 40 ms: 25 a second, which a screen can show and an eye can follow."""


class Bytes(Chunker):
    """Chunks of `size` bytes of UTF-8: small deltas are merged, large ones split between characters.

    Args:
        size: of one chunk; the last one of a run may be smaller, and one with a longer character larger.
    """

    patience = 0.2

    def __init__(self, size: int = CHUNK_BYTES) -> None:
        self._size = size

    def cut(self, waiting: Waiting) -> int:
        text, size = waiting.text, self._size
        if not waiting.final and len(text) < size and utf8_length(text) < size:
            return 0
        return utf8_cut(text, size)


class Interval(Chunker):
    """One chunk in `seconds`, of all that has come; the first one at once, and any after a pause as well."""

    def __init__(self, seconds: float = INTERVAL) -> None:
        self.patience = seconds

    def cut(self, waiting: Waiting) -> int:
        return len(waiting.text) if waiting.final or waiting.since >= self.patience else 0

    def hold(self, waited: float, since: float) -> float:
        return self.patience - since
