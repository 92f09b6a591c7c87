"""The official OpenAI SDK, through the gateway, to an OpenAI-compatible server, over real sockets."""

from __future__ import annotations

from typing import Any

import openai
import pytest
import trio

from tests.doubles.faults import Ending
from tests.doubles.gate import Gate
from tests.doubles.openai_chunks import choice_text
from tests.doubles.openai_script import (
    BROKEN,
    RATE_LIMITED,
    UNAUTHORIZED,
    Extras,
    Refusal,
    Script,
    ToolCall,
    words,
)
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.sdk import MESSAGES, chunks_of, text_of, unfinished_generators
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.waiting import until

pytestmark = unfinished_generators

CALLS = (
    ToolCall(id="call_1", name="weather", fragments=('{"city"', ': "Osl', 'o"}')),
    ToolCall(id="call_2", name="time", fragments=('{"zone":', ' "CET"}')),
    ToolCall(id="call_3", name="nothing", fragments=("{}",)),
)
EXTRAS = Extras(
    top={"provider_trace": {"zone": "eu", "hops": [1, 2]}, "obfuscation": "aN8"},
    choice={"content_filter_results": {"hate": {"filtered": False}}},
    delta={"reasoning_details": [{"type": "summary"}]},
    prelude={"prompt_filter_results": [{"prompt_index": 0}]},
)
IMAGE: Any = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this? Ünïcode 🎉"},
            {
                "type": "image_url",
                "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"},
            },
        ],
    }
]


async def test_stream(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(200))
    chunks = await chunks_of(sdk, model="m")
    assert text_of(chunks) == script.text
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert all(chunk.usage is None for chunk in chunks)


async def test_whole_reply(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(200), extras=Extras(top={"x": [1, {"y": None}]}))
    reply: Any = await sdk.chat.completions.create(model="m", messages=MESSAGES)
    assert reply.choices[0].message.content == script.text
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.model_dump(exclude_none=True) == script.usage()
    assert reply.x == [1, {"y": None}]


