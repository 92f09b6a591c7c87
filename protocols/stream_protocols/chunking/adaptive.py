"""`adaptive`, the default: who keeps up gets every event at once, who lags gets what waits as one chunk."""

from typing import ClassVar, Final

from stream_protocols.chunking.base import Chunker, Conditions, Waiting
from stream_protocols.chunking.boundaries import safe_cut

FLOOR: Final = 256
"""Characters of a chunk at the least: below, its envelope would weigh more than its text."""

CEILING: Final = 32_768
"""And at the most: a client can read a chunk only when all of it has come."""

HORIZON: Final = 0.1
"""Seconds of the connection's rate that one chunk may take on the wire: as long as it keeps what follows waiting."""


FAR: Final = 0.1
"""Seconds of round trip from which on a network is slow in itself, and a few more milliseconds are not felt."""

PACE: Final = 0.04
"""How much of the round trip then lies between two chunks, at least: not enough to be felt."""


GRAIN: Final = 0.005
"""Seconds below which a pace is no pace: nobody sees it, and a timer costs more than it saves."""


class Adaptive(Chunker):
    """What waits, up to what the connection carries in `HORIZON`, cut at the end of a line, else of a word.

    Of a line, however short: a highlighter should not see half of one of code, and a fence may have begun long before.
    At worst that makes every other chunk a short one.
    """

    immediate: ClassVar[bool] = True

    def __init__(self) -> None:
        self._size = CEILING

    def observe(self, conditions: Conditions) -> None:
        self.pace = _pace(conditions)
        if conditions.rate:
            horizon = max(HORIZON, conditions.rtt / 2)
            self._size = round(min(max(conditions.rate * horizon, FLOOR), CEILING))

    def hold(self, waited: float, since: float) -> float:
        return self.pace - since

    def cut(self, waiting: Waiting) -> int:
        text = waiting.text
        if waiting.since < self.pace and not waiting.final:
            return 0
        if len(text) <= self._size:
            return len(text)
        cut = safe_cut(text, self._size)
        line = text.rfind("\n", 0, cut) + 1
        if line:
            return line
        word = text.rfind(" ", 0, cut) + 1
        return word if word > cut // 2 else cut


def _pace(conditions: Conditions) -> float:
    """Seconds between two chunks, so that the packets of a round trip last until it is over."""
    round_trip = conditions.least_rtt
    pace = round_trip / conditions.window if conditions.window else 0.0
    if round_trip >= FAR:
        pace = max(pace, PACE * round_trip)
    return pace if pace >= GRAIN else 0.0
