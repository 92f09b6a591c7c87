"""What may be tried again, and when."""

import email.utils
import math
from typing import Final

from stream_protocols.events import StreamFailed

RETRIABLE: Final = frozenset({408, 429, 500, 502, 503, 504, 529})
"""Statuses that say something about the moment, not about the request: another target, or time, may help.

What has no status of its own is among them: refused and broken connections and garbage are 502, silence is 504.
"""

OVERLOADED: Final = frozenset({429, 503, 529})
"""Statuses of a target that is there and has too much to do: with `Retry-After`, it is left alone until then."""


def status_of(failure: StreamFailed) -> int:
    """The HTTP status that says what a failure is; some providers put it into `code` when their answer has begun."""
    if failure.status == 502 and len(failure.code) == 3 and failure.code.isascii() and failure.code.isdecimal():
        return int(failure.code)
    return failure.status


def is_retriable(failure: StreamFailed) -> bool:
    """Whether the same request may fare better elsewhere or later."""
    return status_of(failure) in RETRIABLE


def blames_target(failure: StreamFailed) -> bool:
    """Whether a failure shows that the target is not well, rather than busy, or right to refuse."""
    return is_retriable(failure) and status_of(failure) != 429


def retry_after(failure: StreamFailed, wall: float) -> float | None:
    """Seconds that a provider asked to be left alone (RFC 9110 §10.2.3); None when it did not, or not clearly.

    Args:
        wall: Unix time, because a provider may name a date.
    """
    text = (failure.retry_after or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - wall
        except (ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def backoff(retry: int, base: float, most: float, chance: float) -> float:
    """Seconds before retry number `retry` (from 0) at the same target: full jitter.

    Args:
        base: seconds that the first retry waits at most.
        most: seconds that any waits at most.
        chance: from 0 to 1.
    """
    return float(chance * min(most, base * 2.0**retry))
