"""What a client missed and cannot get any more: it is told first, and how much it is."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from stream_gateway.config import StreamSettings
from stream_protocols.events import TextDelta
from tests.doubles.gate import Gate
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sockets.memory import socket_rig, wire_of
from tests.doubles.sockets.session_client import Message, assert_whole, session, text, types
from tests.doubles.waiting import until


def demo(model: str) -> Message:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}]}


async def test_a_gap_is_told_first(serve: Serve, upstream: OpenAIServer) -> None:
    """What is no longer kept is missing knowingly: how many, and where it goes on."""
    gateway = await serve(streams={"retain_bytes": 20_000, "stall_timeout": 60.0})
    upstream.scripts["m"] = Script(deltas=words(300), gate=(gate := Gate()))
    client = await session(gateway)
    stream = await client.create("m", lease=60)
    gate.release(10)
    early = await client.take(stream, 10)
    gate.release(290)
    await client.take(stream, 290)
    late = await session(gateway)
    reply = await late.subscribe(stream, early[-1]["id"])
    gap = reply["gap"]
    assert gap["reason"] == "retention"
    assert gap["missed"] > 0
    gate.open()
    rest = await late.rest(stream)
    assert int(rest[0]["id"].split(".")[2]) == gap["resume_seq"] + 1
    assert gap["resume_seq"] == int(early[-1]["id"].split(".")[2]) + gap["missed"]
    assert_whole(rest)


async def test_a_gap_of_another_epoch(gateway: ServedGateway) -> None:
    client = await session(gateway)
    stream = await client.create("demo-n20-gap0", lease="finish")
    whole = await client.rest(stream)
    name, epoch, seq = whole[4]["id"].split(".")
    stale = f"{name}.{'0' if epoch[0] != '0' else '1'}{epoch[1:]}.{seq}"
    reply = await client.subscribe(stream, stale)
    assert reply["gap"] == {"reason": "epoch", "missed": None, "resume_seq": 0}
    assert await client.rest(stream) == whole


async def test_a_gap_in_a_create_that_finds_its_stream(serve: Serve, upstream: OpenAIServer) -> None:
    """A create by key, long after the first one, is a resume from the beginning, and may find it gone."""
    gateway = await serve(streams={"retain_bytes": 20_000})
    upstream.scripts["m"] = Script(deltas=words(300), gate=(gate := Gate()))
    client = await session(gateway)
    first = await client.ask("stream.create", request=demo("m"), key="k", lease=60)
    assert "gap" not in first
    gate.release(300)
    await client.take(first["stream"], 300)
    late = await session(gateway)
    again = await late.ask("stream.create", request=demo("m"), key="k")
    assert again["stream"] == first["stream"]
    assert again["gap"]["reason"] == "retention"
    assert again["gap"]["missed"] == again["gap"]["resume_seq"] == int(again["cursor"].split(".")[2])
    gate.open()
    rest = await late.rest(first["stream"])
    assert int(rest[0]["id"].split(".")[2]) == again["gap"]["resume_seq"] + 1


async def test_one_that_lags_too_far_is_told_where_to_resume(serve: Serve, upstream: OpenAIServer) -> None:
    """It holds its stream up for a while; then it is let go, and nothing is lost or repeated when it comes back."""
    gateway = await serve(
        server={"send_buffer_bytes": 4096},
        streams={"retain_bytes": 50_000, "stall_timeout": 0.3},
    )
    deltas = tuple(word.ljust(400, ".") for word in words(600))
    upstream.scripts["m"] = Script(deltas=deltas)
    client = await session(gateway, receive_buffer=4096)
    stream = await client.create("m", lease="finish")
    await until(lambda: gateway.now.running == 0)
    seen = []
    while stream not in client.ended:
        await client.receive()
    seen = await client.take(stream, client.waiting(stream))
    ended = client.ended.pop(stream)
    assert ended["code"] == "lagged"
    assert ended["message"]
    assert ended["after"] == seen[-1]["id"]
    gap = (await client.subscribe(stream, ended["after"]))["gap"]
    assert gap["reason"] == "retention"
    rest = await client.rest(stream)
    assert "".join(deltas).startswith(text(seen))
    assert "".join(deltas).endswith(text(rest))
    missing = len(deltas) - sum(kind == "text.delta" for kind in types(seen + rest))
    assert missing == gap["missed"], "each event it did not get is in the gap"


@pytest.mark.deadline(100_000)
async def test_let_go_inside_an_event(autojump_clock: trio.testing.MockClock) -> None:
    """One that began inside an event, and is let go before it got anything, resumes inside that event."""
    async with socket_rig(StreamSettings(retain_bytes=5000), pong_timeout=100.0) as rig:
        client = await rig.connect()
        stream = rig.stream()
        stream.extend([(TextDelta("first"), None), (TextDelta("second"), None)])
        inside = f"{stream.cursor().rpartition('.')[0]}.2.3"
        wire_of(client.socket).take(0)
        ref = await client.send("stream.subscribe", stream=stream.id, after=inside)
        await trio.testing.wait_all_tasks_blocked()
        stream.extend([(TextDelta("x" * 100), None) for _ in range(50)])
        await trio.sleep(60)
        assert stream.subscribers == 0
        wire_of(client.socket).take(None)
        await client.reply(ref)
        while stream.id not in client.ended:
            await client.receive()
        assert client.waiting(stream.id) == 0
        assert client.ended[stream.id]["after"] == inside
