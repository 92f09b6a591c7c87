"""A target of a route: what is known about it, and the places that attempts have there."""

import collections
import time
from typing import Final, Literal

from stream_gateway.config import BreakerSettings, TargetSettings
from stream_gateway.observe.meters import Meters, Mishap, TargetMeter
from stream_gateway.observe.statistics import TargetStatistics as TargetStatistics
from stream_gateway.upstream.provider import Provider
from stream_gateway.upstream.routing.admission import Admission
from stream_gateway.upstream.routing.breaker import Breaker
from stream_gateway.upstream.routing.latency import MIN_PENALTY, PeakEwma
from stream_gateway.upstream.routing.retry import OVERLOADED, RETRIABLE, blames_target, status_of
from stream_protocols.events import StreamFailed, Usage

ANY: Final = "*"
"""The model name that stands for the one that the client wrote, and the route that takes all other names."""

MAX_COOLING: Final = 60.0
"""Seconds for which a provider's `Retry-After` is believed: a mistake of its clock must not take it away for a day."""

OWN_CODES: Final = frozenset(
    {"upstream_timeout", "upstream_error", "upstream_invalid", "upstream_truncated", "interrupted"}
)
"""Failures that are counted by their code. All others are counted by status: a provider may invent any code."""

Kind = Literal["first", "retry", "hedge", "continue"]
"""Why an attempt is made."""


class Target:
    """One upstream endpoint, its own name for the model, and how it fares.

    Attributes:
        turn: what the weighted strategy remembers.
        pending: attempts that wait for their first token.
        meter: what its attempts were like.

    Args:
        meters: whose recent errors its own are among.
    """

    def __init__(
        self,
        route: str,
        provider: Provider,
        settings: TargetSettings,
        breaker: BreakerSettings,
        meters: Meters | None = None,
    ) -> None:
        self.route = route
        self.provider = provider
        self.name = settings.name
        self.weight = settings.weight
        self.priority = settings.priority
        self.cost = settings.cost
        self.turn = 0.0
        self.pending = 0
        self.breaker = Breaker(breaker.failures, breaker.open_for)
        self.admission = Admission(settings.concurrency, settings.queue)
        self.latency = PeakEwma()
        self.meter = TargetMeter()
        self._meters = meters or Meters()
        self._of_provider = settings.provider
        self._model = settings.model
        self._capabilities = settings.capabilities
        self._cooling_until = 0.0
        self.attempts: collections.Counter[Kind] = collections.Counter()
        self.failures: collections.Counter[str] = collections.Counter()
        self.successes = self.cancelled = self.input_tokens = self.output_tokens = 0

    def model(self, asked: str) -> str:
        """Its name for the model that a client asked for."""
        return asked if self._model == ANY else self._model

    def can(self, needs: frozenset[str]) -> bool:
        """Whether it has the capabilities that are needed; one that declares none is believed to have all but one."""
        if self._capabilities is None:
            return "continue" not in needs
        return needs.issubset(self._capabilities)

    @property
    def declares(self) -> bool:
        """Whether it says what it can."""
        return self._capabilities is not None

    @property
    def in_flight(self) -> int:
        """Attempts that have a place here."""
        return self.admission.in_flight

    def ready(self, now: float) -> bool:
        """Whether it should be given an attempt at all, a place aside."""
        return self.weight > 0 and now >= self._cooling_until and self.breaker.allows(now)

    def ready_in(self, now: float) -> float:
        """Seconds until it is ready again, as far as time decides."""
        return max(self._cooling_until - now, self.breaker.opens_in(now))

    def score(self, now: float) -> float:
        """The wait to expect here: its first-token time, times those who are before in line. Less is better."""
        # Whoever was forgiven, or is new, has to show first how it fares: to one attempt, not to all.
        seconds = (self.latency.last or MIN_PENALTY) if self.pending else self.latency.value(now)
        return seconds * (self.in_flight + 1) / self.weight

    def cool(self, seconds: float, now: float) -> None:
        """It asked to be left alone for so long."""
        self._cooling_until = max(self._cooling_until, now + min(seconds, MAX_COOLING))

    def failed(self, code: str) -> None:
        """An attempt has failed so."""
        self.failures[code] += 1
        self._meters.mishaps.append(Mishap(time.time(), self.route, code, self.name))

    def statistics(self, now: float) -> TargetStatistics:
        """What it has done, and does."""
        return TargetStatistics(
            route=self.route,
            target=self.name,
            provider=self._of_provider,
            model=self._model,
            breaker=self.breaker.state(now),
            in_flight=self.in_flight,
            waiting=self.admission.waiting,
            latency=round(self.latency.value(now), 4),
            attempts=self.attempts.total(),
            retries=self.attempts["retry"] + self.attempts["continue"],
            hedges=self.attempts["hedge"],
            successes=self.successes,
            cancelled=self.cancelled,
            failures=dict(self.failures),
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            meter=self.meter,
        )


class Place:
    """An attempt's place at a target, which whoever makes one has taken; its end releases it."""

    __slots__ = ("_began", "_era", "_heard", "target")

    def __init__(self, target: Target, kind: Kind, now: float) -> None:
        self.target = target
        self._began = now
        self._era = target.breaker.begin(now)
        self._heard = False
        target.pending += 1
        target.attempts[kind] += 1

    def first_token(self, now: float) -> float:
        """The answer has begun; returns the seconds that it took."""
        took = now - self._began
        self._answered()
        self.target.meter.first_chunk.observe(took)
        self.target.latency.observe(took, now)
        self.target.breaker.succeed(self._era, now)
        return took

    def _answered(self) -> None:
        self._heard = True
        self.target.pending -= 1

    def succeed(self, usage: Usage | None, now: float) -> None:
        """The answer is whole."""
        if not self._heard:  # an empty one, or one that is not streamed
            self._answered()
            self.target.breaker.succeed(self._era, now)
        self.target.successes += 1
        self._end(usage, now)

    def fail(self, failure: StreamFailed, usage: Usage | None, cooling: float | None, now: float) -> None:
        """There is no answer, or it broke off; `cooling`: seconds that the provider asked to be left alone."""
        target = self.target
        target.failed(label(failure))
        if cooling is not None and status_of(failure) in OVERLOADED:
            target.cool(cooling, now)
        if blames_target(failure):
            target.latency.penalise(0.0 if self._heard else now - self._began, now)
            target.breaker.fail(self._era, now)
        elif not self._heard:
            target.breaker.drop(self._era)
        self._end(usage, now)

    def cancel(self, usage: Usage | None, now: float) -> None:
        """Nobody wants the answer any more; its first token would have taken even longer than until now."""
        if not self._heard:
            self.target.breaker.drop(self._era)
            if now - self._began > self.target.latency.value(now):
                self.target.latency.observe(now - self._began, now)
        self.target.cancelled += 1
        self._end(usage, now)

    def _end(self, usage: Usage | None, now: float) -> None:
        if not self._heard:
            self._answered()
        target = self.target
        target.meter.duration.observe(now - self._began)
        if usage is not None:
            target.input_tokens += usage.input_tokens
            target.output_tokens += usage.output_tokens
            target.meter.input_tokens.observe(usage.input_tokens)
            target.meter.output_tokens.observe(usage.output_tokens)
        target.admission.release()


def label(failure: StreamFailed) -> str:
    """How a failure is counted: one of few words, whatever providers say."""
    if failure.code in OWN_CODES:
        return failure.code
    status = status_of(failure)
    return f"http_{status}" if status in RETRIABLE else f"http_{status // 100}xx"
