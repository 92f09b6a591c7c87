"""What stands in the pages about the JavaScript client runs as it stands there."""

from __future__ import annotations

import re

import pytest
import trio

from stream_gateway.server.pages import FOLDER
from tests.doubles.js import npm
from tests.doubles.served_gateway import ServedGateway

pytestmark = pytest.mark.deadline(60)

WRITTEN = "http://127.0.0.1:8080"
PAGES = {page.name: page for page in (npm.FOLDER.parents[1] / "docs" / "javascript.md", npm.FOLDER / "README.md")}
EXAMPLES = [
    pytest.param(code, id=f"{name}-{number}")
    for name, page in PAGES.items()
    for number, code in enumerate(re.findall(r"```js\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
]
GREETING = b"Hello! I am the demo model of Stream Gateway"


@pytest.mark.parametrize("code", EXAMPLES)
async def test_it_greets(gateway: ServedGateway, code: str) -> None:
    # A page's script, here in Node: its gateway, its address, and a document that prints.
    code = code.replace(WRITTEN, gateway.base_url).replace("/demo/stream-gateway.js", str(FOLDER / "stream-gateway.js"))
    page = f"""globalThis.location = {{ href: "{gateway.base_url}/" }};
        globalThis.document = {{ body: {{ append: (text) => process.stdout.write(text) }} }};"""
    ours = code.replace('"stream-gateway"', f'"{npm.FOLDER / "dist" / "index.js"}"')
    done = await trio.run_process(
        ["node", "--input-type=module", "--eval", ours if "document" not in ours else page + ours],
        cwd=npm.FOLDER,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(GREETING)
