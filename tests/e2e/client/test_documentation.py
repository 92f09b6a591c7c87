"""The examples of docs/client.md and the README run as they stand there."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

import pytest
import trio

from tests.doubles.served_gateway import ServedGateway

ROOT = Path(__file__).parents[3]
URL = "http://127.0.0.1:8080"


@pytest.mark.parametrize("library", ["trio", "asyncio"])
async def test_the_first_example(gateway: ServedGateway, library: str) -> None:
    example = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text(), re.DOTALL)[0]
    assert URL in example
    script = example.replace(URL, gateway.base_url)
    if library == "asyncio":
        script = script.replace("import trio", "import asyncio").replace("trio.run(main)", "asyncio.run(main())")
    result = await trio.run_process([sys.executable, "-W", "error", "-c", script], capture_stdout=True)
    assert result.stdout.startswith(b"Hello! I am the demo model")


@pytest.mark.parametrize(
    "first", ["from openai import OpenAI", "import asyncio, json, websockets", "import asyncio  #"]
)
async def test_the_readme(gateway: ServedGateway, first: str) -> None:
    text = (ROOT / "README.md").read_text()
    example = re.match(r"(?:    .*\n|\n)+", text[text.index(f"    {first}") :])
    assert example is not None
    address = gateway.base_url.removeprefix("http:")
    script = textwrap.dedent(example[0]).replace(URL.removeprefix("http:"), address)
    assert address in script
    result = await trio.run_process([sys.executable, "-c", script], capture_stdout=True)
    assert result.stdout.startswith(b"Hello! I am the demo model")
