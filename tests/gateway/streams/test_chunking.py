"""Chunkers at work: what a client gets when, what is held for how long, and what becomes of a chunker that fails."""

import json

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from stream_gateway.server.formats import renderer_for
from stream_gateway.streams.chunking import AGAIN
from stream_gateway.streams.stream import FANOUT_SLICE
from stream_protocols.chunking import Chunker, Conditions, Waiting
from stream_protocols.chunking.adaptive import Adaptive
from stream_protocols.chunking.base import MAX_PATIENCE
from stream_protocols.chunking.plan import MAX_HELD
from stream_protocols.chunking.sizes import Bytes, Interval
from stream_protocols.chunking.words import Sentences
from stream_protocols.events import Event, ReasoningDelta, StreamFinished, TextDelta, Usage
from stream_protocols.sse import SseDecoder
from tests.gateway.streams.conftest import MakeRig
from tests.gateway.streams.rig import Rig, settle, texts

DELTA = "response.output_text.delta"
FINISHED = [(StreamFinished("stop"), None)]


async def test_sentences_leave_when_they_are_whole(rig: Rig, mock_clock: MockClock) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Sentences())
    for word in ("One", " two", ". Three", " four. ", "Five"):
        stream.extend(texts(word))
    assert reader.texts() == ["One two. ", "Three four. "]
    assert reader.ids()[1:] == [f"{stream.id}.{stream.log.epoch}.{tail}" for tail in ("3.2", "5")]
    assert stream.subscribers == 1


async def test_what_is_held_leaves_when_patience_ends(rig: Rig, autojump_clock: MockClock) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Sentences())
    stream.extend(texts("It goes on"))
    await trio.sleep(Sentences.patience * 0.9)
    assert reader.texts() == []
    stream.extend(texts(" and on"))
    await trio.sleep(Sentences.patience * 0.2)
    assert reader.texts() == ["It goes on and on"]
    stream.extend(texts(" and"))
    await trio.sleep(Sentences.patience * 0.9)
    assert reader.texts() == ["It goes on and on"]
    await trio.sleep(Sentences.patience * 0.2)
    assert reader.texts()[1:] == [" and"]


async def test_who_counts_frames_gets_them_as_they_are(rig: Rig, mock_clock: MockClock) -> None:
    """Merged or cut ones would be other numbers than those that a client hears who comes back."""
    stream = rig.stream()
    live, lagging = [
        await rig.reader(stream, renderer=renderer_for(stream, "openai_responses"), room=room, chunker=Sentences())
        for room in (float("inf"), 0)
    ]
    for word in ("One", " two", ". Three", " four. "):
        stream.extend(texts(word))
    lagging.outlet.allow(1_000_000)
    stream.extend(FINISHED)
    told = renderer_for(stream, "openai_responses").render(1, stream.log.after(0))
    for reader in (live, lagging):
        await reader.left.wait()
        deltas = [json.loads(event.data) for event in reader.outlet.events() if event.event == DELTA]
        assert [delta["delta"] for delta in deltas] == ["One", " two", ". Three", " four. "]
        assert reader.outlet.events() == SseDecoder().feed(told)


async def test_what_is_held_leaves_with_the_end(rig: Rig, mock_clock: MockClock) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Bytes(100))
    stream.extend(texts("a", "b"))
    assert reader.texts() == []
    stream.extend(FINISHED)
    await reader.left.wait()
    assert reader.outcome is None
    assert reader.texts() == ["ab"]


async def test_one_frame_in_an_interval(rig: Rig, autojump_clock: MockClock) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Interval(0.04))
    for _ in range(20):
        stream.extend(texts("x"))
        await trio.sleep(0.01)
    await trio.sleep(0.05)
    got = reader.texts()
    assert "".join(got) == "x" * 20
    assert got[0] == "x"
    assert 5 <= len(got) <= 7


async def test_large_texts_are_split_for_a_live_client(rig: Rig) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Bytes(4))
    stream.extend(texts("abcdefgh", "ijkl"))
    assert reader.texts() == ["abcd", "efgh", "ijkl"]
    assert reader.subscription.live


async def test_a_client_of_adaptive_that_keeps_up_gets_every_event(rig: Rig) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Adaptive())
    for word in "abc":
        stream.extend(texts(word))
    assert reader.texts() == ["a", "b", "c"]


