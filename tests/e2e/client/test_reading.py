"""The client against the gateway, over each transport: what goes right."""

from __future__ import annotations

import itertools
import re
import time

import pytest
import trio

from stream_gateway.client import Client, Incomplete, Status, StreamNotFound
from stream_protocols.events import StreamCancelled, StreamFinished, StreamStarted, TextDelta
from tests.doubles.chaos_proxy import ChaosProxy, Fault
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import MESSAGES
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until
from tests.e2e.client.conftest import QUICK, Connect


async def test_a_stream(gateway: ServedGateway, connect: Connect, transport: str) -> None:
    async with connect(gateway.base_url) as client:
        stream = client.stream(model="demo-n20-gap0", messages=MESSAGES)
        assert (stream.id, stream.cursor, stream.transport) == (None, None, None)
        events = [event async for event in stream]
        assert isinstance(events[0], StreamStarted)
        assert sum(isinstance(event, TextDelta) for event in events) == 20
        assert events[-1] == StreamFinished("stop")
        assert stream.transport == transport.removesuffix("2")
        assert stream.cursor is not None
        assert stream.id == stream.cursor.split(".")[0]
        assert [event async for event in stream] == []
        assert client.statistics().losses == 0


async def test_text(upstream: OpenAIServer, gateway: ServedGateway, connect: Connect) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(30))
    async with connect(gateway.base_url) as client:
        assert await client.stream(model="m", messages=MESSAGES).text() == script.text
        pieces = [piece async for piece in client.stream(model="m", messages=MESSAGES).texts()]
        assert "".join(pieces) == script.text


async def test_an_answer_that_breaks_off_is_no_text(gateway: ServedGateway, connect: Connect) -> None:
    async with connect(gateway.base_url) as client:
        with pytest.raises(Incomplete, match="demo_failure") as caught:
            await client.stream(model="demo-n9-gap0-fail4", messages=MESSAGES).text()
        assert len(caught.value.text.split()) == 4


async def test_events_come_as_they_are_made(upstream: OpenAIServer, gateway: ServedGateway, connect: Connect) -> None:
    upstream.scripts["m"] = Script(deltas=words(5), gate=(gate := Gate()))
    async with connect(gateway.base_url) as client:
        stream = client.stream(model="m", messages=MESSAGES)
        assert isinstance(await anext(stream), StreamStarted)
        for number in range(5):
            gate.release()
            assert await anext(stream) == TextDelta(f"w{number} ")
        gate.open()
        assert isinstance([event async for event in stream][-1], StreamFinished)


async def test_several_readers_of_one_stream_who_come_before_there_is_a_connection(
    gateway: ServedGateway, connect: Connect
) -> None:
    name = (await gateway.create("demo-n20-gap5"))["id"]
    texts = []

    async def read() -> None:
        texts.append(await client.attach(name).text())

    async with connect(gateway.base_url) as client, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(read)
    assert len(texts) == 3
    assert len(set(texts)) == 1


async def test_attaching(upstream: OpenAIServer, gateway: ServedGateway, connect: Connect) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(10))
    name = (await gateway.create("m"))["id"]
    async with connect(gateway.base_url) as client:
        assert await client.attach(name).text() == script.text
        first = client.attach(name)
        seen = ""
        while not seen.endswith("w4 "):
            event = await anext(first)
            seen += event.text if isinstance(event, TextDelta) else ""
        assert seen + await client.attach(name, after=first.cursor).text() == script.text
        assert "".join([seen, *[piece async for piece in first.texts()]]) == script.text
        assert [event async for event in client.attach(name, after=first.cursor)] == []


async def test_a_cancelled_read_loses_nothing(upstream: OpenAIServer, gateway: ServedGateway, connect: Connect) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(6), gate=(gate := Gate()))
    async with connect(gateway.base_url) as client:
        stream = client.stream(model="m", messages=MESSAGES)
        await anext(stream)
        text = ""
        for _ in range(6):
            with trio.move_on_after(0.05):
                await anext(stream)
                raise AssertionError("there was nothing to come")
            gate.release()
            event = await anext(stream)
            assert isinstance(event, TextDelta)
            text += event.text
        assert text == script.text


