"""The console's feed: once a second a snapshot of the gateway, appended to a log like any other.

Whoever knows its id reads it over the data plane, as any stream: with `/v1/connect`, SSE or polls, at their own pace,
with resume. Its id is told on the control plane only. It lives while somebody watches, and `LEASE` seconds longer: then
nothing is left of it but what `streams.retain_for` keeps, and nothing is done.
"""

import collections
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
import trio

from stream_gateway.observe.catalogue import Scene
from stream_gateway.observe.histogram import BETWEEN_CHUNKS, FIRST_TOKEN, Histogram, quantile
from stream_gateway.observe.meters import Mishap
from stream_gateway.observe.statistics import Laggard, TargetStatistics
from stream_gateway.streams.registry import Registry
from stream_gateway.streams.stream import Stream
from stream_protocols.events import Notice, StreamCancelled, StreamStarted

MODEL: Final = "console"
CODE: Final = "console.snapshot"

PERIOD: Final = 1.0
"""Seconds between two snapshots."""

WINDOW: Final = 10
"""Snapshots that percentiles are over: a second has too few first tokens to say anything."""

LEASE: Final = 30.0
"""Seconds for which the feed goes on with nobody watching: long enough for a page to be loaded again."""

RETAIN_BYTES: Final = 2_097_152
"""Of snapshots that are kept, for a console that comes later: some ten minutes."""

ERRORS: Final = 20
TARGETS: Final = 100
"""How many a snapshot shows."""


class Percentiles(msgspec.Struct, frozen=True):
    """Seconds; None when nothing was observed in the window."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None


class TargetView(msgspec.Struct, frozen=True):
    """A target right now; `latency` is the first-token time to expect, in seconds. Rates are a second."""

    route: str
    target: str
    circuit: str
    in_flight: int
    waiting: int
    latency: float
    attempts: float
    failures: float


class Snapshot(msgspec.Struct, frozen=True):
    """The gateway at one moment. Rates are a second, over the period before; percentiles over the window."""

    time: float
    connections: int
    protocols: dict[str, int]
    running: int
    retained: int
    health: dict[str, int]
    live: int
    lagging: int
    paused: int
    created: float
    events: float
    merged: float
    first_token: Percentiles
    between_chunks: Percentiles
    targets: list[TargetView]
    laggards: list[Laggard]
    errors: list[Mishap]
    memory: dict[str, int]
    draining: bool


class Feed:
    """Makes the feed when somebody wants it.

    Args:
        look: see `Exposition`.
        owner: the id of the principal whose it is.
    """

    def __init__(self, registry: Registry, look: Callable[[], Scene], owner: str) -> None:
        self._owner = owner
        self._registry = registry
        self._look = look
        self._stream: Stream | None = None

    def open(self) -> Stream:
        """The feed's stream: the one that runs, or a new one.

        Raises:
            Overloaded: there is no memory for another stream.
        """
        if self._stream is not None and not self._stream.over:
            return self._stream
        if self._stream is not None:
            self._registry.discard(self._stream)
        self._stream = self._registry.create(
            MODEL, owner=self._owner, dialect=None, lease=LEASE, retain_bytes=RETAIN_BYTES, stored=False
        )
        self._registry.start(self._stream, self._produce)
        self._stream.start_lease()
        return self._stream

    async def _produce(self, stream: Stream) -> None:
        stream.extend([(StreamStarted(MODEL, stream.source.created), None)])
        window = Window()
        while True:
            await stream.flowing()
            snapshot = window.snapshot(self._look(), trio.current_time())
            stream.extend([(Notice(CODE, "The gateway right now.", {"snapshot": snapshot}), None)])
            if snapshot.draining:  # nobody shall wait for the end of what has none
                stream.conclude(StreamCancelled("shutdown"))
                return
            await trio.sleep(PERIOD)


class _Totals(msgspec.Struct, frozen=True):
    """What only grows, at one moment."""

    at: float
    created: int
    events: int
    merged: int
    first_token: list[int]
    between_chunks: list[int]
    targets: dict[tuple[str, str], tuple[int, int]]


class Window:
    """Turns what only grows into what happened lately."""

    def __init__(self) -> None:
        self._past: collections.deque[_Totals] = collections.deque(maxlen=WINDOW)

    def snapshot(self, scene: Scene, now: float) -> Snapshot:
        """The next one; `now` is a time of any steady clock."""
        totals = _totals(scene, now)
        last = self._past[-1] if self._past else totals
        oldest = self._past[0] if self._past else totals
        self._past.append(totals)
        statistics, survey = scene.statistics, scene.survey
        seconds = max(now - last.at, 1e-9)
        return Snapshot(
            time=round(time.time(), 3),
            connections=statistics.connections,
            protocols=statistics.protocols,
            running=sum(survey.health.values()),
            retained=statistics.streams - statistics.running,
            health=survey.health,
            live=survey.live,
            lagging=survey.lagging,
            paused=survey.paused,
            created=round((totals.created - last.created) / seconds, 2),
            events=round((totals.events - last.events) / seconds, 2),
            merged=round((totals.merged - last.merged) / seconds, 2),
            first_token=_percentiles(FIRST_TOKEN, totals.first_token, oldest.first_token),
            between_chunks=_percentiles(BETWEEN_CHUNKS, totals.between_chunks, oldest.between_chunks),
            targets=[_view(target, last, seconds) for target in statistics.targets[:TARGETS]],
            laggards=list(survey.laggards),
            errors=list(scene.meters.mishaps)[: -ERRORS - 1 : -1],
            memory={
                "logs": statistics.log_bytes,
                "logs_limit": statistics.log_budget_bytes,
                "compressors": statistics.compression_bytes,
                "compressors_limit": statistics.compression_budget_bytes,
            },
            draining=statistics.draining,
        )


def _totals(scene: Scene, now: float) -> _Totals:
    meters = scene.meters.routes.values()
    return _Totals(
        at=now,
        created=sum(meter.created for meter in meters),
        events=sum(meter.events for meter in meters),
        merged=sum(meter.merged for meter in meters),
        first_token=_sum(meter.first_token for meter in meters),
        between_chunks=_sum(meter.between_chunks for meter in meters),
        targets={_key(target): (target.attempts, _failures(target)) for target in scene.statistics.targets},
    )


def _sum(histograms: Iterable[Histogram]) -> list[int]:
    return [sum(counts) for counts in zip(*(histogram.counts for histogram in histograms), strict=True)]


def _percentiles(bounds: Sequence[float], totals: list[int], oldest: list[int]) -> Percentiles:
    counts = [new - old for new, old in zip(totals, oldest or [0] * len(totals), strict=True)]
    found = [quantile(bounds, counts, share) for share in (0.5, 0.9, 0.99)]
    return Percentiles(sum(counts), *(None if value is None else round(value, 4) for value in found))


def _key(target: TargetStatistics) -> tuple[str, str]:
    return target.route, target.target


def _failures(target: TargetStatistics) -> int:
    return sum(target.failures.values())


def _view(target: TargetStatistics, last: _Totals, seconds: float) -> TargetView:
    attempts, failures = last.targets.get(_key(target), (0, 0))
    return TargetView(
        route=target.route,
        target=target.target,
        circuit=target.breaker,
        in_flight=target.in_flight,
        waiting=target.waiting,
        latency=target.latency,
        attempts=round(max(target.attempts - attempts, 0) / seconds, 2),
        failures=round(max(_failures(target) - failures, 0) / seconds, 2),
    )
