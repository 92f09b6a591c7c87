"""The double has to be right before anything is judged by it: here the OpenAI SDK talks to it directly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import trio
import trio.testing

from tests.doubles.faults import Ending
from tests.doubles.gate import Gate
from tests.doubles.http_reader import Truncated
from tests.doubles.openai_script import BROKEN, RATE_LIMITED, Extras, Refusal, Script, ToolCall, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.raw_client import Connection
from tests.doubles.sdk import MESSAGES, chunks_of, client, text_of, unfinished_generators

pytestmark = unfinished_generators

CALLS = (
    ToolCall(id="call_1", name="weather", fragments=('{"city"', ': "Oslo"', "}")),
    ToolCall(id="call_2", name="time", fragments=('{"zone":', ' "CET"}')),
)


@pytest.fixture
async def sdk(upstream: OpenAIServer) -> AsyncIterator[openai.AsyncOpenAI]:
    upstream.key = None
    async with client(upstream.base_url) as opened:
        yield opened


@pytest.fixture
async def connection(upstream: OpenAIServer) -> AsyncIterator[Connection]:
    upstream.key = None
    async with await Connection.open("127.0.0.1", upstream.port) as opened:
        yield opened


async def test_streams_text_role_finish_and_usage(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(20))
    chunks = await chunks_of(sdk, model="m", stream_options={"include_usage": True})
    assert text_of(chunks) == script.text
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 20


async def test_answers_whole_with_the_same_text(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(20))
    with trio.fail_after(10):
        reply = await sdk.chat.completions.create(model="m", messages=MESSAGES)
    assert reply.choices[0].message.content == script.text
    assert (await upstream.next_exchange()).request.json["messages"] == MESSAGES


async def test_keeps_choices_apart(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = Script(deltas=("a", "b"))
    chunks = await chunks_of(sdk, model="m", n=3)
    assert [text_of(chunks, index) for index in range(3)] == ["ab", "1:a1:b", "2:a2:b"]


@pytest.mark.parametrize("interleave", [False, True])
async def test_streams_parallel_tool_calls(upstream: OpenAIServer, sdk: openai.AsyncOpenAI, interleave: bool) -> None:
    upstream.scripts["m"] = Script(tool_calls=CALLS, interleave=interleave)
    chunks = await chunks_of(sdk, model="m")
    parts = [part for c in chunks for choice in c.choices for part in choice.delta.tool_calls or []]
    for index, call in enumerate(CALLS):
        own = [part for part in parts if part.index == index]
        assert (own[0].id, own[0].function.name) == (call.id, call.name)
        assert "".join(part.function.arguments for part in own) == call.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_adds_vendor_fields_at_every_level(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    extras = Extras(top={"x_top": 1}, choice={"x_choice": 2}, delta={"x_delta": 3}, prelude={"x_prelude": 4})
    upstream.scripts["m"] = Script(extras=extras, reasoning=("hm",), logprobs=True)
    chunks = await chunks_of(sdk, model="m")
    assert chunks[0].x_prelude == 4
    assert all(chunk.x_top == 1 for chunk in chunks)
    assert chunks[1].choices[0].x_choice == 2
    assert chunks[1].choices[0].delta.x_delta == 3
    assert chunks[2].choices[0].delta.reasoning_content == "hm"
    assert chunks[3].choices[0].logprobs.content[0].token == "w0 "


@pytest.mark.parametrize("refusal", [RATE_LIMITED, BROKEN], ids=["429", "500"])
async def test_refuses(upstream: OpenAIServer, sdk: openai.AsyncOpenAI, refusal: Refusal) -> None:
    upstream.scripts["m"] = Script(refusal=refusal)
    with trio.fail_after(10), pytest.raises(openai.APIStatusError) as caught:
        await sdk.chat.completions.create(model="m", messages=MESSAGES)
    assert caught.value.status_code == refusal.status
    assert caught.value.code == refusal.code
    assert caught.value.response.headers.get("retry-after") == refusal.headers.get("Retry-After")


async def test_knows_its_key_and_its_models(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    with trio.fail_after(10), pytest.raises(openai.NotFoundError):
        await sdk.chat.completions.create(model="nobody", messages=MESSAGES)
    upstream.key = "another"
    with trio.fail_after(10), pytest.raises(openai.AuthenticationError):
        await sdk.chat.completions.create(model="mock", messages=MESSAGES)


@pytest.mark.parametrize("ending", [Ending.RESET, Ending.CLOSE])
async def test_dies_after_its_deltas(upstream: OpenAIServer, connection: Connection, ending: Ending) -> None:
    upstream.scripts["m"] = Script(deltas=words(3), ending=ending, gate=(gate := Gate()))
    gate.release(3)
    with trio.fail_after(10):
        response = await connection.request("POST", "/v1/chat/completions", payload={"model": "m", "stream": True})
        events = response.events()
        seen = await events.take(4)
        gate.release()
        with pytest.raises(Truncated):
            await events.next()
    assert seen[-1].json["choices"][0]["delta"]["content"] == "w2 "


async def test_errors_in_mid_stream(upstream: OpenAIServer, sdk: openai.AsyncOpenAI) -> None:
    upstream.scripts["m"] = Script(ending=Ending.ERROR)
    with pytest.raises(openai.APIError, match="went away"):
        await chunks_of(sdk, model="m")


@pytest.mark.parametrize("faults", [{"split": 1}, {"split": 7}, {"gzip": True}, {"until_close": True}])
async def test_same_text_however_it_is_framed(
    upstream: OpenAIServer, sdk: openai.AsyncOpenAI, faults: dict[str, Any]
) -> None:
    upstream.scripts["m"] = script = Script(deltas=("für ", "日本 ", "🎉 "), **faults)
    assert text_of(await chunks_of(sdk, model="m")) == script.text


async def test_steps_and_notices_who_leaves(upstream: OpenAIServer, connection: Connection) -> None:
    upstream.scripts["m"] = Script(deltas=words(9), gate=(gate := Gate()))
    with trio.fail_after(10):
        payload = {"model": "m", "stream": True}
        events = (await connection.request("POST", "/v1/chat/completions", payload=payload)).events()
        exchange = await upstream.next_exchange()
        gate.release(2)
        assert len(await events.take(3)) == 3
        await trio.testing.wait_all_tasks_blocked()
        assert exchange.steps_sent == 2
        assert not exchange.left.is_set()
        await connection.reset()
        await exchange.left.wait()
        assert not exchange.finished.is_set()


async def test_serves_pipelined_requests_in_order(upstream: OpenAIServer, connection: Connection) -> None:
    for count in (2, 3):
        upstream.scripts[f"m{count}"] = Script(deltas=words(count))
    sent = [
        connection.render("POST", "/v1/chat/completions", payload={"model": model, "stream": True})
        for model in ("m2", "m3")
    ]
    with trio.fail_after(10):
        await connection.send(b"".join(sent))
        counts = [len(await (await connection.response()).events().rest()) for _ in sent]
    assert counts == [2 + 3, 3 + 3]
