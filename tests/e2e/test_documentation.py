"""The examples in docs/dialects.md do what they say."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import trio

from tests.doubles.served_gateway import ServedGateway

DOCUMENT = Path(__file__).parents[2] / "docs" / "dialects.md"
WRITTEN = "http://127.0.0.1:8080"
EXAMPLES = re.findall(r"\n## ([^\n]+)\n\n```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def test_every_dialect_has_one() -> None:
    assert [name for name, _ in EXAMPLES] == ["OpenAI chat completions", "OpenAI Responses", "Anthropic", "Gemini"]


@pytest.mark.parametrize("code", [code for _, code in EXAMPLES], ids=[name for name, _ in EXAMPLES])
async def test_the_demo_answers(gateway: ServedGateway, code: str) -> None:
    assert WRITTEN in code
    done = await trio.run_process(
        [sys.executable, "-c", code.replace(WRITTEN, gateway.base_url)], capture_stdout=True, capture_stderr=True
    )
    assert done.stdout.startswith(b"Hello! I am the demo model of Stream Gateway, and these words are coming to you")
