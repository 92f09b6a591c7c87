"""The demo page in Chromium: text comes, whatever happens to its connections, its network and itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stream_gateway.guard.keys import changing, new_key
from stream_protocols.events import TextDelta
from tests.chaos.storm import answer_to
from tests.doubles.chaos_proxy import ChaosProxy, Fault
from tests.doubles.devtools import Page
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until

pytestmark = pytest.mark.deadline(60)  # a browser has to start, on a machine that may be busy

QUESTION = "Does it hold?"
LONG = "demo-n60-gap50"
SAID = "document.querySelector('.assistant .said')?.textContent"
STATUS = "document.getElementById('status').textContent.trim()"


def answer(model: str) -> str:
    """The text of the answer."""
    request = {"model": model, "messages": [{"role": "user", "content": QUESTION}]}
    return "".join(event.text for event in answer_to(request) if isinstance(event, TextDelta))


async def ask(tab: Page, url: str, model: str = LONG) -> None:
    """Open the page, and ask a model by the page's own controls."""
    await tab.go(f"{url}/demo")
    await tab.until("document.getElementById('model').length >= 3")
    await tab.run(f"""(() => {{
      const model = document.getElementById("model");
      model.add(new Option("test", "{model}"));
      model.value = "{model}";
      model.dispatchEvent(new Event("change"));
      document.getElementById("text").focus();
    }})()""")
    await tab.send("Input.insertText", text=QUESTION)
    enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
    await tab.send("Input.dispatchKeyEvent", type="keyDown", text="\r", **enter)
    await tab.until(f"{SAID}?.length > 40")


async def whole(tab: Page, model: str = LONG) -> None:
    """Wait for the end of the answer, which has to be all of it, and nothing twice."""
    await tab.until("document.querySelector('.assistant')?.ariaBusy === 'false'")
    assert await tab.run(SAID) == answer(model)
    assert await tab.run("document.querySelectorAll('.user, .assistant').length") == 2
    assert await tab.run("document.querySelectorAll('.note').length") == 0


async def test_text_appears_as_it_comes(tab: Page, gateway: ServedGateway) -> None:
    await ask(tab, gateway.base_url)
    assert len(await tab.run(SAID)) < len(answer(LONG))
    assert await tab.run(STATUS) == "WebSocket"
    await whole(tab)
    assert tab.complaints == []
    assert await tab.run("sessionStorage.getItem('stream-gateway:demo')") is None


async def test_the_network_goes_and_comes_back(tab: Page, gateway: ServedGateway) -> None:
    await ask(tab, gateway.base_url)
    await tab.network(offline=True)
    await tab.until(f"{STATUS}.startsWith('Reconnecting')")
    await tab.network(offline=False)
    await tab.until(f"{STATUS}.endsWith(', resumed')")
    await whole(tab)


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.HALF_CLOSE])
async def test_the_connection_is_lost(tab: Page, proxy: ChaosProxy, fault: Fault) -> None:
    await ask(tab, proxy.url)
    proxy.strike(fault)
    await tab.until(f"{STATUS} === 'WebSocket, resumed'")
    await whole(tab)


async def test_a_reload_in_the_middle(tab: Page, gateway: ServedGateway) -> None:
    await ask(tab, gateway.base_url)
    await tab.reload()
    await tab.until(f"{STATUS} === 'WebSocket, resumed'")
    await whole(tab)
    assert gateway.now.streams == 1
    await tab.reload()
    assert await tab.run("[...document.querySelectorAll('.said')].map((said) => said.textContent)") == [
        QUESTION,
        answer(LONG),
    ]


async def test_without_websockets_it_is_server_sent_events(tab: Page, proxy: ChaosProxy) -> None:
    proxy.no_upgrades = True
    await ask(tab, proxy.url)
    assert await tab.run(STATUS) == "Server-sent events"
    await whole(tab)


