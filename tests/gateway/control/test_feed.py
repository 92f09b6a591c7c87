"""The console's feed: a log like any other, which nobody pays for while nobody watches."""

import collections
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from stream_gateway.control.feed import LEASE, PERIOD, RETAIN_BYTES, WINDOW, Feed, Window
from stream_gateway.observe.catalogue import Scene
from stream_gateway.observe.meters import MAX_MISHAPS, Mishap
from tests.gateway.observe.test_exposition import scene
from tests.gateway.streams.conftest import MakeRig, make_rig
from tests.gateway.streams.rig import Rig, settle

__all__ = ["make_rig"]


class Looked:
    """Counts how often somebody looked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Scene:
        self.times += 1
        made = scene()
        return msgspec.structs.replace(made, statistics=msgspec.structs.replace(made.statistics, draining=False))


@pytest.mark.deadline(1000)  # of the virtual clock
async def test_it_stops_when_nobody_watches(make_rig: MakeRig, autojump_clock: MockClock) -> None:
    rig: Rig = await make_rig()
    look = Looked()
    feed = Feed(rig.registry, look, "local")
    assert look.times == 0
    stream = feed.open()
    reader = await rig.reader(stream)
    await trio.sleep(100 * PERIOD)
    assert 99 <= look.times <= 102
    assert feed.open() is stream
    reader.scope.cancel()
    await reader.left.wait()
    await trio.sleep(LEASE + 1)
    assert stream.over
    looked = look.times
    await trio.sleep(100)
    assert look.times == looked <= 102 + LEASE
    again = feed.open()
    assert again is not stream
    assert stream not in rig.registry.all()


async def test_who_comes_later_sees_what_was(make_rig: MakeRig, autojump_clock: MockClock) -> None:
    rig: Rig = await make_rig(budget=100_000_000)
    stream = Feed(rig.registry, Looked(), "local").open()
    first = await rig.reader(stream)
    await trio.sleep(5.5 * PERIOD)
    late = await rig.reader(stream)
    await settle()
    assert len(late.outlet.events()) == len(first.outlet.events()) == 7


@pytest.mark.deadline(10_000)
async def test_its_log_is_bounded(make_rig: MakeRig, autojump_clock: MockClock) -> None:
    rig: Rig = await make_rig(budget=100_000_000)
    stream = Feed(rig.registry, Looked(), "local").open()
    await rig.reader(stream)
    await trio.sleep(5000 * PERIOD)
    assert stream.log.oldest > 1
    assert stream.log.size <= RETAIN_BYTES
    assert stream.log.head - stream.log.oldest > 300  # five minutes and more


# ---- what a snapshot says


def counted(**changes: Any) -> Scene:
    """A scene of one route with these numbers."""
    made = scene()
    for name in list(made.meters.routes)[1:]:
        del made.meters.routes[name]
    meter = made.meters.routes["fast"]
    for name, value in changes.items():
        setattr(meter, name, value)
    return made


def test_rates_are_a_second() -> None:
    window = Window()
    first = window.snapshot(counted(created=10, events=100, merged=5), 50.0)
    assert (first.created, first.events, first.merged) == (0, 0, 0)
    second = window.snapshot(counted(created=13, events=200, merged=5), 52.0)
    assert (second.created, second.events, second.merged) == (1.5, 50, 0)
    assert second.targets[0].attempts == second.targets[0].failures == 0


def test_percentiles_are_over_a_window() -> None:
    window = Window()
    made = counted()
    window.snapshot(made, 0.0)
    histogram = made.meters.routes["fast"].first_token
    for _ in range(100):
        histogram.observe(0.9)
    seen = window.snapshot(made, 1.0).first_token
    assert (seen.count, seen.p50, seen.p99) == (100, 0.875, 0.9975)
    counts = [window.snapshot(made, 2.0 + number).first_token.count for number in range(WINDOW)]
    assert collections.Counter(counts) == {100: WINDOW - 1, 0: 1}
    assert window.snapshot(made, 99.0).first_token.p50 is None


def test_a_new_route_begins_in_mid_window() -> None:
    window = Window()
    empty = counted()
    empty.meters.routes.clear()
    assert window.snapshot(empty, 0.0).first_token.count == 0
    assert window.snapshot(counted(), 1.0).first_token.count == 1


def test_the_newest_errors_come_first() -> None:
    made = counted()
    for number in range(MAX_MISHAPS):
        made.meters.mishaps.append(Mishap(float(number), "r", "c"))
    errors = Window().snapshot(made, 0.0).errors
    assert [error.time for error in errors] == [float(MAX_MISHAPS - 1 - number) for number in range(20)]
