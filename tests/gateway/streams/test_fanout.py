"""Fan-out: each piece is rendered once, and a long row of subscribers lets others have their turn."""

import pytest
import trio

from stream_gateway.streams.fanout import FanOut
from stream_gateway.streams.stream import FANOUT_SLICE
from stream_protocols.dialects import Source
from stream_protocols.dialects.native import NativeEncoder
from stream_protocols.dialects.openai_chat import OpenAIChatEncoder
from stream_protocols.events import Event, Record, StreamFinished
from stream_protocols.framing import chunked
from stream_protocols.render import SseRenderer
from tests.gateway.streams.rig import Reader, Rig, settle, texts

FINISHED: list[Record] = [(StreamFinished("stop"), None)]


class CountingEncoder(NativeEncoder):
    """Counts what it encodes."""

    def __init__(self) -> None:
        self.count = 0

    def encode(self, event: Event) -> bytes | None:
        self.count += 1
        return super().encode(event)


async def test_what_is_appended_is_rendered_once_for_all(rig: Rig) -> None:
    stream = rig.stream()
    encoder = CountingEncoder()
    renderer = SseRenderer(stream.id, stream.log.epoch, encoder, None)
    readers = [await rig.reader(stream, renderer=renderer) for _ in range(20)]
    encoder.count = 0
    for number in range(5):
        stream.extend(texts(str(number)))
        assert encoder.count == number + 1
    assert len({id(reader.outlet.writes[-1]) for reader in readers}) == 1
    assert all(reader.texts() == list("01234") for reader in readers)


async def test_each_kind_of_client_has_its_own_rendering(rig: Rig) -> None:
    stream = rig.stream()
    plain, other = CountingEncoder(), CountingEncoder()
    one = SseRenderer(stream.id, stream.log.epoch, plain, None)
    two = SseRenderer(stream.id, stream.log.epoch, other, None)
    readers = [await rig.reader(stream, renderer=renderer) for renderer in (one, two) * 3]
    readers[0].outlet.framing = chunked
    plain.count = other.count = 0
    stream.extend(texts("a"))
    assert plain.count == 2  # once for each framing
    assert other.count == 1
    assert readers[0].outlet.writes[-1] == chunked(readers[2].outlet.writes[-1])


async def test_who_is_behind_gets_what_it_is_behind_by(rig: Rig) -> None:
    stream = rig.stream()
    readers = [await rig.reader(stream) for _ in range(3)]
    readers[1].outlet.room = 4
    stream.extend(texts("a"))
    stream.extend(texts("b"))
    readers[1].outlet.allow(float("inf"))
    await settle()
    stream.extend(texts("c"))
    assert all(reader.texts() == ["a", "b", "c"] for reader in readers)
    assert len({reader.outlet.taken for reader in readers}) == 1


async def test_dialects_side_by_side(rig: Rig) -> None:
    stream = rig.stream(dialect="openai_chat")
    openai = SseRenderer(stream.id, stream.log.epoch, OpenAIChatEncoder(Source(stream.id, "m", 1)), "openai_chat")
    native, vendor = await rig.reader(stream), await rig.reader(stream, renderer=openai)
    stream.extend([(texts("a")[0][0], b'{"theirs":1}')])
    assert native.texts() == ["a"]
    assert vendor.outlet.events()[-1].data == b'{"theirs":1}'


# Many


async def crowd(rig: Rig, size: int) -> list[Reader]:
    stream = rig.stream()
    return [await rig.reader(stream) for _ in range(size)]


