"""The official OpenAI SDK, through the gateway, to a provider that speaks Gemini's dialect."""

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

pytestmark = [unfinished_generators, pytest.mark.parametrize("dialect", ["gemini"])]

EITHER = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])

CALLS = (
    ToolCall(id="", name="weather", fragments=('{"city": "Oslo"}',)),
    ToolCall(id="", name="weather", fragments=('{"city": "Rome"}',)),
    ToolCall(id="given", name="nothing", fragments=()),
)
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("weather", "nothing")
]
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 32,
    "total_tokens": 39,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
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


async def test_several_choices(upstream: VendorServer, chat: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = Script(deltas=("a", "b"))
    chunks = await chunks_of(chat, model="m", n=2)
    assert [text_of(chunks, index) for index in range(2)] == ["ab", "1:a1:b"]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_finish_reasons(upstream: VendorServer, chat: openai.AsyncOpenAI, reason: str) -> None:
    upstream.scripts["m"] = Script(reason=reason)
    assert (await chunks_of(chat, model="m"))[-1].choices[0].finish_reason == reason


async def test_whole(upstream: VendorServer, chat: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(30), reasoning=("hm", "m"))
    reply: Any = await chat.chat.completions.create(model="m", messages=MESSAGES)
    assert reply.choices[0].message.content == script.text
    assert reply.choices[0].message.reasoning_content == "hmm"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.model_dump(exclude_none=True) == USAGE


async def test_usage_is_told_once(upstream: VendorServer, chat: openai.AsyncOpenAI) -> None:
    """The vendor counts in every frame; some clients would add all that up."""
    upstream.scripts["m"] = Script(deltas=words(30), reasoning=("hm", "m"))
    chunks = await chunks_of(chat, model="m", stream_options={"include_usage": True})
    (usage,) = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert usage.model_dump(exclude_none=True) == USAGE
    assert chunks[-1].choices == []


@EITHER
async def test_a_round_of_tools(upstream: VendorServer, chat: openai.AsyncOpenAI, stream: bool) -> None:
    """Two calls of one tool without ids are told apart by those that they are given."""
    upstream.scripts["gemini-3-pro"] = Script(tool_calls=CALLS)
    calls = await _called(chat, stream)
    assert [call["function"]["name"] for call in calls] == ["weather", "weather", "nothing"]
    assert [call["function"]["arguments"] for call in calls] == ['{"city": "Oslo"}', '{"city": "Rome"}', "{}"]
    assert len({call["id"] for call in calls}) == 3
    assert calls[2]["id"] == "given"
    assert calls == await _called(chat, stream)

    upstream.scripts["gemini-3-pro"] = script = Script(deltas=words(5))
    results = [{"role": "tool", "tool_call_id": call["id"], "content": f"r{n}"} for n, call in enumerate(calls)]
    history: Any = [*MESSAGES, {"role": "assistant", "content": None, "tool_calls": calls}, *results]
    assert text_of(await chunks_of(chat, model="gemini-3-pro", tools=TOOLS, messages=history)) == script.text
    sent = upstream.exchanges[-1].request.json
    assert [content["role"] for content in sent["contents"]] == ["user", "model", "user"]
    made = [part["functionCall"] for part in sent["contents"][1]["parts"]]
    answered = [part["functionResponse"] for part in sent["contents"][2]["parts"]]
    assert [call["id"] for call in made] == [one["id"] for one in answered] == [call["id"] for call in calls]
    assert [(one["name"], one["response"]) for one in answered] == [
        ("weather", {"output": "r0"}),
        ("weather", {"output": "r1"}),
        ("nothing", {"output": "r2"}),
    ]
    assert ["thoughtSignature" in part for part in sent["contents"][1]["parts"]] == [True, False, False]


async def _called(chat: openai.AsyncOpenAI, stream: bool) -> list[dict[str, Any]]:
    """The tool calls of one answer, as a client gives them back."""
    if not stream:
        reply = await chat.chat.completions.create(model="gemini-3-pro", messages=MESSAGES, tools=TOOLS)
        assert reply.choices[0].finish_reason == "tool_calls"
        return [call.model_dump() for call in reply.choices[0].message.tool_calls or []]
    chunks = await chunks_of(chat, model="gemini-3-pro", tools=TOOLS)
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    parts = [part for chunk in chunks for choice in chunk.choices for part in choice.delta.tool_calls or []]
    return [part.model_dump(exclude={"index"}) for part in parts]


async def test_what_the_provider_is_asked(upstream: VendorServer, chat: openai.AsyncOpenAI) -> None:
    url = "data:image/png;base64,iVBORw0KGgo="
    content = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": content}]
    await chunks_of(
        chat, model="mock", messages=messages, stop="END", temperature=1.5, max_completion_tokens=9, top_p=0.5, seed=7
    )
    request = (await upstream.next_exchange()).request
    parts = [{"text": "What?"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]
    assert request.json == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": parts}],
        "generationConfig": {
            "maxOutputTokens": 9,
            "temperature": 1.5,
            "topP": 0.5,
            "stopSequences": ["END"],
            "seed": 7,
        },
    }
    assert request.target == "/v1beta/models/mock:streamGenerateContent?alt=sse"
    assert request.headers["x-goog-api-key"] == "sk-upstream"


@EITHER
async def test_what_the_provider_cannot_be_asked(chat: openai.AsyncOpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError, match="parallel_tool_calls") as caught:
        await chat.chat.completions.create(
            model="mock", messages=MESSAGES, tools=TOOLS, parallel_tool_calls=False, stream=stream
        )
    assert caught.value.code == "untranslatable_field"


@EITHER
@pytest.mark.parametrize(
    ("refusal", "kind", "code"),
    [
        (UNAUTHORIZED, openai.AuthenticationError, "unauthenticated"),
        (RATE_LIMITED, openai.RateLimitError, "resource_exhausted"),
        (BROKEN, openai.InternalServerError, "internal"),
    ],
    ids=["401", "429", "500"],
)
async def test_upstream_refuses(
    upstream: VendorServer, chat: openai.AsyncOpenAI, refusal: Refusal, kind: Any, code: str, stream: bool
) -> None:
    upstream.scripts["m"] = Script(refusal=refusal)
    with pytest.raises(kind) as caught:
        await chat.chat.completions.create(model="m", messages=MESSAGES, stream=stream)
    assert refusal.message in caught.value.message
    assert caught.value.code == code
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


async def test_a_model_name_cannot_lead_elsewhere(upstream: VendorServer, chat: openai.AsyncOpenAI) -> None:
    name = "../../files?x=1#é"
    upstream.scripts[name] = script = Script()
    assert text_of(await chunks_of(chat, model=name)) == script.text
    assert upstream.exchanges[0].request.target == (
        "/v1beta/models/..%2F..%2Ffiles%3Fx%3D1%23%C3%A9:streamGenerateContent?alt=sse"
    )
