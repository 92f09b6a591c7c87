"""A client of chat completions, and a provider that speaks Responses."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.doubles.faults import Ending
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import last_id, openai_text
from tests.doubles.http_requests import Request
from tests.doubles.openai_script import BROKEN, RATE_LIMITED, UNAUTHORIZED, Refusal, Script, ToolCall, words
from tests.doubles.sdk import MESSAGES, chunks_of, text_of, unfinished_generators
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.vendor_server import VendorServer
from tests.doubles.waiting import until

pytestmark = [unfinished_generators, pytest.mark.parametrize("dialect", ["openai_responses"], indirect=True)]

CALLS = (
    ToolCall(id="call_1", name="weather", fragments=('{"city"', ': "Osl', 'o"}')),
    ToolCall(id="call_2", name="time", fragments=('{"zone":', ' "CET"}')),
)
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("weather", "time")
]


async def test_stream(upstream: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(50), reasoning=("let me ", "think"))
    chunks = await chunks_of(sdk, model="m", stream_options={"include_usage": True})
    assert text_of(chunks) == script.text
    reasoning = [getattr(c.choices[0].delta, "reasoning_content", None) for c in chunks if c.choices]
    assert "".join(filter(None, reasoning)) == "let me think"
    assert chunks[-2].choices[0].finish_reason == "stop"
    usage = chunks[-1].usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details.cached_tokens) == (7, 52, 3)
    assert usage.completion_tokens_details.reasoning_tokens == 2


async def test_whole_reply(upstream: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(50))
    reply = await sdk.chat.completions.create(model="m", messages=MESSAGES)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (script.text, "stop")
    assert reply.usage is not None
    assert reply.usage.total_tokens == 57


@pytest.mark.parametrize("interleave", [False, True], ids=["in turn", "interleaved"])
async def test_parallel_tool_calls(upstream: VendorServer, sdk: openai.AsyncOpenAI, interleave: bool) -> None:
    upstream.scripts["m"] = Script(tool_calls=CALLS, interleave=interleave)
    chunks = await chunks_of(sdk, model="m", tools=TOOLS)
    parts = [part for c in chunks for choice in c.choices for part in choice.delta.tool_calls or []]
    for index, call in enumerate(CALLS):
        own = [part for part in parts if part.index == index]
        assert (own[0].id, own[0].function.name) == (call.id, call.name)
        assert "".join(part.function.arguments for part in own) == call.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_a_tool_loop(upstream: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    def script(request: Request) -> Script:
        outputs = [item for item in request.json["input"] if item["type"] == "function_call_output"]
        return Script(deltas=("It is ", outputs[0]["output"])) if outputs else Script(tool_calls=CALLS[:1])

    upstream.scripts["m"] = script
    messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How is it?"}]
    first = (await sdk.chat.completions.create(model="m", messages=messages, tools=TOOLS)).choices[0].message
    assert first.tool_calls is not None
    messages += [
        first.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "4 °C."},
    ]
    second = await sdk.chat.completions.create(model="m", messages=messages, tools=TOOLS)
    assert second.choices[0].message.content == "It is 4 °C."
    sent = upstream.exchanges[-1].request.json
    assert sent["instructions"] == "Be brief."
    assert [item["type"] for item in sent["input"]] == ["message", "function_call", "function_call_output"]
    assert sent["store"] is False


async def test_images_and_limits_arrive(upstream: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = Script()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]
    await sdk.chat.completions.create(model="m", messages=messages, max_tokens=9, temperature=1.5)
    sent = (await upstream.next_exchange()).request.json
    assert sent["input"][0]["content"][1]["image_url"] == "data:image/png;base64,iVBORw0KGgo="
    assert (sent["max_output_tokens"], sent["temperature"]) == (9, 1.5)


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_how_it_ends(upstream: VendorServer, sdk: openai.AsyncOpenAI, reason: str) -> None:
    upstream.scripts["m"] = Script(reason=reason)
    assert (await chunks_of(sdk, model="m"))[-1].choices[0].finish_reason == reason
    reply = await sdk.chat.completions.create(model="m", messages=MESSAGES)
    assert reply.choices[0].finish_reason == reason


async def test_a_refusal(upstream: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = Script(deltas=("I would ", "rather not."), declines=True)
    chunks = await chunks_of(sdk, model="m")
    assert "".join(c.choices[0].delta.refusal or "" for c in chunks) == "I would rather not."
    reply = await sdk.chat.completions.create(model="m", messages=MESSAGES)
    assert reply.choices[0].message.refusal == "I would rather not."


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("refusal", [UNAUTHORIZED, RATE_LIMITED, BROKEN], ids=["401", "429", "500"])
async def test_upstream_refuses(
    upstream: VendorServer, sdk: openai.AsyncOpenAI, refusal: Refusal, stream: bool
) -> None:
    upstream.scripts["m"] = Script(refusal=refusal)
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(model="m", messages=MESSAGES, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (refusal.status, refusal.code)
    assert refusal.message in caught.value.message


@pytest.mark.parametrize("ending", [Ending.RESET, Ending.CLOSE, Ending.NO_DONE, Ending.ERROR])
async def test_upstream_dies(
    upstream: VendorServer, gateway: ServedGateway, sdk: openai.AsyncOpenAI, ending: Ending
) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(20), ending=ending, gate=(gate := Gate(20)))
    seen: list[Any] = []

    async def read() -> None:
        async for chunk in await sdk.chat.completions.create(model="m", messages=MESSAGES, stream=True):
            seen.append(chunk)
            if text_of(seen) == script.text:
                gate.open()

    with pytest.raises(openai.APIError):
        await read()
    assert text_of(seen) == script.text
    await until(lambda: gateway.now.running == gateway.now.upstream_busy == 0)


async def test_leaving_early_ends_the_upstream(upstream: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = Script(gate=(gate := Gate(2)))
    stream = await sdk.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    await stream.__aiter__().__anext__()
    exchange = await upstream.next_exchange()
    await stream.close()
    await exchange.left.wait()
    gate.open()


@pytest.mark.parametrize(("field", "value"), [("stop", ["END"]), ("n", 2), ("presence_penalty", 0.5)])
async def test_what_responses_have_no_words_for(sdk: openai.AsyncOpenAI, field: str, value: Any) -> None:
    options: Any = {field: value}
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.chat.completions.create(model="m", messages=MESSAGES, **options)
    assert (caught.value.code, caught.value.param) == ("untranslatable_field", field)


async def test_every_cut(upstream: VendorServer, gateway: ServedGateway) -> None:
    headers = {"Stream-Lease": "60"}
    for k in range(1, 20):
        upstream.scripts[f"m{k}"] = Script(deltas=words(20), gate=(gate := Gate(k)))
        events = (await gateway.chat(f"m{k}", headers=headers)).events()
        seen = await events.take(k)
        await events.response.connection.reset()
        gate.open()
        again = await gateway.chat(f"m{k}", headers={**headers, "Last-Event-ID": last_id(seen)})
        seen += await again.events().rest()
        assert openai_text(seen) == "".join(words(20)), k
        assert seen[-1].data == "[DONE]"


async def test_a_schema_arrives(upstream: VendorServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = Script(deltas=("{}",))
    schema: Any = {"name": "n", "schema": {"type": "object"}, "strict": True}
    await sdk.chat.completions.create(
        model="m", messages=MESSAGES, response_format={"type": "json_schema", "json_schema": schema}
    )
    sent = (await upstream.next_exchange()).request.json
    assert sent["text"] == {"format": {"type": "json_schema", **schema}}