async def test_stop(tab: Page, gateway: ServedGateway) -> None:
    await ask(tab, gateway.base_url, "demo-n1000-gap50")
    await tab.send("Input.dispatchKeyEvent", type="keyDown", key="Escape", code="Escape")
    await tab.until("document.querySelector('.note')?.textContent === 'Stopped.'")
    await until(lambda: gateway.now.running == 0)
    assert await tab.run("document.activeElement.id") == "text"


async def test_a_new_chat_ends_the_old_one(tab: Page, gateway: ServedGateway) -> None:
    await ask(tab, gateway.base_url, "demo-n1000-gap50")
    await tab.run("document.getElementById('clear').click()")
    await until(lambda: gateway.now.running == 0)
    await tab.reload()
    assert await tab.run("document.querySelectorAll('.said').length") == 0
    assert await tab.run("document.getElementById('welcome').checkVisibility()")


async def test_a_gateway_that_wants_a_token(tab: Page, serve: Serve, tmp_path: Path) -> None:
    key, entry = new_key("page")
    with changing(tmp_path / "keys.json") as keys:
        keys.append(entry)
    gateway = await serve(guard={"keys_file": str(tmp_path / "keys.json")})
    await tab.go(f"{gateway.base_url}/demo")
    await tab.until("document.activeElement.id === 'token'")
    await tab.send("Input.insertText", text=key)
    await tab.run("document.getElementById('token').blur()")
    await tab.reload()
    await ask(tab, gateway.base_url)
    await whole(tab)


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("dark", [False, True])
async def test_it_fits_and_can_be_read(tab: Page, gateway: ServedGateway, width: int, dark: bool) -> None:
    """No sideways scrolling on the smallest phones; text stands out by 4.5 to 1 (WCAG 1.4.3)."""
    await tab.look(width, 640, dark=dark)
    await ask(tab, gateway.base_url, "demo-n40")
    assert await tab.run("document.documentElement.scrollWidth <= innerWidth")
    contrasts = await tab.run(CONTRASTS)
    assert min(contrasts.values()) >= 4.5, contrasts


CONTRASTS = """(() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const luminance = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    context.fillStyle = getComputedStyle(probe).color;
    probe.remove();
    context.fillRect(0, 0, 1, 1);
    const [red, green, blue] = [...context.getImageData(0, 0, 1, 1).data]
      .map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const pairs = [["ink", "ground"], ["quiet", "ground"], ["quiet", "raised"], ["ink", "tint"], ["on-accent", "accent"],
    ["warn", "ground"], ["bad", "ground"]];
  return Object.fromEntries(pairs.map(([front, back]) => {
    const [light, dark] = [luminance(front), luminance(back)].sort((one, other) => other - one);
    return [`${front} on ${back}`, (light + 0.05) / (dark + 0.05)];
  }));
})()"""


async def test_a_browsers_own_event_source_recovers_by_itself(tab: Page, proxy: ChaosProxy) -> None:
    """No client of ours: `EventSource` repeats its URL with the last id it saw."""
    await tab.go(f"{proxy.url}/demo")
    request = json.dumps({"model": LONG, "lease": 30, "messages": [{"role": "user", "content": QUESTION}]})
    await tab.run(f"""(async () => {{
      const response = await fetch("/v1/streams", {{ method: "POST", body: {json.dumps(request)} }});
      const {{ links }} = await response.json();
      const source = new EventSource(links.events);
      window.seen = {{ text: "", ids: [], opened: 0, ended: false }};
      source.onopen = () => (seen.opened += 1);
      source.onmessage = ({{ data, lastEventId }}) => {{
        const event = JSON.parse(data);
        seen.ids.push(lastEventId);
        if (event.type === "text.delta") seen.text += event.text;
        if (event.type === "stream.finished") {{ seen.ended = true; source.close(); }}
      }};
    }})()""")
    await tab.until("seen.text.length > 40")
    proxy.strike(Fault.CUT)
    await tab.until("seen.ended")
    seen = await tab.run("seen")
    assert seen["text"] == answer(LONG)
    assert len(set(seen["ids"])) == len(seen["ids"])
    assert seen["opened"] == 2
