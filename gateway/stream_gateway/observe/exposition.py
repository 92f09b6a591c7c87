"""Metrics as Prometheus and OpenMetrics read them."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from stream_gateway.observe.catalogue import METRICS, Metric, Scene
from stream_gateway.observe.histogram import Histogram

_END: Final = b"# EOF\n"

_FAMILIES: Final[Mapping[str, Callable[..., Any]]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


class Exposition:
    """Answers scrapes.

    Args:
        look: what is to be told, now.
    """

    def __init__(self, look: Callable[[], Scene]) -> None:
        self._look = look
        self._registry = CollectorRegistry(auto_describe=False)
        # Of the process: they read /proc and the collector's counters at each scrape, and cost nothing otherwise.
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[str, Iterator[bytes]]:
        """The content type for a scraper that sends this `Accept`, and the body.

        The body comes in small pieces, so that whoever asks for them can let others have their turns in between.
        """
        encode, content_type = choose_encoder(accept)
        return content_type, self._pieces(encode)

    def _pieces(self, encode: Callable[[Collector], bytes]) -> Iterator[bytes]:
        for family in self.families():
            yield encode(_Just(family)).removesuffix(_END)
        if encode(_Just()).endswith(_END):  # OpenMetrics' own end, and nobody else's
            yield _END

    def families(self) -> Iterator[Family]:
        """All metrics, as prometheus_client has them."""
        scene = self._look()
        for metric in METRICS:
            yield _family(metric, scene)
        yield from self._registry.collect()


class _Just(Collector):
    """Some families, as encoders want them."""

    def __init__(self, *families: Family) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def _family(metric: Metric, scene: Scene) -> Family:
    family = _FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
    for labels, value in metric.read(scene):
        if isinstance(value, Histogram):
            family.add_metric(labels, _buckets(value), value.sum)
        else:
            family.add_metric(labels, value)
    return family  # type: ignore[no-any-return]  # whichever of the three it is


def _buckets(histogram: Histogram) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Cumulative, as Prometheus wants them."""
    buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    count = 0
    for number, bound in enumerate((*histogram.bounds, math.inf)):
        count += histogram.counts[number]
        name = "+Inf" if bound == math.inf else str(bound)
        seen = histogram.exemplars.get(number)
        if seen is None:
            buckets.append((name, count))
        else:
            buckets.append((name, count, Exemplar({"stream": seen.stream}, seen.value, seen.time)))
    return buckets
