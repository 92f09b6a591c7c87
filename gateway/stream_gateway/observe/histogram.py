"""Histograms for a hot path: plain integers, no locks and no labels; read as a whole when somebody asks."""

import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import msgspec

SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bounds for whole operations, as OpenTelemetry's conventions for GenAI advise them; so are the others."""

FIRST_TOKEN: Final = (*(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),)
PER_TOKEN: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS: Final = tuple(4.0**power for power in range(14))
BETWEEN_CHUNKS: Final = (0.001, 0.0025, 0.005, *PER_TOKEN, 5.0, 10.0)
"""As for tokens, and finer at the lower end: chunks of fast models come in less than ten milliseconds."""


class Exemplar(msgspec.Struct, frozen=True):
    """One value of a bucket, and the stream that it was observed at; `time` is Unix time."""

    stream: str
    value: float
    time: float


class Histogram:
    """Counts values in buckets.

    Attributes:
        bounds: upper bounds of the buckets, inclusive, ascending; above the last is one more bucket.
        counts: how many values each bucket has, those of smaller buckets not included.
        sum: of all values.
        exemplars: the last value of each bucket, where somebody asked for that.
    """

    __slots__ = ("bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    def observe(self, value: float) -> int:
        """Count a value; returns the number of its bucket."""
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.sum += value
        return bucket

    def exemplify(self, value: float, stream: str) -> None:
        """Count a value, and remember where it was seen."""
        self.exemplars[self.observe(value)] = Exemplar(stream, value, time.time())


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The value that so large a share of what was counted does not exceed, as far as buckets can tell.

    Values are taken to be spread evenly inside a bucket, as Prometheus does it; of the last bucket, which has no upper
    bound, its lower one is told. None when nothing was counted.
    """
    rank = share * sum(counts)
    if not rank:
        return None
    lower = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and rank <= count:
            return lower + (bound - lower) * rank / count
        rank -= count
        lower = bound
    return lower
