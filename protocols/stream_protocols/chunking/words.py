"""Strategies that look at language: `words` and `sentences`."""

from typing import Final

import regex

from stream_protocols.chunking.base import Chunker, Waiting
from stream_protocols.chunking.boundaries import is_safe, safe_cut, word_ends

_SPACELESS: Final = "。！？｡︒﹒．"
"""Sentence ends of writings that put no space after them."""

_STOPS: Final = ".!?…؟۔։।॥።"
"""Of the others."""

_END: Final = regex.compile(
    rf"""
    [{_SPACELESS}]+ [\p{{Pe}}\p{{Pf}}"'」』]* \s*
    | (?<![{_STOPS}]) [{_STOPS}]++ [\p{{Pe}}\p{{Pf}}"'*_]*+ \s+
    | \n[ \t]*\n\s*
    | \n (?=[-*•\d\#])
    """,
    regex.VERBOSE,
)
"""What may end a sentence: a full stop with what closes behind it and the space after that, or a paragraph's end.

A row of stops is looked at once, from its beginning: leaders of a table of contents may have thousands.
"""

_ABBREVIATION: Final = regex.compile(
    r"""(?: ^ | [\s(\["'“„«] ) (?:
        (?-i: \p{Lu} )                                    # an initial: J. S. Bach
        | (?: \p{L}\. )+ \p{L}                            # e.g., i.e., z.B., U.S.
        | mr|mrs|ms|dr|prof|st|jr|sr|mt|vs|etc|cf|ca|approx|dept|gov|inc|ltd|et\ al
        | (?-i: Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Gen|Fig )
        | bzw|bspw|ggf|usw|vgl|hr|fr|nr|abb|evtl          # German
        | mm|mme|mlle|p\.\ ex                             # French
        | sra|srta|dra|ud|uds|pág|núm                     # Spanish, Portuguese
    ) $""",
    regex.VERBOSE | regex.IGNORECASE,
)
"""Words before a full stop that ends no sentence."""

_NUMBERED: Final = regex.compile(r"(?:^|\s)(?:nos?|figs?|vols?|pp?|eds?|secs?|ch)$", regex.IGNORECASE)
"""Words that are abbreviations before a number, and may end a sentence elsewhere."""

_ORDINAL: Final = regex.compile(r"(?:^|\n|\s)\d{1,3}$")
"""A number before a full stop: of a list, or an ordinal (German "am 3. Mai")."""


class Words(Chunker):
    """Whole words: what may still be the beginning of a longer one waits for its end."""

    patience = 0.25

    def cut(self, waiting: Waiting) -> int:
        if waiting.final:
            return len(waiting.text)
        return _last_word(waiting.text, len(waiting.text))


class Sentences(Chunker):
    """One sentence a chunk, for captions and for speech; one that is long, or does not end in time, leaves in parts."""

    patience = 1.0

    MAX: Final = 400
    """Characters after which a sentence is given out at a word's end: no caption and no breath is longer."""

    def cut(self, waiting: Waiting) -> int:
        # No more than may leave, and one character to see what follows: the text may be that of an hour.
        text = waiting.text[: self.MAX + 1]
        for match in _END.finditer(text):
            # At the very end of what has come, a space may be followed by anything: that is enough for a sentence.
            if match.end() <= self.MAX and is_safe(text, match.end()) and not _goes_on(text, match):
                return int(match.end())
        if len(text) > self.MAX:
            return _last_word(text, self.MAX) or safe_cut(waiting.text, self.MAX)
        return len(text) if waiting.final else 0


def _last_word(text: str, limit: int) -> int:
    """Where the last complete word ends of the first `limit` characters; 0: there is none."""
    ends = [end for end in word_ends(text) if end <= limit]
    while ends and not is_safe(text, ends[-1]):  # a space may carry an accent
        ends.pop()
    return ends[-1] if ends else 0


def _goes_on(text: str, match: "regex.Match[str]") -> bool:
    """Whether a full stop ends an abbreviation or a number, and not a sentence."""
    if not match[0].startswith(".") or match[0].startswith(".."):
        return False
    before, after = text[max(match.start() - 24, 0) : match.start()], text[match.end() : match.end() + 1]
    if after.islower() or (after.isdigit() and _NUMBERED.search(before)):
        return True
    return bool(_ABBREVIATION.search(before) or _ORDINAL.search(before))
