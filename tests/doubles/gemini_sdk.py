"""Google's official SDK as a client in tests. Its asynchronous half needs asyncio, so the other one runs in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import trio
from google import genai
from google.genai import types

T = TypeVar("T")

HELLO = "hello"
MESSAGES = [{"role": "user", "parts": [{"text": HELLO}]}]


def client(base_url: str) -> genai.Client:
    """An SDK that tries once only: what the gateway answers is what the test sees."""
    options = types.HttpOptions(base_url=base_url, retry_options=types.HttpRetryOptions(attempts=1), timeout=10_000)
    return genai.Client(api_key="sk-test", http_options=options)


async def in_thread(function: Callable[[], T]) -> T:
    """What a blocking call returns; when the test is over before, nobody waits for it."""
    with trio.fail_after(15):
        return await trio.to_thread.run_sync(function, abandon_on_cancel=True)


class Told:
    """What one answer said, streamed or not."""

    def __init__(self, chunks: list[Any]) -> None:
        self.chunks = chunks

    @property
    def usage(self) -> Any:
        """The last count."""
        return [chunk.usage_metadata for chunk in self.chunks if chunk.usage_metadata is not None][-1]

    def text(self, index: int = 0) -> str:
        """The text of one candidate."""
        return "".join(part.text for part in self.parts(index) if part.text and not part.thought)

    @property
    def thoughts(self) -> str:
        return "".join(part.text for part in self.parts() if part.text and part.thought)

    @property
    def calls(self) -> list[Any]:
        return [part.function_call for part in self.parts() if part.function_call is not None]

    def reason(self, index: int = 0) -> str:
        """Why a candidate ended, which has to be said once."""
        (reason,) = [one.finish_reason for one in self._candidates(index) if one.finish_reason is not None]
        return str(reason.value)

    def parts(self, index: int = 0) -> list[Any]:
        """The parts of one candidate that say something."""
        contents = [one.content for one in self._candidates(index) if one.content is not None]
        return [part for content in contents for part in content.parts or [] if part.text != ""]

    def _candidates(self, index: int) -> Iterator[Any]:
        return (one for chunk in self.chunks for one in chunk.candidates or [] if (one.index or 0) == index)


async def ask(sdk: genai.Client, *, stream: bool, model: str, contents: Any = HELLO, **config: Any) -> Told:
    """An answer, streamed or whole."""
    fields: Any = {"model": model, "contents": contents, "config": config or None}
    if stream:
        return Told(await in_thread(lambda: list(sdk.models.generate_content_stream(**fields))))
    return Told([await in_thread(lambda: sdk.models.generate_content(**fields))])
