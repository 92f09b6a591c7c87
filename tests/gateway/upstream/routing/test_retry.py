"""What is tried again, how long somebody who asked for it is left alone, and what may be spent on that."""

import pytest

from stream_gateway.upstream.routing.budget import REFILL, RESERVE, Budget
from stream_gateway.upstream.routing.retry import backoff, blames_target, is_retriable, retry_after
from stream_gateway.upstream.routing.target import label
from stream_protocols.events import StreamFailed


def failure(status: int = 502, code: str = "c", after: str | None = None) -> StreamFailed:
    return StreamFailed(code, "m", status, retry_after=after)


@pytest.mark.parametrize("status", range(400, 600))
def test_statuses_that_are_tried_again(status: int) -> None:
    assert is_retriable(failure(status)) == (status in {408, 429, 500, 502, 503, 504, 529})
    assert blames_target(failure(status)) == (status in {408, 500, 502, 503, 504, 529})


@pytest.mark.parametrize(("code", "again"), [("400", False), ("429", True), ("0x1", True), ("٤٠٠", True), ("", True)])
def test_a_status_that_stands_in_the_error_counts(code: str, again: bool) -> None:
    assert is_retriable(failure(502, code)) == again


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
        ("Thu, 99 Jan 1970 00:00:10 GMT", None),
        ("1 Jan 1970 00:00:10 +9999999999999999999999", None),
    ],
)
def test_seconds_and_dates(text: str | None, seconds: float | None) -> None:
    assert retry_after(failure(after=text), wall=60.0) == seconds


def test_jitter_is_full_and_bounded() -> None:
    assert [backoff(retry, 0.2, 1.0, 1.0) for retry in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff(3, 0.2, 1.0, 0.0) == 0.0
    assert backoff(2, 0.2, 1.0, 0.5) == pytest.approx(0.4)


def spend(budget: Budget, now: float) -> int:
    """How often one can take."""
    count = 0
    while budget.take(now):
        count += 1
    return count


def test_requests_bring_retries_up_to_the_reserve() -> None:
    budget = Budget(0.2)
    assert spend(budget, 0) == RESERVE
    for _ in range(26):
        budget.deposit()
    assert spend(budget, 0) == 5
    for _ in range(10_000):
        budget.deposit()
    assert spend(budget, 0) == RESERVE


def test_a_quiet_route_regains_its_reserve_by_and_by() -> None:
    budget = Budget(0.2)
    spend(budget, 0)
    assert spend(budget, 1 / REFILL + 0.01) == 1
    assert spend(budget, 1e6) == RESERVE


def test_at_a_busy_route_time_brings_nothing() -> None:
    budget = Budget(0.2)
    spend(budget, 0)
    taken = 0
    for second in range(1, 1001):
        for _ in range(10):
            budget.deposit()
        taken += spend(budget, second)
    assert taken == pytest.approx(2000, abs=1)


def test_labels_are_few_whatever_providers_say() -> None:
    made = {label(failure(status, f"code{status}")) for status in range(100, 1000)}
    assert len(made) <= 9 + 7
    assert label(failure(504, "upstream_timeout")) == "upstream_timeout"
    assert label(failure(429, "rate_limit_exceeded")) == "http_429"
    assert label(failure(418, "teapot")) == "http_4xx"
