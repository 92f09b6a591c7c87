"""The catalogue: every metric there is, what it means, and where it is read. docs/metrics.md is made from it.

Names are OpenTelemetry's for GenAI where it has them, in Prometheus' form; the others begin with `stream_gateway_`.
Labels have few values: routes, providers and targets that the configuration names, and words of our own.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

import msgspec

from stream_gateway.observe.histogram import Histogram
from stream_gateway.observe.meters import Meters, RouteMeter
from stream_gateway.observe.statistics import Statistics, Survey, TargetStatistics


class Scene(msgspec.Struct, frozen=True):
    """All that metrics are read from, at one moment."""

    meters: Meters
    statistics: Statistics
    survey: Survey
    version: str


Sample = tuple[tuple[str, ...], float | Histogram]
"""The labels' values, and the metric's."""


class Metric(msgspec.Struct, frozen=True):
    """One row. Counters are named without `_total`, as OpenMetrics has it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    read: Callable[[Scene], Iterable[Sample]]
    labels: tuple[str, ...] = ()


# ---- how rows are read


def _routes(value: Callable[[RouteMeter], float | Histogram]) -> Callable[[Scene], Iterator[Sample]]:
    def read(scene: Scene) -> Iterator[Sample]:
        return (((name,), value(meter)) for name, meter in scene.meters.routes.items())

    return read


def _routes_by(
    values: Callable[[RouteMeter], dict[str, Histogram] | dict[str, int]],
) -> Callable[[Scene], Iterator[Sample]]:
    def read(scene: Scene) -> Iterator[Sample]:
        return (
            ((name, word), value)
            for name, meter in scene.meters.routes.items()
            for word, value in values(meter).items()
        )

    return read


def _targets(value: Callable[[TargetStatistics], float | Histogram]) -> Callable[[Scene], Iterator[Sample]]:
    def read(scene: Scene) -> Iterator[Sample]:
        return ((_target(target), value(target)) for target in scene.statistics.targets)

    return read


def _targets_by(
    values: Callable[[TargetStatistics], dict[str, Histogram] | dict[str, int]],
) -> Callable[[Scene], Iterator[Sample]]:
    def read(scene: Scene) -> Iterator[Sample]:
        return (
            ((*_target(target), word), value)
            for target in scene.statistics.targets
            for word, value in values(target).items()
        )

    return read


def _target(target: TargetStatistics) -> tuple[str, ...]:
    return target.route, target.provider, target.model


def _one(value: Callable[[Scene], float]) -> Callable[[Scene], list[Sample]]:
    return lambda scene: [((), value(scene))]


def _words(values: Callable[[Scene], dict[str, int]]) -> Callable[[Scene], list[Sample]]:
    return lambda scene: [((word,), value) for word, value in values(scene).items()]


def _pools(scene: Scene) -> Iterator[Sample]:
    for name, pool in scene.statistics.pools.items():
        yield (name, "busy"), pool.busy
        yield (name, "idle"), pool.idle


def _tokens(target: TargetStatistics) -> dict[str, Histogram]:
    return {"input": target.meter.input_tokens, "output": target.meter.output_tokens}


def _kinds(target: TargetStatistics) -> dict[str, int]:
    first = target.attempts - target.retries - target.hedges
    return {"first": first, "retry": target.retries, "hedge": target.hedges}


def _outcomes(target: TargetStatistics) -> dict[str, int]:
    return {"finished": target.successes, "failed": sum(target.failures.values()), "cancelled": target.cancelled}


def _circuit(target: TargetStatistics) -> dict[str, int]:
    return {state: int(state == target.breaker) for state in ("closed", "open", "half-open")}


# ---- the rows

_MODEL: Final = ("gen_ai_request_model",)
_TARGET: Final = ("route", "gen_ai_provider_name", "gen_ai_request_model")

