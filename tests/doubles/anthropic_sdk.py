"""The official Anthropic SDK as a client in tests."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
import trio

MESSAGES: Any = [{"role": "user", "content": "hello"}]

unfinished_generators = pytest.mark.filterwarnings(
    "ignore:Async generator '(anthropic|httpx2|httpcore2).*:ResourceWarning"
)
"""For modules that use the SDK: it stops at an error without closing its generators, which Trio reports."""


def client(base_url: str) -> anthropic.AsyncAnthropic:
    """An SDK that tries once only: what the gateway answers is what the test sees."""
    return anthropic.AsyncAnthropic(api_key="sk-test", base_url=base_url, max_retries=0)


async def ask(sdk: anthropic.AsyncAnthropic, *, stream: bool, **more: Any) -> Any:
    """A message, streamed and put together by the SDK, or whole."""
    fields: Any = {"messages": MESSAGES, "max_tokens": 1000, **more}
    with trio.fail_after(10):
        if not stream:
            return await sdk.messages.create(**fields)
        async with sdk.messages.stream(**fields) as streamed:
            return await streamed.get_final_message()


async def events_of(sdk: anthropic.AsyncAnthropic, **more: Any) -> list[Any]:
    """All events of one streamed message."""
    with trio.fail_after(10):
        streamed = await sdk.messages.create(**{"messages": MESSAGES, "max_tokens": 1000, "stream": True, **more})
        return [event async for event in streamed]


def text_of(events: list[Any]) -> str:
    """What the text deltas said, joined."""
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    return "".join(delta.text for delta in deltas if delta.type == "text_delta")