async def test_one_that_lags_gets_what_waits_as_one_chunk(rig: Rig) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, room=0, chunker=Adaptive())
    other = await rig.reader(stream, chunker=Adaptive())
    for number in range(50):
        stream.extend(texts(f"{number} "))
    whole = "".join(f"{number} " for number in range(50))
    assert other.texts() == [f"{number} " for number in range(50)]
    reader.outlet.allow(float("inf"))
    await settle()
    assert reader.texts() == [whole]
    assert reader.ids()[-1] == stream.cursor()
    assert reader.subscription.live


# On a far network

FAR = Conditions(rtt=0.3, least_rtt=0.3, window=10)


async def test_a_far_client_gets_one_chunk_in_a_packets_time(rig: Rig, autojump_clock: MockClock) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Adaptive(), network=FAR)
    near = await rig.reader(stream, chunker=Adaptive())
    for number in range(10):
        stream.extend(texts(f"{number} "))
        await trio.sleep(0.013)
    assert near.texts() == [f"{number} " for number in range(10)]
    assert reader.texts() == ["0 ", "1 2 ", "3 4 ", "5 6 ", "7 8 9 "]
    assert reader.ids()[-1] == stream.cursor()


async def test_a_far_client_of_a_slow_stream_waits_for_nothing(rig: Rig, autojump_clock: MockClock) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Adaptive(), network=FAR)
    for word in "abcd":
        stream.extend(texts(word))
        assert reader.texts()[-1] == word
        await trio.sleep(0.04)


async def test_what_is_no_text_ends_the_wait(rig: Rig, mock_clock: MockClock) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Adaptive(), network=FAR)
    stream.extend(texts("a"))
    stream.extend(texts("b"))
    stream.extend(texts("c"))
    assert reader.texts() == ["a"]
    stream.extend(FINISHED)
    await reader.left.wait()
    assert reader.texts() == ["a", "bc"]
    assert reader.outcome is None


async def test_a_network_that_comes_nearer(rig: Rig, mock_clock: MockClock) -> None:
    """What was held for the pace leaves with what comes next, and from then on nothing waits."""
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Adaptive(), network=FAR)
    for word in "abc":
        stream.extend(texts(word))
    reader.outlet.network = Conditions()
    for word in "def":
        stream.extend(texts(word))
    assert reader.texts() == ["a", "bcd", "e", "f"]


async def test_who_lags_is_asked_about_more_than_a_piece_of_the_log(rig: Rig) -> None:
    """What waits is counted as it will be written, not with all that the log keeps beside it."""
    stream = rig.stream()
    reader = await rig.reader(stream, room=0, chunker=Adaptive())
    stream.extend(texts("one "))
    for _ in range(1000):
        stream.extend([(TextDelta("word "), b'{"content":"word "}' + b" " * 300)])
    reader.outlet.allow(float("inf"))
    await settle()
    assert "".join(reader.texts()) == "one " + "word " * 1000
    assert len(reader.texts()) == 1


async def test_many_that_hold_do_not_keep_a_fan_out_going(rig: Rig, mock_clock: MockClock) -> None:
    stream = rig.stream()
    readers = [await rig.reader(stream, chunker=Sentences()) for _ in range(FANOUT_SLICE * 2 + 5)]
    stream.extend(texts("No end"))
    await settle()
    stream.extend(texts(", until now. "))
    await settle()
    assert {tuple(reader.texts()) for reader in readers} == {("No end, until now. ",)}


async def test_nothing_is_held_while_the_producer_waits_for_room(make_rig: MakeRig, mock_clock: MockClock) -> None:
    rig = await make_rig(retain_bytes=2000)
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Sentences())
    while not stream.paused and stream.log.head < 100:
        stream.extend(texts("word "))
        await settle()
    assert not stream.paused
    assert "".join(reader.texts()).startswith("word word ")


async def test_nor_by_one_that_comes_while_it_waits(make_rig: MakeRig, mock_clock: MockClock) -> None:
    rig = await make_rig(retain_bytes=2000)
    stream = rig.stream()
    reader = await rig.reader(stream, room=0, chunker=Sentences())
    while not stream.paused:
        stream.extend(texts("word "))
        await settle()
    reader.outlet.allow(float("inf"))
    await settle()
    assert not stream.paused
    assert "".join(reader.texts()) == "word " * (stream.log.head - 1)


class Counting(Chunker):
    """Holds until a full stop comes, and counts what it is shown."""

    patience = 5.0
    shown = 0

    def cut(self, waiting: Waiting) -> int:
        self.shown += len(waiting.text)
        return waiting.text.rfind(".") + 1


