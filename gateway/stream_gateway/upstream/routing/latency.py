"""First-token times: what a target's is right now, and what a route's usually is."""

import bisect
import collections
import math
from typing import Final

DECAY: Final = 5.0
"""Seconds after which a time that was not seen again counts for about a third (1/e)."""

PENALTY: Final = 2.0
"""A failure counts as a first token that took so many times as long as usual."""

MIN_PENALTY: Final = 1.0
"""Seconds that a failure counts for at least: a target that refuses at once is not a fast one."""

SAMPLES: Final = 256
"""First-token times that a route remembers: enough for its 95th percentile, and soon replaced by newer ones."""

MIN_SAMPLES: Final = 20
"""Times without which nothing is said: below, the 95th percentile is the slowest one seen."""


class PeakEwma:
    """An average that jumps up at once and comes down in time (peak exponentially weighted moving average).

    Worse news is believed at once, better news by and by. A target that is not asked for a while is forgiven, which is
    how it gets the request that shows whether it has recovered.
    """

    __slots__ = ("_at", "last")

    def __init__(self) -> None:
        self.last = 0.0
        """Its value when it was last observed; 0 when it never was."""
        self._at = 0.0

    def value(self, now: float) -> float:
        """Seconds, less the longer nothing was observed."""
        return self.last * math.exp((self._at - now) / DECAY)

    def observe(self, seconds: float, now: float) -> None:
        """A first token took so long."""
        keep = math.exp((self._at - now) / DECAY)
        self.last = max(seconds, self.last * keep + seconds * (1 - keep))
        self._at = now

    def penalise(self, seconds: float, now: float) -> None:
        """An attempt failed after so long."""
        self.observe(max(seconds, MIN_PENALTY, self.value(now) * PENALTY), now)


class Quantiles:
    """The quantiles of the last `SAMPLES` times."""

    __slots__ = ("_ordered", "_recent")

    def __init__(self) -> None:
        self._recent: collections.deque[float] = collections.deque()
        self._ordered: list[float] = []

    def observe(self, seconds: float) -> None:
        """Remember a time, and forget the oldest for it."""
        if len(self._recent) == SAMPLES:
            del self._ordered[bisect.bisect_left(self._ordered, self._recent.popleft())]
        self._recent.append(seconds)
        bisect.insort(self._ordered, seconds)

    def quantile(self, share: float) -> float | None:
        """What so large a share of the times does not exceed; None while too few are known."""
        if len(self._ordered) < MIN_SAMPLES:
            return None
        return self._ordered[min(math.ceil(share * len(self._ordered)), len(self._ordered)) - 1]
