"""Budgets: retries and hedges may only be a share of the requests, however badly things go."""

from typing import Final

RESERVE: Final = 10.0
"""Retries that a route may use before it has seen the requests for them: a quiet one shall retry, too."""

REFILL: Final = 0.1
"""Of the reserve, regained each second; at a quiet route a retry every ten seconds."""


class Budget:
    """A token bucket that requests fill.

    Args:
        ratio: tokens that a request brings.
        reserve: tokens that are there at first, and the most that there ever are; at least one.
        refill: tokens that a second brings.
    """

    def __init__(self, ratio: float, reserve: float = RESERVE, refill: float = REFILL) -> None:
        self._ratio = ratio
        self._most = max(reserve, 1.0)
        self._tokens = reserve
        self._refill = refill
        self._at: float | None = None

    def deposit(self) -> None:
        """A request came."""
        self._tokens = min(self._tokens + self._ratio, self._most)

    def take(self, now: float) -> bool:
        """Spend a token, if there is one."""
        if self._ratio == 0:
            return False
        if self._at is not None:
            self._tokens = min(self._tokens + (now - self._at) * self._refill, self._most)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
