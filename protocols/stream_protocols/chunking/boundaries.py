"""Where a text may be cut: never inside what a reader sees as one character, nor inside a JSON escape."""

from collections.abc import Iterator
from typing import Final

import regex

_GRAPHEME: Final = regex.compile(r"\X")
"""An extended grapheme cluster (Unicode UAX #29)."""

_ESCAPE: Final = regex.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9A-Fa-f]{0,3})?)\Z")
"""An unfinished JSON escape at the end of a text (RFC 8259 §7)."""

_SURROGATE: Final = regex.compile(r"\\u[dD][89abAB][0-9A-Fa-f]{2}\Z")
"""The first half of an escaped pair; without the second it is no character."""

_LOOK_BACK: Final = 64
"""Characters before a cut that are looked at: longer clusters are no writing, but an attack on the reader's eyes."""


def safe_cut(text: str, limit: int) -> int:
    """The largest cut of at most `limit` characters, at least 1, that divides neither a grapheme nor a JSON escape."""
    if limit >= len(text):
        return len(text)
    limit = max(limit, 1)
    cut = _before_escape(text, _before_grapheme(text, limit))
    if cut:
        return cut
    # The text begins with something longer than the limit: it goes as a whole.
    match = _GRAPHEME.match(text)
    return _after_escape(text, match.end() if match else 1)


def is_safe(text: str, cut: int) -> bool:
    """Whether a cut divides neither a grapheme nor a JSON escape."""
    return safe_cut(text, cut) == cut


def _before_grapheme(text: str, limit: int) -> int:
    start = max(limit - _LOOK_BACK, 0)
    cut = start
    for match in _GRAPHEME.finditer(text, start, limit + _LOOK_BACK):
        if match.end() > limit:
            break
        cut = match.end()
    return cut


def _before_escape(text: str, cut: int) -> int:
    start = max(cut - _LOOK_BACK, 0)
    while start and text[start - 1] == "\\":  # which of a row of them begins an escape, its beginning decides
        start -= 1
    if match := _ESCAPE.search(text, start, cut):
        cut = match.start(1)
    if match := _SURROGATE.search(text, start, cut):
        cut = match.start()
    return cut


def _after_escape(text: str, cut: int) -> int:
    if text.startswith("\\u"):
        return min(12 if _SURROGATE.match(text[:6]) else 6, len(text))
    return min(2, len(text)) if text[0] == "\\" else cut


def utf8_cut(text: str, size: int) -> int:
    """The largest safe cut of at most `size` bytes of UTF-8; of more, if one grapheme is that large."""
    head = text[:size]
    if not head.isascii():
        # Back from a byte that continues a character; a surrogate, which no JSON should hold, counts as three bytes.
        encoded = head.encode("utf-8", "surrogatepass")
        stop = min(size, len(encoded))
        while stop < len(encoded) and encoded[stop] & 0xC0 == 0x80:
            stop -= 1
        head = encoded[:stop].decode("utf-8", "surrogatepass")
    return safe_cut(text, len(head))


def utf8_length(text: str) -> int:
    """Bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def word_ends(text: str) -> Iterator[int]:
    """Where words end that are complete: before a space, after a character of a writing without spaces."""
    for match in _WORD_END.finditer(text):
        yield match.end()


_WORD_END: Final = regex.compile(
    r"\S\s+(?=\S)|[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\X??(?=\p{L})"
)
