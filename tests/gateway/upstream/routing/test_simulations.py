"""Routes under thousands of requests: what is slow or broken loses its traffic, and gets it back without a herd."""

from random import Random

import pytest

from stream_gateway.config import BreakerSettings, HedgeSettings, RetrySettings
from stream_gateway.upstream.routing.budget import RESERVE
from stream_gateway.upstream.routing.route import HEDGE_RESERVE, Wish
from stream_gateway.upstream.routing.target import Place
from stream_protocols.events import StreamFailed
from tests.gateway.upstream.routing.simulation import BUSY, Served, Simulation, make_route, named, target

RATE = 100.0


@pytest.mark.parametrize("seed", range(5))
def test_a_target_that_becomes_ten_times_slower_loses_most_of_its_traffic_and_gets_it_back(seed: int) -> None:
    chance = Random(seed)

    def behave(name: str, now: float) -> Served:
        usual = chance.uniform(0.2, 0.3)
        return Served(usual * 10 if name == "a" and 30 <= now < 60 else usual, 0.5)

    simulation = Simulation(make_route(target("a"), target("b"), target("c"), strategy="latency"), behave, seed)
    simulation.run(30, RATE)
    assert simulation.shares(10)["a"] > 0.25
    simulation.run(5, RATE)  # the first answers that are slow come after two seconds
    simulation.run(25, RATE)
    assert simulation.shares(35)["a"] < 0.05
    simulation.run(15, RATE)
    simulation.run(15, RATE)
    assert simulation.shares(75)["a"] > 0.25
    assert simulation.requests > 8000


def test_one_that_fails_at_once_is_not_taken_for_a_fast_one() -> None:
    route = make_route(target("a"), target("b"), strategy="latency", breaker=BreakerSettings(failures=1_000_000))
    simulation = Simulation(route, lambda name, now: Served(0.001, 0, BUSY) if name == "a" else Served(0.3, 0.5))
    simulation.run(60, RATE)
    assert simulation.shares(5)["a"] < 0.1


def test_weights_hold() -> None:
    route = make_route(target("a", weight=5), target("b", weight=3), target("c", weight=2), target("d", weight=0))
    simulation = Simulation(route, lambda name, now: Served(0.1, 1.0))
    simulation.run(100, RATE)
    shares = simulation.shares(0)
    for name, share in {"a": 0.5, "b": 0.3, "c": 0.2, "d": 0.0}.items():
        assert shares[name] == pytest.approx(share, abs=0.02)


def test_weights_hold_where_places_are_few() -> None:
    """What has no free place is passed over, and gets no more than its share when it has one again."""
    route = make_route(target("a", weight=1, concurrency=1000), target("b", weight=1))
    simulation = Simulation(route, lambda name, now: Served(0.1, 1.0))
    simulation.run(100, RATE)
    assert simulation.shares(0)["a"] == pytest.approx(0.5, abs=0.02)


def test_the_least_busy_target_gets_more_when_it_is_faster() -> None:
    route = make_route(target("a"), target("b"), strategy="least-in-flight")
    simulation = Simulation(route, lambda name, now: Served(0.1, 0.9 if name == "a" else 3.9))
    simulation.run(100, RATE)
    assert simulation.shares(10)["a"] == pytest.approx(0.8, abs=0.03)


def test_lower_priorities_are_used_only_when_the_higher_cannot() -> None:
    route = make_route(target("a", priority=1, concurrency=20), target("b", priority=2), target("c", priority=3))
    simulation = Simulation(route, lambda name, now: Served(0.1, 0.4))
    simulation.run(20, 10)
    assert simulation.shares(0) == {"a": 1.0, "b": 0.0, "c": 0.0}
    simulation.run(20, RATE)
    shares = simulation.shares(25)
    assert 0.3 < shares["a"] < 0.45  # 20 places for half a second each are 40 a second
    assert shares["c"] == 0
    assert simulation.busiest["a"] == 20


