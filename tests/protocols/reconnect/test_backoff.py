"""Waits grow, are random, and are never less than a server asked; patience is used up by failures, not by clocks."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_protocols.reconnect import Backoff, Patience
from stream_protocols.reconnect.backoff import MAX_HINT, MAX_STEP

HIGH = 1.0 - 2.0**-53
chances = st.floats(0, HIGH)


def test_ceilings_double_up_to_the_cap() -> None:
    backoff = Backoff(lambda: 1.0, base=0.5, cap=30)
    assert [backoff.next() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_jitter_is_full() -> None:
    """Anything from nothing to the ceiling, so that those who fell together do not rise together."""
    waits = []
    for seed in range(2000):
        backoff = Backoff(random.Random(seed).random, base=1, cap=8)
        backoff.attempts = 3
        waits.append(backoff.next())
    assert min(waits) < 0.1
    assert max(waits) > 7.9
    assert sum(waits) / len(waits) == pytest.approx(4, rel=0.1)


def test_progress_makes_the_next_failure_a_first_one() -> None:
    backoff = Backoff(lambda: 1.0, base=1)
    assert [backoff.next(), backoff.next()] == [1, 2]
    backoff.progress()
    assert backoff.next() == 1


@given(chances, st.integers(0, 10**6), st.floats(0, 1000), st.one_of(st.none(), st.floats(0, 1e9)))
def test_a_wait_is_bounded_and_never_under_what_was_asked(
    chance: float, attempts: int, floor: float, hint: float | None
) -> None:
    backoff = Backoff(lambda: chance)
    backoff.attempts, backoff.floor = attempts, floor
    least = min(max(floor, hint or 0), MAX_HINT)
    assert least <= backoff.next(hint) <= least + 30


def test_patience_ends_after_its_seconds() -> None:
    patience = Patience(20, now=100)
    assert not patience.failed(110)
    assert patience.failed(120)


def test_progress_restores_patience() -> None:
    patience = Patience(20, now=0)
    assert not patience.failed(15)
    patience.progress(1000)
    assert not patience.failed(1010)


def test_some_wait_for_ever() -> None:
    patience = Patience(None, now=0)
    assert not any(patience.failed(1000.0 * step) for step in range(1000))


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_a_jump_of_the_clock_costs_one_step_of_patience(now: float, later: float) -> None:
    patience = Patience(MAX_STEP * 2, now)
    assert not patience.failed(later)
    assert 0 <= patience.spent <= MAX_STEP
