"""A response that is cut goes on exactly where it stopped, by its events' numbers or by their cursors."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import last_id, refused
from tests.doubles.openai_script import Script, ToolCall, words
from tests.doubles.raw_client import EventStream, Response
from tests.doubles.sdk import unfinished_generators
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sse_reader import SseEvent
from tests.doubles.vendor_server import VendorServer

pytestmark = unfinished_generators

DELTAS = 25
SCRIPT = Script(deltas=words(DELTAS), reasoning=("let ", "me see"))
CALLED = Script(
    tool_calls=(
        ToolCall(id="call_1", name="weather", fragments=('{"city"', ': "Osl', 'o"}')),
        ToolCall(id="call_2", name="time", fragments=('{"zone":', ' "CET"}')),
    ),
    interleave=True,
)


async def create(gateway: ServedGateway, model: str = "m", last: str | None = None, **fields: Any) -> Response:
    headers = {"Stream-Lease": "60"} | ({"Last-Event-ID": last} if last is not None else {})
    body = {"model": model, "input": "hello", "stream": True, **fields}
    return await gateway.request("POST", "/v1/responses", payload=body, headers=headers)


async def retrieve(gateway: ServedGateway, id: str, after: int | None = None, last: str | None = None) -> Response:
    query = "?stream=true" + (f"&starting_after={after}" if after is not None else "")
    headers = {"Last-Event-ID": last} if last is not None else {}
    return await gateway.request("GET", f"/v1/responses/{id}{query}", headers=headers)


def payloads(events: list[SseEvent]) -> list[tuple[str | None, str]]:
    return [(event.event, event.data) for event in events]


def text_of(events: list[SseEvent]) -> str:
    deltas = [event.json for event in events if event.event == "response.output_text.delta"]
    return "".join(delta["delta"] for delta in deltas)


def ordered(events: list[SseEvent]) -> None:
    assert [event.json["sequence_number"] for event in events] == list(range(len(events)))
    assert all(event.event == event.json["type"] for event in events)


async def cut(events: EventStream) -> None:
    """The network is gone: no goodbye."""
    await events.response.connection.reset()


@pytest.mark.parametrize("script", [SCRIPT, CALLED], ids=["text", "calls"])
async def test_exactly_the_events_after_a_number(
    upstream: VendorServer, gateway: ServedGateway, script: Script
) -> None:
    upstream.scripts["m"] = script
    whole = await (await create(gateway)).events().rest()
    ordered(whole)
    id = whole[0].json["response"]["id"]
    assert payloads(await (await retrieve(gateway, id)).events().rest()) == payloads(whole)
    for number in range(len(whole)):
        rest = await (await retrieve(gateway, id, number)).events().rest()
        assert payloads(rest) == payloads(whole)[number + 1 :], number
    assert len(upstream.exchanges) == 1


@pytest.mark.deadline(60)
@pytest.mark.parametrize("how", ["post", "get", "stream", "number"])
async def test_every_cut(upstream: VendorServer, gateway: ServedGateway, how: str) -> None:
    """After each k: some of the rest is produced while nobody watches, the rest of it after the resume."""

    async def again(stream: Response, seen: list[SseEvent], model: str) -> EventStream:
        name, last = stream.head["stream-id"], last_id(seen)
        match how:
            case "post":
                response = await create(gateway, model, last=last)
            case "get":
                response = await retrieve(gateway, f"resp_{name}", last=last)
            case "number":
                response = await retrieve(gateway, f"resp_{name}", seen[-1].json["sequence_number"])
            case _:
                response = await gateway.subscribe(name, last=last, dialect="openai_responses")
        return response.events()

    for k in range(2, DELTAS):
        model = f"m{k}"
        gate = Gate(k)
        upstream.scripts[model] = Script(deltas=words(DELTAS), gate=gate)
        stream = await create(gateway, model)
        events = stream.events()
        seen = await events.take(k + 3)
        await cut(events)
        gate.open()
        if how != "number":
            while seen[-1].id is None:
                seen.pop()  # without a cursor of its own: it is told again
        seen += await (await again(stream, seen, model)).rest()
        ordered(seen)
        assert text_of(seen) == "".join(words(DELTAS)), k
        assert seen[-1].event == "response.completed"
    assert len(upstream.exchanges) == DELTAS - 2, "a resume asked the provider again"


async def test_going_on_while_it_runs(upstream: VendorServer, gateway: ServedGateway) -> None:
    gate = Gate(3)
    upstream.scripts["m"] = script = Script(deltas=words(DELTAS), gate=gate)
    first = (await create(gateway)).events()
    seen = await first.take(7)
    await cut(first)
    id = seen[0].json["response"]["id"]
    second = (await retrieve(gateway, id, seen[-1].json["sequence_number"])).events()
    gate.open()
    seen += await second.rest()
    ordered(seen)
    assert text_of(seen) == script.text


async def test_a_number_that_is_still_to_come(upstream: VendorServer, gateway: ServedGateway) -> None:
    gate = Gate(1)
    upstream.scripts["m"] = Script(deltas=words(DELTAS), gate=gate)
    first = (await create(gateway)).events()
    (created,) = await first.take(1)
    later = (await retrieve(gateway, created.json["response"]["id"], 10)).events()
    gate.open()
    assert (await later.rest())[0].json["sequence_number"] == 11
    await first.rest()
    assert await (await retrieve(gateway, created.json["response"]["id"], 10_000)).read() == b""


async def test_the_sdk_goes_on(upstream: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = SCRIPT
    created: Any = await sdk.responses.create(model="m", input="hello", stream=True)
    whole = [event async for event in created]
    id = whole[0].response.id
    for number in (0, 3, 20, whole[-1].sequence_number):
        rest: Any = await sdk.responses.retrieve(id, stream=True, starting_after=number)
        assert [event async for event in rest] == whole[number + 1 :]
    async with sdk.responses.stream(response_id=id, starting_after=5) as stream:
        assert [event.sequence_number async for event in stream] == list(range(6, len(whole)))
        assert (await stream.get_final_response()).output_text == SCRIPT.text


async def test_the_sdk_looks_at_it(upstream: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    gate = Gate(3)
    upstream.scripts["m"] = Script(deltas=words(DELTAS), gate=gate)
    created: Any = await sdk.responses.create(
        model="m", input="hello", stream=True, metadata={"a": "b"}, extra_body={"lease": 60}
    )
    iterator = created.__aiter__()
    events = [await iterator.__anext__() for _ in range(5)]
    id = events[0].response.id
    now = await sdk.responses.retrieve(id)
    assert (now.id, now.status, now.metadata) == (id, "in_progress", {"a": "b"})
    assert now.output_text.startswith("w0 ")
    gate.open()
    events += [event async for event in iterator]
    assert await sdk.responses.retrieve(id) == events[-1].response


async def test_what_is_no_longer_kept(upstream: VendorServer, serve: Serve) -> None:
    gateway = await serve(streams={"retain_bytes": 4000})
    gate = Gate(DELTAS)
    upstream.scripts["m"] = Script(deltas=words(2 * DELTAS), gate=gate)
    response = await create(gateway)
    events = response.events()
    seen = await events.take(DELTAS)
    id = seen[0].json["response"]["id"]
    assert (await gateway.status(response.head["stream-id"]))["oldest"] > 1
    for target in (f"{id}?stream=true&starting_after=20", f"{id}?stream=true", id):
        error = await refused(await gateway.get(f"/v1/responses/{target}"), 410)
        assert error["code"] == "cursor_expired"
    gate.open()
    ordered(seen + await events.rest())


@pytest.mark.parametrize("after", ["-1", "x", "", "1.5", "9" * 20])
async def test_what_is_no_number(upstream: VendorServer, gateway: ServedGateway, after: str) -> None:
    upstream.scripts["m"] = SCRIPT
    whole = await (await create(gateway)).events().rest()
    id = whole[0].json["response"]["id"]
    error = await refused(await gateway.get(f"/v1/responses/{id}?stream=true&starting_after={after}"), 400)
    assert error["param"] == "starting_after"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1/responses/resp_nobody"),
        ("GET", "/v1/responses/resp_nobody?stream=true&starting_after=3"),
        ("POST", "/v1/responses/resp_nobody/cancel"),
        ("DELETE", "/v1/responses/resp_nobody"),
    ],
)
async def test_an_unknown_id(gateway: ServedGateway, method: str, target: str) -> None:
    error = await refused(await gateway.request(method, target), 404)
    assert error["code"] == "unknown_stream"
    assert "resp_nobody" in error["message"]


async def test_the_sdk_of_an_unknown_id(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve("resp_nobody")


async def test_any_stream_is_a_response(upstream: VendorServer, gateway: ServedGateway) -> None:
    upstream.scripts["m"] = SCRIPT
    stream = (await gateway.create("m", lease=60))["id"]
    events = await (await retrieve(gateway, f"resp_{stream}")).events().rest()
    ordered(events)
    assert text_of(events) == SCRIPT.text
