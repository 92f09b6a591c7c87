"""What scrapers read: well-formed, well-named, and documented."""

import re
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from stream_gateway.observe.catalogue import METRICS, Metric, Scene
from stream_gateway.observe.exposition import Exposition
from stream_gateway.observe.health import State
from stream_gateway.observe.meters import Meters, TargetMeter
from stream_gateway.observe.reference import reference
from stream_gateway.observe.statistics import Laggard, PoolStatistics, Statistics, Survey, TargetStatistics

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def scene(*, exemplars: bool = False) -> Scene:
    """A gateway in which every metric has something to say."""
    meters = Meters(exemplars=exemplars)
    for name in ("fast", 'odd"\\\n'):
        meter = meters.route(name)
        meters.observe(meter.first_token, 0.3, "s1")
        meters.observe(meter.per_token, 0.02, "s1")
        meters.observe(meter.duration(""), 2.0, "s1")
        meter.duration("429").observe(0.1)
        meter.between_chunks.observe(0.05)
        meter.between_chunks.observe(60)
        meter.ended["finished"] += 3
        meter.gaps["retention"] += 1
    meters.connections_ended["closed"] += 1
    meters.reloads["good"] += 1
    target = TargetMeter()
    for histogram in (target.first_chunk, target.duration, target.input_tokens, target.output_tokens):
        histogram.observe(3)
    statistics = Statistics(
        connections=1,
        streams=5,
        running=2,
        subscriptions=2,
        sockets=1,
        upstream_busy=1,
        upstream_idle=1,
        upstream_streams=1,
        upstream_waiting=0,
        log_bytes=1000,
        request_bytes=0,
        log_budget_bytes=10_000,
        compression_bytes=10,
        compression_budget_bytes=100,
        draining=True,
        protocols={"h2": 1},
        socket_states={"open": 1},
        targets=(
            TargetStatistics(
                route="fast",
                target="p/m",
                provider="p",
                model="m",
                breaker="open",
                in_flight=1,
                waiting=2,
                latency=0.5,
                attempts=10,
                retries=3,
                hedges=2,
                successes=4,
                cancelled=1,
                failures={"http_503": 5},
                input_tokens=3,
                output_tokens=3,
                meter=target,
            ),
        ),
        pools={"p": PoolStatistics(2, 1, 1, 1, 0)},
    )
    survey = Survey(dict.fromkeys(map(str, State), 0), 1, 1, 0, (Laggard("s1", "fast", 70, 0.0),))
    return Scene(meters, statistics, survey, "1.2.3")


def families(*, openmetrics: bool = False, exemplars: bool = False) -> dict[str, Family]:
    """A scrape, as Prometheus' own parsers read it; that of OpenMetrics checks buckets, counts and units, too."""
    exposition = Exposition(lambda: scene(exemplars=exemplars))
    content_type, pieces = exposition.render(OPENMETRICS if openmetrics else "*/*")
    body = b"".join(pieces)
    assert content_type.startswith(OPENMETRICS.split(";")[0] if openmetrics else "text/plain; version=")
    parse = parse_openmetrics if openmetrics else parse_text
    found = list(parse(body.decode()))
    names = [family.name for family in found]
    assert len(names) == len(set(names))
    return {family.name: family for family in found}


def value(name: str, **labels: str) -> float:
    """One sample of a scrape."""
    (sample,) = [
        sample
        for family in families().values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return float(sample.value)


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_scrape_is_what_parsers_expect(openmetrics: bool) -> None:
    found = families(openmetrics=openmetrics)
    assert {metric.name for metric in METRICS} <= found.keys()
    for metric in METRICS:
        family = found[metric.name]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert family.samples, f"{metric.name} says nothing"


def test_numbers_arrive() -> None:
    model = {"gen_ai_request_model": "fast"}
    name = "gen_ai_client_operation_time_per_output_chunk_seconds"
    assert value(f"{name}_bucket", le="0.05", **model) == 1
    assert value(f"{name}_bucket", le="10.0", **model) == 1
    assert value(f"{name}_bucket", le="+Inf", **model) == value(f"{name}_count", **model) == 2
    assert value(f"{name}_sum", **model) == 60.05
    assert value("stream_gateway_streams_ended_total", route="fast", outcome="finished") == 3
    assert value("stream_gateway_streams_ended_total", route='odd"\\\n', outcome="finished") == 3
    assert value("stream_gateway_streams", state="retained") == 3
    assert [value("stream_gateway_attempts_total", kind=kind) for kind in ("first", "retry", "hedge")] == [5, 3, 2]
    assert [value("stream_gateway_target_circuit", state=state) for state in ("open", "closed")] == [1, 0]
    assert value("stream_gateway_lag_events") == 70
    assert value("gen_ai_client_token_usage_bucket", gen_ai_token_type="input", le="4.0") == 1
    assert value("stream_gateway_build_info", version="1.2.3") == 1


def test_exemplars_are_for_openmetrics_and_for_who_wants_them() -> None:
    def exemplars(**how: bool) -> set[str]:
        samples = [s for family in families(**how).values() for s in family.samples]
        return {sample.exemplar.labels["stream"] for sample in samples if sample.exemplar}

    assert exemplars(openmetrics=True, exemplars=True) == {"s1"}
    assert exemplars(openmetrics=True) == exemplars(exemplars=True) == set()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_are_as_promtool_wants_them(metric: Metric) -> None:
    """What `promtool check metrics` looks for."""
    assert re.fullmatch(r"(stream_gateway|gen_ai)(_[a-z]+)+", metric.name)
    parts = metric.name.split("_")
    assert not set(parts) & {"milliseconds", "ms", "s", "minutes", "kilobytes", "kib", "percent", "metric", metric.kind}
    assert parts[-1] not in {"total", "count", "sum", "bucket"}  # which are for the format to add
    for word in ("seconds", "bytes"):
        assert word not in parts or parts[-1] == word, "the unit comes last"
    if "ime" in metric.name or "duration" in metric.name:
        assert parts[-1] == "seconds"
    assert metric.help[0].isupper() or metric.help[0].isdigit()
    assert metric.help.endswith(".")
    assert "\n" not in metric.help
    for label in metric.labels:
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", label)
        assert label not in {"le", "quantile", "job", "instance"}
        assert label not in parts
    assert len(set(metric.labels)) == len(metric.labels)


def test_the_page_is_what_the_catalogue_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_every_scraped_metric_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for family in families().values():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"`{name}`" in page
