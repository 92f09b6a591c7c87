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


def error_of(body: bytes) -> object:
    """The `error` member of a provider's error reply, which may be anything; None where there is none."""
    try:
        data = msgspec.json.decode(body)
    except NOT_JSON:
        return None
    if isinstance(data, list) and data:  # Google's, where an array was to be streamed
        data = data[0]
    return data.get("error") if isinstance(data, dict) else None


def refusal_of(status: int) -> str:
    """What can be said of an error reply that says nothing itself."""
    return f"The provider answered with HTTP status {status}."


def header(value: str | None) -> str | None:
    """A value that may be handed on as a header's; None when it may not."""
    return value if value is not None and _HEADER.fullmatch(value) else None
