"""Reading what providers say: whatever stands there, something can be said about it."""

import re
from typing import Final

import msgspec

NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on bytes that are no JSON, or are nested so deep that they are an attack."""

_HEADER: Final = re.compile(r"[\x20-\x7e]{1,64}")


def tokens(value: object) -> int:
    """A number of tokens, whatever stands there; within what every encoding can carry."""
    if not isinstance(value, int | float) or value != value:
        return 0
    return int(min(max(value, 0), 2**53))


def header(value: str | None) -> str | None:
    """A value that may be handed on as a header's; None when it may not."""
    return value if value is not None and _HEADER.fullmatch(value) else None
