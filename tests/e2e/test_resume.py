"""A stream that is cut goes on exactly where it stopped: nothing lost, nothing twice, at any cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import (
    CHAT,
    chat_body,
    last_id,
    native_text,
    openai_text,
    refused,
    types,
)
from tests.doubles.openai_chunks import choice_text
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import EventStream, Response
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.sse_reader import SseEvent, SseReader
from tests.doubles.waiting import until

DELTAS = 200
Done = tuple[str, list[SseEvent]]
TEXT = "".join(words(DELTAS))
RESUMABLE = {"Stream-Lease": "60"}


async def cut(events: EventStream) -> None:
    """The network is gone: no goodbye."""
    await events.response.connection.reset()


def assert_whole(events: list[SseEvent]) -> None:
    """Cursors are unique and ascend, on top of the texts that tests compare."""
    ids = [event.id for event in events]
    assert None not in ids
    numbers = [int(str(id_).split(".")[2]) for id_ in ids]
    assert numbers == sorted(set(numbers))


def gated(upstream: OpenAIServer, model: str) -> Gate:
    gate = Gate()
    upstream.scripts[model] = Script(deltas=words(DELTAS), gate=gate)
    return gate


async def resume_chat(gateway: ServedGateway, model: str, cursor: str) -> Response:
    return await gateway.chat(model, headers={**RESUMABLE, "Last-Event-ID": cursor})


# ---- a cut after every single event


@pytest.mark.deadline(60)
async def test_every_cut_of_a_native_stream(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """After each k: some of the rest is produced while nobody watches, the rest of it after the resume."""
    for k in range(1, DELTAS):
        gate = gated(upstream, f"m{k}")
        stream = (await gateway.create(f"m{k}", lease=60))["id"]
        events = (await gateway.subscribe(stream)).events()
        gate.release(k)
        seen = await events.take(k)
        await cut(events)
        gate.release((DELTAS - k) // 2)
        again = (await gateway.subscribe(stream, last=last_id(seen))).events()
        gate.open()
        seen += await again.rest()
        assert native_text(seen) == TEXT, k
        assert types(seen)[-1] == "stream.finished"
        assert types(seen).count("stream.started") == 1
        assert_whole(seen)


@pytest.mark.deadline(60)
async def test_every_cut_of_a_chat_completion(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    for k in range(1, DELTAS):
        gate = gated(upstream, f"m{k}")
        events = (await gateway.chat(f"m{k}", headers=RESUMABLE)).events()
        gate.release(k)
        seen = await events.take(k)
        await cut(events)
        gate.release((DELTAS - k) // 2)
        again = (await resume_chat(gateway, f"m{k}", last_id(seen))).events()
        gate.open()
        seen += await again.rest()
        assert openai_text(seen) == TEXT, k
        assert [event.data for event in seen].count("[DONE]") == 1
        assert seen[-1].data == "[DONE]"
        assert_whole(seen)
    assert len(upstream.exchanges) == DELTAS - 1, "a resume asked the provider again"


@pytest.mark.deadline(60)
@pytest.mark.parametrize("dialect", ["native", "openai_chat"])
async def test_resuming_while_it_is_produced(gateway: ServedGateway, dialect: str) -> None:
    """Nothing is stepped here: the hand-over from history to live races with a producer at full speed."""
    text_of = {"native": native_text, "openai_chat": openai_text}[dialect]
    limit = trio.CapacityLimiter(25)
    texts: dict[int, str] = {}

    async def one(k: int) -> None:
        async with limit:
            stream = (await gateway.create(f"demo-n{DELTAS}-gap1", lease=60))["id"]
            events = (await gateway.subscribe(stream, dialect=dialect)).events()
            seen = await events.take(k)
            await cut(events)
            again = await gateway.subscribe(stream, last=last_id(seen), dialect=dialect)
            seen += await again.events().rest()
            assert_whole(seen)
            texts[k] = text_of(seen)

    async with trio.open_nursery() as nursery:
        for k in range(1, DELTAS):
            nursery.start_soon(one, k)
    assert len(texts) == DELTAS - 1
    assert len(set(texts.values())) == 1


async def test_a_cut_at_any_byte(gateway: ServedGateway) -> None:
    """A client that lost the connection inside an event has that event's predecessor as its last one."""
    stream = (await gateway.create("demo-n30-gap0", lease="finish"))["id"]
    whole = await (await gateway.subscribe(stream)).read()
    text = native_text(SseReader().feed(whole))
    for at in range(0, len(whole), 41):
        seen = SseReader().feed(whole[:at])
        cursor = last_id(seen) if seen else None
        seen += await (await gateway.subscribe(stream, last=cursor)).events().rest()
        assert native_text(seen) == text, at


