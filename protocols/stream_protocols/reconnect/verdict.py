"""Whether to come back after a refusal or a close, and what the server asks for first."""

import calendar
import re
from typing import Final

import msgspec

from stream_protocols.closing import should_reconnect


class Verdict(msgspec.Struct, frozen=True):
    """Come back or not; `after` are the seconds that the server wants us to wait at least, if it said so."""

    come_back: bool
    after: float | None = None


STOP: Final = Verdict(False)
COME_BACK: Final = Verdict(True)

_TRANSIENT: Final = frozenset({408, 421, 425, 429})
"""The statuses below 500 that another try may change (RFC 9110 §15.5.9, §15.5.20; RFC 8470; RFC 6585)."""

_FINAL: Final = frozenset({501, 505, 506, 508, 510, 511})
"""Those from 500 on that say what the server will never do, or that a network wants a login (RFC 6585 §6)."""

_HINT: Final = re.compile(r"retry-after=(\d{1,9}(?:\.\d{1,9})?)")
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE: Final = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) (" + "|".join(_MONTHS) + r") ([0-9]{4}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)


def on_status(status: int, *, retry_after: str | None = None, date: str | None = None) -> Verdict:
    """What an HTTP status asks of a client that wanted a stream and got this instead.

    Args:
        retry_after, date: the response's headers of these names, if it has them.
    """
    if status in _FINAL or (status < 500 and status not in _TRANSIENT):
        return STOP
    return Verdict(True, _seconds(retry_after, date))


def on_close(code: int, reason: str = "") -> Verdict:
    """What a WebSocket's close code asks; a reason may hold `retry-after=SECONDS`."""
    if not should_reconnect(code):
        return STOP
    hint = _HINT.search(reason)
    return Verdict(True, float(hint[1])) if hint else COME_BACK


def _seconds(retry_after: str | None, date: str | None) -> float | None:
    """Retry-After in seconds (RFC 9110 §10.2.3).

    A date is compared with the response's own Date, not with our clock, which may be wrong by hours.
    """
    if retry_after is None:
        return None
    if _SECONDS.fullmatch(retry_after.strip()):
        return float(retry_after)
    then, now = _timestamp(retry_after), _timestamp(date or "")
    return None if then is None or now is None else float(max(then - now, 0))


def _timestamp(text: str) -> int | None:
    """An IMF-fixdate as Unix seconds (RFC 9110 §5.6.7); the obsolete forms are nobody's any more."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    day, month, year, hour, minute, second = match.groups()
    if int(year) < 1970 or int(day) < 1:
        return None
    return calendar.timegm((int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second)))
