"""The example in docs/dialects.md does what it says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import trio

from tests.doubles.served_gateway import ServedGateway

DOCUMENT = Path(__file__).parents[3] / "docs" / "dialects.md"
WRITTEN = "http://127.0.0.1:8080"


@pytest.mark.parametrize("dialect", ["anthropic"])
async def test_the_example(gateway: ServedGateway) -> None:
    section = DOCUMENT.read_text(encoding="utf-8").split("\n## Anthropic\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert WRITTEN in code
    done = await trio.run_process(
        [sys.executable, "-c", code.replace(WRITTEN, gateway.base_url)], capture_stdout=True, capture_stderr=True
    )
    assert done.stdout.startswith(b"Hello!")
