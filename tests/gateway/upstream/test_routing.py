"""Routing: a public name leads to one target, and an unknown one to a clear error."""

from typing import Any

import pytest

from stream_gateway.config import RouteSettings, TargetSettings
from stream_gateway.upstream.demo import DemoProvider
from stream_gateway.upstream.routing import Router, Target
from stream_protocols.errors import UnknownModel


class Somewhere:
    """A provider that is only pointed at."""

    dialect = "openai_chat"

    async def stream(self, request: Any, model: str, stream: Any) -> None:
        raise NotImplementedError

    async def complete(self, request: Any, model: str) -> Any:
        raise NotImplementedError


DEMO, ONE, TWO = DemoProvider(), Somewhere(), Somewhere()


def router(**routes: tuple[str, str]) -> Router:
    settings = {
        name.replace("any", "*"): RouteSettings(targets=(TargetSettings(provider=provider, model=model),))
        for name, (provider, model) in routes.items()
    }
    return Router(settings, {"demo": DEMO, "one": ONE, "two": TWO})


def test_a_route_names_the_provider_and_its_model() -> None:
    routes = router(fast=("one", "gpt-x"), slow=("two", "gpt-y"))
    assert routes.find("fast") == Target(ONE, "gpt-x")
    assert routes.find("slow") == Target(TWO, "gpt-y")


def test_a_star_as_the_model_is_the_name_that_the_client_wrote() -> None:
    assert router(fast=("one", "*")).find("fast") == Target(ONE, "fast")


def test_a_star_as_the_route_takes_all_other_names() -> None:
    routes = router(fast=("one", "gpt-x"), any=("two", "*"))
    assert routes.find("fast") == Target(ONE, "gpt-x")
    assert routes.find("anything/else") == Target(TWO, "anything/else")
    assert router(any=("two", "always")).find("x") == Target(TWO, "always")


def test_the_demo_models_are_there_without_a_route() -> None:
    assert router().find("demo-n5") == Target(DEMO, "demo-n5")
    assert router(any=("two", "*")).find("demo") == Target(DEMO, "demo")


def test_a_route_of_a_demo_models_name_comes_first() -> None:
    assert router(demo=("one", "gpt-x")).find("demo") == Target(ONE, "gpt-x")
    assert router(fast=("demo", "demo-n5")).find("fast") == Target(DEMO, "demo-n5")


def test_of_several_targets_the_first_serves() -> None:
    targets = tuple(TargetSettings(provider=name, model="m") for name in ("two", "one"))
    routes = Router({"fast": RouteSettings(targets=targets)}, {"demo": DEMO, "one": ONE, "two": TWO})
    assert routes.find("fast") == Target(TWO, "m")


def test_an_unknown_model_hears_what_is_known() -> None:
    with pytest.raises(UnknownModel) as caught:
        router(fast=("one", "x")).find("quick" + "!" * 1000)
    assert caught.value.param == "model"
    assert "known: fast, demo." in caught.value.message
    assert len(caught.value.message) < 300


def test_the_names_that_can_be_listed() -> None:
    assert router(fast=("one", "x"), any=("two", "*")).models() == ["fast", "demo"]
    assert router().models() == ["demo"]
