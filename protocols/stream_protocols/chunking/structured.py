"""Strategies for what machines read: `lines` and `json`."""

from typing import Final

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


class Json(Chunker):
    """JSON in pieces that end between tokens, so that a parser of partial JSON always has whole strings and numbers."""

    patience = 1.0

    def __init__(self) -> None:
        self._in_string = False
        self._escaped = False

    def cut(self, waiting: Waiting) -> int:
        text = waiting.text
        end = self._last_boundary(text)
        if not end and (waiting.final or len(text) > MAX_LINE):
            end = safe_cut(text, MAX_LINE)
        self._advance(text[:end])
        return end

    def _last_boundary(self, text: str) -> int:
        """After the last `,`, `:`, bracket or space that is not inside a string."""
        in_string, escaped, end = self._in_string, self._escaped, 0
        for index, character in enumerate(text, 1):
            if in_string:
                if escaped:
                    escaped = False
                elif character == "\\":
                    escaped = True
                elif character == '"':
                    in_string, end = False, index
            elif character == '"':
                in_string = True
            elif character in ",:{}[] \t\r\n":
                end = index
        return end

    def _advance(self, text: str) -> None:
        """Remember whether what has left ends inside a string."""
        for character in text:
            if self._escaped:
                self._escaped = False
            elif self._in_string and character == "\\":
                self._escaped = True
            elif character == '"':
                self._in_string = not self._in_string