async def test_usage_in_the_stream(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(30))
    chunks = await chunks_of(sdk, model="m", stream_options={"include_usage": True})
    assert chunks[-1].choices == []
    assert chunks[-1].usage.model_dump(exclude_none=True) == script.usage()
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_no_usage_unless_asked_for(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = Script()
    chunks = await chunks_of(sdk, model="m", stream_options={"include_usage": False})
    assert all(chunk.choices for chunk in chunks)


@pytest.mark.parametrize("interleave", [False, True], ids=["in turn", "interleaved"])
async def test_parallel_tool_calls(upstream: OpenAIServer, sdk: openai.AsyncOpenAI, interleave: bool) -> None:
    upstream.scripts["m"] = Script(tool_calls=CALLS, interleave=interleave)
    chunks = await chunks_of(sdk, model="m", tools=[_tool(call.name) for call in CALLS])
    parts = [part for c in chunks for choice in c.choices for part in choice.delta.tool_calls or []]
    for index, call in enumerate(CALLS):
        own = [part for part in parts if part.index == index]
        assert (own[0].id, own[0].type, own[0].function.name) == (call.id, "function", call.name)
        assert [part.id for part in own[1:]] == [None] * len(call.fragments)
        assert "".join(part.function.arguments for part in own) == call.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_tool_calls_in_a_whole_reply(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = Script(tool_calls=CALLS)
    reply = await sdk.chat.completions.create(model="m", messages=MESSAGES)
    calls: list[Any] = reply.choices[0].message.tool_calls or []
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        (call.id, call.name, call.arguments) for call in CALLS
    ]
    assert reply.choices[0].message.content is None


async def test_vendor_fields_at_every_level(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = Script(extras=EXTRAS, reasoning=("let me ", "think"), logprobs=True)
    chunks = await chunks_of(sdk, model="m")
    assert chunks[0].choices == []
    assert chunks[0].prompt_filter_results == [{"prompt_index": 0}]
    assert all(chunk.provider_trace == {"zone": "eu", "hops": [1, 2]} for chunk in chunks)
    assert chunks[1].choices[0].content_filter_results == {"hate": {"filtered": False}}
    assert chunks[1].choices[0].delta.reasoning_details == [{"type": "summary"}]
    reasoning = [getattr(c.choices[0].delta, "reasoning_content", None) for c in chunks[1:]]
    assert "".join(filter(None, reasoning)) == "let me think"
    spoken = [c.choices[0] for c in chunks[1:] if c.choices[0].delta.content]
    assert [choice.logprobs.content[0].token for choice in spoken] == list(words(5))


async def test_several_choices(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(20))
    chunks = await chunks_of(sdk, model="m", n=3)
    expected = [choice_text(script, index) for index in range(3)]
    assert [text_of(chunks, index) for index in range(3)] == expected
    finished = [c.choices[0].index for c in chunks if c.choices and c.choices[0].finish_reason]
    assert finished == [0, 1, 2]
    reply = await sdk.chat.completions.create(model="m", messages=MESSAGES, n=3)
    assert [choice.message.content for choice in reply.choices] == expected


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_request_reaches_the_upstream_untouched(
    upstream: OpenAIServer, sdk: openai.AsyncOpenAI, stream: bool
) -> None:
    fields: Any = {"temperature": 0.25, "seed": 7, "metadata": {"a": "b"}, "stop": ["\n"], "top_logprobs": 2}
    created: Any = await sdk.chat.completions.create(
        model="renamed", messages=IMAGE, stream=stream, extra_body={"vendor_option": {"deep": [1]}}, **fields
    )
    if stream:
        assert [chunk async for chunk in created]
    request = (await upstream.next_exchange()).request
    sent = {"model": "mock", "messages": IMAGE, "vendor_option": {"deep": [1]}, "stream": stream, **fields}
    sent = {key: value for key, value in sent.items() if key != "stream" or stream or "stream" in request.json}
    assert _without_usage(request.json) == sent
    assert request.headers["authorization"] == "Bearer sk-upstream"


def _without_usage(body: dict[str, Any]) -> dict[str, Any]:
    """The gateway may ask for usage on its own account; nobody else's business."""
    return {key: value for key, value in body.items() if key != "stream_options"}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_unknown_model(upstream: OpenAIServer, sdk: openai.AsyncOpenAI, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await sdk.chat.completions.create(model="nobody", messages=MESSAGES, stream=stream)
    assert caught.value.code == "model_not_found"
    assert "nobody" in caught.value.message


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("refusal", [UNAUTHORIZED, RATE_LIMITED, BROKEN], ids=["401", "429", "500"])
async def test_upstream_refuses(
    upstream: OpenAIServer, sdk: openai.AsyncOpenAI, refusal: Refusal, stream: bool
) -> None:
    upstream.scripts["m"] = Script(refusal=refusal)
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(model="m", messages=MESSAGES, stream=stream)
    error = caught.value
    assert (error.status_code, error.code, error.type) == (refusal.status, refusal.code, refusal.type)
    assert refusal.message in error.message
    assert error.response.headers.get("retry-after") == refusal.headers.get("Retry-After")


async def test_upstream_is_not_there(
    upstream: OpenAIServer, gateway: ServedGateway, sdk: openai.AsyncOpenAI, nursery: trio.Nursery
) -> None:
    upstream.scripts["m"] = Script(ending=Ending.CLOSE)
    with pytest.raises(openai.InternalServerError) as caught:
        await sdk.chat.completions.create(model="m", messages=MESSAGES)
    assert caught.value.status_code == 502
    assert caught.value.code


@pytest.mark.parametrize("ending", [Ending.RESET, Ending.CLOSE, Ending.NO_DONE, Ending.ERROR])
async def test_upstream_dies_after_50_deltas(
    upstream: OpenAIServer, gateway: ServedGateway, sdk: openai.AsyncOpenAI, ending: Ending
) -> None:
    """The SDK raises after the 50 that came: a truncated answer never looks like a complete one."""
    upstream.scripts["m"] = script = Script(deltas=words(50), ending=ending, gate=(gate := Gate(50)))
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


@pytest.mark.parametrize("ending", [Ending.RESET, Ending.CLOSE, Ending.NO_DONE, Ending.ERROR])
async def test_no_done_after_a_truncation(upstream: OpenAIServer, gateway: ServedGateway, ending: Ending) -> None:
    upstream.scripts["m"] = Script(deltas=words(50), ending=ending, gate=(gate := Gate(50)))
    events = (await gateway.chat("m")).events()
    assert len(await events.take(50)) == 50
    gate.open()
    rest = await events.rest()
    assert "[DONE]" not in [event.data for event in rest]
    error = rest[-1].json["error"]
    assert error["message"]
    assert error["type"]
    if ending is Ending.ERROR:
        assert error["code"] == "model_gone"


async def test_sdk_sees_each_token_when_it_is_there(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    """In lockstep: the upstream gives the next delta only after the SDK has the one before."""
    upstream.scripts["m"] = script = Script(deltas=words(20), gate=(gate := Gate()))
    seen = []
    async for chunk in await sdk.chat.completions.create(model="m", messages=MESSAGES, stream=True):
        seen.append(chunk)
        gate.release()
    assert text_of(seen) == script.text


async def test_closing_the_sdk_stream_ends_the_upstream(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = Script(gate=(gate := Gate(2)))
    stream = await sdk.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    iterator = stream.__aiter__()
    await iterator.__anext__()
    exchange = await upstream.next_exchange()
    await stream.close()
    await exchange.left.wait()
    gate.open()


async def test_many_at_once(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    """Fifty streams at the same time, each its own text."""
    texts: dict[str, str] = {}

    async def one(model: str) -> None:
        texts[model] = text_of(await chunks_of(sdk, model=model))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            model = f"m{number}"
            upstream.scripts[model] = Script(deltas=tuple(f"{model}.{word}" for word in words(20)))
            nursery.start_soon(one, model)
    expected = {f"m{n}": "".join(f"m{n}.{word}" for word in words(20)) for n in range(50)}
    assert texts == expected


async def test_models(sdk: openai.AsyncOpenAI) -> None:
    names = [model.id async for model in sdk.models.list()]
    assert "demo" in names
    assert "renamed" in names


async def test_demo_through_the_sdk(sdk: openai.AsyncOpenAI) -> None:
    chunks = await chunks_of(sdk, model="demo-n40-gap0", stream_options={"include_usage": True})
    reply = await sdk.chat.completions.create(model="demo-n40-gap0", messages=MESSAGES)
    assert text_of(chunks) == reply.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == 40


def _tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
