"""The demo provider: its names steer it, and its text is a function of the request."""

import json
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from stream_gateway.streams.stream import Stream
from stream_gateway.upstream.demo import (
    MAX_DELTAS,
    DemoProvider,
    Steering,
    events,
    is_demo,
    steering,
)
from stream_gateway.upstream.provider import ProviderFailed
from stream_protocols.dialects.openai_chat import parse_request
from stream_protocols.dialects.registry import conversation
from stream_protocols.errors import UnknownModel
from stream_protocols.events import (
    ChoiceFinished,
    Event,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    TextDelta,
    Usage,
)
from stream_protocols.request import Request
from tests.gateway.streams.conftest import MakeRig, make_rig, rig
from tests.gateway.streams.rig import Rig, settle

__all__ = ["make_rig", "rig"]

pytestmark = pytest.mark.deadline(1000)

Clock = trio.testing.MockClock


def request(content: Any = "Hi there", **fields: Any) -> Request:
    return parse_request(
        json.dumps({"model": "demo", "messages": [{"role": "user", "content": content}], **fields}).encode()
    )


def text(answer: list[Event], choice: int = 0) -> str:
    return "".join(event.text for event in answer if isinstance(event, TextDelta) and event.choice == choice)


# Names


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("demo", Steering()),
        ("demo-n200-gap20", Steering(deltas=200, gap=0.02)),
        ("demo-gap20-n200", Steering(deltas=200, gap=0.02)),
        ("demo-n5", Steering(deltas=5, gap=0.0)),
        ("demo-first500", Steering(first=0.5)),
        ("demo-n9-fail3", Steering(deltas=9, gap=0.0, fail=3)),
        ("demo-stall50", Steering(stall=50)),
        ("demo-n0", Steering(deltas=0, gap=0.0)),
        ("demo-n9999999", Steering(deltas=MAX_DELTAS, gap=0.0)),
        ("demo-n1-n2", Steering(deltas=2, gap=0.0)),
    ],
)
def test_what_a_name_asks_for(name: str, how: Steering) -> None:
    assert is_demo(name)
    assert steering(name) == how


@pytest.mark.parametrize(
    "name", ["", "Demo", "demo-", "demo-x5", "demo-n", "demo-n-5", "demo-n5x", "demo-n12345678", "demos", "x-demo"]
)
def test_what_is_no_name(name: str) -> None:
    assert not is_demo(name)
    with pytest.raises(UnknownModel, match="demo-n200-gap20"):
        steering(name)


# The text


def test_a_pleasant_default() -> None:
    answer = list(events(conversation(request()), Steering()))
    assert text(answer).startswith("Hello! I am the demo model of Stream Gateway")
    assert 40 < len(answer) < 200
    assert [type(event) for event in answer[-3:]] == [ChoiceFinished, Usage, StreamFinished]


def test_so_many_deltas() -> None:
    for count in (0, 1, 200):
        answer = list(events(conversation(request()), Steering(deltas=count)))
        assert sum(isinstance(event, TextDelta) for event in answer) == count
        assert len(text(answer).split()) == count


def test_the_text_is_a_function_of_the_messages() -> None:
    one, same, other = (text(list(events(conversation(request(content)), Steering()))) for content in ("a", "a", "b"))
    assert one == same != other


def test_fewer_deltas_are_the_beginning_of_more() -> None:
    few, many = (text(list(events(conversation(request()), Steering(deltas=count)))) for count in (7, 70))
    assert many.startswith(few)


def test_each_choice_says_its_own() -> None:
    answer = list(events(conversation(request(n=3)), Steering(deltas=20)))
    assert len({text(answer, choice) for choice in range(3)}) == 3
    assert [event.choice for event in answer if isinstance(event, TextDelta)][:6] == [0, 1, 2, 0, 1, 2]
    assert [event.choice for event in answer if isinstance(event, ChoiceFinished)] == [0, 1, 2]


def test_usage_counts_words() -> None:
    (usage,) = (
        event
        for event in events(conversation(request("one two three")), Steering(deltas=5))
        if isinstance(event, Usage)
    )
    assert (usage.input_tokens, usage.output_tokens) == (3, 5)
    parts = [{"type": "text", "text": "a"}]
    assert any(isinstance(event, Usage) for event in events(conversation(request(parts)), Steering(deltas=1)))
    assert any(isinstance(event, Usage) for event in events(conversation(request(None)), Steering(deltas=1)))


