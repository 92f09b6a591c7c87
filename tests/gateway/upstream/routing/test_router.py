"""Routing: a public name leads to one target, and an unknown one to a clear error."""

from typing import Any

import pytest

from stream_gateway.config import Config, RouteSettings, TargetSettings
from stream_gateway.upstream.demo import DemoProvider
from stream_gateway.upstream.provider import Provider
from stream_gateway.upstream.routing.router import Router
from stream_protocols.errors import UnknownModel


class Somewhere:
    """A provider that is only pointed at."""

    dialect = "openai_chat"

    async def stream(self, request: Any, model: str, stream: Any) -> None:
        raise NotImplementedError

    async def complete(self, request: Any, model: str) -> Any:
        raise NotImplementedError


DEMO, ONE, TWO = DemoProvider(), Somewhere(), Somewhere()


PROVIDERS: dict[str, Provider] = {"demo": DEMO, "one": ONE, "two": TWO}


def router(**routes: tuple[str, str]) -> Router:
    settings = {
        name.replace("any", "*"): RouteSettings(targets=(TargetSettings(provider=provider, model=model),))
        for name, (provider, model) in routes.items()
    }
    return Router(Config(routes=settings), PROVIDERS)


def found(routes: Router, model: str) -> tuple[Provider, str]:
    """The provider, and its name for the model, at which a name arrives."""
    (target,) = routes.find(model).targets
    return target.provider, target.model(model)


def test_a_route_names_the_provider_and_its_model() -> None:
    routes = router(fast=("one", "gpt-x"), slow=("two", "gpt-y"))
    assert found(routes, "fast") == (ONE, "gpt-x")
    assert found(routes, "slow") == (TWO, "gpt-y")


def test_a_star_as_the_model_is_the_name_that_the_client_wrote() -> None:
    assert found(router(fast=("one", "*")), "fast") == (ONE, "fast")


def test_a_star_as_the_route_takes_all_other_names() -> None:
    routes = router(fast=("one", "gpt-x"), any=("two", "*"))
    assert found(routes, "fast") == (ONE, "gpt-x")
    assert found(routes, "anything/else") == (TWO, "anything/else")
    assert found(router(any=("two", "always")), "x") == (TWO, "always")


def test_the_demo_models_are_there_without_a_route() -> None:
    assert found(router(), "demo-n5") == (DEMO, "demo-n5")
    assert found(router(any=("two", "*")), "demo") == (DEMO, "demo")


def test_a_route_of_a_demo_models_name_comes_first() -> None:
    assert found(router(demo=("one", "gpt-x")), "demo") == (ONE, "gpt-x")
    assert found(router(fast=("demo", "demo-n5")), "fast") == (DEMO, "demo-n5")


def test_an_unknown_model_hears_what_is_known() -> None:
    with pytest.raises(UnknownModel) as caught:
        router(fast=("one", "x")).find("quick" + "!" * 1000)
    assert caught.value.param == "model"
    assert "known: fast, demo." in caught.value.message
    assert len(caught.value.message) < 300


def test_the_names_that_can_be_listed() -> None:
    assert router(fast=("one", "x"), any=("two", "*")).models() == ["fast", "demo"]
    assert router().models() == ["demo"]
    assert router(demo=("one", "x")).models() == ["demo"]