async def test_a_create_that_is_cancelled_before_its_reply_is_the_same_create(
    upstream: OpenAIServer, proxy: ChaosProxy, connect: Connect
) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(6))
    async with connect(proxy.url) as client:
        await client.stream(model="demo-n1-gap0", messages=MESSAGES).text()
        stream = client.stream(model="m", messages=MESSAGES)
        proxy.deaf = True
        with trio.move_on_after(0.1):
            await anext(stream)
        proxy.deaf = False
        with trio.move_on_after(0):
            await anext(stream)
        assert await stream.text() == script.text
        assert len(upstream.exchanges) == 1


async def test_leaving_early_cancels_what_nobody_else_reads(
    upstream: OpenAIServer, gateway: ServedGateway, connect: Connect
) -> None:
    upstream.scripts["m"] = Script(gate=Gate())
    async with connect(gateway.base_url) as client:
        async for _ in client.stream(model="m", messages=MESSAGES):
            break
        await upstream.all_left()
        async with client.stream(model="m", messages=MESSAGES) as stream:
            await anext(stream)
            name = stream.id
        await upstream.all_left()
        assert name is not None
        end = [event async for event in client.attach(name)][-1]
        assert end == StreamCancelled("client")


async def test_leaving_before_the_id_has_come_cancels_as_well(
    upstream: OpenAIServer, gateway: ServedGateway, proxy: ChaosProxy, connect: Connect
) -> None:
    upstream.scripts["m"] = Script(gate=Gate())
    async with connect(proxy.url) as client:
        await client.stream(model="demo-n1-gap0", messages=MESSAGES).text()  # opens the socket, where there is one
        proxy.deaf = True  # what the gateway says does not arrive
        async with client.stream(model="m", messages=MESSAGES) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(anext, stream)
            await upstream.next_exchange()
            nursery.cancel_scope.cancel()
        assert stream.id is None
        proxy.deaf = False
        await upstream.all_left()
        assert len(upstream.exchanges) == 1
    await gateway.idle()


async def test_a_lease_outlives_its_reader(upstream: OpenAIServer, gateway: ServedGateway, connect: Connect) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(8), gate=(gate := Gate()))
    async with connect(gateway.base_url) as client:
        async with client.stream(model="m", messages=MESSAGES, lease=60) as stream:
            await anext(stream)
        await until(lambda: gateway.now.subscriptions == 0)
        gate.open()
        assert stream.id is not None
        assert await client.attach(stream.id).text() == script.text


async def test_closing_the_client_leaves_everything(
    upstream: OpenAIServer, gateway: ServedGateway, connect: Connect
) -> None:
    upstream.scripts["m"] = Script(gate=Gate())
    async with connect(gateway.base_url) as client:
        streams = [client.stream(model="m", messages=MESSAGES) for _ in range(5)]
        for stream in streams:
            await anext(stream)
    await upstream.all_left()
    await gateway.idle()


async def test_cancelling(upstream: OpenAIServer, gateway: ServedGateway, connect: Connect) -> None:
    upstream.scripts["m"] = Script(gate=Gate())
    async with connect(gateway.base_url) as client:
        stream = client.stream(model="m", messages=MESSAGES)
        await anext(stream)
        assert stream.id is not None
        await client.cancel(stream.id)
        assert [event async for event in stream][-1] == StreamCancelled("client")
        await client.cancel(stream.id)
        with pytest.raises(StreamNotFound):
            await client.cancel("none")


async def test_many_streams_at_once(gateway: ServedGateway, connect: Connect) -> None:
    texts = set()

    async def read(client: Client, number: int) -> None:
        messages = [{"role": "user", "content": str(number)}]
        texts.add(await client.stream(model="demo-n40-gap1", messages=messages).text())

    async with connect(gateway.base_url) as client, trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(read, client, number)
    assert len(texts) == 60


async def test_a_connection_that_is_cut_is_not_noticed_by_the_reader(
    upstream: OpenAIServer, proxy: ChaosProxy, connect: Connect, transport: str
) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(20), gate=(gate := Gate()))
    async with connect(proxy.url) as client:
        stream = client.stream(model="m", messages=MESSAGES)
        text = ""
        async for event in stream:
            text += event.text if isinstance(event, TextDelta) else ""
            gate.release()
            if text.endswith(("w3 ", "w9 ", "w15 ")):
                proxy.strike(Fault.CUT)
        assert text == script.text
        assert proxy.faults[Fault.CUT] >= 3
        assert stream.connects >= 3 or transport == "poll"  # between two polls httpx sees it, and connects anew
        assert len(upstream.exchanges) == 1


