"""A circuit breaker: a target that keeps failing is left alone, and let back in by the drop.

    CLOSED ── too many failures ──▶ OPEN ── its time is up ──▶ HALF_OPEN ── enough trials succeed ──▶ CLOSED
                                      ▲                            │
                                      └────── a trial fails ───────┘

Rules that the picture cannot say:

- Too many is `failures` in a row, or as many within about `WINDOW` seconds that are at least half of all.
- HALF_OPEN begins with one trial at a time. Each that succeeds doubles how many may run, so that a target which has
  just recovered meets a ramp and not a herd.
- Each trial that fails doubles the time until the next, up to `MAX_OPEN` seconds.
- An attempt that began before the last change of state says nothing about the present one, and is not counted.
"""

import math
from enum import StrEnum
from typing import Final

WINDOW: Final = 10.0
"""Seconds after which an outcome counts for about a third (1/e) of a fresh one."""

RATIO: Final = 0.5
"""The share of failures that is too much."""

RAMP: Final = 4
"""Trials that have to succeed: 1, 2, 4, then 8 at a time."""

MAX_OPEN: Final = 60.0
"""Seconds: a target that has recovered should not be left alone for longer, however long it was away."""


class BreakerState(StrEnum):
    """Where a breaker is."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """One target's breaker.

    Args:
        failures: how many are too many.
        open_for: seconds for which the target is left alone at first.
    """

    def __init__(self, failures: int, open_for: float) -> None:
        self._limit = failures
        self._open_for = open_for
        self._state = BreakerState.CLOSED
        self._era = 0
        self._in_a_row = 0
        self._failed = self._succeeded = 0.0
        self._counted_at = 0.0
        self._until = 0.0
        self._openings = 0
        self._trials = 0
        self._passed = 0

    def state(self, now: float) -> BreakerState:
        """Its state; time alone makes it half-open."""
        if self._state is BreakerState.OPEN and now >= self._until:
            return BreakerState.HALF_OPEN
        return self._state

    def allows(self, now: float) -> bool:
        """Whether an attempt may begin."""
        state = self.state(now)
        if state is BreakerState.HALF_OPEN:
            return self._state is BreakerState.OPEN or self._trials < 2**self._passed
        return state is BreakerState.CLOSED

    def opens_in(self, now: float) -> float:
        """Seconds until an attempt may begin, as far as time decides."""
        return max(self._until - now, 0.0) if self._state is BreakerState.OPEN else 0.0

    def begin(self, now: float) -> int:
        """An attempt begins; the number returned is given back with what becomes of it, `drop` or `succeed` once."""
        if self._state is BreakerState.OPEN and now >= self._until:
            self._enter(BreakerState.HALF_OPEN)
        if self._state is BreakerState.HALF_OPEN:
            self._trials += 1
        return self._era

    def succeed(self, era: int, now: float) -> None:
        """An attempt gave a first token."""
        if era != self._era:
            return
        self._count(now)
        self._succeeded += 1
        self._in_a_row = 0
        if self._state is BreakerState.HALF_OPEN:
            self._trials -= 1
            self._passed += 1
            if self._passed == RAMP:
                self._openings = 0
                self._enter(BreakerState.CLOSED)

    def fail(self, era: int, now: float) -> None:
        """An attempt failed, before its first token or after."""
        if era != self._era:
            return
        self._count(now)
        self._failed += 1
        self._in_a_row += 1
        many = self._failed >= self._limit - 0.5 and self._failed >= RATIO * (self._failed + self._succeeded)
        if self._state is BreakerState.HALF_OPEN or self._in_a_row >= self._limit or many:
            self._until = now + min(self._open_for * 2.0**self._openings, max(MAX_OPEN, self._open_for))
            self._openings += 1
            self._enter(BreakerState.OPEN)

    def drop(self, era: int) -> None:
        """An attempt was given up before anything could be said about the target."""
        if era == self._era and self._state is BreakerState.HALF_OPEN:
            self._trials -= 1

    def _count(self, now: float) -> None:
        fade = math.exp((self._counted_at - now) / WINDOW)
        self._failed *= fade
        self._succeeded *= fade
        self._counted_at = now

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self._era += 1
        self._in_a_row = 0
        self._failed = self._succeeded = 0.0
        self._trials = self._passed = 0
