"""The double has to be right before anything is judged by it: here Anthropic's SDK talks to it directly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
import trio

from tests.doubles.anthropic_events import SIGNATURE
from tests.doubles.anthropic_sdk import MESSAGES, ask, client, events_of, text_of, unfinished_generators
from tests.doubles.anthropic_server import COUNTED, AnthropicServer
from tests.doubles.faults import Ending
from tests.doubles.openai_script import BROKEN, RATE_LIMITED, UNAUTHORIZED, Refusal, Script, ToolCall, words

pytestmark = unfinished_generators

CALLS = (
    ToolCall(id="toolu_1", name="weather", fragments=('{"city"', ': "Oslo"', "}")),
    ToolCall(id="toolu_2", name="time", fragments=('{"zone":', ' "CET"}')),
)


@pytest.fixture
async def upstream(nursery: trio.Nursery) -> AnthropicServer:
    server = AnthropicServer(key="sk-test")
    await nursery.start(server.run)
    return server


@pytest.fixture
async def sdk(upstream: AnthropicServer) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with client(upstream.base_url.removesuffix("/v1")) as opened:
        yield opened.with_options(default_headers={"x-api-key": "sk-test"})


@pytest.mark.parametrize("stream", [True, False])
async def test_answers(upstream: AnthropicServer, sdk: anthropic.AsyncAnthropic, stream: bool) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(20), reasoning=("hm", "m"))
    message = await ask(sdk, model="m", stream=stream)
    thought, answer = message.content
    assert (thought.thinking, thought.signature, answer.text) == ("hmm", SIGNATURE, script.text)
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 22)
    assert (await upstream.next_exchange()).request.json["messages"] == MESSAGES


@pytest.mark.parametrize("stream", [True, False])
async def test_calls_tools(upstream: AnthropicServer, sdk: anthropic.AsyncAnthropic, stream: bool) -> None:
    upstream.scripts["m"] = Script(tool_calls=CALLS)
    message = await ask(sdk, model="m", stream=stream)
    assert [(call.id, call.input) for call in message.content] == [
        ("toolu_1", {"city": "Oslo"}),
        ("toolu_2", {"zone": "CET"}),
    ]
    assert message.stop_reason == "tool_use"


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (UNAUTHORIZED, anthropic.AuthenticationError),
        (RATE_LIMITED, anthropic.RateLimitError),
        (BROKEN, anthropic.InternalServerError),
    ],
)
async def test_refuses(upstream: AnthropicServer, sdk: anthropic.AsyncAnthropic, refusal: Refusal, kind: Any) -> None:
    upstream.scripts["m"] = Script(refusal=refusal)
    with pytest.raises(kind) as caught:
        await ask(sdk, model="m", stream=False)
    assert caught.value.api_message == refusal.message


async def test_knows_its_key_and_its_models(upstream: AnthropicServer, sdk: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        await ask(sdk, model="nobody", stream=False)
    upstream.key = "another"
    with pytest.raises(anthropic.AuthenticationError):
        await ask(sdk, model="mock", stream=False)


async def test_counts(sdk: anthropic.AsyncAnthropic) -> None:
    assert (await sdk.messages.count_tokens(model="mock", messages=MESSAGES)).input_tokens == COUNTED


async def test_errors_in_mid_stream(upstream: AnthropicServer, sdk: anthropic.AsyncAnthropic) -> None:
    upstream.scripts["m"] = Script(ending=Ending.ERROR)
    with pytest.raises(anthropic.APIStatusError, match="went away"):
        await events_of(sdk, model="m")


@pytest.mark.parametrize("faults", [{"split": 1}, {"gzip": True}, {"until_close": True}])
async def test_same_text_however_it_is_framed(
    upstream: AnthropicServer, sdk: anthropic.AsyncAnthropic, faults: dict[str, Any]
) -> None:
    upstream.scripts["m"] = script = Script(deltas=("für ", "日本 ", "🎉 "), **faults)
    assert text_of(await events_of(sdk, model="m")) == script.text
