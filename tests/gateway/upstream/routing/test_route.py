"""Picks: which target is next, for a conversation, for what a request needs, and when places are few."""

from collections import Counter

import pytest

from stream_gateway.config import BreakerSettings, HedgeSettings
from stream_gateway.upstream.routing.latency import MIN_SAMPLES, SAMPLES, Quantiles
from stream_gateway.upstream.routing.route import Route, Wish
from stream_gateway.upstream.routing.strategies import by_rendezvous
from stream_gateway.upstream.routing.target import MAX_COOLING, Place
from stream_protocols.events import StreamFailed
from tests.gateway.upstream.routing.simulation import BUSY, make_route, named, target

NEVER = BreakerSettings(failures=10**9)


def picked(route: Route, wish: Wish | None = None, now: float = 0.0) -> str | None:
    """The name of the target that is picked."""
    pick = route.pick(wish or Wish(), now)
    return None if pick is None else pick.target.name.removesuffix("/m") + ("?" if pick.queued else "")


def fill(route: Route, *names: str) -> None:
    """Take a place at targets."""
    for name in names:
        named(route, name).admission.take()


# Capabilities


def test_a_request_goes_only_where_it_can_be_answered() -> None:
    route = make_route(target("a", capabilities=("tools",)), target("b", capabilities=("tools", "images")), target("c"))
    for _ in range(20):
        assert picked(route, Wish(frozenset({"images"}))) in ("b", "c")
    assert route.selective
    assert not make_route(target("a")).selective


def test_that_an_answer_can_be_continued_has_to_be_said() -> None:
    route = make_route(target("a"), target("b", capabilities=()), target("c", capabilities=("continue",)))
    assert {picked(route, Wish(frozenset({"continue"}))) for _ in range(10)} == {"c"}
    assert not make_route(target("a"), target("b", capabilities=("tools",))).offers(frozenset({"continue"}))


def test_a_weight_of_nothing_is_never_chosen() -> None:
    route = make_route(target("a", weight=0), target("b"), strategy="least-in-flight")
    assert {picked(route) for _ in range(10)} == {"b"}
    assert picked(route, Wish(tried={named(route, "b")})) == "b"


# Cost


@pytest.mark.parametrize("strategy", ["weighted", "least-in-flight", "latency"])
def test_of_equals_the_cheaper_is_taken(strategy: str) -> None:
    route = make_route(target("a", cost=3), target("b", cost=1), strategy=strategy)
    for each in route.targets:
        each.latency.observe(0.3, 0)
    picks = Counter(picked(route) for _ in range(100))
    assert picks["b"] >= 50
    assert strategy == "weighted" or picks["b"] >= 74  # both choices of two may be the same


# Places and queues


def test_a_full_target_is_passed_over_then_waited_for_then_the_next_priority() -> None:
    route = make_route(
        target("a", concurrency=1, queue=1), target("b", concurrency=1, queue=2), target("c", priority=1)
    )
    fill(route, "a")
    assert picked(route) == "b"
    fill(route, "b")
    assert picked(route) in ("a?", "b?")
    named(route, "a").admission.wait(lambda: None)
    assert picked(route) == "b?"
    named(route, "b").admission.wait(lambda: None)
    named(route, "b").admission.wait(lambda: None)
    assert picked(route) == "c"


def test_who_has_waited_too_long_goes_on() -> None:
    route = make_route(target("a", concurrency=1, queue=9), target("b", priority=1))
    fill(route, "a")
    assert picked(route) == "a?"
    pick = route.pick(Wish(), 0, full={named(route, "a")})
    assert pick is not None
    assert pick.target.name == "b/m"


# Failing targets


def test_the_only_target_is_never_left_alone() -> None:
    route = make_route(target("a"))
    for _ in range(20):
        fill(route, "a")
        Place(named(route, "a"), "first", 0).fail(BUSY, None, 100.0, 0)
    assert picked(route) == "a"
    assert picked(route, Wish(tried=set(route.targets))) == "a"


def test_when_nobody_is_well_it_is_said_when_to_come_back() -> None:
    route = make_route(target("a"), target("b"), breaker=BreakerSettings(open_for=7.0))
    for each in route.targets:
        for _ in range(5):
            each.admission.take()
            Place(each, "first", 100.0).fail(BUSY, None, None, 100.0)
    assert picked(route, now=101.0) is None
    assert route.ready_in(frozenset(), 101.0) == 6.0
    assert picked(route, now=107.0) is not None


