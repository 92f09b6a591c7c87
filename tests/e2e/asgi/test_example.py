"""examples/fastapi_mount.py, as anybody starts it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import trio

from tests.doubles.gateway_client import GatewayClient, chat_body, openai_text

EXAMPLE = Path(__file__).parents[3] / "examples" / "fastapi_mount.py"


async def test_the_example(nursery: trio.Nursery) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLE), "127.0.0.1:0"]
    process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        said = b""
        while (match := re.search(rb"http://127\.0\.0\.1:(\d+)", said)) is None:
            data = await process.stderr.receive_some()
            assert data, said.decode()
            said += data
        async with GatewayClient("127.0.0.1", int(match[1])) as client:
            asked = await client.get("/ask?prompt=Hi")
            events = await asked.events().rest()
            assert openai_text(events).startswith("Hello! I am the demo model")
            assert events[-1].data == "[DONE]"
            response = await client.request(
                "POST", "/ai/v1/chat/completions", payload=chat_body("demo-n3-gap0", stream=False)
            )
            assert response.status == 200
            seen = events[5].id
            assert seen is not None
            again = await client.get(f"/ai/v1/streams/{seen.split('.')[0]}/events?dialect=openai_chat&after={seen}")
            rest = await again.events().rest()
            assert openai_text(events[:6]) + openai_text(rest) == openai_text(events)
    finally:
        process.terminate()
        await process.wait()
        if process.stderr is not None:
            await process.stderr.aclose()