METRICS: Final = (
    # Streams, as clients have them: OpenTelemetry's server is we
    Metric(
        "gen_ai_server_time_to_first_token_seconds",
        "histogram",
        "From a stream's creation to its first content, by public model name.",
        _routes(lambda meter: meter.first_token),
        _MODEL,
    ),
    Metric(
        "gen_ai_server_time_per_output_token_seconds",
        "histogram",
        "Of whole answers whose tokens were told: the time after the first token, by the tokens after it.",
        _routes(lambda meter: meter.per_token),
        _MODEL,
    ),
    Metric(
        "gen_ai_server_request_duration_seconds",
        "histogram",
        "Whole answers, streamed or not. error_type is empty, a status, a class of statuses, or cancelled.",
        _routes_by(lambda meter: meter.durations),
        (*_MODEL, "error_type"),
    ),
    Metric(
        "stream_gateway_streams_created",
        "counter",
        "Streams that were made.",
        _routes(lambda meter: meter.created),
        ("route",),
    ),
    Metric(
        "stream_gateway_streams_ended",
        "counter",
        "Streams that ended: finished, failed, or cancelled by a client, their lease, or our shutdown.",
        _routes_by(lambda meter: meter.ended),
        ("route", "outcome"),
    ),
    Metric(
        "stream_gateway_events",
        "counter",
        "Events appended to logs.",
        _routes(lambda meter: meter.events),
        ("route",),
    ),
    Metric(
        "stream_gateway_streams",
        "gauge",
        "Streams that are kept: running, or retained after their end.",
        _words(lambda scene: _kept(scene.statistics)),
        ("state",),
    ),
    Metric(
        "stream_gateway_stream_health",
        "gauge",
        "Running streams by health.",
        _words(lambda scene: scene.survey.health),
        ("state",),
    ),
    # Clients and their cursors
    Metric(
        "stream_gateway_subscriptions",
        "gauge",
        "Clients of running streams: live ones have all there is, lagging ones do not.",
        _words(lambda scene: {"live": scene.survey.live, "lagging": scene.survey.lagging}),
        ("mode",),
    ),
    Metric(
        "stream_gateway_lag_events",
        "gauge",
        "Events that the client furthest behind has not been given.",
        _one(lambda scene: scene.survey.lag),
    ),
    Metric(
        "stream_gateway_merged_events",
        "counter",
        "Events that reached a client as part of another one's chunk.",
        _routes(lambda meter: meter.merged),
        ("route",),
    ),
    Metric(
        "stream_gateway_resumes",
        "counter",
        "Clients that came back with a cursor and went on after it.",
        _routes(lambda meter: meter.resumes),
        ("route",),
    ),
    Metric(
        "stream_gateway_gaps",
        "counter",
        "Clients that asked for events which are no longer kept, by why not.",
        _routes_by(lambda meter: meter.gaps),
        ("route", "reason"),
    ),
    Metric(
        "stream_gateway_clients_left",
        "counter",
        "Clients that left a stream before they had all of it.",
        _routes(lambda meter: meter.left),
        ("route",),
    ),
    Metric(
        "stream_gateway_clients_let_go",
        "counter",
        "Clients that had held up a provider for streams.stall_timeout, and have to resume.",
        _routes(lambda meter: meter.lagged),
        ("route",),
    ),
    Metric(
        "stream_gateway_backpressure_pauses",
        "counter",
        "How often a provider had to wait because a stream's log was full.",
        _routes(lambda meter: meter.pauses),
        ("route",),
    ),
    Metric(
        "stream_gateway_backpressure_seconds",
        "counter",
        "For how long providers had to wait, all together.",
        _routes(lambda meter: meter.paused_for),
        ("route",),
    ),
    Metric(
        "stream_gateway_paused_streams",
        "gauge",
        "Streams whose provider waits right now.",
        _one(lambda scene: scene.survey.paused),
    ),
    # Connections
    Metric(
        "stream_gateway_connections",
        "gauge",
        "Open connections by what they speak; opening: nothing yet.",
        _words(lambda scene: scene.statistics.protocols),
        ("protocol",),
    ),
    Metric(
        "stream_gateway_connections_ended",
        "counter",
        "Connections that ended: closed, broke, took nothing for server.write_timeout, or were turned away.",
        _words(lambda scene: scene.meters.connections_ended),
        ("reason",),
    ),
    Metric(
        "stream_gateway_sockets",
        "gauge",
        "WebSockets by state.",
        _words(lambda scene: scene.statistics.socket_states),
        ("state",),
    ),
    # Providers: OpenTelemetry's client is we
    Metric(
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "histogram",
        "Of attempts at a target: from asking to the first content.",
        _targets(lambda target: target.meter.first_chunk),
        _TARGET,
    ),
    Metric(
        "gen_ai_client_operation_time_per_output_chunk_seconds",
        "histogram",
        "Between two chunks of a stream, by public model name; what came in one read is one chunk.",
        _routes(lambda meter: meter.between_chunks),
        _MODEL,
    ),
    Metric(
        "gen_ai_client_operation_duration_seconds",
        "histogram",
        "Attempts at a target, whatever became of them.",
        _targets(lambda target: target.meter.duration),
        _TARGET,
    ),
    Metric(
        "gen_ai_client_token_usage",
        "histogram",
        "Tokens that a target told of an attempt, in (input) and out (output).",
        _targets_by(_tokens),
        (*_TARGET, "gen_ai_token_type"),
    ),
    Metric(
        "stream_gateway_attempts",
        "counter",
        "Attempts at a target: first ones, retries (continuations included) and hedges.",
        _targets_by(_kinds),
        (*_TARGET, "kind"),
    ),
    Metric(
        "stream_gateway_attempts_ended",
        "counter",
        "Attempts that ended, by how.",
        _targets_by(_outcomes),
        (*_TARGET, "outcome"),
    ),
    Metric(
        "stream_gateway_upstream_errors",
        "counter",
        "Attempts that failed, by what it was: a status, a class of statuses, or a word of ours.",
        _targets_by(lambda target: target.failures),
        (*_TARGET, "code"),
    ),
    Metric(
        "stream_gateway_target_in_flight",
        "gauge",
        "Attempts that have a place at a target.",
        _targets(lambda target: target.in_flight),
        _TARGET,
    ),
    Metric(
        "stream_gateway_target_waiting",
        "gauge",
        "Requests that wait for a place at a target.",
        _targets(lambda target: target.waiting),
        _TARGET,
    ),
    Metric(
        "stream_gateway_target_circuit",
        "gauge",
        "1 at the state that a target's circuit breaker is in.",
        _targets_by(_circuit),
        (*_TARGET, "state"),
    ),
    Metric(
        "stream_gateway_upstream_connections",
        "gauge",
        "Connections to a provider.",
        _pools,
        ("provider", "state"),
    ),
    Metric(
        "stream_gateway_upstream_requests",
        "gauge",
        "Requests under way on a provider's connections.",
        lambda scene: (((name,), pool.streams) for name, pool in scene.statistics.pools.items()),
        ("provider",),
    ),
    Metric(
        "stream_gateway_upstream_waiting",
        "gauge",
        "Requests that wait for a connection to a provider.",
        lambda scene: (((name,), pool.waiting) for name, pool in scene.statistics.pools.items()),
        ("provider",),
    ),
    # The process
    Metric(
        "stream_gateway_memory_bytes",
        "gauge",
        "Memory by what it is for.",
        _words(
            lambda scene: {
                "logs": scene.statistics.log_bytes,
                "requests": scene.statistics.request_bytes,
                "compressors": scene.statistics.compression_bytes,
            }
        ),
        ("kind",),
    ),
    Metric(
        "stream_gateway_memory_limit_bytes",
        "gauge",
        "What that memory may grow to.",
        _words(
            lambda scene: {
                "logs": scene.statistics.log_budget_bytes,
                "compressors": scene.statistics.compression_budget_bytes,
            }
        ),
        ("kind",),
    ),
    Metric(
        "stream_gateway_draining",
        "gauge",
        "1 while the gateway lets running answers end and takes no new connections.",
        _one(lambda scene: scene.statistics.draining),
    ),
    Metric(
        "stream_gateway_config_reloads",
        "counter",
        "Reloads of the configuration, by whether they worked.",
        _words(lambda scene: scene.meters.reloads),
        ("result",),
    ),
    Metric(
        "stream_gateway_build_info",
        "gauge",
        "1, with the version that runs.",
        lambda scene: [((scene.version,), 1)],
        ("version",),
    ),
)


def _kept(statistics: Statistics) -> dict[str, int]:
    return {"running": statistics.running, "retained": statistics.streams - statistics.running}
