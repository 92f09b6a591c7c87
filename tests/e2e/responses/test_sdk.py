"""`client.responses` of the official SDK, through the gateway, to upstreams of every dialect."""

from __future__ import annotations

import json
from typing import Any

import openai
import pydantic
import pytest

from tests.doubles.faults import Ending
from tests.doubles.gate import Gate
from tests.doubles.http_requests import Request
from tests.doubles.openai_script import BROKEN, RATE_LIMITED, UNAUTHORIZED, Refusal, Script, ToolCall, words
from tests.doubles.sdk import unfinished_generators
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.vendor_server import VendorServer
from tests.doubles.waiting import until

pytestmark = unfinished_generators

CALLS = (
    ToolCall(id="call_1", name="weather", fragments=('{"city"', ': "Osl', 'o"}')),
    ToolCall(id="call_2", name="time", fragments=('{"zone":', ' "CET"}')),
)
TOOLS: Any = [
    {
        "type": "function",
        "name": name,
        "description": f"Tells the {name}.",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    }
    for name in ("weather", "time")
]
PIXEL = "data:image/png;base64,iVBORw0KGgo="


class Weather(pydantic.BaseModel):
    """What a structured answer has to be."""

    city: str
    degrees: int


async def events_of(sdk: openai.AsyncOpenAI, **fields: Any) -> list[Any]:
    stream: Any = await sdk.responses.create(**{"input": "hello", "stream": True, **fields})
    return [event async for event in stream]


