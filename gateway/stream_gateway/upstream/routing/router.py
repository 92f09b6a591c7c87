"""Which route serves a model name."""

from collections.abc import Mapping, Sequence
from random import Random

from stream_gateway.config import Config, RetrySettings, RouteSettings, TargetSettings, route_timeouts
from stream_gateway.observe.meters import Meters
from stream_gateway.upstream import demo
from stream_gateway.upstream.provider import Provider
from stream_gateway.upstream.routing.route import Route
from stream_gateway.upstream.routing.target import ANY, Target, TargetStatistics
from stream_protocols.errors import UnknownModel


class Router:
    """Finds the route of a public model name: the one of that name, the demo provider's, then the route `*`.

    Args:
        providers: by their names; the demo provider is one of them, or there is none.
        chance: see `Route`.
        meters: see `Target`.
    """

    def __init__(
        self,
        config: Config,
        providers: Mapping[str, Provider],
        chance: Random | None = None,
        meters: Meters | None = None,
    ) -> None:
        self._chance = chance or Random()
        self._meters = meters or Meters()
        self._routes: dict[str, Route] = {}
        self._demo: Route | None = None
        self.configure(config, providers)

    def configure(self, config: Config, providers: Mapping[str, Provider]) -> None:
        """Route as a configuration says, from now on. A route that it leaves as it was keeps what it has learned."""

        def route(name: str, settings: RouteSettings, old: Route | None) -> Route:
            timeouts = route_timeouts(config, settings)
            mine = [providers[target.provider] for target in settings.targets]
            if old is not None and (old.settings, old.timeouts) == (settings, timeouts) and _lead_to(old, mine):
                return old
            targets = [
                Target(name, provider, target, settings.breaker, self._meters)
                for provider, target in zip(mine, settings.targets, strict=True)
            ]
            return Route(name, targets, settings, timeouts, self._chance)

        self._routes = {name: route(name, settings, self._routes.get(name)) for name, settings in config.routes.items()}
        # What fails on purpose is not tried again.
        own = RouteSettings(targets=(TargetSettings(provider=demo.NAME, model=ANY),), retries=RetrySettings(attempts=1))
        self._demo = route(demo.NAME, own, self._demo) if demo.NAME in providers else None

    def find(self, model: str) -> Route:
        """The route of a public model name.

        Raises:
            UnknownModel: there is none.
        """
        route = self._routes.get(model)
        if route is None and demo.is_demo(model):
            route = self._demo
        route = route or self._routes.get(ANY)
        if route is None:
            known = ", ".join(self.models())
            raise UnknownModel(f"There is no model {model[:128]!r} here; known: {known}.", param="model")
        return route

    def models(self) -> list[str]:
        """The names that clients can ask for; what `*` covers cannot be listed."""
        return [*(name for name in self._routes if name not in (ANY, demo.NAME)), demo.NAME]

    def statistics(self, now: float) -> tuple[TargetStatistics, ...]:
        """What all targets have done, and do."""
        routes = [*self._routes.values(), *([self._demo] if self._demo else [])]
        return tuple(target.statistics(now) for route in routes for target in route.targets)


def _lead_to(route: Route, providers: Sequence[Provider]) -> bool:
    return all(target.provider is provider for target, provider in zip(route.targets, providers, strict=True))
