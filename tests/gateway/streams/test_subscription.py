"""Subscriptions: live while the outlet takes all, lagging when it does not, and nothing lost in between."""

import json

import pytest
import trio

from stream_gateway.streams import subscription
from stream_gateway.streams.subscription import Subscription
from stream_protocols.events import StreamFinished
from stream_protocols.framing import chunked
from stream_protocols.render import Renderer
from tests.gateway.streams.outlet import SlowOutlet
from tests.gateway.streams.rig import Rig, native, settle, sized, texts

FINISHED = [(StreamFinished("stop"), None)]


async def test_what_is_appended_is_written_before_the_append_returns(rig: Rig) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream)
    for number, word in enumerate("abc", 2):
        stream.extend(texts(word))
        assert reader.texts() == list("abc")[: number - 1]
        assert reader.subscription.position == number


async def test_a_reader_gets_the_past_and_then_the_present(rig: Rig) -> None:
    stream = rig.stream()
    stream.extend(texts("a", "b"))
    reader = await rig.reader(stream)
    assert len(reader.outlet.writes) == 1
    stream.extend(texts("c"))
    stream.extend([*texts("d"), *FINISHED])
    await reader.left.wait()
    assert reader.outcome is None
    assert reader.texts() == ["a", "b", "c", "d"]
    assert reader.ids() == [f"{stream.id}.{stream.log.epoch}.{n}" for n in range(1, 7)]


async def test_a_stream_that_ended_long_ago_is_read_to_its_end(rig: Rig) -> None:
    stream = rig.stream()
    stream.extend([*texts("a", "b"), *FINISHED])
    reader = await rig.reader(stream, after=2)
    assert reader.outcome is None
    assert reader.texts() == ["b"]
    nothing = await rig.reader(stream, after=stream.log.head)
    assert nothing.outcome is None
    assert nothing.outlet.writes == []


async def test_a_reader_can_begin_inside_a_text(rig: Rig) -> None:
    stream = rig.stream()
    stream.extend(texts("añ𝄞d", "e"))
    reader = await rig.reader(stream, after=1, offset=2)
    assert reader.texts() == ["𝄞d", "e"]
    assert reader.ids()[0] == f"{stream.id}.{stream.log.epoch}.2"


# Lagging


async def test_a_short_write_makes_it_lag_and_what_waits_is_merged(rig: Rig) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream)
    reader.outlet.room = 10
    for word in "abcde":
        stream.extend(texts(word))
    assert len(reader.outlet.writes) == 2  # the beginning, and the write that was cut short
    assert reader.subscription.position == 2
    reader.outlet.allow(float("inf"))
    await settle()
    assert len(reader.outlet.writes) == 3
    assert reader.texts() == list("abcde")
    stream.extend(texts("f"))
    assert reader.texts() == list("abcdef")


async def test_a_large_backlog_goes_in_bounded_pieces(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "DRAIN_BYTES", 3000)
    stream = rig.stream()
    stream.extend(sized(1000, 20))
    reader = await rig.reader(stream)
    assert len(reader.outlet.writes) > 6
    assert len(reader.texts()) == 20
    assert reader.outlet.events() == (await rig.reader(stream)).outlet.events()


async def test_a_backlog_does_not_keep_others_from_their_turn(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "DRAIN_BYTES", 1)
    stream = rig.stream()
    stream.extend(sized(1000, 50))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        outlet = SlowOutlet()
        stream.extend(FINISHED)
        with Subscription(stream, native(stream), outlet) as reader:
            await reader.run()
        nursery.cancel_scope.cancel()
    assert turns >= 50


async def test_an_outlet_that_is_not_clear_is_not_written_to(rig: Rig) -> None:
    stream = rig.stream()
    outlet = SlowOutlet(room=4)
    outlet.write_now(b"a head that has not left")
    async with trio.open_nursery() as nursery:
        with Subscription(stream, native(stream), outlet) as reader:
            nursery.start_soon(reader.run)
            await settle()
            assert outlet.writes == [b"a head that has not left"]
            outlet.allow(float("inf"))
            await settle()
            assert len(outlet.writes) == 2
            # Somebody else writes something of his own while it is live.
            outlet.room = 0
            outlet.write_now(b"x")
            reader.keep_alive()
            stream.extend(texts("a"))
            assert outlet.writes[2:] == [b"x"]
            outlet.allow(float("inf"))
            await settle()
            assert b'"a"' in outlet.writes[-1]
            nursery.cancel_scope.cancel()


# Keepalive


async def test_a_keepalive_goes_between_events_to_who_is_live(rig: Rig) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream)
    reader.subscription.keep_alive()
    stream.extend(texts("a"))
    reader.subscription.keep_alive()
    stream.extend(texts("b"))
    assert reader.texts() == ["a", "b"]
    assert [write for write in reader.outlet.writes if write == b":\n"] == [b":\n"] * 2
    assert reader.outlet.taken.count(b"\n:\n") == 2


async def test_no_keepalive_in_the_middle_of_an_event(rig: Rig) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream)
    reader.outlet.room = 5
    stream.extend(texts("a"))
    reader.subscription.keep_alive()
    reader.outlet.allow(float("inf"))
    await settle()
    assert b"\n:\n" not in reader.outlet.taken
    assert reader.texts() == ["a"]


async def test_a_keepalive_reaches_who_was_slow_at_the_last_event(rig: Rig) -> None:
    """Nothing is left over, and nothing comes that would have anybody look whether the kernel still holds it."""
    stream = rig.stream()
    reader = await rig.reader(stream)
    stream.extend(texts("a"))
    reader.outlet.crowded = True
    assert reader.subscription.live
    for _ in range(2):
        reader.subscription.keep_alive()
        await settle()
    assert reader.outlet.writes[-1] == b":\n"
    assert reader.subscription.live