def text_of(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def in_order(events: list[Any]) -> None:
    """Numbers from 0 without gaps, the beginning at the beginning and one end at the end."""
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert {event.response.id for event in events if hasattr(event, "response")} == {events[0].response.id}


async def test_stream(vendor: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    vendor.scripts["m"] = script = Script(deltas=words(200))
    events = await events_of(sdk, model="m")
    in_order(events)
    assert text_of(events) == script.text
    done = [event.text for event in events if event.type == "response.output_text.done"]
    assert done == [script.text]
    final = events[-1].response
    assert (events[-1].type, final.status, final.output_text) == ("response.completed", "completed", script.text)


async def test_whole_reply(vendor: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    vendor.scripts["m"] = script = Script(deltas=words(50), reasoning=("let me ", "think"))
    reply = await sdk.responses.create(model="m", input="hello", metadata={"a": "b"})
    assert (reply.status, reply.output_text, reply.metadata) == ("completed", script.text, {"a": "b"})
    reasoning: Any = reply.output[0]
    assert reasoning.summary[0].text == "let me think"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_usage(vendor: VendorServer, sdk: openai.AsyncOpenAI, stream: bool) -> None:
    vendor.scripts["m"] = Script(deltas=words(30), reasoning=("a", "b"))
    if stream:
        usage = (await events_of(sdk, model="m"))[-1].response.usage
    else:
        usage = (await sdk.responses.create(model="m", input="hello")).usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (7, 32, 39)
    assert usage.input_tokens_details.cached_tokens == 3
    assert usage.output_tokens_details.reasoning_tokens == 2


async def test_the_stream_helper(vendor: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    vendor.scripts["m"] = script = Script(deltas=words(20), reasoning=("a", "b"))
    async with sdk.responses.stream(model="m", input="hello") as stream:
        snapshots = [event.snapshot async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert snapshots[-1] == script.text
    assert final.output_text == script.text


async def test_answers_that_are_parsed(vendor: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    vendor.scripts["m"] = Script(deltas=('{"city":"Os', 'lo","degrees":4}'))
    expected = Weather(city="Oslo", degrees=4)
    reply = await sdk.responses.parse(model="m", input="hello", text_format=Weather)
    assert reply.output_parsed == expected
    async with sdk.responses.stream(model="m", input="hello", text_format=Weather) as stream:
        assert (await stream.get_final_response()).output_parsed == expected
    sent = (await vendor.next_exchange()).request.json
    given = sent.get("text") or sent.get("response_format") or sent
    assert "degrees" in json.dumps(given)


@pytest.mark.parametrize("interleave", [False, True], ids=["in turn", "interleaved"])
async def test_parallel_tool_calls(vendor: VendorServer, sdk: openai.AsyncOpenAI, interleave: bool) -> None:
    vendor.scripts["m"] = Script(tool_calls=CALLS, interleave=interleave)
    events = await events_of(sdk, model="m", tools=TOOLS)
    in_order(events)
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [(item.call_id, item.name, item.arguments) for item in done] == [
        (call.id, call.name, call.arguments) for call in CALLS
    ]
    for item in done:
        parts = [e.delta for e in events if e.type.endswith("arguments.delta") and e.item_id == item.id]
        assert "".join(parts) == item.arguments
    assert events[-1].response.status == "completed"


async def test_a_tool_loop(vendor: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    """Call, result, answer: the model's own items go back to it, as OpenAI's guide has it."""

    def script(request: Request) -> Script:
        asked = json.dumps(request.json)
        return Script(deltas=("It is ", "4 °C.")) if "4 degrees" in asked else Script(tool_calls=CALLS[:1])

    vendor.scripts["m"] = script
    items: Any = [{"role": "user", "content": "How is the weather?"}]
    first = await sdk.responses.create(model="m", input=items, tools=TOOLS, instructions="Be brief.")
    call: Any = first.output[-1]
    assert json.loads(call.arguments) == {"city": "Oslo"}
    items += [item.model_dump(exclude_none=True) for item in first.output]
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "4 degrees"})
    events = await events_of(sdk, model="m", input=items, tools=TOOLS)
    assert events[-1].response.output_text == "It is 4 °C."


@pytest.mark.parametrize("choice", ["auto", "none", "required", {"type": "function", "name": "time"}])
async def test_the_choice_among_tools(vendor: VendorServer, sdk: openai.AsyncOpenAI, dialect: str, choice: Any) -> None:
    vendor.scripts["m"] = Script()
    alone: Any = {} if dialect == "gemini" else {"parallel_tool_calls": False}  # which has no word for it
    reply = await sdk.responses.create(model="m", input="hello", tools=TOOLS, tool_choice=choice, **alone)
    assert reply.status == "completed"
    sent = json.dumps((await vendor.next_exchange()).request.json)
    assert "time" in sent
    assert "weather" in sent


async def test_images_and_instructions_arrive(vendor: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    vendor.scripts["m"] = Script()
    parts: Any = [
        {"type": "input_text", "text": "What is this? Ünïcode 🎉"},
        {"type": "input_image", "image_url": PIXEL, "detail": "low"},
    ]
    await sdk.responses.create(
        model="m", instructions="Be brief.", input=[{"role": "user", "content": parts}], max_output_tokens=50
    )
    sent = json.dumps((await vendor.next_exchange()).request.json, ensure_ascii=False)
    for needle in ("Be brief.", "Ünïcode 🎉", "iVBORw0KGgo=", "50"):
        assert needle in sent


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("reason", "details"), [("length", "max_output_tokens"), ("content_filter", "content_filter"), ("stop", None)]
)
async def test_how_it_ends(
    vendor: VendorServer, sdk: openai.AsyncOpenAI, reason: str, details: str | None, stream: bool
) -> None:
    vendor.scripts["m"] = Script(reason=reason)
    if stream:
        last = (await events_of(sdk, model="m"))[-1]
        response = last.response
        assert last.type == f"response.{response.status}"
    else:
        response = await sdk.responses.create(model="m", input="hello")
    assert response.status == ("incomplete" if details else "completed")
    assert (response.incomplete_details and response.incomplete_details.reason) == details


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_refusal(vendor: VendorServer, sdk: openai.AsyncOpenAI, stream: bool) -> None:
    """One that its vendor does not mark stays a text, and the response is incomplete."""
    kind = "refusal" if vendor.marks_refusals else "output_text"
    vendor.scripts["m"] = script = Script(deltas=("I would ", "rather not."), declines=True)
    if stream:
        events = await events_of(sdk, model="m")
        assert "".join(e.delta for e in events if e.type == f"response.{kind}.delta") == script.text
        response = events[-1].response
    else:
        response = await sdk.responses.create(model="m", input="hello")
    (part,) = response.output[0].content
    assert (part.type, part.refusal if vendor.marks_refusals else part.text) == (kind, script.text)
    details = response.incomplete_details
    assert (details and details.reason) == (None if vendor.marks_refusals else "content_filter")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (UNAUTHORIZED, openai.AuthenticationError),
        (RATE_LIMITED, openai.RateLimitError),
        (BROKEN, openai.InternalServerError),
    ],
    ids=["401", "429", "500"],
)
async def test_upstream_refuses(
    vendor: VendorServer, sdk: openai.AsyncOpenAI, refusal: Refusal, error: type[openai.APIStatusError], stream: bool
) -> None:
    vendor.scripts["m"] = Script(refusal=refusal)
    with pytest.raises(error) as caught:
        await sdk.responses.create(model="m", input="hello", stream=stream)
    assert caught.value.status_code == refusal.status
    assert refusal.message in caught.value.message
    assert caught.value.response.headers.get("retry-after") == refusal.headers.get("Retry-After")


@pytest.mark.parametrize("ending", [Ending.RESET, Ending.CLOSE, Ending.NO_DONE, Ending.ERROR])
async def test_upstream_dies_after_50_deltas(
    vendor: VendorServer, gateway: ServedGateway, sdk: openai.AsyncOpenAI, ending: Ending
) -> None:
    """The SDK raises after the 50 that came: a truncated answer never looks like a complete one."""
    vendor.scripts["m"] = script = Script(deltas=words(50), ending=ending, gate=(gate := Gate(50)))
    seen: list[Any] = []

    async def read() -> None:
        stream: Any = await sdk.responses.create(model="m", input="hello", stream=True)
        async for event in stream:
            seen.append(event)
            if text_of(seen) == script.text:
                gate.open()

    with pytest.raises(openai.APIError):
        await read()
    assert text_of(seen) == script.text
    assert "response.completed" not in [event.type for event in seen]
    await until(lambda: gateway.now.running == gateway.now.upstream_busy == 0)


async def test_sdk_sees_each_token_when_it_is_there(vendor: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    """In lockstep: the upstream gives the next delta only after the SDK has the one before."""
    vendor.scripts["m"] = script = Script(deltas=words(20), gate=(gate := Gate(1)))
    seen: list[Any] = []
    stream: Any = await sdk.responses.create(model="m", input="hello", stream=True)
    async for event in stream:
        seen.append(event)
        if event.type == "response.output_text.delta":
            gate.release()
    gate.open()
    assert text_of(seen) == script.text


async def test_leaving_early_ends_the_upstream(vendor: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    vendor.scripts["m"] = Script(gate=(gate := Gate(2)))
    stream: Any = await sdk.responses.create(model="m", input="hello", stream=True)
    await stream.__aiter__().__anext__()
    exchange = await vendor.next_exchange()
    await stream.close()
    await exchange.left.wait()
    gate.open()


async def test_what_another_vendor_has_no_words_for(sdk: openai.AsyncOpenAI, dialect: str) -> None:
    if dialect == "openai_responses":
        pytest.skip("between equals everything goes through")
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(model="m", input="hello", previous_response_id="resp_1")
    assert (caught.value.code, caught.value.param) == ("untranslatable_field", "previous_response_id")
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(model="m", input="hello", tools=[{"type": "web_search"}], stream=True)
    assert "tools[0]" in caught.value.message
    assert (caught.value.code, caught.value.param) == ("untranslatable_field", "tools[0]")


@pytest.mark.parametrize("dialect", ["openai_responses"], indirect=True)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_between_equals_everything_goes_through(
    vendor: VendorServer, sdk: openai.AsyncOpenAI, stream: bool
) -> None:
    fields: Any = {
        "input": [{"type": "item_reference", "id": "x"}],
        "tools": [{"type": "web_search"}],
        "previous_response_id": "resp_1",
        "truncation": "auto",
        "store": True,
        "extra_body": {"vendor_option": {"deep": [1]}},
    }
    created: Any = await sdk.responses.create(model="renamed", stream=stream, **fields)
    if stream:
        assert [event.type async for event in created][-1] == "response.completed"
    sent = (await vendor.next_exchange()).request.json
    expected = {**fields, **fields["extra_body"], "model": "mock"}
    del expected["extra_body"]
    assert {name: value for name, value in sent.items() if name != "stream"} == expected


async def test_demo_through_the_sdk(sdk: openai.AsyncOpenAI) -> None:
    events = await events_of(sdk, model="demo-n40-gap0")
    in_order(events)
    reply = await sdk.responses.create(model="demo-n40-gap0", input="hello")
    assert text_of(events) == reply.output_text
    assert events[-1].response.usage.output_tokens == 40
    assert events[0].response.id.startswith("resp_")
