"""Routes of a gateway in front of the double: a target is a model of its, so that each has a script of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_gateway.upstream.routing.target import TargetStatistics
from tests.doubles.gateway_config import Section
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.waiting import until

ROUTE = "r"
EAGER: Mapping[str, Any] = {"attempts": 3, "budget": 1.0, "backoff": 0.01}
"""Retries that hardly wait, and never run out."""


def target(model: str, **settings: Any) -> dict[str, Any]:
    """A target, by its model at the double."""
    return {"provider": "mock", "model": model, **settings}


def in_order(*models: str, **settings: Any) -> list[dict[str, Any]]:
    """Targets of which the first is used while it can be."""
    return [target(model, priority=number, **settings) for number, model in enumerate(models)]


def routed(targets: list[dict[str, Any]], **settings: Any) -> dict[str, Section]:
    """The section of a configuration that makes the route `r`."""
    return {f"routes.{ROUTE}": {"retries": EAGER, **settings, "targets": targets}}


def counted(gateway: ServedGateway, model: str) -> TargetStatistics:
    """What was counted at a target of the route `r`."""
    return next(t for t in gateway.now.targets if t.route == ROUTE and t.target == f"mock/{model}")


async def all_given_back(gateway: ServedGateway) -> None:
    """Wait until no target has an attempt, and see that every attempt that there was has ended in one way.

    A stream may end a moment before its attempt does, whose connection has yet to become free.
    """
    await until(lambda: not gateway.now.upstream_busy and not any(t.in_flight for t in gateway.now.targets))
    for each in gateway.now.targets:
        assert (each.in_flight, each.waiting) == (0, 0), each
        assert each.attempts == each.successes + each.cancelled + sum(each.failures.values()), each
