"""Routes in the configuration: what can be said, and what each mistake is told."""

import re
from pathlib import Path
from typing import Any

import pytest

from stream_gateway.config import (
    MAX_TOTAL,
    BreakerSettings,
    HedgeSettings,
    RetrySettings,
    TimeoutSettings,
    route_timeouts,
)
from tests.gateway.test_config import error_of, read

PROVIDERS = """
[providers.one]
dialect = "openai_chat"
base_url = "http://one.test/v1"
[providers.other]
dialect = "openai_chat"
base_url = "http://other.test/v1"
"""
TWO = 'targets = [{provider = "one", model = "m"}, {provider = "other", model = "m"}]'

FULL = """
[timeouts]
first_token = 30

[routes.smart]
strategy = "latency"
sticky = true
queue_timeout = 2.5
timeouts = { between_tokens = 10, total = 600 }
retries = { attempts = 4, budget = 0.1, backoff = 0.1, max_backoff = 1, max_wait = 3 }
hedge = { quantile = 0.9, budget = 0.02 }
breaker = { failures = 3, open_for = 20 }
targets = [
  { provider = "other", model = "b", priority = 1 },
  { provider = "one", model = "b", priority = 2 },
]

[routes.tables]
after_first_token = "continue"

[[routes.tables.targets]]
provider = "one"
model = "a"
weight = 3
cost = 2.5
capabilities = ["tools", "continue"]
concurrency = 9
queue = 5
"""


def test_everything_can_be_said() -> None:
    config = read(PROVIDERS + FULL)
    route = config.routes["smart"]
    assert (route.strategy, route.sticky, route.queue_timeout) == ("latency", True, 2.5)
    assert config.routes["tables"].after_first_token == "continue"
    assert route.retries == RetrySettings(attempts=4, budget=0.1, backoff=0.1, max_backoff=1.0, max_wait=3.0)
    assert route.hedge == HedgeSettings(quantile=0.9, budget=0.02)
    assert route.breaker == BreakerSettings(failures=3, open_for=20.0)
    other, _ = route.targets
    (one,) = config.routes["tables"].targets
    assert (one.name, one.weight, one.cost, one.capabilities) == ("one/a", 3.0, 2.5, ("tools", "continue"))
    assert (one.concurrency, one.queue, one.priority) == (9, 5, 0)
    assert (other.weight, other.capabilities, other.concurrency, other.priority) == (1.0, None, None, 1)
    assert route_timeouts(config, route) == TimeoutSettings(first_token=30.0, between_tokens=10.0, total=600.0)


def test_the_example_in_the_documentation() -> None:
    text = Path(__file__).parents[2].joinpath("docs/routing.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(read(example).routes["smart"].targets) == 3


def test_the_defaults_are_modest() -> None:
    config = read(PROVIDERS + f"[routes.r]\n{TWO}")
    route = config.routes["r"]
    assert (route.strategy, route.sticky, route.hedge, route.after_first_token) == ("weighted", False, None, "fail")
    assert route_timeouts(config, route) == TimeoutSettings(total=MAX_TOTAL)


def test_default_timeouts_come_from_the_environment_too() -> None:
    config = read(PROVIDERS + f"[routes.r]\n{TWO}", STREAM_GATEWAY_TIMEOUTS__FIRST_TOKEN="20")
    assert route_timeouts(config, config.routes["r"]) == TimeoutSettings(first_token=20.0, total=MAX_TOTAL)


def wrong(lines: str, targets: str = TWO) -> str:
    """What is said about a route with these lines."""
    message = error_of(f"{PROVIDERS}[routes.r]\n{lines}\n{targets}")
    prefix = 'key `routes."r"'
    assert message.startswith(prefix)
    return message.removeprefix(prefix)


def one(**settings: Any) -> str:
    """The line of a route with one target."""
    fields = {"provider": "one", "model": "m", **settings}
    return "targets = [{" + ", ".join(f"{key} = {value!r}" for key, value in fields.items()) + "}]"


@pytest.mark.parametrize(
    ("lines", "targets", "message"),
    [
        ("", one(provider="othr"), ".targets[0].provider`: there is no provider `othr`; did you mean `other`?"),
        ("", one(weight=0), ".targets`: all weights are 0, so none is ever chosen; give one a `weight` above 0."),
        (
            "",
            'targets = [{provider = "one", model = "m"}, {provider = "one", model = "m"}]',
            ".targets[1]`: `one/m` is there already; give it more `weight` instead.",
        ),
        (
            "",
            one(queue=3),
            ".targets[0].queue`: nobody waits at a target without a limit; give it `concurrency`.",
        ),
        (
            "hedge = {}",
            one(),
            ".hedge`: a hedge asks a second target; add one to `targets`.",
        ),
        (
            'after_first_token = "continue"',
            TWO,
            ".after_first_token`: no target declares that it can continue an answer; "
            'add "continue" to the `capabilities` of one that goes on from a trailing assistant message.',
        ),
        (
            "timeouts = { first_token = 10, total = 5 }",
            TWO,
            ".timeouts.first_token`: must be less than `total`, or there is no time for an answer.",
        ),
        ("retries = { atempts = 3 }", TWO, ".retries.atempts` is not known; did you mean `attempts`?"),
        ("hedge = { quantil = 0.9 }", TWO, ".hedge.quantil` is not known; did you mean `quantile`?"),
        ("hedge = { quantile = 1.5 }", TWO, ".hedge.quantile`: expected `float` < 1.0."),
        ("retries = { budget = 20 }", TWO, ".retries.budget`: expected `float` <= 1.0."),
        ("retries = { attempts = 0 }", TWO, ".retries.attempts`: expected `int` >= 1."),
        ("breaker = { open_for = 0 }", TWO, ".breaker.open_for`: expected `float` > 0.0."),
        ("", one(weights=3), ".targets[0].weights` is not known; did you mean `weight`?"),
        ("", one(weight=-1), ".targets[0].weight`: expected `float` >= 0.0."),
        ("", one(priority=-1), ".targets[0].priority`: expected `int` >= 0."),
        ("", one(concurrency=0), ".targets[0].concurrency`: expected `int` >= 1."),
    ],
)
def test_a_mistake_is_told_where_it_is_and_what_to_do(lines: str, targets: str, message: str) -> None:
    assert wrong(lines, targets) == message


@pytest.mark.parametrize(
    ("lines", "targets", "choices"),
    [
        ('strategy = "random"', TWO, ["weighted", "least-in-flight", "latency"]),
        ('after_first_token = "retry"', TWO, ["fail", "continue"]),
        ("", one(capabilities=["tool"]), ["tools", "images", "reasoning", "continue"]),
    ],
)
def test_what_there_is_to_choose_from_is_told(lines: str, targets: str, choices: list[str]) -> None:
    message = wrong(lines, targets)
    assert all(f"`{choice}`" in message for choice in choices)


def test_a_target_of_weight_nothing_beside_others_is_no_mistake() -> None:
    """That is how one is taken out for a while."""
    targets = 'targets = [{provider = "one", model = "m", weight = 0}, {provider = "other", model = "m"}]'
    assert read(f"{PROVIDERS}[routes.r]\n{targets}").routes["r"].targets[0].weight == 0
