"""What a gateway's metrics say, as numbers."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric

from stream_gateway.observe.exposition import Exposition
from tests.doubles.served_gateway import ServedGateway


class Scrape:
    """One look at all metrics of a gateway."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._samples = [sample for family in families for sample in family.samples]

    def get(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name that have these labels; 0 when there is none."""
        return sum(s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items())

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The samples of that name that are not 0, by one of their labels."""
        found = [s for s in self._samples if s.name == name and labels.items() <= s.labels.items() and s.value]
        return {s.labels[label]: s.value for s in found}


def scrape(gateway: ServedGateway) -> Scrape:
    """Look now."""
    return Scrape(Exposition(gateway.gateway.scene).families())
