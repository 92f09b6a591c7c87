"""Responses that nobody waits for: made in the background, cancelled, deleted."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.doubles.gate import Gate
from tests.doubles.openai_script import UNAUTHORIZED, Script, words
from tests.doubles.sdk import unfinished_generators
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.vendor_server import VendorServer
from tests.doubles.waiting import until

pytestmark = unfinished_generators


async def test_in_the_background(vendor: VendorServer, gateway: ServedGateway, sdk: openai.AsyncOpenAI) -> None:
    gate = Gate(2)
    vendor.scripts["m"] = script = Script(deltas=words(10), gate=gate)
    created = await sdk.responses.create(model="m", input="hello", background=True)
    assert (created.status, created.background) == ("queued", True)
    exchange = await vendor.next_exchange()
    assert vendor.wants_stream(exchange.request)
    assert "background" not in exchange.request.json
    await until(lambda: exchange.steps_sent == 2)
    assert (await sdk.responses.retrieve(created.id)).status == "in_progress"
    gate.open()
    await until(lambda: gateway.now.running == 0)
    ended = await sdk.responses.retrieve(created.id)
    assert (ended.status, ended.output_text) == ("completed", script.text)
    events: Any = await sdk.responses.retrieve(created.id, stream=True, starting_after=4)
    assert [event.sequence_number async for event in events] == list(range(5, 18))


async def test_a_stream_in_the_background(
    vendor: VendorServer, gateway: ServedGateway, sdk: openai.AsyncOpenAI
) -> None:
    """Its client leaves, and it goes on."""
    gate = Gate(2)
    vendor.scripts["m"] = script = Script(deltas=words(10), gate=gate)
    stream: Any = await sdk.responses.create(model="m", input="hello", background=True, stream=True)
    iterator = stream.__aiter__()
    seen = [await iterator.__anext__() for _ in range(5)]
    await stream.close()
    await until(lambda: gateway.now.subscriptions == 0)
    gate.open()
    await until(lambda: gateway.now.running == 0)
    rest: Any = await sdk.responses.retrieve(seen[0].response.id, stream=True, starting_after=4)
    seen += [event async for event in rest]
    assert "".join(event.delta for event in seen if event.type == "response.output_text.delta") == script.text


async def test_a_background_that_the_provider_refuses(
    vendor: VendorServer, gateway: ServedGateway, sdk: openai.AsyncOpenAI, dialect: str
) -> None:
    vendor.scripts["m"] = Script(refusal=UNAUTHORIZED)
    created = await sdk.responses.create(model="m", input="hello", background=True)
    await until(lambda: gateway.now.running == 0)
    ended = await sdk.responses.retrieve(created.id)
    assert ended.status == "failed"
    assert ended.error is not None
    assert (ended.error.code, ended.error.message) == (vendor.code_of(UNAUTHORIZED), UNAUTHORIZED.message)


async def test_cancelled(vendor: VendorServer, gateway: ServedGateway, sdk: openai.AsyncOpenAI) -> None:
    """It ends at the provider, and whoever is reading it hears so."""
    vendor.scripts["m"] = Script(deltas=words(10), gate=Gate(2))
    stream: Any = await sdk.responses.create(model="m", input="hello", background=True, stream=True)
    iterator = stream.__aiter__()
    created = await iterator.__anext__()
    exchange = await vendor.next_exchange()
    cancelled = await sdk.responses.cancel(created.response.id)
    assert (cancelled.id, cancelled.status) == (created.response.id, "cancelled")
    await exchange.left.wait()
    with pytest.raises(openai.APIError, match="cancelled"):
        [event async for event in iterator]
    assert await sdk.responses.cancel(created.response.id) == cancelled
    assert await sdk.responses.retrieve(created.response.id) == cancelled


async def test_deleted(vendor: VendorServer, gateway: ServedGateway, sdk: openai.AsyncOpenAI) -> None:
    gate = Gate(2)
    vendor.scripts["m"] = Script(deltas=words(10), gate=gate)
    created = await sdk.responses.create(model="m", input="hello", background=True)
    with pytest.raises(openai.ConflictError):
        await sdk.responses.delete(created.id)
    gate.open()
    await until(lambda: gateway.now.running == 0)
    own = (await sdk.responses.retrieve(created.id)).id
    await sdk.responses.delete(created.id)
    assert gateway.now.streams == 0
    for id in (created.id, own):
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.retrieve(id)


async def test_forgotten(vendor: VendorServer, serve: Serve) -> None:
    """The provider's id goes with the stream."""
    gateway = await serve(streams={"retain_for": 0.05})
    vendor.scripts["m"] = Script()
    response = await gateway.request("POST", "/v1/responses", payload={"model": "m", "input": "hello", "stream": True})
    events = await response.events().rest()
    id = events[0].json["response"]["id"]
    await until(lambda: gateway.now.streams == 0)
    assert (await gateway.get(f"/v1/responses/{id}")).status == 404
