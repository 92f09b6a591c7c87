"""The first thing that anybody will try, verbatim."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import anyio
import openai.types.chat
import pytest

from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.e2e.embedded.conftest import World

ROOT = Path(__file__).parents[3]
SNIPPET = """
from stream_gateway import StreamingGateway
gateway = StreamingGateway(provider="openai", stream_mode="sse", chunk_size=128, compression="brotli")
async def stream_response(prompt, client):
    async for chunk in gateway.stream(model="gpt-4", messages=[{"role": "user", "content": prompt}], temperature=0.7):
        await client.send(f"data: {chunk.to_json()}\\n\\n")
    await client.send("data: [DONE]\\n\\n")
"""


class Client:
    """What the snippet sends to."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, text: str) -> None:
        self.sent.append(text)


def snippet() -> Any:
    """The snippet's function."""
    names: dict[str, Any] = {}
    exec(textwrap.dedent(SNIPPET), names)
    return names["stream_response"]


async def test_the_snippet(world: World, upstream: OpenAIServer) -> None:
    upstream.scripts["gpt-4"] = script = Script(deltas=words(100))
    stream_response = snippet()
    client = Client()

    async def application() -> None:
        await stream_response("Hello", client)
        assert world.tasks() == []

    await world.run(application)
    assert client.sent[-1] == "data: [DONE]\n\n"
    assert all(sent.startswith("data: {") and sent.endswith("}\n\n") for sent in client.sent[:-1])
    chunks = [
        openai.types.chat.ChatCompletionChunk.model_validate_json(sent.removeprefix("data: "))
        for sent in client.sent[:-1]
    ]
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == script.text
    assert {len(text) for text in texts if text} <= {*range(1, 129)}
    assert max(map(len, texts)) == 128
    assert chunks[-1].choices[0].finish_reason == "stop"
    asked = upstream.exchanges[0].request.json
    assert (asked["model"], asked["temperature"], asked["stream"]) == ("gpt-4", 0.7, True)
    assert asked["messages"] == [{"role": "user", "content": "Hello"}]


async def test_many_at_once(world: World, upstream: OpenAIServer) -> None:
    upstream.scripts["gpt-4"] = script = Script(deltas=words(50))
    stream_response = snippet()
    clients = [Client() for _ in range(20)]

    async def application() -> None:
        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(stream_response, "Hello", client)

    await world.run(application)
    for client in clients:
        assert client.sent[-1] == "data: [DONE]\n\n"
        assert "".join(client.sent).count("w") >= len(script.deltas)


@pytest.mark.parametrize("times", [3])
async def test_again_and_again_in_new_loops(world: World, upstream: OpenAIServer, times: int) -> None:
    """A gateway at the top of a module outlives the loops in which it is used."""
    upstream.scripts["gpt-4"] = Script()
    stream_response = snippet()
    for _ in range(times):
        client = Client()
        await world.run(stream_response, "Hello", client)
        assert client.sent[-1] == "data: [DONE]\n\n"


def test_the_documentation_has_it() -> None:
    lines = [line for line in SNIPPET.splitlines() if line]
    text = (ROOT / "docs" / "embedding.md").read_text()
    assert [line for line in lines if line not in text] == []


async def test_the_readme(world: World, upstream: OpenAIServer, capsys: pytest.CaptureFixture[str]) -> None:
    upstream.scripts["gpt-4"] = script = Script()
    text = (ROOT / "README.md").read_text()
    names: dict[str, Any] = {}
    start = text.index("    from stream_gateway import StreamingGateway")
    exec(textwrap.dedent(text[start : text.index("\nOr all of it", start)]), names)
    await world.run(names["answer"], "Hello")
    assert capsys.readouterr().out == script.text
