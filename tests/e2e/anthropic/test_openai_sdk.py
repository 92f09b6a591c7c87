"""The official OpenAI SDK, through the gateway, to a provider that speaks Anthropic's dialect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.doubles import sdk as openai_sdk
from tests.doubles.faults import Ending
from tests.doubles.gate import Gate
from tests.doubles.openai_script import BROKEN, RATE_LIMITED, UNAUTHORIZED, Refusal, Script, ToolCall, words
from tests.doubles.sdk import MESSAGES, chunks_of, text_of, unfinished_generators
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.vendor_server import VendorServer

pytestmark = [unfinished_generators, pytest.mark.parametrize("dialect", ["anthropic"])]

CALLS = (
    ToolCall(id="toolu_1", name="weather", fragments=('{"city"', ': "Oslo"}')),
    ToolCall(id="toolu_2", name="nothing", fragments=()),
)
TOOLS: Any = [{"type": "function", "function": {"name": call.name, "parameters": {"type": "object"}}} for call in CALLS]
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 30,
    "total_tokens": 37,
    "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
}


@pytest.fixture
async def chat(gateway: ServedGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai_sdk.client(f"{gateway.base_url}/v1") as client:
        yield client


async def test_stream(upstream: VendorServer, chat: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(200), reasoning=("let me ", "think"))
    chunks = await chunks_of(chat, model="m")
    assert text_of(chunks) == script.text
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "let me think"
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_finish_reasons(upstream: VendorServer, chat: openai.AsyncOpenAI, reason: str) -> None:
    upstream.scripts["m"] = Script(reason=reason)
    chunks = await chunks_of(chat, model="m")
    assert chunks[-1].choices[0].finish_reason == reason


async def test_whole(upstream: VendorServer, chat: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(30))
    reply: Any = await chat.chat.completions.create(model="m", messages=MESSAGES)
    assert reply.choices[0].message.content == script.text
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.model_dump(exclude_none=True) == USAGE


async def test_usage_is_told_once(upstream: VendorServer, chat: openai.AsyncOpenAI) -> None:
    """The vendor tells it at the beginning too; some clients would add the two."""
    upstream.scripts["m"] = Script(deltas=words(30))
    chunks = await chunks_of(chat, model="m", stream_options={"include_usage": True})
    (usage,) = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert usage.model_dump(exclude_none=True) == USAGE
    assert chunks[-1].choices == []


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_round_of_tools(upstream: VendorServer, chat: openai.AsyncOpenAI, stream: bool) -> None:
    upstream.scripts["m"] = Script(tool_calls=CALLS)
    if stream:
        calls = _joined(await chunks_of(chat, model="m", tools=TOOLS))
    else:
        reply = await chat.chat.completions.create(model="m", messages=MESSAGES, tools=TOOLS)
        assert reply.choices[0].finish_reason == "tool_calls"
        called: list[Any] = reply.choices[0].message.tool_calls or []
        calls = [call.model_dump() for call in called]
    assert [(call["id"], call["function"]["name"]) for call in calls] == [
        ("toolu_1", "weather"),
        ("toolu_2", "nothing"),
    ]
    assert [call["function"]["arguments"] for call in calls] == ['{"city": "Oslo"}', "{}"]

    upstream.scripts["m"] = script = Script(deltas=words(5))
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "4 °C"} for call in calls]
    history: Any = [*MESSAGES, {"role": "assistant", "content": None, "tool_calls": calls}, *results]
    assert text_of(await chunks_of(chat, model="m", tools=TOOLS, messages=history)) == script.text
    await upstream.next_exchange()
    sent = (await upstream.next_exchange()).request.json
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in sent["messages"][1]["content"]] == ["tool_use", "tool_use"]
    assert [block["tool_use_id"] for block in sent["messages"][2]["content"]] == ["toolu_1", "toolu_2"]
    assert [tool["name"] for tool in sent["tools"]] == ["weather", "nothing"]


def _joined(chunks: list[Any]) -> list[dict[str, Any]]:
    calls: dict[int, dict[str, Any]] = {}
    for part in (part for chunk in chunks for choice in chunk.choices for part in choice.delta.tool_calls or []):
        call = calls.setdefault(part.index, {"type": "function", "function": {"name": "", "arguments": ""}})
        call["id"] = call.get("id") or part.id
        call["function"]["name"] += part.function.name or ""
        call["function"]["arguments"] += part.function.arguments or ""
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    return list(calls.values())


async def test_what_the_provider_is_asked(upstream: VendorServer, chat: openai.AsyncOpenAI) -> None:
    url = "data:image/png;base64,iVBORw0KGgo="
    content = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": content}]
    await chunks_of(chat, model="mock", messages=messages, stop="END", temperature=1.5, max_completion_tokens=9)
    request = (await upstream.next_exchange()).request
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    assert request.json == {
        "model": "mock",
        "max_tokens": 9,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [content[0], {"type": "image", "source": source}]}],
        "temperature": 1.0,
        "stop_sequences": ["END"],
        "stream": True,
    }
    assert request.headers["x-api-key"] == "sk-upstream"
    assert request.headers["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_what_the_provider_cannot_be_asked(chat: openai.AsyncOpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError, match="`n`") as caught:
        await chat.chat.completions.create(model="mock", messages=MESSAGES, n=2, stream=stream)
    assert (caught.value.code, caught.value.param) == ("untranslatable_field", "n")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (UNAUTHORIZED, openai.AuthenticationError),
        (RATE_LIMITED, openai.RateLimitError),
        (BROKEN, openai.InternalServerError),
    ],
    ids=["401", "429", "500"],
)
async def test_upstream_refuses(
    upstream: VendorServer, chat: openai.AsyncOpenAI, refusal: Refusal, kind: Any, stream: bool
) -> None:
    upstream.scripts["m"] = Script(refusal=refusal)
    with pytest.raises(kind) as caught:
        await chat.chat.completions.create(model="m", messages=MESSAGES, stream=stream)
    assert caught.value.code == upstream.code_of(refusal)
    assert refusal.message in caught.value.message
    assert caught.value.response.headers.get("retry-after") == refusal.headers.get("Retry-After")


@pytest.mark.parametrize("ending", [Ending.RESET, Ending.CLOSE, Ending.NO_DONE, Ending.ERROR])
async def test_upstream_dies(upstream: VendorServer, chat: openai.AsyncOpenAI, ending: Ending) -> None:
    upstream.scripts["m"] = Script(deltas=words(50), ending=ending)
    with pytest.raises(openai.APIError) as caught:
        await chunks_of(chat, model="m")
    assert caught.value.message


async def test_leaving_ends_the_upstream(upstream: VendorServer, chat: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = Script(gate=(gate := Gate(2)))
    stream = await chat.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    await stream.__aiter__().__anext__()
    exchange = await upstream.next_exchange()
    await stream.close()
    await exchange.left.wait()
    gate.open()
