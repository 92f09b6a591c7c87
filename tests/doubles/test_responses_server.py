"""The double has to be right before anything is judged by it: here the OpenAI SDK talks to it directly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import trio

from tests.doubles.faults import Ending
from tests.doubles.openai_script import RATE_LIMITED, Script, ToolCall, words
from tests.doubles.responses_server import ResponsesServer
from tests.doubles.sdk import client, unfinished_generators

pytestmark = unfinished_generators

CALLS = (
    ToolCall(id="call_1", name="weather", fragments=('{"city"', ': "Oslo"', "}")),
    ToolCall(id="call_2", name="time", fragments=('{"zone":', ' "CET"}')),
)
SCRIPTS = {
    "text": Script(deltas=words(20), reasoning=("let me ", "think")),
    "calls": Script(tool_calls=CALLS),
    "interleaved": Script(tool_calls=CALLS, interleave=True),
    "refusal": Script(deltas=("No", "."), declines=True),
}


@pytest.fixture
async def server(nursery: trio.Nursery) -> ResponsesServer:
    server = ResponsesServer()
    await nursery.start(server.run)
    server.scripts |= SCRIPTS
    return server


@pytest.fixture
async def sdk(server: ResponsesServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client(server.base_url) as opened:
        yield opened


@pytest.mark.parametrize("name", SCRIPTS)
async def test_streamed_and_whole_are_the_same(sdk: openai.AsyncOpenAI, name: str) -> None:
    async with sdk.responses.stream(model=name, input="hello") as stream:
        numbers = [event.sequence_number async for event in stream]
        final = await stream.get_final_response()
    assert numbers == list(range(len(numbers)))
    whole = await sdk.responses.create(model=name, input="hello")
    assert [item.to_dict(exclude_none=True) for item in whole.output] == [
        _without_parsed(item.to_dict(exclude_none=True)) for item in final.output
    ]
    assert whole.usage == final.usage


def _without_parsed(item: dict[str, Any]) -> dict[str, Any]:
    """The SDK adds what it has parsed."""
    return {name: value for name, value in item.items() if name != "parsed_arguments"}


async def test_errors(server: ResponsesServer, sdk: openai.AsyncOpenAI) -> None:
    server.scripts |= {"refused": Script(refusal=RATE_LIMITED), "broken": Script(ending=Ending.ERROR)}
    with pytest.raises(openai.RateLimitError):
        await sdk.responses.create(model="refused", input="hello")
    broken: Any = await sdk.responses.create(model="broken", input="hello", stream=True)
    with pytest.raises(openai.APIError, match="went away"):
        [event async for event in broken]
