"""A cut stream goes on where it stopped in Anthropic's dialect too, whatever the provider speaks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import MESSAGES, last_id
from tests.doubles.openai_script import Script, words
from tests.doubles.raw_client import EventStream, Response
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.sse_reader import SseEvent
from tests.doubles.vendor_server import VendorServer

DELTAS = 100
TEXT = "".join(words(DELTAS))


async def post(gateway: ServedGateway, model: str, cursor: str | None = None) -> Response:
    body = {"model": model, "max_tokens": 1000, "messages": MESSAGES, "stream": True}
    resuming = {} if cursor is None else {"Last-Event-ID": cursor}
    return await gateway.request("POST", "/v1/messages", payload=body, headers={"Stream-Lease": "60", **resuming})


def deltas_of(events: list[SseEvent], kind: str = "text_delta", member: str = "text") -> list[str]:
    deltas = [event.json["delta"] for event in events if event.event == "content_block_delta"]
    return [delta[member] for delta in deltas if delta["type"] == kind]


async def take(events: EventStream, deltas: int) -> list[SseEvent]:
    """Events up to and with so many deltas of text."""
    seen: list[SseEvent] = []
    while len(deltas_of(seen)) < deltas:
        seen += await events.take(1)
    return seen


def assert_whole(events: list[SseEvent], note: Any) -> None:
    assert "".join(deltas_of(events)) == TEXT, note
    names = [event.event for event in events]
    assert names[0] == "message_start"
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert [names.count(name) for name in ("message_start", "content_block_start", "message_stop")] == [1, 1, 1]
    assert all(event.json["type"] == event.event for event in events)


@pytest.mark.deadline(60)
async def test_every_cut_of_a_message(upstream: VendorServer, gateway: ServedGateway) -> None:
    """After each k: some of the rest is produced while nobody watches, the rest of it after the resume."""
    for k in range(1, DELTAS):
        upstream.scripts[f"m{k}"] = Script(deltas=words(DELTAS), gate=(gate := Gate(k)))
        events = (await post(gateway, f"m{k}")).events()
        seen = await take(events, k)
        await events.response.connection.reset()
        gate.release((DELTAS - k) // 2)
        again = (await post(gateway, f"m{k}", last_id(seen))).events()
        gate.open()
        assert_whole(seen + await again.rest(), k)
    assert len(upstream.exchanges) == DELTAS - 1, "a resume asked the provider again"


@pytest.mark.deadline(60)
async def test_every_cut_of_a_stream_read_in_this_dialect(upstream: VendorServer, gateway: ServedGateway) -> None:
    for k in range(1, DELTAS):
        upstream.scripts[f"m{k}"] = Script(deltas=words(DELTAS), gate=(gate := Gate(k)))
        stream = (await gateway.create(f"m{k}", lease=60))["id"]
        events = (await gateway.subscribe(stream, dialect="anthropic")).events()
        seen = await take(events, k)
        await events.response.connection.reset()
        gate.release((DELTAS - k) // 2)
        again = (await gateway.subscribe(stream, last=last_id(seen), dialect="anthropic")).events()
        gate.open()
        assert_whole(seen + await again.rest(), k)


async def test_every_cut_after_completion(upstream: VendorServer, gateway: ServedGateway) -> None:
    """The rest is the same to the byte; of frames that share a cursor, those before the cut come again."""
    upstream.scripts["m"] = Script(deltas=words(30), reasoning=("let me ", "think"))
    whole = await (await post(gateway, "m")).events().rest()
    for k in range(1, len(whole)):
        if whole[k - 1].id is None:
            continue
        rest = await (await post(gateway, "m", whole[k - 1].id)).events().rest()
        assert [event.raw for event in rest] == [event.raw for event in whole[k:]], k
    assert len(upstream.exchanges) == 1
    assert (await post(gateway, "m", whole[-1].id)).status == 204


async def test_a_reader_of_another_dialect_goes_on_in_this_one(
    upstream: VendorServer, gateway: ServedGateway, dialect: str
) -> None:
    """Cursors are good in every dialect, also those that lie inside one of the vendor's frames."""
    upstream.scripts["m"] = Script(deltas=words(DELTAS))
    stream = (await gateway.create("m", lease="finish"))["id"]
    native = await (await gateway.subscribe(stream)).events().rest()
    for k, event in enumerate(native[:-1], 1):
        rest = await (await gateway.subscribe(stream, last=event.id, dialect="anthropic")).events().rest()
        seen = [event.json["text"] for event in native[:k] if event.json["type"] == "text.delta"]
        assert "".join([*seen, *deltas_of(rest)]) == TEXT, k
        assert rest[-1].event == "message_stop"
        told = dialect == "anthropic" and k == len(native) - 1  # the event before the last one was that frame
        assert [event.event for event in rest].count("message_delta") == (not told)


async def test_two_readers_at_once(upstream: VendorServer, gateway: ServedGateway) -> None:
    """One in this dialect, one in our own: neither is told what is meant for the other."""
    upstream.scripts["m"] = Script(deltas=words(DELTAS), gate=(gate := Gate(3)))
    events = (await post(gateway, "m")).events()
    seen = await take(events, 3)
    stream = events.response.head["stream-id"]
    native = (await gateway.subscribe(stream)).events()
    gate.open()
    assert_whole(seen + await events.rest(), "posted")
    texts = [event.json["text"] for event in await native.rest() if event.json["type"] == "text.delta"]
    assert "".join(texts) == TEXT