async def test_a_lost_reply_to_a_create_is_not_paid_twice(
    upstream: OpenAIServer, proxy: ChaosProxy, connect: Connect
) -> None:
    upstream.scripts["m"] = script = Script(head_gate=(head := Gate()))
    async with connect(proxy.url) as client, trio.open_nursery() as nursery:
        texts = []

        async def read() -> None:
            texts.append(await client.stream(model="m", messages=MESSAGES).text())

        await client.stream(model="demo-n1-gap0", messages=MESSAGES).text()  # opens the socket, where there is one
        proxy.deaf = True  # what the gateway says does not arrive
        nursery.start_soon(read)
        await upstream.next_exchange()
        proxy.strike(Fault.CUT)
        proxy.deaf = False
        head.open()
    assert texts == [script.text]
    assert len(upstream.exchanges) == 1


async def test_each_reader_has_its_own_chunking(
    upstream: OpenAIServer, gateway: ServedGateway, proxy: ChaosProxy, connect: Connect, transport: str
) -> None:
    """Also after a reconnect; but long polls bring what there is."""
    if transport == "poll":
        pytest.skip("long polls are not chunked")
    sentences = ["One comes first. ", "Two is next. ", "Three ends it."]
    upstream.scripts["m"] = Script(deltas=[word for said in sentences for word in re.findall(r"\S+ ?", said)])
    async with connect(proxy.url) as client:
        asked = client.stream(model="m", messages=MESSAGES, chunking="sentences")
        assert [piece async for piece in asked.texts()] == sentences
        assert asked.id is not None
        attached, texts = client.attach(asked.id, chunking="bytes:4"), []
        async for piece in attached.texts():
            texts.append(piece)
            if len(texts) == 2:
                proxy.strike(Fault.CUT)
        assert "".join(texts) == "".join(sentences)
        assert {len(piece) for piece in texts[:-1]} == {4}
        assert [piece async for piece in client.attach(asked.id).texts()] == sentences


async def test_a_wall_clock_that_jumps_does_not_matter(
    upstream: OpenAIServer, proxy: ChaosProxy, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = itertools.cycle((0.0, 1e9, -1e9, 86_400.0))
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + next(jumps))
    upstream.scripts["m"] = script = Script(deltas=words(20), gate=(gate := Gate(1)))
    async with connect(proxy.url) as client:
        text = ""
        async for piece in client.stream(model="m", messages=MESSAGES).texts():
            text += piece
            gate.release()
            if text.endswith("w9 "):
                proxy.strike(Fault.CUT)
            if text.endswith("w18 "):
                gate.open()
        assert text == script.text


@pytest.mark.parametrize("http2", [False, True])
async def test_a_link_that_dies_before_its_first_keepalive(
    serve: Serve, upstream: OpenAIServer, nursery: trio.Nursery, http2: bool
) -> None:
    """The gateway has said when that would have come, so nobody waits for three quarters of a minute."""
    gateway = await serve(server={"keepalive": 0.5})
    proxy = ChaosProxy(gateway.host, gateway.port)
    await nursery.start(proxy.run)
    upstream.scripts["m"] = script = Script(deltas=words(3), gate=(gate := Gate()))
    losses: list[str] = []

    def tell(status: Status) -> None:
        if status.kind == "lost":
            losses.append(status.reason)
            gate.open()

    async with Client(proxy.url, transports=["sse"], http2=http2, settings=QUICK, on_status=tell) as client:
        stream = client.stream(model="m", messages=MESSAGES)
        await anext(stream)
        proxy.strike(Fault.BLACK_HOLE)
        assert await stream.text() == script.text
    assert losses == ["silent for 2.0 s"]


async def test_a_gap_is_told_once(serve: Serve, upstream: OpenAIServer, connect: Connect) -> None:
    gateway = await serve(streams={"retain_bytes": 4000})
    upstream.scripts["m"] = Script(deltas=words(200), gate=(gate := Gate()))
    name = (await gateway.create("m"))["id"]
    async with connect(gateway.base_url) as client:
        stream = client.attach(name)
        await anext(stream)
        cursor = stream.cursor
        stream.leave()
        await until(lambda: gateway.now.subscriptions == 0)
        gate.open()
        await until(lambda: gateway.now.running == 0)
        events = [event async for event in client.attach(name, after=cursor)]
        notices = [event for event in events if event.__class__.__name__ == "Notice"]
        assert events[0] is notices[0]
        assert len(notices) == 1
        assert notices[0].data["reason"] == "retention"  # type: ignore[union-attr, index]
        with pytest.raises(Incomplete, match="lost"):
            await client.attach(name, after=cursor).text()
