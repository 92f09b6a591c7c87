"""What is read: chunks in each mode, at the reader's pace, on from any cursor."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from stream_gateway import ChunkStream, GenerationFailed, ReaderLagged, RequestRefused, StreamingGateway
from stream_gateway.config import config_from_toml
from stream_gateway.gateway import Gateway
from stream_protocols.events import ChoiceFinished, StreamFailed, StreamFinished, StreamStarted, TextDelta
from tests.doubles.faults import Ending
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import MESSAGES
from tests.doubles.openai_script import Extras, Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.e2e.embedded.conftest import World


def asking(gateway: StreamingGateway, model: str = "m", **fields: Any) -> ChunkStream:
    return gateway.stream(model=model, messages=MESSAGES, **fields)


async def test_a_provider_of_openai_s_is_shown_as_it_is(world: World, upstream: OpenAIServer) -> None:
    """With what no specification names; and what is told in one frame is one chunk."""
    upstream.scripts["m"] = script = Script(extras=Extras(top={"x_vendor": 7}), reasoning=("Hm. ",))

    async def application() -> None:
        chunks = [chunk async for chunk in asking(StreamingGateway("openai"))]
        frames = [json.loads(chunk.to_json()) for chunk in chunks]
        assert all(frame["x_vendor"] == 7 for frame in frames)
        assert "".join(chunk.text for chunk in chunks) == script.text
        assert isinstance(chunks[0].events[0], StreamStarted)
        assert any(isinstance(event, ChoiceFinished) for event in chunks[-1].events)
        assert len({chunk.cursor for chunk in chunks}) == len(chunks)
        assert all(chunk.encode() == f"id: {chunk.cursor}\ndata: {chunk.to_json()}\n\n".encode() for chunk in chunks)

    await world.run(application)


@pytest.mark.parametrize("mode", ["ndjson", "websocket"])
async def test_our_own_events(world: World, upstream: OpenAIServer, mode: str) -> None:
    upstream.scripts["m"] = script = Script()

    async def application() -> None:
        stream = asking(StreamingGateway("openai", stream_mode=mode))
        chunks = [chunk async for chunk in stream]
        assert isinstance(chunks[-1].event, StreamFinished)
        lines = [json.loads(chunk.to_json()) for chunk in chunks]
        assert [line["id"] for line in lines] == [chunk.cursor for chunk in chunks]
        assert "".join(line["event"].get("text", "") for line in lines) == script.text
        if mode == "websocket":
            assert {(line["type"], line["stream"]) for line in lines} == {("event", stream.id)}
            assert chunks[0].encode().decode() == chunks[0].to_json()
        else:
            assert chunks[0].encode().decode() == chunks[0].to_json() + "\n"

    await world.run(application)


async def test_each_chunk_comes_when_it_is_made(world: World, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = Script(deltas=words(5), gate=(gate := Gate()))

    async def application() -> None:
        stream = asking(StreamingGateway("openai", stream_mode="ndjson"))
        assert isinstance((await anext(stream)).event, StreamStarted)
        for number in range(5):
            world.do(gate.release)
            assert (await anext(stream)).event == TextDelta(f"w{number} ")
        world.do(gate.open)
        assert isinstance([chunk async for chunk in stream][-1].event, StreamFinished)

    await world.run(application)


async def test_small_deltas_are_merged_and_large_ones_divided(world: World, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = Script(deltas=("a" * 10,) * 7 + ("b" * 50,))

    async def application() -> None:
        sized = [chunk.text async for chunk in asking(StreamingGateway("openai", chunk_size=32)) if chunk.text]
        assert "".join(sized) == "a" * 70 + "b" * 50
        assert {len(text) for text in sized[:-1]} == {32}
        field = asking(StreamingGateway("openai", chunk_size=32), chunking="bytes:60")
        assert [len(chunk.text) async for chunk in field if chunk.text] == [60, 60]
        assert "chunking" not in upstream.exchanges[-1].request.json

    await world.run(application)


async def test_sentences(world: World, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = Script(deltas=("One", " two. Th", "ree four. ", "Five"))

    async def application() -> None:
        chunks = asking(StreamingGateway("openai", chunk_size="sentences"))
        assert [chunk.text async for chunk in chunks if chunk.text] == ["One two. ", "Three four. ", "Five"]

    await world.run(application)


async def test_usage_comes_when_it_is_asked_for(world: World, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = Script()

    async def application() -> None:
        gateway = StreamingGateway("openai")
        plain = [json.loads(chunk.to_json()) async for chunk in asking(gateway)]
        assert not any(frame.get("usage") for frame in plain)
        told = [json.loads(chunk.to_json()) async for chunk in asking(gateway, stream_options={"include_usage": True})]
        assert told[-1]["usage"]["completion_tokens"] == 5

    await world.run(application)


@pytest.mark.parametrize("ending", [Ending.ERROR, Ending.CUT, Ending.RESET, Ending.GARBAGE])
async def test_an_answer_that_breaks_off_is_an_exception(world: World, upstream: OpenAIServer, ending: Ending) -> None:
    upstream.scripts["m"] = Script(ending=ending)

    async def application() -> None:
        seen = ""
        stream = asking(StreamingGateway("openai"))
        with pytest.raises(GenerationFailed) as caught:
            async for chunk in stream:
                seen += chunk.text
        assert seen == "w0 w1 w2 w3 w4 "
        assert isinstance(caught.value.event, StreamFailed)
        assert json.loads(caught.value.chunk.to_json())["error"]["message"]
        assert [chunk async for chunk in stream] == []

    await world.run(application)


async def test_a_refusal_has_its_status_before_anything_was_read(world: World, upstream: OpenAIServer) -> None:
    async def application() -> None:
        with pytest.raises(GenerationFailed, match="`nope` does not exist") as caught:
            await asking(StreamingGateway("openai"), "nope").begin()
        assert (caught.value.status, caught.value.code) == (404, "model_not_found")

    await world.run(application)


async def test_begin_loses_nothing(world: World, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = script = Script()

    async def application() -> None:
        stream = await asking(StreamingGateway("openai")).begin()
        assert stream.cursor is None
        assert await stream.text() == script.text

    await world.run(application)


async def test_a_cancelled_read_loses_nothing(world: World, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = script = Script(gate=(gate := Gate(2)))

    async def application() -> None:
        stream = asking(StreamingGateway("openai"))
        seen = ""
        while "w1" not in seen:
            seen += (await anext(stream)).text
        for _ in range(3):
            with anyio.move_on_after(0.01) as scope:
                await anext(stream)
            assert scope.cancelled_caught
            world.do(gate.release)
            seen += (await anext(stream)).text
        world.do(gate.open)
        assert seen + await stream.text() == script.text

    await world.run(application)


async def test_two_streams_at_their_own_pace(world: World, upstream: OpenAIServer) -> None:
    gates = {"a": Gate(), "b": Gate()}
    for name, gate in gates.items():
        upstream.scripts[name] = Script(deltas=(f"{name}1", f"{name}2"), gate=gate)

    async def application() -> None:
        gateway = StreamingGateway("openai")
        first, second = asking(gateway, "a"), asking(gateway, "b")
        await anext(first), await anext(second)
        for name, stream, text in [("b", second, "b1"), ("a", first, "a1"), ("a", first, "a2"), ("b", second, "b2")]:
            world.do(gates[name].release)
            assert (await anext(stream)).text == text
        for gate in gates.values():
            world.do(gate.open)
        assert (await first.text(), await second.text()) == ("", "")

    await world.run(application)


async def test_one_task_at_a_time(world: World, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = Script(gate=Gate())

    async def application() -> None:
        async with asking(StreamingGateway("openai")) as stream:
            await anext(stream)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anext, stream)
                await anyio.lowlevel.checkpoint()
                await anyio.lowlevel.checkpoint()
                with pytest.raises(RuntimeError, match="another task"):
                    await anext(stream)
                tasks.cancel_scope.cancel()

    await world.run(application)


def core_of(gateway: StreamingGateway) -> Gateway:
    """What runs behind a gateway."""
    (home,) = gateway.homes._homes.values()
    assert home._core is not None
    return home._core


def sized(upstream: OpenAIServer, **streams: Any) -> StreamingGateway:
    """A gateway whose logs are small."""
    settings = "".join(f"{key} = {value}\n" for key, value in streams.items())
    provider = f'dialect = "openai_chat"\nbase_url = "{upstream.base_url}"\napi_key_env = "OPENAI_API_KEY"'
    text = f"[streams]\n{settings}[providers.double]\n{provider}"
    return StreamingGateway("double", config=config_from_toml(text))


async def test_who_does_not_read_holds_up_the_provider(world: World, upstream: OpenAIServer) -> None:
    count, size = 5000, 5000  # 25 MB do not fit into any socket
    upstream.scripts["m"] = Script(deltas=("x" * size,) * count, gate=(gate := Gate()))

    async def application() -> None:
        gateway = sized(upstream, retain_bytes=65_536)
        async with asking(gateway) as stream:
            await anext(stream)
            world.do(gate.open)
            (reading,) = core_of(gateway).registry._streams.values()
            await world.until(lambda: reading.paused)
            assert upstream.exchanges[0].steps_sent < count
            assert sum([len(chunk.text) async for chunk in stream]) == size * count

    await world.run(application)


async def test_who_reads_too_slowly_for_the_configuration_is_told(world: World, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = Script(deltas=("x" * 500,) * 20_000)

    async def application() -> None:
        async with sized(upstream, retain_bytes=65_536, stall_timeout=0.2) as gateway:
            stream = asking(gateway, chunking="passthrough")
            await anext(stream)
            cursor = stream.cursor
            await world.until(lambda: not upstream.under_way)
            with pytest.raises(ReaderLagged, match="too slowly") as caught:
                async for chunk in stream:
                    cursor = chunk.cursor
            assert caught.value.cursor == cursor

    await world.run(application)


async def test_on_from_any_cursor(world: World, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = script = Script(gate=(gate := Gate(2)))

    async def application() -> None:
        async with StreamingGateway("openai") as gateway:
            seen = ""
            async with asking(gateway, lease=60) as stream:
                while "w1" not in seen:
                    seen += (await anext(stream)).text
            assert stream.id is not None
            world.do(gate.open)
            assert seen + await gateway.attach(stream.id, after=stream.cursor).text() == script.text
            assert await gateway.attach(stream.id).text() == script.text
            with pytest.raises(RequestRefused, match="no stream") as caught:
                await gateway.attach("nope").text()
            assert (caught.value.code, caught.value.status) == ("unknown_stream", 404)
            with pytest.raises(RequestRefused, match="no cursor"):
                await gateway.attach(stream.id, after="?").text()

    await world.run(application)


async def test_connections_are_kept_between_streams(world: World, upstream: OpenAIServer) -> None:
    upstream.scripts["m"] = script = Script()

    async def application() -> None:
        async with StreamingGateway("openai") as gateway:
            for _ in range(5):
                assert await asking(gateway).text() == script.text

    await world.run(application)
    assert upstream.accepted_connections <= 2  # an answer is whole a moment before its connection is free again
