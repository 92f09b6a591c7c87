"""Strategies for what machines read: `lines` and `json`."""

from typing import Final

import regex

from stream_protocols.chunking.base import Chunker, Waiting
from stream_protocols.chunking.boundaries import safe_cut

MAX_LINE: Final = 16_384
"""Characters that are held for a line's or a value's end; then they leave without it."""


class Lines(Chunker):
    """Whole lines: code, tables, JSON lines."""

    patience = 1.0

    def cut(self, waiting: Waiting) -> int:
        end = waiting.text.rfind("\n") + 1
        if end or (not waiting.final and len(waiting.text) <= MAX_LINE):
            return end
        return safe_cut(waiting.text, MAX_LINE)


_TOKENS: Final = regex.compile(r'"(?:[^"\\]|\\.)*+(?:"|(\\?)\Z)|[,:{}\[\]\s]', regex.DOTALL)
"""What ends between two tokens (RFC 8259 §7): a string, or a character that separates. The group: one has not ended."""


class Json(Chunker):
    """JSON in pieces that end between tokens, so that a parser of partial JSON always has whole strings and numbers."""

    patience = 1.0

    def __init__(self) -> None:
        self._inside = ""  # of a string that left without its end: the quotation mark, and a backslash if that was last

    def cut(self, waiting: Waiting) -> int:
        begun = len(self._inside)
        text = self._inside + waiting.text
        end = max((match.end() for match in _TOKENS.finditer(text) if match[1] is None), default=0)
        if end <= begun and (waiting.final or len(waiting.text) > MAX_LINE):
            end = begun + safe_cut(waiting.text, MAX_LINE)
        if end > begun:
            left = [match[1] for match in _TOKENS.finditer(text[:end])]
            self._inside = '"' + left[-1] if left and left[-1] is not None else ""
        return max(end - begun, 0)
