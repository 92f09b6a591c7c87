"""docs/metrics.md: `python -m stream_gateway.observe.reference > docs/metrics.md`."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from stream_gateway.observe.catalogue import METRICS

_HEAD: Final = """\
# Metrics

`GET /metrics` on the control plane ([operating.md](operating.md)), in Prometheus' text format or OpenMetrics. This page
is made from the catalogue of metrics (`make docs`).

Names are OpenTelemetry's for generative AI where it has them, in Prometheus' form. Labels have few values. `route` and,
in the `gen_ai_server_` metrics, `gen_ai_request_model` are names of routes, never what a client wrote: what the route
`*` takes is counted as `*`, all demo models as `demo`. Of a target, `gen_ai_request_model` is the configured name of
its model. Exemplars, which name one stream a bucket, are off by default (`control.exemplars`), and are told to whoever
asks for OpenMetrics.
"""


def reference() -> str:
    """The page."""
    return "\n".join([_HEAD, "| metric | kind | labels | |", "|---|---|---|---|", *_rows(), *_process(), ""])


def _rows() -> Iterator[str]:
    for metric in METRICS:
        name = f"{metric.name}_total" if metric.kind == "counter" else metric.name
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{name}` | {metric.kind} | {labels} | {metric.help} |"


def _process() -> Iterator[str]:
    """What prometheus_client tells of every process."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    for family in registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in sorted({key for s in family.samples for key in s.labels}))
        yield f"| `{name}` | {family.type} | {labels} | {family.documentation.rstrip('.')}. |"


if __name__ == "__main__":
    print(reference(), end="")
