"""Thousands of requests to a route in simulated time: its decisions are the real ones, the targets are made up."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from stream_gateway.config import BreakerSettings, RouteSettings, TargetSettings, TimeoutSettings
from stream_gateway.upstream.demo import DemoProvider
from stream_gateway.upstream.routing.retry import is_retriable, retry_after
from stream_gateway.upstream.routing.route import Route, Wish
from stream_gateway.upstream.routing.target import Place, Target
from stream_protocols.events import StreamFailed

BUSY = StreamFailed("busy", "Busy.", 503)


class Served(NamedTuple):
    """What becomes of an attempt: seconds to its first token (or failure), seconds of the rest, and the failure."""

    first: float
    rest: float = 0.0
    failure: StreamFailed | None = None


Behaviour = Callable[[str, float], Served]
"""How a target, by its name, serves an attempt that begins at a time."""


def target(name: str, **settings: Any) -> TargetSettings:
    """A target's settings, called `name`."""
    return TargetSettings(provider=name, model="m", **settings)


def make_route(*targets: TargetSettings, seed: int = 1, **settings: Any) -> Route:
    """A route whose targets lead nowhere."""
    rules = RouteSettings(targets=targets, **settings)
    made = [Target("r", DemoProvider(), each, settings.get("breaker", BreakerSettings())) for each in targets]
    return Route("r", made, rules, TimeoutSettings(), Random(seed))


def named(route: Route, name: str) -> Target:
    """A target of a route."""
    return next(each for each in route.targets if each.name == f"{name}/m")


class Simulation:
    """Sends requests at random moments, and retries as a generation does.

    Attributes:
        begun: the moments at which each target was given an attempt.
        busiest: the most attempts that each had at once, since that was last cleared.
        requests, refused: how many came, and how many found no target.
    """

    def __init__(self, route: Route, behave: Behaviour, seed: int = 2) -> None:
        self.route = route
        self.behave = behave
        self.now = 0.0
        self.requests = self.refused = 0
        self.begun: dict[str, list[float]] = {each.name.removesuffix("/m"): [] for each in route.targets}
        self.busiest: Counter[str] = Counter()
        self._chance = Random(seed)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def run(self, seconds: float, rate: float) -> None:
        """Let time pass, with so many requests a second."""
        until = self.now + seconds
        arrival = self.now + self._chance.expovariate(rate)
        while True:
            due = self._due[0][0] if self._due else float("inf")
            if min(arrival, due) > until:
                self.now = until
                return
            if arrival <= due:
                self.now = arrival
                arrival += self._chance.expovariate(rate)
                self.requests += 1
                self.route.count()
                self._attempt(Wish(), 0)
            else:
                self.now, _, happen = heapq.heappop(self._due)
                happen()

    def shares(self, since: float) -> dict[str, float]:
        """Each target's share of the attempts since a moment."""
        counts = {name: sum(moment >= since for moment in begun) for name, begun in self.begun.items()}
        return {name: count / max(sum(counts.values()), 1) for name, count in counts.items()}

    @property
    def attempts(self) -> int:
        """All attempts so far."""
        return sum(map(len, self.begun.values()))

    def _later(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._order), happen))

    def _attempt(self, wish: Wish, retry: int) -> None:
        pick = self.route.pick(wish, self.now)
        if pick is None or pick.queued:
            self.refused += 1
            return
        pick.target.admission.take()
        name = pick.target.name.removesuffix("/m")
        place = Place(pick.target, "retry" if retry else "first", self.now)
        self.begun[name].append(self.now)
        self.busiest[name] = max(self.busiest[name], pick.target.in_flight)
        served = self.behave(name, self.now)
        if served.failure is None:
            self._later(served.first, lambda: self._first_token(place, served))
        else:
            failure = served.failure
            self._later(served.first, lambda: self._fail(place, failure, wish, retry))

    def _first_token(self, place: Place, served: Served) -> None:
        place.first_token(self.now)
        self._later(served.rest, lambda: place.succeed(None, self.now))

    def _fail(self, place: Place, failure: StreamFailed, wish: Wish, retry: int) -> None:
        asked = retry_after(failure, 0.0)
        place.fail(failure, None, asked, self.now)
        wish.tried.add(place.target)
        if retry + 1 >= self.route.settings.retries.attempts or not is_retriable(failure):
            return
        pause = self.route.pause(wish, retry, asked, self.now)
        if pause is not None and self.route.retries.take(self.now):
            self._later(pause, lambda: self._attempt(wish, retry + 1))
