"""What one run of one case against one target found: plain figures that travel as JSON."""

import dataclasses
from typing import Any

from bench.histogram import Histogram

TOO_BUSY = 0.85
"""CPU share of a harness process above which it may have been what limited the run."""

TOO_LATE_US = 20_000.0
"""p99 of the upstream's lateness above which chunks came in clumps rather than by plan."""


@dataclasses.dataclass
class Result:
    """Times in nanoseconds unless a name says otherwise."""

    values: dict[str, float] = dataclasses.field(default_factory=dict)
    """What the case asked for, by the name of the metric, in the metric's unit."""
    latency: dict[str, int] = dataclasses.field(default_factory=dict)
    """The histogram of the case's main latency."""
    timeline: list[list[float]] = dataclasses.field(default_factory=list)
    """[second, p50, p99, maximum] of that latency over the run."""

    window_s: float = 0.0
    target_cpu: float = 0.0
    """CPU share of the target with all its processes: 1.0 is one core."""
    upstream_cpu: float = 0.0
    load_cpu: float = 0.0
    stolen: float = 0.0
    """Share of the machine's CPU time that the hypervisor gave to other machines."""
    others: float = 0.0
    """Share of the machine's CPU time that processes of nobody's benchmark took."""
    upstream_late_us: float = 0.0
    """p99 of how late the upstream sent a chunk by its own plan."""

    chunks: int = 0
    lost: int = 0
    repeated: int = 0
    disordered: int = 0
    broken: int = 0
    """Requests or streams that ended otherwise than they should."""
    unfinished: int = 0
    """Streams cut at the deadline: the target did not keep up, which is slow but not wrong."""
    saturated: bool = False
    """The target did not keep up: the longer the run, the worse the figures; another one would not tell more."""
    problem: str = ""
    """The first thing that went wrong, as a sentence."""
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def failed(self) -> bool:
        return bool(self.lost or self.repeated or self.disordered or self.broken)

    @property
    def verdict(self) -> str:
        """Empty, or what was wrong, for a table."""
        counts = [
            (self.lost, "lost"),
            (self.repeated, "twice"),
            (self.disordered, "out of order"),
            (self.broken, "broken"),
        ]
        return ", ".join(f"{count:,} {name}" for count, name in counts if count)

    def tell(self, histogram: Histogram, **percentiles: float) -> None:
        """Sets values in ms by name from a histogram in ns; none if it is empty, for 0 would be a lie."""
        if histogram.total:
            for name, percent in percentiles.items():
                self.values[name] = histogram.percentile(percent) / 1e6

    def histogram(self) -> Histogram:
        return Histogram.from_json(self.latency)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Result":
        return cls(**data)
