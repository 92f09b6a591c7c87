"""The breaker: when it opens, whom it lets in, and what it never does, whatever happens in whichever order."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream_gateway.upstream.routing.breaker import MAX_OPEN, RAMP, Breaker, BreakerState

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def opened(failures: int = 3, open_for: float = 5.0) -> Breaker:
    """A breaker that has opened at time 0."""
    breaker = Breaker(failures, open_for)
    era = breaker.begin(0)
    for _ in range(failures):
        assert breaker.state(0) is CLOSED
        breaker.fail(era, 0)
    assert breaker.state(0) is OPEN
    return breaker


def test_failures_in_a_row_open_it_however_far_apart() -> None:
    breaker = Breaker(3, 5.0)
    for number in range(3):
        assert breaker.allows(number * 1000)
        breaker.fail(breaker.begin(number * 1000), number * 1000)
    assert not breaker.allows(2000)
    assert breaker.opens_in(2001) == 4.0
    assert breaker.allows(2005)


def test_a_success_between_them_does_not_help_when_half_of_all_fail() -> None:
    breaker = Breaker(5, 5.0)
    for number in range(10):
        era = breaker.begin(number * 0.01)
        breaker.succeed(era, number * 0.01)
        breaker.fail(era, number * 0.01)
    assert breaker.state(1) is OPEN


def test_few_failures_among_many_successes_are_nothing() -> None:
    breaker = Breaker(5, 5.0)
    for number in range(10_000):
        era = breaker.begin(number * 0.01)
        (breaker.fail if number % 4 == 0 else breaker.succeed)(era, number * 0.01)
    assert breaker.state(100) is CLOSED


def test_trials_double_while_they_succeed_and_then_it_closes() -> None:
    breaker = opened()
    assert not breaker.allows(4.99)
    allowed = []
    for _ in range(RAMP):
        eras = []
        while breaker.allows(5) and breaker.state(5) is HALF_OPEN:
            eras.append(breaker.begin(5))
        allowed.append(len(eras))
        breaker.succeed(eras.pop(), 5)
        for era in eras:
            breaker.drop(era)
    assert allowed == [1, 2, 4, 8]
    assert breaker.state(5) is CLOSED


def test_a_trial_that_fails_doubles_the_time_up_to_a_limit() -> None:
    breaker = opened(open_for=5.0)
    now, times = 0.0, []
    for _ in range(6):
        now += breaker.opens_in(now)
        breaker.fail(breaker.begin(now), now)
        times.append(breaker.opens_in(now))
    assert times == [10, 20, 40, MAX_OPEN, MAX_OPEN, MAX_OPEN]


def test_a_success_lets_the_time_begin_anew() -> None:
    breaker = opened()
    breaker.fail(breaker.begin(5), 5)
    for _ in range(RAMP):
        breaker.succeed(breaker.begin(15), 15)
    for _ in range(3):
        breaker.fail(breaker.begin(15), 15)
    assert breaker.opens_in(15) == 5.0


def test_what_began_before_says_nothing_about_now() -> None:
    breaker = Breaker(3, 5.0)
    old = [breaker.begin(0) for _ in range(10)]
    for era in old[:3]:
        breaker.fail(era, 0)
    trial = breaker.begin(5)
    assert not breaker.allows(5)
    for era in old[3:]:
        breaker.fail(era, 5)
        breaker.succeed(era, 5)
        breaker.drop(era)
    assert breaker.state(5) is HALF_OPEN
    assert not breaker.allows(5)
    breaker.succeed(trial, 5)
    assert breaker.allows(5)


@pytest.mark.parametrize("settle", ["succeed", "fail", "drop"])
def test_a_trial_gives_its_place_back(settle: str) -> None:
    breaker = opened()
    era = breaker.begin(5)
    assert not breaker.allows(5)
    breaker.drop(era) if settle == "drop" else getattr(breaker, settle)(era, 5)
    assert breaker.allows(5 + breaker.opens_in(5))


class BreakerMachine(RuleBasedStateMachine):
    """Attempts begin when they may, and end in any way and order, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(3, 2.0)
        self.now = 0.0
        self.under_way: list[tuple[int, bool]] = []  # and whether it had its first token

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.allows(self.now))
    @rule()
    def begin(self) -> None:
        self.under_way.append((self.breaker.begin(self.now), False))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), outcome=st.sampled_from(["token", "fail", "drop", "end"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        era, heard = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        if outcome == "fail":
            self.breaker.fail(era, self.now)
        elif outcome == "token" and not heard:
            self.breaker.succeed(era, self.now)
            self.under_way.append((era, True))
        elif not heard:
            self.breaker.drop(era)

    @invariant()
    def trials_are_few(self) -> None:
        if self.breaker.state(self.now) is HALF_OPEN:
            assert 0 <= self.breaker._trials <= 2 ** (RAMP - 1)
            newest = max((era for era, _ in self.under_way), default=0)
            waiting = sum(era == newest and not heard for era, heard in self.under_way)
            assert self.breaker._trials in (waiting, 0)

    @invariant()
    def it_never_closes_for_ever(self) -> None:
        assert self.breaker.opens_in(self.now) <= MAX_OPEN
        if not self.under_way:
            assert self.breaker.allows(self.now + MAX_OPEN)


TestBreakerMachine = BreakerMachine.TestCase