def test_a_target_that_fails_is_left_alone_and_let_back_in_by_the_drop() -> None:
    def behave(name: str, now: float) -> Served:
        return Served(0.05, 0, BUSY) if name == "a" and 10 <= now < 40 else Served(0.2, 0.5)

    route = make_route(target("a"), target("b"), strategy="least-in-flight", breaker=BreakerSettings(open_for=2.0))
    simulation = Simulation(route, behave)
    simulation.run(10, RATE)
    simulation.run(2, RATE)
    broken = len(simulation.begun["a"])
    simulation.run(28, RATE)
    assert len(simulation.begun["a"]) - broken <= 8  # one trial after 2, 4, 8, 16 … seconds
    simulation.busiest.clear()
    simulation.run(named(route, "a").breaker.opens_in(simulation.now), RATE)
    simulation.run(0.3, RATE)
    assert 1 <= simulation.busiest["a"] <= 3  # all others have gone to b, which has eighty under way
    assert simulation.busiest["b"] > 60
    simulation.run(60, RATE)
    assert simulation.shares(simulation.now - 20)["a"] == pytest.approx(0.5, abs=0.05)
    assert simulation.refused == 0


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("breaker", [BreakerSettings(), BreakerSettings(failures=10**9)], ids=["breaker", "none"])
def test_a_total_outage_does_not_multiply_the_load(targets: int, breaker: BreakerSettings) -> None:
    route = make_route(*(target(f"t{number}") for number in range(targets)), breaker=breaker)
    healthy = True

    def behave(name: str, now: float) -> Served:
        return Served(0.1, 0.1) if healthy else Served(0.05, 0, BUSY)

    simulation = Simulation(route, behave)
    simulation.run(20, RATE)
    healthy = False
    requests, attempts = simulation.requests, simulation.attempts
    simulation.run(60, RATE)
    assert simulation.requests - requests > 5000
    extra = RESERVE if targets == 1 or breaker.failures > 5 else 0  # else hardly anything is asked at all
    assert simulation.attempts - attempts <= 1.2 * (simulation.requests - requests) + extra


def test_without_a_budget_nothing_is_tried_again() -> None:
    route = make_route(
        target("a"), target("b"), retries=RetrySettings(budget=0), breaker=BreakerSettings(failures=9999)
    )
    simulation = Simulation(route, lambda name, now: Served(0.05, 0, BUSY))
    simulation.run(10, RATE)
    assert simulation.attempts == simulation.requests > 900


def test_a_blip_at_a_quiet_route_is_tried_again() -> None:
    route = make_route(target("a"))
    simulation = Simulation(route, lambda name, now: Served(0.1, 0, BUSY) if now < 30 else Served(0.1))
    simulation.run(60, 0.2)
    assert simulation.attempts > simulation.requests


def test_who_asked_to_be_left_alone_is() -> None:
    limited = StreamFailed("slow_down", "Slow down.", 429, retry_after="20")

    def behave(name: str, now: float) -> Served:
        return Served(0.1, 0, limited) if name == "a" and now < 15 else Served(0.1, 0.2)

    simulation = Simulation(make_route(target("a"), target("b")), behave)
    simulation.run(1, RATE)
    first = len(simulation.begun["a"])
    simulation.run(18, RATE)
    assert len(simulation.begun["a"]) == first < 20
    simulation.run(20, RATE)
    assert simulation.shares(25)["a"] == pytest.approx(0.5, abs=0.02)
    assert simulation.refused == 0


def test_hedges_keep_to_their_budget() -> None:
    """However slow everything becomes, no more than the share of requests, and what was saved up."""
    route = make_route(target("a"), target("b"), hedge=HedgeSettings(quantile=0.9, budget=0.05))
    hedges = 0
    for number in range(5000):
        route.count()
        pick = route.pick(Wish(), number)
        assert pick is not None
        other = route.pick_hedge(Wish(tried={pick.target}), number)
        hedges += other is not None
        assert other is not pick.target
        pick.target.admission.take()
        Place(pick.target, "first", number).succeed(None, number)
    assert 240 <= hedges <= 0.05 * 5000 + HEDGE_RESERVE
