"""The double has to be right before anything is judged by it: here Google's SDK talks to it directly."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from google import genai

from tests.doubles.faults import Ending
from tests.doubles.gemini_frames import RESPONSE_ID, SIGNATURE
from tests.doubles.gemini_sdk import HELLO, MESSAGES, ask, client, in_thread
from tests.doubles.gemini_server import COUNTED, GeminiServer
from tests.doubles.openai_script import BROKEN, RATE_LIMITED, UNAUTHORIZED, Refusal, Script, ToolCall, words

EITHER = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture
async def upstream(nursery: trio.Nursery) -> GeminiServer:
    server = GeminiServer(key="sk-test")
    await nursery.start(server.run)
    return server


@pytest.fixture
def sdk(upstream: GeminiServer) -> Iterator[genai.Client]:
    opened = client(upstream.base_url.removesuffix("/v1beta"))
    yield opened
    opened.close()


@EITHER
async def test_answers(upstream: GeminiServer, sdk: genai.Client, stream: bool) -> None:
    upstream.scripts["m"] = script = Script(deltas=words(20), reasoning=("hm", "m"))
    told = await ask(sdk, model="m", stream=stream)
    assert (told.thoughts, told.text(), told.reason()) == ("hmm", script.text, "STOP")
    assert (told.usage.candidates_token_count, told.usage.thoughts_token_count) == (20, 2)
    assert told.parts()[0].thought_signature == base64.b64decode(SIGNATURE)
    assert {chunk.response_id for chunk in told.chunks} == {RESPONSE_ID}
    assert (await upstream.next_exchange()).request.json["contents"] == MESSAGES


@EITHER
async def test_calls_tools(upstream: GeminiServer, sdk: genai.Client, stream: bool) -> None:
    calls = (
        ToolCall(id="c1", name="weather", fragments=('{"city"', ':"Oslo"}')),
        ToolCall(id="", name="time", fragments=()),
    )
    upstream.scripts["m"] = Script(tool_calls=calls)
    told = await ask(sdk, model="m", stream=stream)
    assert [(call.id, call.name, call.args) for call in told.calls] == [
        ("c1", "weather", {"city": "Oslo"}),
        (None, "time", {}),
    ]


@pytest.mark.parametrize(
    ("refusal", "name"),
    [(UNAUTHORIZED, "UNAUTHENTICATED"), (RATE_LIMITED, "RESOURCE_EXHAUSTED"), (BROKEN, "INTERNAL")],
)
async def test_refuses(upstream: GeminiServer, sdk: genai.Client, refusal: Refusal, name: str) -> None:
    upstream.scripts["m"] = Script(refusal=refusal)
    with pytest.raises(genai.errors.APIError) as caught:
        await ask(sdk, model="m", stream=True)
    assert (caught.value.code, caught.value.status, caught.value.message) == (refusal.status, name, refusal.message)


async def test_knows_its_key_and_its_models(upstream: GeminiServer, sdk: genai.Client) -> None:
    with pytest.raises(genai.errors.ClientError, match="nobody"):
        await ask(sdk, model="nobody", stream=False)
    upstream.key = "another"
    with pytest.raises(genai.errors.ClientError, match="API key"):
        await ask(sdk, model="mock", stream=False)


async def test_counts(sdk: genai.Client) -> None:
    counted = await in_thread(lambda: sdk.models.count_tokens(model="mock", contents=HELLO))
    assert counted.total_tokens == COUNTED


async def test_errors_in_mid_stream(upstream: GeminiServer, sdk: genai.Client) -> None:
    upstream.scripts["m"] = Script(ending=Ending.ERROR)
    with pytest.raises(genai.errors.ServerError, match="went away"):
        await ask(sdk, model="m", stream=True)


@pytest.mark.parametrize("faults", [{"split": 1}, {"gzip": True}, {"until_close": True}])
async def test_same_text_however_it_is_framed(
    upstream: GeminiServer, sdk: genai.Client, faults: dict[str, Any]
) -> None:
    upstream.scripts["m"] = script = Script(deltas=("für ", "日本 ", "🎉 "), **faults)
    assert (await ask(sdk, model="m", stream=True)).text() == script.text