async def test_a_keepalive_that_is_cut_short_is_finished_before_the_next_event(rig: Rig) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream)
    reader.outlet.room = 1
    reader.subscription.keep_alive()
    stream.extend(texts("a"))
    assert reader.texts() == []
    reader.outlet.allow(float("inf"))
    await settle()
    assert reader.texts() == ["a"]
    assert reader.outlet.taken.count(b":\nid") == 1


async def test_a_keepalive_is_framed(rig: Rig) -> None:
    stream = rig.stream()
    outlet = SlowOutlet(framing=chunked)
    async with trio.open_nursery() as nursery:
        with Subscription(stream, native(stream), outlet) as subscription:
            nursery.start_soon(subscription.run)
            await settle()
            subscription.keep_alive()
            nursery.cancel_scope.cancel()
    assert outlet.writes[-1] == chunked(b":\n")


async def test_the_time_of_the_last_write_is_noted(rig: Rig, mock_clock: trio.testing.MockClock) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream)
    mock_clock.jump(5)
    assert reader.subscription.last_write == trio.current_time() - 5
    stream.extend(texts("a"))
    assert reader.subscription.last_write == trio.current_time()
    mock_clock.jump(3)
    reader.subscription.keep_alive()
    assert reader.subscription.last_write == trio.current_time()


# Ends


async def test_closing_says_why_even_in_the_middle_of_a_write(rig: Rig) -> None:
    stream = rig.stream()
    live, lagging = await rig.reader(stream), await rig.reader(stream, room=3)
    for reader in (live, lagging):
        reader.subscription.close("enough")
        reader.subscription.close("more")
        await reader.left.wait()
        assert reader.outcome == "enough"
    assert stream.subscribers == 0
    assert rig.registry.subscriptions == 0


async def test_closing_before_it_runs(rig: Rig) -> None:
    stream = rig.stream()
    with Subscription(stream, native(stream), SlowOutlet()) as subscription:
        subscription.close("enough")
        assert await subscription.run() == "enough"


async def test_cancelled_in_the_middle_of_a_write_it_leaves_nothing_behind(rig: Rig) -> None:
    stream = rig.stream()
    leaver, stayer = await rig.reader(stream, room=7), await rig.reader(stream)
    stream.extend(texts("a"))
    leaver.scope.cancel()
    await leaver.left.wait()
    assert leaver.outcome == "cancelled"
    assert stream.subscribers == 1
    stream.extend(texts("b"))
    assert stayer.texts() == ["a", "b"]
    assert len(leaver.outlet.taken) == 7


async def test_cancelled_while_live_it_is_written_to_no_more(rig: Rig) -> None:
    stream = rig.stream()
    leaver = await rig.reader(stream)
    leaver.scope.cancel()
    await leaver.left.wait()
    before = list(leaver.outlet.writes)
    stream.extend(texts("a"))
    assert leaver.outlet.writes == before


# What goes wrong in one


@pytest.mark.parametrize("error", [BrokenPipeError("gone"), RuntimeError("a bug")])
async def test_an_outlet_that_raises_hurts_only_its_own_subscription(rig: Rig, error: Exception) -> None:
    stream = rig.stream()
    before, broken, after = [await rig.reader(stream) for _ in range(3)]
    broken.outlet.error = error
    stream.extend(texts("a"))
    await broken.left.wait()
    assert broken.outcome is error
    stream.extend([*texts("b"), *FINISHED])
    await settle()
    for reader in (before, after):
        assert reader.texts() == ["a", "b"]
        assert reader.outcome is None


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), RuntimeError("a bug")])
async def test_an_outlet_that_raises_while_it_lags(rig: Rig, error: Exception) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, room=3)
    reader.outlet.fail(error)
    await reader.left.wait()
    assert reader.outcome is error


async def test_an_outlet_that_raises_on_a_keepalive(rig: Rig) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream)
    reader.outlet.error = BrokenPipeError()
    reader.subscription.keep_alive()
    await reader.left.wait()
    assert isinstance(reader.outcome, BrokenPipeError)


class BrokenRenderer:
    """Renders nothing but the first record."""

    media_type = "text/plain"
    keepalive = b"\n"

    def render(self, first: int, records: object) -> bytes:
        if first > 1:
            raise ValueError("cannot be rendered")
        return b"x"

    def notice(self, notice: object) -> bytes:
        return b""


async def test_a_renderer_that_raises_hurts_only_those_who_use_it(rig: Rig) -> None:
    stream = rig.stream()
    renderer: Renderer = BrokenRenderer()
    broken, good = await rig.reader(stream, renderer=renderer), await rig.reader(stream)
    stream.extend(texts("a"))
    await broken.left.wait()
    assert isinstance(broken.outcome, ValueError)
    assert good.texts() == ["a"]
    late = await rig.reader(stream, renderer=renderer, after=1)
    assert isinstance(late.outcome, ValueError)


async def test_payloads_are_whole_json_wherever_the_outlet_cuts(rig: Rig) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, room=0)
    stream.extend(texts(*(str(number) * number for number in range(40))))
    stream.extend(FINISHED)
    while reader.outcome == "running":
        reader.outlet.allow(11)
        await settle()
    assert [json.loads(event.data)["type"] for event in reader.outlet.events()][1:-1] == ["text.delta"] * 40
    assert reader.texts() == [str(number) * number for number in range(40)]
