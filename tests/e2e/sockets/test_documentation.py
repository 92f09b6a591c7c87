"""The examples of docs/websocket.md are run as they stand there, and have to keep what they promise."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import trio

from stream_protocols.closing import CLOSINGS, should_reconnect
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.sockets import browser
from tests.doubles.sockets.libraries import url
from tests.doubles.sockets.served import service_of
from tests.doubles.sockets.session_client import session, text
from tests.doubles.waiting import until

DOCUMENT = (Path(__file__).parents[3] / "docs" / "websocket.md").read_text()
WRITTEN = "ws://127.0.0.1:8080/v1/connect"
MODEL = "demo-n60-gap10"


def example(language: str, gateway: ServedGateway) -> str:
    """The example in a language, with this gateway's address and a model that takes its time."""
    (code,) = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert WRITTEN in code
    model = '"demo"'
    assert code.count(model) == 1
    return str(code).replace(WRITTEN, url(gateway)).replace(model, f'"{MODEL}"')


async def interrupt(gateway: ServedGateway) -> None:
    """Close the example's sockets in the ways that ask it to come back, each time it has come."""
    for code, reason in ((1012, "restarting; retry-after=0.01"), (4000, "too far behind"), (1013, "")):
        await until(lambda: gateway.now.subscriptions == 1, within=30)
        for socket in service_of(gateway).sockets:
            socket.close(code, reason)
        await until(lambda: gateway.now.sockets == 0)
    await until(lambda: gateway.now.subscriptions == 1, within=30)
    for socket in service_of(gateway).sockets:
        socket.abort("as a lost network would")


async def whole_text(gateway: ServedGateway) -> str:
    """The text of the one stream that there has been, which was asked for once in spite of it all."""
    assert gateway.now.streams == 1
    (stream,) = gateway.gateway._registry._streams
    client = await session(gateway)
    await client.subscribe(stream)
    return text(await client.rest(stream))


@pytest.mark.deadline(60)
async def test_the_python_example(gateway: ServedGateway, tmp_path: Path, nursery: trio.Nursery) -> None:
    script = tmp_path / "example.py"
    script.write_text(example("python", gateway))
    nursery.start_soon(interrupt, gateway)
    done = await trio.run_process([sys.executable, str(script)], capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == await whole_text(gateway)


@pytest.mark.deadline(60)
@pytest.mark.skipif(browser.chromium() is None, reason="needs Chromium")
async def test_the_browser_example(gateway: ServedGateway, nursery: trio.Nursery) -> None:
    code = example("js", gateway).replace(".then(console.log)", ".then(report, report)")
    page = f"""<!doctype html><head><meta charset="utf-8"><script type="module">
        const report = (end) => fetch("/result", {{ method: "POST", body: JSON.stringify(
            {{ text: document.body.textContent, end, error: String(end) }}) }});
        {code}
    </script></head><body></body>"""
    nursery.start_soon(interrupt, gateway)
    seen = await browser.run_page({}, page.encode())
    assert seen["end"] == {"type": "stream.finished", "reason": "stop"}, seen
    assert seen["text"] == await whole_text(gateway)


def test_the_codes_of_the_examples_are_those_of_the_table() -> None:
    """And of the text above them."""
    listed = {code for code in CLOSINGS if code < 4000 and should_reconnect(code)}
    text_ = ", ".join(str(code) for code in sorted(listed))
    assert DOCUMENT.count(text_) == 3


def test_every_command_is_there() -> None:
    for kind in ("stream.create", "stream.subscribe", "stream.unsubscribe", "stream.cancel", "ping"):
        assert f'{{"type":"{kind}"' in DOCUMENT
