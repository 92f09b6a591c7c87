"""What generations of Gemini take in a request that others refuse, by their names.

The generations up to 2.5 are a closed list, so nothing here needs care as new ones come. Aliases
(`gemini-flash-latest`) name newer ones; what is no Gemini (Gemma) takes what the older ones do.
"""

import re
from typing import Final

_FROM_3: Final = re.compile(r"gemini-(?![12](?:\D|$)|pro(?:$|-vision)|exp-1)")
_PRO: Final = re.compile(r"-pro\b")


def is_newer(model: str) -> bool:
    """Whether it is of generation 3 or later: it is told levels of thinking, and insists on signed function calls."""
    return _FROM_3.search(model) is not None


def lowest_level(model: str) -> str:
    """The least that a model of generation 3 or later can think; none of them can be told not to."""
    return "low" if _PRO.search(model) else "minimal"
