"""Targets: what each way in which an attempt can end says about them."""

import pytest

from stream_gateway.upstream.routing.breaker import BreakerState
from stream_gateway.upstream.routing.latency import MIN_PENALTY
from stream_gateway.upstream.routing.target import Kind, Place, Target
from stream_protocols.events import StreamFailed, Usage
from tests.gateway.upstream.routing.simulation import BUSY, make_route, target


def place(at: Target, kind: Kind = "first", now: float = 0.0) -> Place:
    """A place that an attempt takes."""
    at.admission.take()
    return Place(at, kind, now)


@pytest.fixture
def a() -> Target:
    return make_route(target("a"), target("b")).targets[0]


def test_everything_is_counted_once(a: Target) -> None:
    good = place(a)
    assert (a.in_flight, a.pending) == (1, 1)
    assert good.first_token(0.3) == pytest.approx(0.3)
    assert (a.in_flight, a.pending) == (1, 0)
    good.succeed(Usage(10, 5), 2.0)
    place(a).succeed(None, 1.0)  # one that is not streamed
    place(a, "retry").fail(BUSY, Usage(1, 0), None, 1.0)
    place(a, "hedge").cancel(None, 1.0)
    broken = place(a, "continue")
    broken.first_token(0.1)
    broken.fail(StreamFailed("upstream_truncated", "m"), Usage(2, 2), None, 1.0)
    place(a).fail(StreamFailed("no", "m", 404), None, None, 1.0)
    counts = a.statistics(1.0)
    assert (counts.attempts, counts.retries, counts.hedges) == (6, 2, 1)
    assert (counts.successes, counts.cancelled) == (2, 1)
    assert counts.failures == {"http_503": 1, "upstream_truncated": 1, "http_4xx": 1}
    assert (counts.input_tokens, counts.output_tokens) == (13, 7)
    assert (counts.in_flight, counts.waiting, a.pending, counts.breaker) == (0, 0, 0, BreakerState.CLOSED)


def test_who_is_new_is_given_one_attempt_and_not_all(a: Target) -> None:
    assert a.score(0) == 0
    first = place(a)
    assert a.score(0) == 2 * MIN_PENALTY
    first.first_token(0.1)
    assert a.score(0.1) == pytest.approx(0.2)


def test_who_is_forgiven_is_given_one_attempt_and_not_all(a: Target) -> None:
    first = place(a)
    first.first_token(10.0)
    first.succeed(None, 10.0)
    assert a.score(60.0) < 0.001
    place(a, now=60.0)
    assert a.score(60.0) == 20.0


def test_one_that_was_given_up_late_was_at_least_as_late(a: Target) -> None:
    """Else a target that loses all its races would seem to be as fast as ever."""
    place(a).cancel(None, 4.0)
    assert a.latency.value(4.0) == 4.0
    place(a, now=4.0).cancel(None, 4.1)  # which says nothing
    assert a.latency.value(4.1) > 3.9


def test_a_failure_in_mid_answer_is_one_of_the_target_too(a: Target) -> None:
    for _ in range(10):
        attempt = place(a)
        attempt.first_token(0.1)
        attempt.fail(BUSY, None, None, 0.2)
    assert a.breaker.state(0.2) is BreakerState.OPEN


def test_a_limit_or_a_bad_request_does_not_open_the_breaker(a: Target) -> None:
    for status in (400, 401, 404, 429) * 10:
        place(a).fail(StreamFailed("c", "m", status), None, None, 0)
    assert a.breaker.state(0) is BreakerState.CLOSED
