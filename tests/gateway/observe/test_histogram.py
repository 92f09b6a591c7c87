"""Histograms: where values fall, and what can be said of them afterwards."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_gateway.observe.histogram import BETWEEN_CHUNKS, FIRST_TOKEN, Histogram, quantile

BOUNDS = (1.0, 2.0, 4.0)


@pytest.mark.parametrize(
    ("value", "bucket"), [(-1, 0), (0, 0), (1, 0), (1.0001, 1), (2, 1), (4, 2), (4.0001, 3), (math.inf, 3)]
)
def test_upper_bounds_belong_to_their_buckets(value: float, bucket: int) -> None:
    histogram = Histogram(BOUNDS)
    assert histogram.observe(value) == bucket
    assert histogram.counts[bucket] == sum(histogram.counts) == 1


def test_a_bucket_remembers_its_last_example() -> None:
    histogram = Histogram(BOUNDS)
    histogram.exemplify(1.5, "a")
    histogram.exemplify(1.7, "b")
    histogram.observe(3)
    assert [(number, seen.stream, seen.value) for number, seen in histogram.exemplars.items()] == [(1, "b", 1.7)]
    assert histogram.counts == [0, 2, 1, 0]


@pytest.mark.parametrize("bounds", [FIRST_TOKEN, BETWEEN_CHUNKS])
def test_bounds_ascend(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))


def test_quantiles() -> None:
    assert quantile(BOUNDS, [0, 0, 0, 0], 0.5) is None
    assert quantile(BOUNDS, [4, 0, 0, 0], 0.5) == 0.5
    assert quantile(BOUNDS, [2, 2, 0, 0], 0.75) == 1.5
    assert quantile(BOUNDS, [0, 0, 0, 7], 0.5) == 4.0  # at least that


@given(st.lists(st.floats(0, 3.9), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_in_the_bucket_of_the_value_that_it_stands_for(values: list[float], share: float) -> None:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    found = quantile(BOUNDS, histogram.counts, share)
    exact = sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]
    assert found is not None
    edges = [(0.0, 1.0), (1.0, 2.0), (2.0, 4.0)]
    # Rounding may put a rank that falls on an edge into the next bucket, which begins there.
    assert any(low <= exact <= high and low - 1e-9 <= found <= high + 1e-9 for low, high in edges)