@given(st.integers(0, 30), st.none() | st.integers(0, 40), st.integers(1, 3))
def test_exactly_one_end(deltas: int, fail: int | None, choices: int) -> None:
    answer = list(events(conversation(request(n=choices)), Steering(deltas=deltas, fail=fail)))
    assert isinstance(answer[-1], StreamFinished | StreamFailed)
    assert not any(isinstance(event, StreamFinished | StreamFailed) for event in answer[:-1])
    if isinstance(answer[-1], StreamFailed):
        assert len(answer) - 1 == fail


# Streamed and not


async def run(rig: Rig, model: str, **fields: Any) -> Stream:
    """The stream of a demo model, as far as it gets by itself."""
    stream = rig.stream(started=False)
    rig.registry.start(stream, lambda stream: DemoProvider().stream(request(**fields), model, stream))
    await settle()
    return stream


def said(stream: Stream) -> list[Event]:
    return [event for event, _ in stream.log.after(0)]


async def test_streamed_or_not_the_same(rig: Rig, autojump_clock: Clock) -> None:
    for model in ("demo", "demo-n20-gap20"):
        stream = await run(rig, model, n=2)
        await stream.ended.wait()
        reply = await DemoProvider().complete(request(n=2), model)
        assert isinstance(said(stream)[0], StreamStarted)
        assert tuple(said(stream)[1:]) == reply.events
        assert reply.body is None


async def test_deltas_come_at_their_times(rig: Rig, autojump_clock: Clock) -> None:
    times: list[float] = []
    stream = rig.stream(started=False)
    began = trio.current_time()
    rig.registry.start(stream, lambda stream: DemoProvider().stream(request(), "demo-n4-gap20-first500", stream))
    head = 1
    while not stream.ended.is_set():
        await trio.sleep(0.001)
        if stream.log.head > head:
            times.append(trio.current_time() - began)
            head = stream.log.head
    assert times == pytest.approx([0.5, 0.52, 0.54, 0.56, 0.58], abs=0.003)


async def test_the_beginning_is_said_at_once(rig: Rig, mock_clock: Clock) -> None:
    stream = await run(rig, "demo-first500")
    assert [type(event) for event in said(stream)] == [StreamStarted]


async def test_one_that_fails(rig: Rig) -> None:
    stream = await run(rig, "demo-n20-fail5")
    assert sum(isinstance(event, TextDelta) for event in said(stream)) == 5
    assert isinstance(stream.terminal, StreamFailed)
    assert stream.terminal.code == "demo_failure"
    with pytest.raises(ProviderFailed) as caught:
        await DemoProvider().complete(request(), "demo-n20-fail5")
    assert caught.value.failure == stream.terminal


async def test_one_that_goes_silent(rig: Rig, autojump_clock: Clock) -> None:
    stream = await run(rig, "demo-n20-stall5")
    await trio.sleep(500)
    assert sum(isinstance(event, TextDelta) for event in said(stream)) == 5
    assert stream.terminal is None
    stream.cancel("client")
    await stream.ended.wait()
    with trio.move_on_after(10) as scope:
        await DemoProvider().complete(request(), "demo-n20-stall5")
    assert scope.cancelled_caught


async def test_it_waits_for_room(make_rig: MakeRig) -> None:
    rig = await make_rig(retain_bytes=3000)
    stream = rig.stream(started=False)
    reader = await rig.reader(stream, room=0)
    rig.registry.start(stream, lambda stream: DemoProvider().stream(request(), "demo-n500", stream))
    await settle()
    assert stream.paused
    assert stream.log.size < 3500
    reader.outlet.allow(float("inf"))
    await reader.left.wait()
    assert len(reader.texts()) == 500


async def test_a_name_that_means_nothing(rig: Rig) -> None:
    stream = await run(rig, "demo-x")
    assert isinstance(stream.terminal, StreamFailed)
    assert (stream.terminal.code, stream.terminal.status) == ("model_not_found", 404)
