"""Producers: whatever they do, their stream ends, exactly once, and nobody else notices."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from structlog.typing import EventDict

from stream_gateway.streams.stream import Stream
from stream_protocols.errors import IllegalTransition, UnknownModel, UpstreamTimeout
from stream_protocols.events import (
    StreamCancelled,
    StreamFailed,
    StreamFinished,
    StreamStarted,
    Terminal,
    TextDelta,
)
from stream_protocols.lifecycle import State
from tests.gateway.streams.conftest import MakeRig
from tests.gateway.streams.rig import Rig, settle, texts

Generate = Callable[[Stream], Awaitable[None]]


async def ending_of(rig: Rig, generate: Generate, *, started: bool = True) -> Terminal:
    """How a stream ends that `generate` produces; a reader has to see the same, and nothing after it."""
    stream = rig.stream(started=started)
    rig.registry.start(stream, generate)
    reader = await rig.reader(stream)
    await reader.left.wait()
    assert reader.outcome is None
    assert stream.ended.is_set()
    assert stream.log.sealed
    assert stream.terminal is not None
    assert stream.log.record(stream.log.head) == (stream.terminal, None)
    assert rig.registry.running == 0
    return stream.terminal


async def test_one_that_does_as_it_should(rig: Rig) -> None:
    async def generate(stream: Stream) -> None:
        await trio.lowlevel.checkpoint()
        stream.extend(texts("a"))
        stream.extend([(StreamFinished("stop"), None)])
        stream.extend(texts("after the end"))

    assert await ending_of(rig, generate) == StreamFinished("stop")


async def test_what_needs_no_waiting_is_done_at_once(rig: Rig) -> None:
    done: list[str] = []

    async def rest(stream: Stream) -> None:
        done.append("rest")
        stream.extend([(StreamFinished("stop"), None)])

    def generate(stream: Stream) -> Awaitable[None]:
        done.append("at once")
        return rest(stream)

    rig.registry.start(rig.stream(), generate)
    assert done == ["at once"]
    await settle()
    assert done == ["at once", "rest"]


async def test_one_that_fails_before_it_waits_for_anything(rig: Rig, logged: list[EventDict]) -> None:
    def generate(stream: Stream) -> Awaitable[None]:
        raise ZeroDivisionError

    failure = await ending_of(rig, generate, started=False)
    assert isinstance(failure, StreamFailed)
    assert failure.code == "internal_error"
    assert [entry["event"] for entry in logged] == ["producer_failed"]


async def test_one_that_returns_early(rig: Rig) -> None:
    async def generate(stream: Stream) -> None:
        stream.extend(texts("a"))

    failure = await ending_of(rig, generate)
    assert isinstance(failure, StreamFailed)
    assert (failure.code, failure.status) == ("upstream_truncated", 502)


async def test_one_that_never_begins(rig: Rig) -> None:
    async def generate(stream: Stream) -> None:
        pass

    assert isinstance(await ending_of(rig, generate, started=False), StreamFailed)


async def test_one_that_raises_an_error_of_ours(rig: Rig) -> None:
    async def generate(stream: Stream) -> None:
        raise UpstreamTimeout("Silent for too long.")

    assert await ending_of(rig, generate) == StreamFailed(
        "upstream_timeout", "Silent for too long.", 504, "timeout_error"
    )


async def test_one_that_refuses_before_it_begins(rig: Rig) -> None:
    async def generate(stream: Stream) -> None:
        raise UnknownModel("No such model.")

    failure = await ending_of(rig, generate, started=False)
    assert failure == StreamFailed("model_not_found", "No such model.", 404, "not_found_error")


async def test_one_with_a_bug(rig: Rig, logged: list[EventDict]) -> None:
    async def generate(stream: Stream) -> None:
        raise ZeroDivisionError("secret detail")

    failure = await ending_of(rig, generate)
    assert isinstance(failure, StreamFailed)
    assert (failure.code, failure.status) == ("internal_error", 500)
    assert "secret" not in failure.message
    assert [entry["event"] for entry in logged] == ["producer_failed"]


async def test_one_that_breaks_the_rules_of_a_stream(rig: Rig) -> None:
    async def generate(stream: Stream) -> None:
        stream.extend([(TextDelta("a"), None), (StreamStarted("again"), None)])

    failure = await ending_of(rig, generate)
    assert isinstance(failure, StreamFailed)
    assert failure.code == IllegalTransition.code


async def test_one_that_ends_before_it_began(rig: Rig) -> None:
    async def generate(stream: Stream) -> None:
        stream.extend([(StreamFinished("stop"), None)])

    failure = await ending_of(rig, generate, started=False)
    assert isinstance(failure, StreamFailed)
    assert failure.code == IllegalTransition.code


async def test_one_whose_children_fail_together(rig: Rig, logged: list[EventDict]) -> None:
    async def generate(stream: Stream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise ZeroDivisionError

    failure = await ending_of(rig, generate)
    assert isinstance(failure, StreamFailed)
    assert failure.code == "internal_error"


@pytest.mark.parametrize("reason", ["client", "lease"])
async def test_one_that_is_cancelled(rig: Rig, reason: str) -> None:
    async def generate(stream: Stream) -> None:
        stream.cancel(reason)
        await trio.sleep_forever()

    assert await ending_of(rig, generate) == StreamCancelled(reason)


async def test_one_that_is_cancelled_before_it_ran(rig: Rig) -> None:
    async def generate(stream: Stream) -> None:
        await trio.sleep_forever()

    stream = rig.stream(started=False)
    stream.cancel("client")
    rig.registry.start(stream, generate)
    await stream.ended.wait()
    assert stream.terminal == StreamCancelled("client")


async def test_one_that_has_said_all_is_not_cancelled_any_more(rig: Rig) -> None:
    # It may still be busy with the end of its provider's reply, so that the connection can be used again.
    going_on, done = trio.Event(), trio.Event()

    async def generate(stream: Stream) -> None:
        stream.extend([(StreamFinished("stop"), None)])
        await going_on.wait()
        done.set()

    stream = rig.stream(lease=0)
    rig.registry.start(stream, generate)
    reader = await rig.reader(stream)
    await reader.left.wait()
    stream.cancel("client")
    await settle()
    going_on.set()
    await done.wait()
    assert stream.terminal == StreamFinished("stop")


async def test_one_that_cleans_up_slowly_when_it_is_cancelled(rig: Rig) -> None:
    cleaned = trio.Event()

    async def generate(stream: Stream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
                cleaned.set()

    stream = rig.stream()
    rig.registry.start(stream, generate)
    await settle()
    stream.cancel("client")
    assert not stream.ended.is_set()
    await stream.ended.wait()
    assert cleaned.is_set()


async def test_one_failure_is_nothing_to_the_others(rig: Rig, logged: list[EventDict]) -> None:
    async def bad(stream: Stream) -> None:
        raise ValueError

    async def good(stream: Stream) -> None:
        await settle()
        stream.extend([*texts("a"), (StreamFinished("stop"), None)])

    streams = [rig.stream() for _ in range(6)]
    for stream, generate in zip(streams, [bad, good] * 3, strict=True):
        rig.registry.start(stream, generate)
    for stream in streams:
        await stream.ended.wait()
    assert [stream.state for stream in streams] == [State.FAILED, State.FINISHED] * 3


# The gateway stops


@pytest.fixture
async def stopping(make_rig: MakeRig) -> tuple[Rig, trio.CancelScope]:
    """A registry, and what stops it."""
    rig = await make_rig()
    scope = trio.CancelScope()
    other = Rig(rig.nursery, rig.settings, 1_000_000)

    async def run(task_status: trio.TaskStatus[None]) -> None:
        with scope:
            await other.registry.run(task_status=task_status)

    await rig.nursery.start(run)
    return other, scope


async def test_stopping_ends_every_running_stream_and_says_so(stopping: tuple[Rig, trio.CancelScope]) -> None:
    rig, scope = stopping

    async def generate(stream: Stream) -> None:
        stream.extend(texts("a"))
        await trio.sleep_forever()

    streams = [rig.stream() for _ in range(5)]
    for stream in streams:
        rig.registry.start(stream, generate)
    reader = await rig.reader(streams[0])
    scope.cancel()
    for stream in streams:
        await stream.ended.wait()
        assert stream.terminal == StreamCancelled("shutdown")
    await reader.left.wait()
    assert reader.outcome is None
    assert b'"reason":"shutdown"' in reader.outlet.taken


async def test_stopping_does_not_change_how_a_stream_has_ended(stopping: tuple[Rig, trio.CancelScope]) -> None:
    rig, scope = stopping

    async def generate(stream: Stream) -> None:
        stream.extend([(StreamFinished("stop"), None)])
        await trio.sleep_forever()

    stream = rig.stream()
    rig.registry.start(stream, generate)
    await stream.ended.wait()
    scope.cancel()
    await settle()
    assert stream.terminal == StreamFinished("stop")


async def test_stopping_while_a_stream_is_paused(stopping: tuple[Rig, trio.CancelScope]) -> None:
    rig, scope = stopping

    async def generate(stream: Stream) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            await stream.flowing()
            stream.extend(texts("x" * 100_000))

    stream = rig.stream()
    reader = await rig.reader(stream, room=0)
    rig.registry.start(stream, generate)
    await settle()
    assert stream.paused
    scope.cancel()
    await stream.ended.wait()
    assert stream.terminal == StreamCancelled("shutdown")
    reader.outlet.allow(float("inf"))
    await reader.left.wait()
    assert reader.outcome is None