async def test_what_is_held_long_is_not_looked_at_with_each_event(rig: Rig, mock_clock: MockClock) -> None:
    stream = rig.stream()
    counting = Counting()
    reader = await rig.reader(stream, chunker=counting)
    for _ in range(MAX_HELD):
        stream.extend(texts("x"))
    assert reader.texts() == []
    assert counting.shown < MAX_HELD * (2 * AGAIN)  # and not by its square, which is sixteen times as much
    assert reader.subscription.live
    stream.extend(texts("x"))
    assert reader.texts() == ["x" * (MAX_HELD + 1)]


@pytest.mark.parametrize("other", [ReasoningDelta("y"), TextDelta("y", 1), Usage(1, 2)])
async def test_what_is_no_more_of_the_same_ends_a_long_wait(rig: Rig, mock_clock: MockClock, other: Event) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Counting())
    for _ in range(500):
        stream.extend(texts("x"))
    stream.extend([(other, None)])
    assert reader.texts() == ["x" * 500]


@pytest.mark.parametrize("size", [1, 40, 300])
async def test_the_end_of_a_long_wait_comes_a_little_later(rig: Rig, autojump_clock: MockClock, size: int) -> None:
    """By one more in `AGAIN` of what is held; and patience ends it in any case."""
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Counting())
    for _ in range(size):
        stream.extend(texts("x"))
    stream.extend(texts("."))
    for _ in range(size // AGAIN):
        stream.extend(texts("y"))
    assert reader.texts() == ["x" * size + "."]
    await trio.sleep(5.1)
    assert "".join(reader.texts()) == "x" * size + "." + "y" * (size // AGAIN)


# Chunkers that fail, or never let go


class Stubborn(Chunker):
    """Holds for ever, and says so in many ways."""

    def __init__(self, patience: float, hold: float) -> None:
        self.patience = patience
        self._hold = hold

    def cut(self, waiting: Waiting) -> int:
        return 0

    def hold(self, waited: float, since: float) -> float:
        return self._hold


NAN = float("nan")
INFINITY = float("inf")


@pytest.mark.parametrize("patience", [INFINITY, NAN, -1.0, 0.0, 100.0, 1.0])
@pytest.mark.parametrize("hold", [INFINITY, NAN, -INFINITY, 0.0, 100.0])
async def test_nobody_holds_for_ever(rig: Rig, autojump_clock: MockClock, patience: float, hold: float) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Stubborn(patience, hold))
    for word in "ab":
        stream.extend(texts(word))
        await trio.sleep(MAX_PATIENCE + 0.1)
    assert reader.texts() == ["a", "b"]
    assert reader.subscription.live


class Blind(Adaptive):
    """Cannot hear what the network shows."""

    def observe(self, conditions: Conditions) -> None:
        raise OSError("blind")


async def test_one_that_fails_while_its_client_keeps_up(rig: Rig) -> None:
    stream = rig.stream(started=False)
    with capture_logs() as logs:
        reader = await rig.reader(stream, chunker=Blind())
        for word in "abc":
            stream.extend([(TextDelta(word), None)])
    assert [(entry["event"], entry["chunker"], entry["error"]) for entry in logs] == [
        ("chunker_failed", "Blind", "OSError: blind")
    ]
    assert reader.texts() == ["a", "b", "c"]
    assert reader.subscription.live


class Broken(Chunker):
    """Works once."""

    def __init__(self, cut: object) -> None:
        self._cut = cut
        self._calls = 0

    def cut(self, waiting: Waiting) -> int:
        self._calls += 1
        if self._calls == 1:
            return 1
        if isinstance(self._cut, Exception):
            raise self._cut
        return self._cut  # type: ignore[return-value]


@pytest.mark.parametrize("cut", [ValueError("oh"), 100, -1, None])
async def test_one_that_fails_costs_its_client_nothing(rig: Rig, cut: object) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Broken(cut))
    stream.extend(texts("a"))
    with capture_logs() as logs:
        stream.extend(texts("bcd", "ef"))
        stream.extend(texts("g"))
        await settle()
    assert [entry["event"] for entry in logs] == ["chunker_failed"]
    assert reader.texts() == ["a", "bcd", "ef", "g"]
    assert reader.subscription.live


async def test_one_that_leaves_while_something_is_held(rig: Rig, autojump_clock: MockClock) -> None:
    stream = rig.stream()
    reader = await rig.reader(stream, chunker=Sentences())
    stream.extend(texts("Half a"))
    reader.scope.cancel()
    await reader.left.wait()
    await trio.sleep(10)
    assert reader.outlet.writes == reader.outlet.writes[:1]
    back = await rig.reader(stream, after=1, chunker=Adaptive())
    assert back.texts() == ["Half a"]
    assert stream.log.record(2) == (TextDelta("Half a"), None)
