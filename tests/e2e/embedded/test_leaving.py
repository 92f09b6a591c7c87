"""However a stream is left, its provider stops, and nothing of the gateway stays behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest
import trio

from stream_gateway import ChunkStream, GatewayStopped, GenerationFailed, StreamingGateway
from stream_protocols.events import StreamCancelled
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import MESSAGES
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.e2e.embedded.conftest import World


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """Leaving must not wait for the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def silent(upstream: OpenAIServer) -> None:
    """Model `m` says three words, and then nothing."""
    upstream.scripts["m"] = Script(deltas=words(50), gate=Gate(3))


def asking(gateway: StreamingGateway, **fields: Any) -> ChunkStream:
    return gateway.stream(model="m", messages=MESSAGES, **fields)


class Oops(Exception):
    pass


def _fail() -> None:
    raise Oops


async def breaking(gateway: StreamingGateway) -> None:
    async for chunk in asking(gateway):
        if "w2" in chunk.text:
            break


async def raising(gateway: StreamingGateway) -> None:
    async def read() -> None:
        async for chunk in asking(gateway):
            if "w2" in chunk.text:
                raise Oops

    with pytest.raises(Oops):
        await read()


async def raising_and_keeping_the_error(gateway: StreamingGateway) -> None:
    """Whoever logs an exception has its traceback, and the traceback has the frames."""
    try:
        async for chunk in asking(gateway):
            if "w2" in chunk.text:
                _fail()
    except Oops as error:
        _kept.append(error)


async def cancelled_in_a_read(gateway: StreamingGateway) -> None:
    with anyio.CancelScope() as scope:
        async for chunk in asking(gateway):
            if "w2" in chunk.text:
                scope.cancel()


async def timed_out_in_a_read(gateway: StreamingGateway) -> None:
    try:
        with anyio.fail_after(60) as scope:
            async for chunk in asking(gateway):
                if "w2" in chunk.text:
                    scope.deadline = anyio.current_time()
    except TimeoutError as error:
        _kept.append(error)


async def cancelled_while_it_works(gateway: StreamingGateway) -> None:
    with anyio.CancelScope() as scope:
        async for _ in asking(gateway):
            scope.cancel()
            await anyio.sleep_forever()


async def closing(gateway: StreamingGateway) -> None:
    stream = asking(gateway)
    await anext(stream)
    await stream.aclose()
    await stream.aclose()
    assert [chunk async for chunk in stream] == []


async def leaving_a_block(gateway: StreamingGateway) -> None:
    with pytest.raises(Oops):
        async with asking(gateway) as stream:
            await anext(stream)
            raise Oops


async def leaving_a_body(gateway: StreamingGateway) -> None:
    async for _ in asking(gateway).bytes():
        break


async def never_reading(gateway: StreamingGateway) -> None:
    asking(gateway)


WAYS = [
    breaking,
    raising,
    raising_and_keeping_the_error,
    cancelled_in_a_read,
    timed_out_in_a_read,
    cancelled_while_it_works,
    closing,
    leaving_a_block,
    leaving_a_body,
    never_reading,
]
_kept: list[BaseException] = []
Way = Callable[[StreamingGateway], Awaitable[None]]


@pytest.mark.parametrize("way", WAYS)
async def test_leaving(world: World, upstream: OpenAIServer, way: Way) -> None:
    silent(upstream)

    async def application() -> None:
        await way(StreamingGateway("openai"))
        await world.until(lambda: not upstream.under_way and not upstream.open_connections)
        await world.until(lambda: not world.threads())
        while world.tasks():  # noqa: ASYNC110 - a task's end is announced to nobody
            await anyio.sleep(0.005)

    await world.run(application)
    assert len(upstream.exchanges) == (way is not never_reading)
    _kept.clear()


@pytest.mark.parametrize("way", WAYS)
async def test_leaving_a_gateway_that_stays(world: World, upstream: OpenAIServer, way: Way) -> None:
    silent(upstream)

    async def application() -> None:
        async with StreamingGateway("openai") as gateway:
            await way(gateway)
            await world.until(lambda: not upstream.under_way)
            (home,) = gateway.homes._homes.values()
            core = await home.running()
            while core.registry.running or core.registry.subscriptions:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        assert world.tasks() == []
        assert world.threads() == []

    await world.run(application)
    _kept.clear()


async def test_closing_waits_until_nothing_is_left(world: World, upstream: OpenAIServer) -> None:
    silent(upstream)

    async def application() -> None:
        stream = asking(StreamingGateway("openai"))
        await anext(stream)
        await stream.aclose()
        assert world.tasks() == []
        assert world.threads() == []

    await world.run(application)


async def test_a_task_that_is_cancelled(upstream: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """By asyncio's own means, which know nothing of cancel scopes."""
    silent(upstream)
    world = World("asyncio")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-upstream")
    monkeypatch.setenv("OPENAI_BASE_URL", upstream.base_url)

    async def application() -> None:
        gateway = StreamingGateway("openai")
        arrived = asyncio.Event()

        async def read() -> None:
            async for _ in asking(gateway):
                arrived.set()

        task = asyncio.create_task(read())
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await world.until(lambda: not upstream.under_way)
        await world.until(lambda: not world.threads())

    await world.run(application)


async def test_the_loop_ends_with_a_stream_open(world: World, upstream: OpenAIServer) -> None:
    """Whoever still has the stream, in a global variable perhaps: asyncio shuts generators down, Trio system tasks."""
    silent(upstream)
    streams = []

    def run_trio() -> None:
        trio.run(application)

    async def application() -> None:
        stream = asking(StreamingGateway("openai"))
        streams.append(stream)
        await anext(stream)

    if world.library == "trio":
        await trio.to_thread.run_sync(run_trio)
    else:
        await world.run(application)
    await upstream.all_left()
    assert world.threads() == []


async def test_the_gateway_is_left_with_streams_open(world: World, upstream: OpenAIServer) -> None:
    silent(upstream)

    async def application() -> None:
        async with StreamingGateway("openai") as gateway:
            waiting, reading = asking(gateway), asking(gateway)
            await anext(waiting)
            async with anyio.create_task_group() as tasks:

                async def read() -> None:
                    with pytest.raises(GenerationFailed, match="shutdown") as caught:
                        async for _ in reading:
                            pass
                    assert caught.value.event == StreamCancelled("shutdown")

                tasks.start_soon(read)
                await world.until(lambda: len(upstream.exchanges) == 2)
                await gateway.__aexit__(None, None, None)
                with pytest.raises((GatewayStopped, GenerationFailed)):
                    async for _ in waiting:
                        pass
            await gateway.__aenter__()

    await world.run(application)


async def test_a_lease_outlives_its_reader(world: World, upstream: OpenAIServer) -> None:
    silent(upstream)

    async def application() -> None:
        async with StreamingGateway("openai") as gateway:
            async for _ in asking(gateway, lease="finish"):
                break
            (home,) = gateway.homes._homes.values()
            core = await home.running()
            while core.registry.subscriptions:  # noqa: ASYNC110
                await anyio.sleep(0.005)
            assert len(upstream.under_way) == 1

    await world.run(application)
