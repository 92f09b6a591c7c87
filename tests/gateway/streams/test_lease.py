"""Leases: how long a producer goes on when nobody is there."""

import math

import pytest
import trio

from stream_gateway.streams.stream import Stream
from stream_protocols.events import StreamCancelled, StreamFinished
from stream_protocols.lifecycle import State
from stream_protocols.request import Lease
from tests.gateway.streams.rig import Rig, settle, texts

pytestmark = pytest.mark.deadline(10_000)

Clock = trio.testing.MockClock


def producing(rig: Rig, lease: Lease) -> Stream:
    """A stream with a producer that never comes to an end by itself."""
    stream = rig.stream(lease=lease)

    async def generate(stream: Stream) -> None:
        await trio.sleep_forever()

    rig.registry.start(stream, generate)
    return stream


def ended_by_lease(stream: Stream) -> bool:
    return stream.terminal == StreamCancelled("lease")


async def test_zero_ends_the_producer_with_its_last_subscriber(rig: Rig) -> None:
    stream = producing(rig, 0)
    first, second = await rig.reader(stream), await rig.reader(stream)
    first.scope.cancel()
    await settle()
    assert stream.state is State.RUNNING
    second.scope.cancel()
    await stream.ended.wait()
    assert ended_by_lease(stream)
    assert stream.state is State.CANCELLED


async def test_zero_does_not_run_before_somebody_came(rig: Rig) -> None:
    stream = producing(rig, 0)
    await settle()
    assert stream.state is State.RUNNING
    stream.start_lease()
    await stream.ended.wait()
    assert ended_by_lease(stream)


async def test_seconds_run_from_the_last_departure(rig: Rig, autojump_clock: Clock) -> None:
    stream = producing(rig, 30)
    reader = await rig.reader(stream)
    await trio.sleep(100)
    reader.scope.cancel()
    left = trio.current_time()
    await stream.ended.wait()
    assert trio.current_time() - left == pytest.approx(30)
    assert ended_by_lease(stream)


async def test_whoever_comes_back_in_time_stops_the_clock(rig: Rig, autojump_clock: Clock) -> None:
    stream = producing(rig, 30)
    for _ in range(3):
        reader = await rig.reader(stream)
        assert stream.scope.deadline == math.inf
        await trio.sleep(1000)
        reader.scope.cancel()
        await trio.sleep(29)
        assert stream.state is State.RUNNING
    await trio.sleep(1.5)
    assert ended_by_lease(stream)


async def test_finish_goes_on_with_nobody(rig: Rig, autojump_clock: Clock) -> None:
    stream = producing(rig, "finish")
    stream.start_lease()
    reader = await rig.reader(stream)
    reader.scope.cancel()
    await trio.sleep(5000)
    assert stream.state is State.RUNNING


async def test_none_is_the_configured_default(rig: Rig, autojump_clock: Clock) -> None:
    stream = rig.stream(lease=None)
    assert stream.lease == rig.settings.lease == 30


@pytest.mark.parametrize("lease", [0, 5])
async def test_a_stream_that_is_held_is_not_let_go(rig: Rig, autojump_clock: Clock, lease: float) -> None:
    stream = producing(rig, lease)
    with stream.held():
        stream.start_lease()
        await trio.sleep(100)
        with stream.held():
            reader = await rig.reader(stream)
            reader.scope.cancel()
            await trio.sleep(100)
        await trio.sleep(100)
        assert stream.state is State.RUNNING
        left = trio.current_time()
    await stream.ended.wait()
    assert trio.current_time() - left == pytest.approx(lease)
    assert ended_by_lease(stream)


async def test_holding_hands_over_to_a_subscription(rig: Rig, autojump_clock: Clock) -> None:
    stream = producing(rig, 0)
    with stream.held():
        reader = await rig.reader(stream)
    await trio.sleep(100)
    assert stream.state is State.RUNNING
    reader.scope.cancel()
    await stream.ended.wait()


async def test_a_holder_that_is_cancelled_lets_go(rig: Rig) -> None:
    stream = producing(rig, 0)
    with trio.CancelScope() as scope:
        scope.cancel()
        with stream.held():
            await trio.sleep_forever()
    await stream.ended.wait()
    assert ended_by_lease(stream)


async def test_the_lease_of_an_ended_stream_means_nothing(rig: Rig, autojump_clock: Clock) -> None:
    stream = producing(rig, 1)
    stream.extend([*texts("a"), (StreamFinished("stop"), None)])
    reader = await rig.reader(stream)
    await reader.left.wait()
    await trio.sleep(10)
    assert stream.terminal == StreamFinished("stop")
    assert reader.outcome is None


async def test_cancelling_says_by_whom_and_only_once(rig: Rig) -> None:
    stream = producing(rig, "finish")
    reader = await rig.reader(stream)
    stream.cancel("client")
    await stream.ended.wait()
    stream.cancel("somebody else")
    stream.conclude()
    stream.fail("late", "too late")
    assert stream.terminal == StreamCancelled("client")
    await reader.left.wait()
    assert reader.outcome is None
    assert b'"reason":"client"' in reader.outlet.taken