async def test_two_hundred_get_everything_in_order(rig: Rig) -> None:
    readers = await crowd(rig, 200)
    stream = readers[0].subscription.stream
    for number, reader in enumerate(readers):
        reader.outlet.room = [float("inf"), 100, 0][number % 3]
    words = [f"{number:03}" for number in range(30)]
    for word in words:
        stream.extend(texts(word))
        await trio.lowlevel.checkpoint()
    stream.extend(FINISHED)
    quick = readers[::3]
    await settle()
    assert all(reader.outcome is None for reader in quick)
    assert all(reader.texts() == words for reader in quick)
    for reader in readers:
        reader.outlet.allow(float("inf"))
    await settle()
    assert all(reader.outcome is None for reader in readers)
    assert len({reader.outlet.taken for reader in readers}) == 1
    assert rig.registry.subscriptions == 0


class Steps(trio.abc.Instrument):
    """How many writes each step of a task brought, for steps that brought any."""

    def __init__(self, readers: list[Reader]) -> None:
        self.writes: list[int] = []
        self._readers = readers
        self._before = self._count()

    def _count(self) -> int:
        return sum(len(reader.outlet.writes) for reader in self._readers)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        after = self._count()
        if after > self._before:
            self.writes.append(after - self._before)
        self._before = after


async def test_a_long_fan_out_goes_in_slices_so_that_others_get_their_turn(rig: Rig) -> None:
    readers = await crowd(rig, 3 * FANOUT_SLICE + 1)
    stream = readers[0].subscription.stream
    steps = Steps(readers)
    trio.lowlevel.add_instrument(steps)
    stream.extend(texts("a"))
    await settle()
    trio.lowlevel.remove_instrument(steps)
    assert steps.writes == [FANOUT_SLICE] * 3 + [1]
    assert all(reader.texts() == ["a"] for reader in readers)


async def test_appending_while_a_fan_out_is_under_way(rig: Rig) -> None:
    readers = await crowd(rig, 2 * FANOUT_SLICE)
    stream = readers[0].subscription.stream
    for number in range(7):
        stream.extend(texts(str(number)))
    assert [len(reader.texts()) for reader in (readers[0], readers[-1])] == [7, 0]
    await settle()
    assert all(reader.texts() == list("0123456") for reader in readers)
    stream.extend(texts("7"))
    stream.extend(FINISHED)
    await settle()
    assert all(reader.outcome is None for reader in readers)
    assert all(reader.texts() == list("01234567") for reader in readers)


async def test_leaving_while_a_fan_out_is_under_way(rig: Rig) -> None:
    readers = await crowd(rig, 2 * FANOUT_SLICE)
    stream = readers[0].subscription.stream
    stream.extend(texts("a"))
    for reader in readers[FANOUT_SLICE::2]:
        reader.scope.cancel()
    await settle()
    stayed = [reader for reader in readers if reader.outcome == "running"]
    assert len(stayed) == FANOUT_SLICE + FANOUT_SLICE // 2
    assert all(reader.texts() == ["a"] for reader in stayed)


@pytest.mark.parametrize("error", [BrokenPipeError(), RuntimeError("a bug")])
async def test_one_that_raises_beyond_the_first_slice_is_alone_with_it(rig: Rig, error: Exception) -> None:
    readers = await crowd(rig, 2 * FANOUT_SLICE)
    stream = readers[0].subscription.stream
    readers[-2].outlet.error = error
    stream.extend(texts("a"))
    await settle()
    stream.extend(texts("b"))
    await settle()
    assert readers[-2].outcome is error
    assert all(reader.texts() == ["a", "b"] for reader in readers if reader is not readers[-2])


async def test_streams_take_turns(rig: Rig) -> None:
    crowds = [await crowd(rig, 2 * FANOUT_SLICE) for _ in range(3)]
    for readers in crowds:
        readers[0].subscription.stream.extend(texts("a"))
    await settle()
    assert all(reader.texts() == ["a"] for readers in crowds for reader in readers)


async def test_a_fan_out_can_be_asked_for_again_and_again(nursery: trio.Nursery, rig: Rig) -> None:
    fanout = FanOut()
    nursery.start_soon(fanout.run)
    stream = rig.stream()
    for _ in range(3):
        await settle()
        fanout.add(stream)
    await settle()
    assert stream.behind() == []
