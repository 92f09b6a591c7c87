"""The playground in Chromium: an answer over every transport, cut and resumed, nothing lost and nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_gateway.guard.keys import changing, new_key
from stream_protocols.events import TextDelta
from tests.chaos.storm import answer_to
from tests.doubles.chaos_proxy import ChaosProxy, Fault
from tests.doubles.devtools import Page
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until
from tests.e2e.console.conftest import Watch

pytestmark = pytest.mark.deadline(60)

PROMPT = "Does it hold?"
LONG = "demo-n60-gap50"
SAID = "document.getElementById('text').textContent"
CHECK = "document.getElementById('fact-check').textContent"
NOTE = "document.getElementById('note').textContent"


def answer(model: str) -> str:
    """The text of the answer."""
    request = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
    return "".join(event.text for event in answer_to(request) if isinstance(event, TextDelta))


def shown(name: str) -> str:
    return f"document.getElementById('{name}').textContent"


async def press(tab: Page, name: str) -> None:
    await tab.until(f"!document.getElementById('{name}').disabled")
    await tab.run(f"document.getElementById('{name}').click()")


async def choose(tab: Page, **values: str) -> None:
    for name, value in values.items():
        await tab.run(f"document.getElementById('{name}').value = '{value}'")


async def ask(tab: Page, control: str, model: str = LONG, transport: str = "websocket", chunking: str = "") -> None:
    await tab.go(f"{control}/console/playground")
    await choose(tab, prompt=PROMPT, model=model, transport=transport, chunking=chunking)
    await press(tab, "send")
    await tab.until(f"{SAID}.length > 20")


async def whole(tab: Page, model: str = LONG) -> None:
    """Wait for the end of the answer, which has to be all of it, and nothing twice."""
    text = answer(model)
    await tab.until(f"{CHECK}.includes('lost')")
    assert await tab.run(CHECK) == f"✓ lost 0 · twice 0 of {len(text)} characters"
    assert await tab.run(SAID) == text
    assert await tab.run(NOTE) == "The answer is whole."


@pytest.mark.parametrize(
    ("transport", "name"), [("websocket", "WebSocket"), ("sse", "SSE"), ("ndjson", "NDJSON"), ("poll", "long polls")]
)
async def test_cut_and_resumed(tab: Page, control: str, transport: str, name: str) -> None:
    await ask(tab, control, transport=transport)
    await press(tab, "cut")
    said = await tab.run(SAID)
    assert "goes on for 60 s" in await tab.run(NOTE) or await tab.until(f"{NOTE}.includes('goes on for 60 s')")
    assert await tab.run(SAID) == said
    await press(tab, "resume")
    await whole(tab)
    assert await tab.run(shown("fact-transport")) == name
    assert await tab.run(shown("fact-connections")) == "2"
    assert tab.complaints == []


async def test_resumed_over_another_transport(tab: Page, control: str) -> None:
    await ask(tab, control)
    for number, transport in enumerate(("sse", "poll", "ndjson", "websocket"), 2):
        await press(tab, "cut")
        await choose(tab, transport=transport)
        await press(tab, "resume")
        await tab.until(f"{shown('fact-connections')} === '{number}'")
    await whole(tab)
    assert await tab.run(shown("fact-transport")) == "WebSocket"


async def test_a_connection_that_is_lost_comes_back_by_itself(tab: Page, control: str, proxy: ChaosProxy) -> None:
    await ask(tab, control)
    proxy.strike(Fault.CUT)
    await whole(tab)
    assert await tab.run(shown("fact-connections")) == "2"


async def test_chunking_and_its_time_line(tab: Page, control: str) -> None:
    await ask(tab, control, chunking="sentences")
    await whole(tab)
    chunks = int((await tab.run(shown("fact-chunks"))).split()[0])
    assert 1 < chunks < 20
    await tab.run("document.getElementById('table').open = true")
    await tab.until(f"document.querySelectorAll('#chunks tr').length === {chunks}")
    assert await tab.run("document.querySelector('#chunks tr').cells[0].textContent") == str(chunks)
    drawn = "document.getElementById('line')"
    assert await tab.run(f"{drawn}.width >= {drawn}.clientWidth && {drawn}.ariaLabel.includes('{chunks} chunks')")


async def test_stop_ends_it_at_its_provider(tab: Page, control: str, gateway: ServedGateway) -> None:
    await ask(tab, control, "demo-n3000-gap20")
    await press(tab, "stop")
    await tab.until(f"{NOTE} === 'It was ended (client).'")
    await until(lambda: gateway.now.running == 0)


async def test_a_failure_is_told(tab: Page, control: str) -> None:
    await ask(tab, control, "demo-n60-gap10-fail30")
    await tab.until(f"{NOTE}.startsWith('It failed')")
    await tab.until(f"{CHECK}.includes('lost 0')")


async def test_a_model_that_there_is_not(tab: Page, control: str) -> None:
    await tab.go(f"{control}/console/playground")
    await choose(tab, model="demo-nonsense", chunking="nonsense")
    await press(tab, "send")
    await tab.until(f"{NOTE}.includes('nonsense') && document.getElementById('stop').disabled")


async def test_models_are_offered(tab: Page, control: str) -> None:
    await tab.go(f"{control}/console/playground")
    await tab.until("[...document.querySelectorAll('#models option')].some(({ value }) => value === 'renamed')")
    assert await tab.run("[...document.querySelectorAll('#models option')].every(({ value }) => !value.includes('*'))")


async def test_a_gateway_that_wants_a_key(tab: Page, serve: Serve, watch: Watch, tmp_path: Path) -> None:
    key, entry = new_key("playground")
    with changing(tmp_path / "keys.json") as keys:
        keys.append(entry)
    gateway = await serve(guard={"keys_file": str(tmp_path / "keys.json")})
    control = await watch(gateway, gateway.base_url)
    await tab.go(f"{control}/console/playground")
    await tab.until("document.activeElement.id === 'key'")
    await tab.send("Input.insertText", text=key)
    await tab.run("document.getElementById('key').blur()")
    await tab.until(f"{shown('key-note')} === ''")
    await ask(tab, control)
    await whole(tab)
    assert await tab.run("localStorage.length") == 0
    assert key not in await tab.run("location.href")
