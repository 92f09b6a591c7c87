"""A histogram whose buckets grow with the value, as HdrHistogram's do: 0.1 % precise at any size.

Two histograms of the same kind of value add up, so repeats of a run can be read as one.
"""

from collections.abc import Iterable, Iterator, Mapping

_PRECISION_BITS = 10
_HALF = 1 << _PRECISION_BITS


def _bucket(value: int) -> int:
    shift = max(0, value.bit_length() - _PRECISION_BITS - 1)
    return (shift << _PRECISION_BITS) + (value >> shift)


def _middle(bucket: int) -> float:
    if bucket < 2 * _HALF:
        return bucket
    shift = (bucket >> _PRECISION_BITS) - 1
    return ((bucket - (shift << _PRECISION_BITS)) + 0.5) * (1 << shift)


class Histogram:
    """Counts of non-negative whole numbers; negative ones count as 0."""

    __slots__ = ("_counts", "total")

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts = dict(counts or {})
        self.total = sum(self._counts.values())

    @classmethod
    def of(cls, values: Iterable[int]) -> "Histogram":
        histogram = cls()
        for value in values:
            histogram.record(value)
        return histogram

    @classmethod
    def from_json(cls, counts: Mapping[str, int]) -> "Histogram":
        return cls({int(bucket): count for bucket, count in counts.items()})

    def to_json(self) -> dict[str, int]:
        return {str(bucket): count for bucket, count in sorted(self._counts.items())}

    def record(self, value: int) -> None:
        bucket = _bucket(value) if value > 0 else 0
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.total += 1

    def merge(self, other: "Histogram") -> None:
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.total += other.total

    def cumulative(self) -> Iterator[tuple[float, float]]:
        """(value, share of all values up to it), rising."""
        seen = 0
        for bucket, count in sorted(self._counts.items()):
            seen += count
            yield _middle(bucket), seen / self.total

    def percentile(self, percent: float) -> float:
        """The smallest value that at least `percent` of all values do not exceed; 0 if there are none."""
        for value, share in self.cumulative():
            if share * 100 >= percent - 1e-9:
                return value
        return 0.0
