"""A socket that is cut, and a stream that goes on where it stopped: on another socket, or over another protocol."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import last_id, native_text
from tests.doubles.gateway_client import types as sse_types
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Connection
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.sockets.frames import take_frame
from tests.doubles.sockets.raw_socket import JSON, MSGPACK
from tests.doubles.sockets.session_client import Message, SessionClient, assert_whole, session, text, types

DELTAS = 100
TEXT = "".join(words(DELTAS))


async def cut(client: SessionClient) -> None:
    """The network is gone: no goodbye."""
    assert isinstance(client.socket.line, Connection)
    await client.socket.line.reset()


def gated(upstream: OpenAIServer, model: str) -> Gate:
    gate = Gate()
    upstream.scripts[model] = Script(deltas=words(DELTAS), gate=gate)
    return gate


def plain(value: Any) -> Any:
    """MessagePack and JSON say the same of an event."""
    return value["id"], value["event"]


# ---- a cut after every single event


@pytest.mark.deadline(60)
@pytest.mark.parametrize(("first", "second"), [(JSON, JSON), (JSON, MSGPACK), (MSGPACK, JSON)])
async def test_every_cut(upstream: OpenAIServer, gateway: ServedGateway, first: str, second: str) -> None:
    """After each k: some of the rest is produced while nobody watches, the rest of it after the resume."""
    for k in range(1, DELTAS):
        gate = gated(upstream, f"m{k}")
        client = await session(gateway, protocol=first)
        stream = await client.create(f"m{k}", lease=60)
        gate.release(k)
        seen = await client.take(stream, k)
        await cut(client)
        gate.release((DELTAS - k) // 2)
        client = await session(gateway, protocol=second)
        assert (await client.subscribe(stream, seen[-1]["id"]))["gap"] is None
        gate.open()
        seen += await client.rest(stream)
        assert text(seen) == TEXT, k
        assert types(seen).count("stream.started") == 1
        assert_whole(seen)
        await client.socket.close()
    assert len(upstream.exchanges) == DELTAS - 1, "a resume asked the provider again"


@pytest.mark.deadline(60)
async def test_every_cut_goes_on_as_sse(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    for k in range(1, DELTAS):
        gate = gated(upstream, f"m{k}")
        client = await session(gateway)
        stream = await client.create(f"m{k}", lease=60)
        gate.release(k)
        seen = await client.take(stream, k)
        await cut(client)
        gate.release((DELTAS - k) // 2)
        again = (await gateway.subscribe(stream, last=seen[-1]["id"])).events()
        gate.open()
        rest = await again.rest()
        assert text(seen) + native_text(rest) == TEXT, k
        assert (types(seen) + sse_types(rest)).count("stream.started") == 1
        assert sse_types(rest)[-1] == "stream.finished"


@pytest.mark.deadline(60)
@pytest.mark.parametrize("protocol", [JSON, MSGPACK])
async def test_every_cut_of_sse_goes_on_here(upstream: OpenAIServer, gateway: ServedGateway, protocol: str) -> None:
    client = await session(gateway, protocol=protocol)
    for k in range(1, DELTAS):
        gate = gated(upstream, f"m{k}")
        stream = (await gateway.create(f"m{k}", lease=60))["id"]
        events = (await gateway.subscribe(stream)).events()
        gate.release(k)
        seen = await events.take(k)
        await events.response.connection.reset()
        gate.release((DELTAS - k) // 2)
        await client.subscribe(stream, last_id(seen))
        gate.open()
        rest = await client.rest(stream)
        assert native_text(seen) + text(rest) == TEXT, k
        assert (sse_types(seen) + types(rest)).count("stream.started") == 1
        assert_whole(rest)


@pytest.mark.deadline(60)
@pytest.mark.parametrize("protocol", [JSON, MSGPACK])
async def test_cuts_while_it_is_produced(gateway: ServedGateway, protocol: str) -> None:
    """Nothing is stepped here: the hand-over from history to live races with a producer at full speed."""
    limit = trio.CapacityLimiter(20)
    texts: dict[int, str] = {}

    async def one(k: int) -> None:
        async with limit:
            client = await session(gateway, protocol=protocol)
            stream = await client.create(f"demo-n{DELTAS}-gap1", lease=60)
            seen = await client.take(stream, k)
            await cut(client)
            client = await session(gateway, protocol=protocol)
            await client.subscribe(stream, seen[-1]["id"])
            seen += await client.rest(stream)
            assert_whole(seen)
            texts[k] = text(seen)

    async with trio.open_nursery() as nursery:
        for k in range(1, DELTAS):
            nursery.start_soon(one, k)
    assert len(texts) == DELTAS - 1
    assert len(set(texts.values())) == 1


async def test_a_client_that_is_cut_again_and_again(gateway: ServedGateway) -> None:
    """From one protocol to the next each time, seven events at a time."""
    stream = (await gateway.create(f"demo-n{DELTAS}-gap1", lease=60))["id"]
    seen: list[Message] = []
    protocols = [JSON, MSGPACK, "sse"]
    while not seen or types(seen)[-1] != "stream.finished":
        after = seen[-1]["id"] if seen else None
        if protocols[0] == "sse":
            events = (await gateway.subscribe(stream, last=after)).events()
            got = [event for _ in range(7) if (event := await events.next()) is not None]
            seen += [{"id": event.id, "event": event.json} for event in got]
            await events.response.connection.reset()
        else:
            client = await session(gateway, protocol=protocols[0])
            await client.subscribe(stream, after)
            seen += await some(client, stream, 7)
            await cut(client)
        protocols.append(protocols.pop(0))
    whole = await (await gateway.subscribe(stream)).events().rest()
    assert [plain(push) for push in seen] == [(event.id, event.json) for event in whole]


async def some(client: SessionClient, stream: str, most: int) -> list[Message]:
    """Up to so many events, fewer when the stream ends before."""
    seen: list[Message] = []
    while len(seen) < most and (not seen or seen[-1]["event"]["type"] != "stream.finished"):
        seen.append(await client.event(stream))
    return seen


async def test_a_cut_at_any_byte(gateway: ServedGateway) -> None:
    """A client that lost the connection inside a frame has that frame's predecessor as its last one."""
    stream = (await gateway.create("demo-n30-gap0", lease="finish"))["id"]
    recorder = await session(gateway)
    await recorder.send("stream.subscribe", stream=stream)
    whole = await everything(recorder, '"stream.finished"')
    client = await session(gateway)
    expected: str | None = None
    for at in range(0, len(whole), 41):
        seen = []
        data = bytearray(whole[:at])
        while (found := take_frame(data)) is not None:
            message = SessionClient.parse(found.payload, binary=False)
            seen += [message] if message["type"] == "event" else []
        await client.subscribe(stream, seen[-1]["id"] if seen else None)
        seen += await client.rest(stream)
        expected = expected or text(seen)
        assert text(seen) == expected, at
        assert_whole(seen)