def test_a_mistaken_retry_after_is_believed_for_a_minute() -> None:
    route = make_route(target("a"), target("b"), breaker=NEVER)
    fill(route, "a")
    Place(named(route, "a"), "first", 0).fail(StreamFailed("c", "m", 429), None, 86_400.0, 0)
    assert named(route, "a").ready_in(0) == MAX_COOLING
    assert {picked(route) for _ in range(10)} == {"b"}


def test_another_target_is_asked_at_once_and_the_same_after_a_pause() -> None:
    route = make_route(target("a"), target("b"), breaker=NEVER)
    first, second = route.targets
    assert route.pause(Wish(tried={first}), 0, None, 0) == 0
    pause = route.pause(Wish(tried={first, second}), 0, None, 0)
    assert pause is not None
    assert 0 < pause < route.settings.retries.backoff


def test_the_only_one_is_asked_again_when_it_said_and_not_at_all_if_that_is_too_late() -> None:
    route = make_route(target("a"))
    wish = Wish(tried=set(route.targets))
    assert route.pause(wish, 0, 3.0, 0) == 3.0
    assert route.pause(wish, 0, 30.0, 0) is None


def test_several_that_asked_to_be_left_alone_are_waited_for_or_not() -> None:
    route = make_route(target("a"), target("b"), breaker=NEVER)
    wish = Wish(tried=set(route.targets))
    for each, seconds in zip(route.targets, (30.0, 4.0), strict=True):
        each.cool(seconds, 0)
    assert route.pause(wish, 0, 4.0, 0) == 4.0
    named(route, "b").cool(20.0, 0)
    assert route.pause(wish, 0, 20.0, 0) is None


# Conversations


def conversation(key: str) -> Wish:
    return Wish(conversation=key)


def test_a_conversation_stays_where_it_is() -> None:
    route = make_route(target("a"), target("b"), target("c"), strategy="least-in-flight")
    for key in map(str, range(50)):
        assert len({picked(route, conversation(key)) for _ in range(5)}) == 1


def test_conversations_are_spread_by_weight() -> None:
    route = make_route(target("a", weight=1), target("b", weight=3))
    counts = Counter(picked(route, conversation(f"c{number}")) for number in range(4000))
    assert counts["b"] / 4000 == pytest.approx(0.75, abs=0.02)


def test_only_the_conversations_of_a_target_that_goes_move_and_they_come_back() -> None:
    route = make_route(target("a"), target("b"), target("c"))
    keys = [f"c{number}" for number in range(300)]
    before = {key: picked(route, conversation(key)) for key in keys}
    named(route, "b").cool(10.0, 0)
    during = {key: picked(route, conversation(key)) for key in keys}
    assert all(during[key] == before[key] for key in keys if before[key] != "b")
    assert {during[key] for key in keys if before[key] == "b"} == {"a", "c"}
    assert {key: picked(route, conversation(key), 10.0) for key in keys} == before


def test_the_order_does_not_depend_on_the_process() -> None:
    """A second gateway, or this one after a restart, has to send a conversation to the same place."""
    route = make_route(target("a"), target("b"), target("c"))
    assert "".join(by_rendezvous(route.targets, str(key))[0].name[0] for key in range(12)) == "ccabaacaccaa"


def test_a_conversation_waits_for_its_target_or_goes_to_its_next() -> None:
    route = make_route(target("a", concurrency=1, queue=1), target("b", concurrency=1, queue=1))
    home = named(route, picked(route, conversation("k")) or "")
    home.admission.take()
    pick = route.pick(conversation("k"), 0)
    assert pick is not None
    assert (pick.target, pick.queued) == (home, True)
    home.admission.wait(lambda: None)
    pick = route.pick(conversation("k"), 0)
    assert pick is not None
    assert (pick.target is home, pick.queued) == (False, False)


# Hedges


def test_a_hedge_needs_another_target_with_a_free_place() -> None:
    route = make_route(target("a"), target("b", concurrency=1, queue=5), hedge=HedgeSettings(budget=1.0))
    wish = Wish(tried={named(route, "a")})
    assert route.pick_hedge(wish, 0) is named(route, "b")
    route.count()
    fill(route, "b")
    assert route.pick_hedge(wish, 0) is None


def test_quantiles_of_the_latest_times() -> None:
    quantiles = Quantiles()
    for number in range(MIN_SAMPLES - 1):
        quantiles.observe(float(number))
        assert quantiles.quantile(0.5) is None
    quantiles.observe(1000.0)
    assert quantiles.quantile(0.95) == 18.0
    assert quantiles.quantile(0.999) == 1000.0
    for number in range(SAMPLES):
        quantiles.observe(float(number))
    assert quantiles.quantile(0.95) == 243.0
    assert quantiles.quantile(0.999) == SAMPLES - 1
