"""A cut stream goes on where it stopped in Gemini's dialect too, whatever the provider speaks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import MESSAGES, last_id
from tests.doubles.gemini_sdk import MESSAGES as CONTENTS
from tests.doubles.openai_script import Script, words
from tests.doubles.raw_client import EventStream, Response
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.sse_reader import SseEvent
from tests.doubles.vendor_server import VendorServer

DELTAS = 100
TEXT = "".join(words(DELTAS))


async def post(gateway: ServedGateway, model: str, cursor: str | None = None) -> Response:
    resuming = {} if cursor is None else {"Last-Event-ID": cursor}
    target = f"/v1beta/models/{model}:streamGenerateContent?alt=sse"
    return await gateway.request(
        "POST", target, payload={"contents": CONTENTS}, headers={"Stream-Lease": "60", **resuming}
    )


def text_of(events: list[SseEvent]) -> str:
    parts = [event.json["candidates"][0]["content"]["parts"][0] for event in events]
    return "".join(part["text"] for part in parts if not part.get("thought"))


async def take(events: EventStream, deltas: int) -> list[SseEvent]:
    """Events up to and with so many deltas of text."""
    seen: list[SseEvent] = []
    while len(text_of(seen).split()) < deltas:
        seen += await events.take(1)
    return seen


def assert_whole(events: list[SseEvent], note: Any) -> None:
    assert text_of(events) == TEXT, note
    reasons = [event.json["candidates"][0].get("finishReason") for event in events]
    assert reasons == [None] * (len(events) - 1) + ["STOP"]
    assert events[-1].json["usageMetadata"]["candidatesTokenCount"] == DELTAS
    assert all(event.id for event in events)


@pytest.mark.deadline(60)
async def test_every_cut_of_an_answer(upstream: VendorServer, gateway: ServedGateway) -> None:
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
        events = (await gateway.subscribe(stream, dialect="gemini")).events()
        seen = await take(events, k)
        await events.response.connection.reset()
        gate.release((DELTAS - k) // 2)
        again = (await gateway.subscribe(stream, last=last_id(seen), dialect="gemini")).events()
        gate.open()
        assert_whole(seen + await again.rest(), k)


async def test_every_cut_after_completion(upstream: VendorServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(deltas=words(30), reasoning=("let me ", "think"))
    whole = await (await post(gateway, "m")).events().rest()
    for k in range(1, len(whole)):
        rest = await (await post(gateway, "m", whole[k - 1].id)).events().rest()
        assert [event.raw for event in rest] == [event.raw for event in whole[k:]], k
    assert len(upstream.exchanges) == 1


async def test_a_reader_of_another_dialect_goes_on_in_this_one(upstream: VendorServer, gateway: ServedGateway) -> None:
    """Cursors are good in every dialect, also those that lie inside one of the vendor's frames."""
    upstream.scripts["m"] = Script(deltas=words(DELTAS))
    stream = (await gateway.create("m", lease="finish"))["id"]
    native = await (await gateway.subscribe(stream)).events().rest()
    for k, event in enumerate(native[:-1], 1):
        rest = await (await gateway.subscribe(stream, last=event.id, dialect="gemini")).events().rest()
        seen = [event.json["text"] for event in native[:k] if event.json["type"] == "text.delta"]
        assert "".join(seen) + text_of(rest) == TEXT, k


async def test_two_readers_at_once(upstream: VendorServer, gateway: ServedGateway) -> None:
    """One in this dialect, one in our own: neither is told what is meant for the other."""
    upstream.scripts["m"] = Script(deltas=words(DELTAS), gate=(gate := Gate(3)))
    events = (await post(gateway, "m")).events()
    seen = await take(events, 3)
    native = (await gateway.subscribe(events.response.head["stream-id"])).events()
    gate.open()
    assert_whole(seen + await events.rest(), "posted")
    texts = [event.json["text"] for event in await native.rest() if event.json["type"] == "text.delta"]
    assert "".join(texts) == TEXT


async def test_an_earlier_chat_is_resumed_here(upstream: VendorServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = Script(deltas=words(DELTAS))
    chat = await gateway.chat("m", messages=MESSAGES, headers={"Stream-Lease": "60"})
    first = (await chat.events().rest())[2]
    rest = await (await post(gateway, "m", first.id)).events().rest()
    assert TEXT.endswith(text_of(rest))
    assert text_of(rest)
