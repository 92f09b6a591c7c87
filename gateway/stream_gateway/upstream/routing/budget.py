"""Budgets: retries and hedges may only be a share of the requests, however badly things go."""

from typing import Final

RESERVE: Final = 10.0
"""Retries that a route may use before it has seen the requests for them: a quiet one shall retry, too."""

REFILL: Final = 0.1
"""What a second brings at a route so quiet that its requests bring less: a retry every ten seconds."""


class Budget:
    """A token bucket that requests fill.

    Args:
        ratio: tokens that a request brings.
        reserve: tokens that are there at first, and the most that there ever are; at least one.
        refill: tokens that a second brings at least.
    """

    def __init__(self, ratio: float, reserve: float = RESERVE, refill: float = REFILL) -> None:
        self._ratio = ratio
        self._most = max(reserve, 1.0)
        self._tokens = reserve
        self._refill = refill
        self._brought = 0.0  # by requests since `_at`, and before that more than time would have
        self._at: float | None = None

    def deposit(self) -> None:
        """A request came."""
        self._tokens = min(self._tokens + self._ratio, self._most)
        self._brought += self._ratio

    def take(self, now: float) -> bool:
        """Spend a token, if there is one."""
        if self._ratio == 0:
            return False
        if self._at is not None:
            missing = (now - self._at) * self._refill - self._brought
            self._tokens = min(self._tokens + max(missing, 0.0), self._most)
            self._brought = min(max(-missing, 0.0), self._most)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
