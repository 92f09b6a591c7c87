"""The official OpenAI SDK as a client in tests."""

from __future__ import annotations

from typing import Any

import openai
import pytest
import trio

MESSAGES: Any = [{"role": "user", "content": "hello"}]

unfinished_generators = pytest.mark.filterwarnings(
    "ignore:Async generator '(openai|httpx2|httpcore2).*:ResourceWarning"
)
"""For modules that use the SDK: it stops at `[DONE]` without closing its generators, which Trio reports."""


def client(base_url: str) -> openai.AsyncOpenAI:
    """An SDK that tries once only: what the gateway answers is what the test sees."""
    return openai.AsyncOpenAI(api_key="sk-test", base_url=base_url, max_retries=0)


async def chunks_of(sdk: openai.AsyncOpenAI, **more: Any) -> list[Any]:
    """All chunks of one streamed completion."""
    with trio.fail_after(10):
        stream = await sdk.chat.completions.create(**{"messages": MESSAGES, "stream": True, **more})
        return [chunk async for chunk in stream]


def text_of(chunks: list[Any], index: int = 0) -> str:
    """What choice `index` said, joined."""
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return "".join(choice.delta.content or "" for choice in choices if choice.index == index)
