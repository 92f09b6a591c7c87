"""Both pages for everybody: axe finds nothing serious, nothing scrolls sideways, and keys alone are enough."""

from __future__ import annotations

import pytest

from tests.doubles.devtools import Page
from tests.doubles.js import npm
from tests.doubles.served_gateway import ServedGateway

pytestmark = pytest.mark.deadline(90)

AXE = npm.CONSOLE / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = """axe.run(document).then(({ violations }) => violations
  .filter(({ impact }) => impact === "serious" || impact === "critical")
  .map(({ id, nodes }) => [id, ...nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`)]))"""
WAYS = {
    "/console": "document.querySelectorAll('#streams tr, #errors tr').length >= 3",
    "/console/playground": "!document.getElementById('send').disabled",
}


async def opened(tab: Page, control: str, gateway: ServedGateway, path: str) -> None:
    """Open a page with something to show on it."""
    npm.installed(npm.CONSOLE)
    for _ in range(2):
        await gateway.create("demo-n3000-gap20", lease=60)
    await (await gateway.chat("demo-fail2")).read()
    await tab.go(f"{control}{path}")
    await tab.until(WAYS[path])
    await tab.run(AXE.read_text())


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
@pytest.mark.parametrize("path", WAYS)
async def test_axe_finds_nothing_serious(
    tab: Page, control: str, gateway: ServedGateway, path: str, width: int, dark: bool
) -> None:
    await tab.look(width, 900, dark=dark)
    await opened(tab, control, gateway, path)
    assert await tab.run(SERIOUS) == []
    assert await tab.run("document.documentElement.scrollWidth <= innerWidth")
    if path == "/console":
        await tab.run("document.querySelector('#streams .link').click()")
        await tab.until("document.getElementById('watch-text').textContent.length > 10")
    else:
        await tab.run("document.getElementById('send').click()")
        await tab.until("document.getElementById('fact-check').textContent.includes('lost')")
        await tab.run("document.getElementById('table').open = true")
    assert await tab.run(SERIOUS) == []
    assert await tab.run("document.documentElement.scrollWidth <= innerWidth")


async def test_watching_by_keys_alone(tab: Page, control: str, gateway: ServedGateway) -> None:
    await opened(tab, control, gateway, "/console")
    await tab.run("document.querySelector('#streams .link').focus()")
    await key(tab, "Enter", "\r")
    await tab.until("document.getElementById('watch').open")
    await key(tab, "Escape")
    await tab.until("!document.getElementById('watch').open")
    assert await tab.run("document.activeElement.classList.contains('link')")  # it is where it was


async def key(tab: Page, name: str, text: str = "") -> None:
    code = {"Enter": 13, "Escape": 27}[name]
    for kind in ("keyDown", "keyUp"):
        await tab.send(
            "Input.dispatchKeyEvent",
            type=kind,
            key=name,
            code=name,
            windowsVirtualKeyCode=code,
            **({"text": text} if text and kind == "keyDown" else {}),
        )
