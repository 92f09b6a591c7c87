"""When to try again, and when to give up."""

import math
from collections.abc import Callable
from typing import Final

BASE: Final = 0.5
CAP: Final = 30.0

MAX_HINT: Final = 300.0
"""Seconds: a server that says more is misconfigured, or wants to be rid of us for good, and has a status for that."""

_DOUBLINGS: Final = 32  # beyond any cap, and far below what overflows

MAX_STEP: Final = 15.0
"""Seconds that one failure may use up of somebody's patience: a clock that jumps by hours does not use up all of it."""


class Backoff:
    """Exponential backoff with full jitter: each wait is drawn from zero to a ceiling that doubles with every failure.

    Full, because clients that lost their connections together must not come back together.

    Args:
        chance: gives numbers from 0 up to 1, such as `random.random`.
        base, cap: the first ceiling and the highest one, in seconds.

    Attributes:
        attempts: failures since there last was progress.
        floor: seconds below which no wait may be: what a server said with `retry:` (WHATWG HTML §9.2.6).
    """

    def __init__(self, chance: Callable[[], float], *, base: float = BASE, cap: float = CAP) -> None:
        self.attempts = 0
        self.floor = 0.0
        self._chance = chance
        self._base = base
        self._cap = cap

    def next(self, hint: float | None = None) -> float:
        """Seconds to wait after one more failure; `hint` is the least that the server has asked for."""
        ceiling = min(self._cap, self._base * 2.0 ** min(self.attempts, _DOUBLINGS))
        self.attempts += 1
        least = self.floor if hint is None else max(hint, self.floor)
        return min(max(least, 0.0), MAX_HINT) + self._chance() * ceiling

    def progress(self) -> None:
        """Something new has arrived: the next failure is a first one. A connection alone is no progress."""
        self.attempts = 0


class Patience:
    """How long failures may go on without progress.

    Args:
        limit: seconds; None for ever.
        now: the time, in the caller's seconds.
    """

    def __init__(self, limit: float | None, now: float) -> None:
        self.limit = limit
        self.spent = 0.0
        self._since = now

    @property
    def left(self) -> float:
        """Seconds until it ends, if failures go on."""
        return math.inf if self.limit is None else max(self.limit - self.spent, 0.0)

    def progress(self, now: float) -> None:
        """All is well again."""
        self.spent = 0.0
        self._since = now

    def failed(self, now: float) -> bool:
        """Note a failure; whether patience is at its end."""
        self.spent += min(max(now - self._since, 0.0), MAX_STEP)
        self._since = now
        return self.limit is not None and self.spent >= self.limit