async def test_a_client_that_is_cut_again_and_again(gateway: ServedGateway) -> None:
    stream = (await gateway.create(f"demo-n{DELTAS}-gap1", lease=60))["id"]
    seen: list[SseEvent] = []
    while not seen or types(seen)[-1] != "stream.finished":
        events = (await gateway.subscribe(stream, last=last_id(seen) if seen else None)).events()
        seen += [event for _ in range(7) if (event := await events.next()) is not None]
        await cut(events)
    whole = await (await gateway.subscribe(stream)).events().rest()
    assert [event.raw for event in seen] == [event.raw for event in whole]


# ---- after the end, twice, and other ways to ask


@pytest.fixture
async def done(gateway: ServedGateway) -> Done:
    """A stream that is complete, and its events."""
    stream = (await gateway.create(f"demo-n{DELTAS}-gap0", lease="finish"))["id"]
    return stream, await (await gateway.subscribe(stream)).events().rest()


async def test_after_completion(gateway: ServedGateway, done: Done) -> None:
    stream, whole = done
    for k in range(1, len(whole)):
        rest = await (await gateway.subscribe(stream, last=whole[k - 1].id)).events().rest()
        assert [event.raw for event in rest] == [event.raw for event in whole[k:]], k


async def test_chat_after_completion(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(deltas=words(DELTAS))
    whole = await (await gateway.chat("m", headers=RESUMABLE)).events().rest()
    for k in range(1, len(whole), 7):
        rest = await (await resume_chat(gateway, "m", str(whole[k - 1].id))).events().rest()
        assert [event.raw for event in rest] == [event.raw for event in whole[k:]], k
    assert len(upstream.exchanges) == 1


async def test_twice_from_one_cursor(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    gate = gated(upstream, "m")
    events = (await gateway.chat("m", headers=RESUMABLE)).events()
    gate.release(50)
    seen = await events.take(50)
    await cut(events)
    first = (await resume_chat(gateway, "m", last_id(seen))).events()
    second = (await resume_chat(gateway, "m", last_id(seen))).events()
    gate.open()
    rests = [await first.rest(), await second.rest()]
    assert [event.raw for event in rests[0]] == [event.raw for event in rests[1]]
    assert openai_text(seen + rests[0]) == TEXT


async def test_after_the_last_event_there_is_nothing(
    upstream: OpenAIServer, gateway: ServedGateway, done: Done
) -> None:
    """204 is the status that makes a browser's EventSource stop coming back."""
    stream, whole = done
    response = await gateway.subscribe(stream, last=whole[-1].id)
    assert response.status == 204
    assert await response.read() == b""
    upstream.scripts["m"] = Script()
    chat = await (await gateway.chat("m", headers=RESUMABLE)).events().rest()
    assert (await resume_chat(gateway, "m", last_id(chat))).status == 204


async def test_cursor_in_the_query(gateway: ServedGateway, done: Done) -> None:
    stream, whole = done
    rest = await (await gateway.subscribe(stream, after=str(whole[99].id))).events().rest()
    assert [event.raw for event in rest] == [event.raw for event in whole[100:]]


async def test_the_first_cursor_is_before_everything(gateway: ServedGateway) -> None:
    created = await gateway.create("demo-n5-gap0", lease="finish")
    rest = await (await gateway.subscribe(created["id"], last=created["cursor"])).events().rest()
    assert types(rest)[0] == "stream.started"
    assert types(rest).count("text.delta") == 5


async def test_ndjson(gateway: ServedGateway, done: Done) -> None:
    stream, whole = done
    response = await gateway.subscribe(stream, accept="application/x-ndjson")
    assert response.head["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in (await response.read()).splitlines()]
    assert [(line["id"], line["event"]) for line in lines] == [(event.id, event.json) for event in whole]
    after = str(whole[149].id)
    response = await gateway.subscribe(stream, accept="application/x-ndjson", after=after)
    assert [json.loads(line) for line in (await response.read()).splitlines()] == lines[150:]


async def test_changing_the_dialect_keeps_the_text(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Cut in one dialect, resumed in the other: the cursor is the stream's, not the rendering's."""
    upstream.scripts["m"] = Script(deltas=words(DELTAS))
    stream = (await gateway.create("m", lease="finish"))["id"]
    native = await (await gateway.subscribe(stream)).events().rest()
    openai = await (await gateway.subscribe(stream, dialect="openai_chat")).events().rest()
    for k in range(1, DELTAS, 13):
        rest = await (await gateway.subscribe(stream, last=native[k - 1].id, dialect="openai_chat")).events().rest()
        assert native_text(native[:k]) + openai_text(rest) == TEXT, k
        rest = await (await gateway.subscribe(stream, last=openai[k - 1].id)).events().rest()
        assert openai_text(openai[:k]) + native_text(rest) == TEXT, k


@pytest.mark.parametrize("dialect", ["native", "openai_chat"])
async def test_from_inside_an_event(upstream: OpenAIServer, gateway: ServedGateway, dialect: str) -> None:
    """A cursor may lie between two characters of one delta."""
    text_of = {"native": native_text, "openai_chat": openai_text}[dialect]
    upstream.scripts["m"] = script = Script(deltas=("für ", "日本🎉語 ", "end"))
    stream = (await gateway.create("m", lease="finish"))["id"]
    whole = await (await gateway.subscribe(stream)).events().rest()
    at = next(i for i, event in enumerate(whole) if event.json.get("text") == script.deltas[1])
    for offset in range(1, len(script.deltas[1])):
        cursor = f"{whole[at - 1].id}.{offset}"
        rest = await (await gateway.subscribe(stream, last=cursor, dialect=dialect)).events().rest()
        assert text_of(rest) == script.deltas[1][offset:] + script.deltas[2]
    beyond = f"{whole[at - 1].id}.{len(script.deltas[1])}"
    error = await refused(await gateway.subscribe(stream, last=beyond, dialect=dialect), 400)
    assert error["code"] == "cursor_from_future"


async def test_from_inside_a_frame(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """One chunk of the vendor's may be several events of ours: resuming between them repeats none of them."""
    upstream.scripts["m"] = script = Script(deltas=words(10), packed=True)
    created = await gateway.create("m", lease="finish", n=3)
    native = await (await gateway.subscribe(created["id"])).events().rest()
    for k in range(len(native) - 1):
        cursor = str(native[k].id)
        rest = await (await gateway.subscribe(created["id"], last=cursor, dialect="openai_chat")).events().rest()
        for choice in range(3):
            seen = native_text(native[: k + 1], choice) + openai_text(rest, choice)
            assert seen == choice_text(script, choice), (k, choice)


async def test_disconnect_is_not_cancel(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    gate = gated(upstream, "m")
    events = (await gateway.chat("m", headers=RESUMABLE)).events()
    await events.take(1)
    exchange = await upstream.next_exchange()
    await cut(events)
    await until(lambda: gateway.now.subscriptions == 0)
    gate.open()
    await exchange.ended.wait()
    assert exchange.finished.is_set()


async def test_a_resumed_chat_names_its_stream(upstream: OpenAIServer, gateway: ServedGateway) -> None:
    """Both answers name the stream, so that a client that lost the first can find it."""
    upstream.scripts["m"] = Script()
    first = await gateway.chat("m", headers=RESUMABLE)
    seen = await first.events().rest()
    again = await resume_chat(gateway, "m", str(seen[0].id))
    assert again.head["stream-id"] == first.head["stream-id"] == str(seen[0].id).split(".")[0]
    body: dict[str, Any] = chat_body("m")
    by_query = await gateway.request("POST", CHAT, payload=body, headers={"Last-Event-ID": str(seen[1].id)})
    assert len(await by_query.events().rest()) == len(seen) - 2
