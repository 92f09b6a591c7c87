"""Backpressure: a full log stops its producer, and those who hold it up for too long are let go."""

import pytest
import trio

from stream_gateway.streams import subscription
from stream_gateway.streams.room import LAGGED
from stream_gateway.streams.stream import FANOUT_SLICE
from stream_protocols.events import StreamFinished
from tests.gateway.streams.conftest import MakeRig
from tests.gateway.streams.rig import Rig, Valve, settle, sized, texts, total

pytestmark = pytest.mark.deadline(1000)

RETAIN = 3000
STALL = 10.0

Clock = trio.testing.MockClock


@pytest.fixture
async def rig(make_rig: MakeRig) -> Rig:
    """Logs that hold ten records of 300 bytes."""
    return await make_rig(retain_bytes=RETAIN, stall_timeout=STALL)


async def test_with_nobody_there_the_oldest_records_go(rig: Rig) -> None:
    stream = rig.stream()
    for _ in range(50):
        stream.extend(sized(300))
        assert stream.log.size <= RETAIN
        assert rig.budget.used == stream.log.size
    assert not stream.paused
    assert stream.log.oldest == stream.log.head - 9


async def test_those_who_keep_up_hold_nobody_up(rig: Rig) -> None:
    stream = rig.stream()
    stream.valve = valve = Valve()
    readers = [await rig.reader(stream) for _ in range(3)]
    for number in range(50):
        stream.extend(texts(str(number)))
    assert valve.calls == []
    assert all(reader.texts() == [str(number) for number in range(50)] for reader in readers)


async def test_a_full_log_stops_its_producer_until_there_is_room(rig: Rig) -> None:
    stream = rig.stream()
    stream.valve = valve = Valve()
    slow = await rig.reader(stream, room=0)
    while not stream.paused:
        assert stream.log.size <= RETAIN
        stream.extend(sized(300))
    assert valve.calls == ["pause"]
    assert stream.log.size <= RETAIN + 300
    assert stream.log.oldest == 2  # it was given the first record: that one is not in the log any more
    slow.outlet.allow(float("inf"))
    await settle()
    assert not stream.paused
    assert valve.calls == ["pause", "resume"]
    assert stream.log.size <= RETAIN
    assert len(slow.texts()) == stream.log.head - 1


async def test_the_producers_that_ask_wait(rig: Rig) -> None:
    stream = rig.stream()
    slow = await rig.reader(stream, room=0)
    appended = 0

    async def produce() -> None:
        nonlocal appended
        for number in range(200):
            await stream.flowing()
            stream.extend(texts(f"{number:0200}"))
            appended += 1
        await stream.flowing()
        stream.extend([(StreamFinished("stop"), None)])

    rig.nursery.start_soon(produce)
    await settle()
    assert 0 < appended < 20
    before = appended
    await settle()
    assert appended == before
    while appended < 200:
        slow.outlet.allow(1000)
        await settle()
        assert stream.log.size <= RETAIN + total(texts("0" * 200))
    slow.outlet.allow(float("inf"))
    await slow.left.wait()
    assert slow.texts() == [f"{number:0200}" for number in range(200)]


async def test_after_the_timeout_the_laggards_are_let_go_and_only_they(rig: Rig, autojump_clock: Clock) -> None:
    stream = rig.stream()
    stream.valve = valve = Valve()
    quick = await rig.reader(stream)
    stalled = [await rig.reader(stream, room=5) for _ in range(2)]
    while not stream.paused:
        stream.extend(sized(300))
    # Behind the head, but ahead of what has to go.
    middling = await rig.reader(stream, room=0, after=stream.log.head - 3)
    paused_at = trio.current_time()
    for reader in stalled:
        await reader.left.wait()
        assert reader.outcome == LAGGED
    assert trio.current_time() - paused_at == pytest.approx(STALL)
    assert valve.calls == ["pause", "resume"]
    assert stream.log.size <= RETAIN
    assert middling.outcome == quick.outcome == "running"
    stream.extend(texts("on"))
    assert quick.texts()[-1] == "on"
    middling.outlet.allow(float("inf"))
    await settle()
    assert middling.texts()[-1] == "on"


async def test_a_laggard_that_moves_in_time_stays(rig: Rig, autojump_clock: Clock) -> None:
    stream = rig.stream()
    slow = await rig.reader(stream, room=0)
    for _ in range(3):
        while not stream.paused:
            stream.extend(sized(300))
        await trio.sleep(STALL / 4)
        slow.outlet.allow(100_000)
        slow.outlet.room = 0
        await settle()
        assert not stream.paused
    await trio.sleep(3)
    assert slow.outcome == "running"