async def everything(client: SessionClient, until_: str) -> bytes:
    """The bytes that come, up to and including a text."""
    line = client.socket.line
    while until_.encode() not in line.unread:
        assert await line.receive()
    return bytes(line.unread)


# ---- cursors


async def test_after_the_end(gateway: ServedGateway) -> None:
    client = await session(gateway)
    stream = await client.create("demo-n50-gap0", lease="finish")
    whole = await client.rest(stream)
    for k in range(len(whole)):
        reply = await client.subscribe(stream, whole[k]["id"])
        assert reply["gap"] is None
        if k < len(whole) - 1:
            assert await client.rest(stream) == whole[k + 1 :], k
    # After the last event there is nothing; the subscription is over at once, and the socket is as good as new.
    assert gateway.now.subscriptions == 0
    assert (await client.ask("ping"))["type"] == "ok"
    assert client.waiting(stream) == 0


async def test_from_the_beginning_without_a_cursor(gateway: ServedGateway) -> None:
    client = await session(gateway)
    stream = (await gateway.create("demo-n5-gap0", lease="finish"))["id"]
    await client.subscribe(stream)
    whole = await client.rest(stream)
    assert types(whole)[0] == "stream.started"
    assert_whole(whole)


async def test_the_first_cursor_is_before_everything(gateway: ServedGateway) -> None:
    client = await session(gateway)
    reply = await client.ask("stream.create", request=demo("demo-n5-gap0"), lease=60)
    stream = reply["stream"]
    seen = await client.rest(stream)
    await client.subscribe(stream, reply["cursor"])
    assert await client.rest(stream) == seen


def demo(model: str) -> Message:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}]}


async def test_from_inside_an_event(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """A cursor may lie between two characters of one delta."""
    upstream.scripts["m"] = script = Script(deltas=("für ", "日本🎉語 ", "end"))
    client = await session(gateway)
    stream = await client.create("m", lease="finish")
    whole = await client.rest(stream)
    at = next(i for i, push in enumerate(whole) if push["event"].get("text") == script.deltas[1])
    for offset in range(1, len(script.deltas[1])):
        await client.subscribe(stream, f"{whole[at - 1]['id']}.{offset}")
        assert text(await client.rest(stream)) == script.deltas[1][offset:] + script.deltas[2]
    beyond = f"{whole[at - 1]['id']}.{len(script.deltas[1])}"
    assert (await client.refused("stream.subscribe", stream=stream, after=beyond))["code"] == "cursor_from_future"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda stream, epoch: "nonsense", "invalid_cursor"),
        (lambda stream, epoch: "x" * 10_000, "invalid_cursor"),
        (lambda stream, epoch: f"{stream}.{epoch}.9999999999999999999", "invalid_cursor"),
        (lambda stream, epoch: f"other.{epoch}.3", "cursor_of_another_stream"),
        (lambda stream, epoch: f"{stream}.{epoch}.4000", "cursor_from_future"),
    ],
)
async def test_cursors_that_are_no_good(gateway: ServedGateway, change: Any, code: str) -> None:
    client = await session(gateway)
    stream = await client.create("demo-n20-gap0", lease="finish")
    epoch = (await client.rest(stream))[-1]["id"].split(".")[1]
    error = await client.refused("stream.subscribe", stream=stream, after=change(stream, epoch))
    assert error["code"] == code
    await client.subscribe(stream)
    assert_whole(await client.rest(stream))
