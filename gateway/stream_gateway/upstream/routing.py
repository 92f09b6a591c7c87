"""Which provider serves a model name. Decisions only: nothing here waits or talks to anybody."""

from collections.abc import Mapping

import msgspec

from stream_gateway.config import RouteSettings
from stream_gateway.upstream import demo
from stream_gateway.upstream.provider import Provider
from stream_protocols.errors import UnknownModel

ANY = "*"


class Target(msgspec.Struct, frozen=True):
    """One upstream endpoint, and its own name for the model."""

    provider: Provider
    model: str


class Router:
    """Finds the target for a public model name: a route of that name, the demo provider, then the route `*`."""

    def __init__(self, routes: Mapping[str, RouteSettings], providers: Mapping[str, Provider]) -> None:
        self._routes = routes
        self._providers = providers

    def find(self, model: str) -> Target:
        """The target for a public model name.

        Raises:
            UnknownModel: there is no route for it.
        """
        route = self._routes.get(model)
        if route is None and demo.is_demo(model):
            return Target(self._providers[demo.NAME], model)
        route = route or self._routes.get(ANY)
        if route is None:
            known = ", ".join(self.models())
            raise UnknownModel(f"There is no model {model[:128]!r} here; known: {known}.", param="model")
        target = route.targets[0]
        return Target(self._providers[target.provider], model if target.model == ANY else target.model)

    def models(self) -> list[str]:
        """The names that clients can ask for; what `*` covers cannot be listed."""
        return [*(name for name in self._routes if name != ANY), demo.NAME]