async def test_who_moves_a_little_now_and_then_uses_up_its_time_all_the_same(rig: Rig, autojump_clock: Clock) -> None:
    stream = rig.stream()
    slow = await rig.reader(stream, room=0)
    paused = 0.0
    while slow.outcome == "running":
        while not stream.paused:
            stream.extend(sized(300))
            await settle()
        await trio.sleep(STALL / 5)
        paused += STALL / 5
        assert paused <= STALL
        slow.outlet.allow(700)  # enough for one or two records: the log is full again at once
        await settle()
    assert slow.outcome == LAGGED
    assert paused == pytest.approx(STALL)


async def test_who_catches_up_has_all_its_time_again(rig: Rig, autojump_clock: Clock) -> None:
    stream = rig.stream()
    slow = await rig.reader(stream, room=0)
    for _ in range(5):
        while not stream.paused:
            stream.extend(sized(300))
        await trio.sleep(STALL * 0.9)
        slow.outlet.allow(float("inf"))
        await settle()
        slow.outlet.room = 0
    assert slow.outcome == "running"


async def test_who_comes_while_the_producer_waits_pays_for_its_own_time_only(
    rig: Rig, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "DRAIN_BYTES", 1)
    stream = rig.stream()
    first = await rig.reader(stream, room=5)
    while not stream.paused:
        stream.extend(sized(300))
    stream.extend(sized(300, 5))
    await trio.sleep(STALL - 1)
    came = trio.current_time()
    late = await rig.reader(stream, room=5, after=stream.log.oldest - 1)
    await trio.sleep(2)
    assert first.outcome == LAGGED
    assert late.outcome == "running"
    await late.left.wait()
    assert trio.current_time() - came == pytest.approx(STALL)


async def test_a_laggard_that_leaves_makes_room(rig: Rig) -> None:
    stream = rig.stream()
    stream.valve = valve = Valve()
    slow = await rig.reader(stream, room=0)
    while not stream.paused:
        stream.extend(sized(300))
    slow.scope.cancel()
    await slow.left.wait()
    assert valve.calls == ["pause", "resume"]
    assert stream.log.size <= RETAIN


async def test_what_comes_while_it_is_paused_is_kept_too(rig: Rig) -> None:
    # One read of the provider's socket may bring several appends before the pause takes effect.
    stream = rig.stream()
    slow = await rig.reader(stream, room=0)
    while not stream.paused:
        stream.extend(sized(300))
    stream.extend(sized(300, 5))
    stream.extend(texts("last"))
    slow.outlet.allow(float("inf"))
    await settle()
    assert len(slow.texts()) == stream.log.head - 1
    assert slow.texts()[-1] == "last"
    assert not stream.paused


async def test_the_end_takes_the_pressure_off(rig: Rig, autojump_clock: Clock) -> None:
    stream = rig.stream()
    stream.valve = valve = Valve()
    slow = await rig.reader(stream, room=0)
    while not stream.paused:
        stream.extend(sized(300))
    stream.extend([(StreamFinished("stop"), None)])
    assert not stream.paused
    assert valve.calls == ["pause", "resume"]
    await trio.sleep(STALL * 1.5)
    assert slow.outcome == "running"  # nobody needs the room any more: it may be as slow as it likes
    slow.outlet.allow(float("inf"))
    await slow.left.wait()
    assert slow.outcome is None
    assert len(slow.texts()) == stream.log.head - 2


async def test_a_crowd_that_keeps_up_holds_nobody_up(rig: Rig, autojump_clock: Clock) -> None:
    # The appender itself reaches only some of them: the others are behind when the log is found to be full.
    stream = rig.stream()
    readers = [await rig.reader(stream) for _ in range(FANOUT_SLICE + 1)]
    for _ in range(5):
        stream.extend(sized(300, 12))
        await settle()
        assert not stream.paused
    await trio.sleep(2 * STALL)
    assert all(len(reader.texts()) == 60 for reader in readers)
    assert all(reader.outcome == "running" for reader in readers)


async def test_a_record_larger_than_the_log_is_given_and_not_kept(rig: Rig) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream)
    stream.extend(sized(RETAIN * 4))
    assert len(reader.texts()) == 1
    assert stream.log.size == 0
    assert stream.log.oldest == stream.log.head + 1
    stream.extend(texts("a"))
    assert reader.texts()[-1] == "a"
    assert not stream.paused


async def test_one_streams_laggards_are_nothing_to_another(rig: Rig) -> None:
    one, other = rig.stream(), rig.stream()
    await rig.reader(one, room=0)
    quick = await rig.reader(other)
    while not one.paused:
        one.extend(sized(300))
        other.extend(texts("x"))
    assert not other.paused
    assert len(quick.texts()) == other.log.head - 1
