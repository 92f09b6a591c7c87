"""The console in Chromium: it is live, comes back by itself, and lets an operator watch and cut."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.doubles.chaos_proxy import ChaosProxy, Fault
from tests.doubles.devtools import Page
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until
from tests.e2e.console.conftest import Watch

pytestmark = pytest.mark.deadline(60)  # a browser has to start, on a machine that may be busy

LONG = "demo-n3000-gap20"
STATUS = "document.getElementById('status-text').textContent"
RUNNING = "document.getElementById('tile-running').textContent"
SAID = "document.getElementById('watch-text').textContent"
ROWS = "document.querySelectorAll('#streams tr').length"


def shown(name: str) -> str:
    return f"document.getElementById('{name}').textContent"


async def press(tab: Page, name: str) -> None:
    await tab.run(f"document.getElementById('{name}').click()")


async def open_console(tab: Page, control: str) -> None:
    """Open it, and wait until it shows a snapshot."""
    await tab.go(f"{control}/console")
    await tab.until(f"{STATUS} === 'Live over WebSocket'")
    await tab.until("document.getElementById('board').ariaBusy === 'false'")


async def test_it_is_live(tab: Page, control: str, gateway: ServedGateway) -> None:
    await open_console(tab, control)
    await tab.until(f"{RUNNING} === '0' && document.getElementById('streams-none').checkVisibility()")
    created = await gateway.create(LONG, lease=60)
    await tab.until(f"{RUNNING} === '1' && {ROWS} === 1")
    await tab.until("document.querySelector('#health li b').textContent === '1'")
    await tab.until("parseFloat(document.getElementById('tile-events').textContent) > 1")
    await tab.until("document.getElementById('chart-events').querySelector('[role=img]').ariaLabel.includes('/s')")
    await tab.until("document.querySelector('#targets tr').textContent.includes('closed')")
    await gateway.request("DELETE", f"/v1/streams/{created['id']}")
    await tab.until(f"{RUNNING} === '0' && {ROWS} === 0")
    assert tab.complaints == []


async def test_errors_are_shown_with_their_streams(tab: Page, control: str, gateway: ServedGateway) -> None:
    await open_console(tab, control)
    await (await gateway.chat("demo-fail2")).read()
    await tab.until("document.querySelector('#errors .link')")
    await tab.run("document.querySelector('#errors .link').click()")
    await tab.until(f"{shown('watch-note')}.startsWith('It failed')")


async def test_a_stream_is_watched_and_cut(tab: Page, control: str, gateway: ServedGateway) -> None:
    stream = (await gateway.create(LONG, lease=60))["id"]
    await open_console(tab, control)
    await tab.until(f"{ROWS} === 1")
    await tab.run("document.querySelector('#streams .link').click()")
    await tab.until(f"{SAID}.length > 40")
    before = len(await tab.run(SAID))
    await tab.until(f"{SAID}.length > {before}")
    await tab.until(f"{shown('watch-numbers')}.includes('1 reader with you')")
    assert await tab.run(shown("watch-id")) == stream
    await press(tab, "watch-cut")
    assert await tab.run("document.activeElement.id") == "watch-keep"  # what does no harm is what Enter does
    await press(tab, "watch-keep")
    assert gateway.now.running == 2  # and one of them is the feed
    await press(tab, "watch-cut")
    await press(tab, "watch-really")
    await tab.until(f"{shown('watch-note')} === 'It was cut (operator).'")
    await tab.until("document.getElementById('watch-cut').disabled")
    await press(tab, "watch-close")
    await tab.until(f"{ROWS} === 0")
    assert tab.complaints == []


async def test_a_watcher_who_leaves_is_no_reader(tab: Page, control: str, gateway: ServedGateway) -> None:
    stream = (await gateway.create(LONG, lease=60))["id"]
    await open_console(tab, control)
    await tab.until(f"{ROWS} === 1")
    await tab.run("document.querySelector('#streams .link').click()")
    await tab.until(f"{SAID}.length > 10")
    await press(tab, "watch-close")
    found = gateway.gateway.registry
    await until(lambda: next(one for one in found.all() if one.id == stream).subscribers == 0)


async def test_the_list_does_not_slip_away_under_a_pointer(tab: Page, control: str, gateway: ServedGateway) -> None:
    first = (await gateway.create(LONG, lease=60))["id"]
    await open_console(tab, control)
    await tab.until(f"{ROWS} === 1")
    await tab.run("document.querySelector('#streams tr').scrollIntoView({block: 'center'})")
    place = await tab.run(
        "(({x, y}) => ({x: x + 9, y: y + 9}))(document.querySelector('#streams tr').getBoundingClientRect())"
    )
    await tab.send("Input.dispatchMouseEvent", type="mouseMoved", **place)
    await gateway.create(LONG, lease=60)
    await tab.until(f"{RUNNING} === '2' && document.getElementById('streams-held').checkVisibility()")
    assert await tab.run("document.querySelector('#streams .link').title") == first
    assert await tab.run(ROWS) == 1
    await tab.send("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    await tab.until(f"{ROWS} === 2")


async def test_it_comes_back_by_itself_and_says_so(
    tab: Page, control: str, proxy: ChaosProxy, gateway: ServedGateway
) -> None:
    await open_console(tab, control)
    proxy.refusing = True
    proxy.strike(Fault.CUT)
    await tab.until(f"{STATUS}.startsWith('Connection lost')")
    proxy.refusing = False
    await gateway.create(LONG, lease=60)
    await tab.until(f"{STATUS} === 'Live over WebSocket' && {RUNNING} === '1'")


async def test_a_feed_that_ends_is_followed_by_the_next(tab: Page, control: str, gateway: ServedGateway) -> None:
    """As after a restart: the stream that the page reads is no more."""
    await open_console(tab, control)
    feed = next(stream for stream in gateway.gateway.registry.all() if stream.source.model == "console")
    feed.cancel("operator")
    await feed.ended.wait()
    await gateway.create(LONG, lease=60)
    await tab.until(f"{STATUS} === 'Live over WebSocket' && {RUNNING} === '1'")


async def test_a_reload_keeps_the_past(tab: Page, control: str, gateway: ServedGateway) -> None:
    await open_console(tab, control)
    await gateway.create(LONG, lease=60)
    await tab.until(f"{RUNNING} === '1'")
    await tab.reload()
    await tab.until(f"{RUNNING} === '1'")
    feeds = [stream for stream in gateway.gateway.registry.all() if stream.source.model == "console"]
    assert len(feeds) == 1


async def test_a_token_is_asked_for_and_kept_for_this_tab(
    tab: Page, watch: Watch, gateway: ServedGateway, proxy: ChaosProxy, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("a-long-random-text")
    control = await watch(gateway, proxy.url, token_file=str(tmp_path / "token"))
    await tab.go(f"{control}/console")
    await tab.until("document.activeElement.id === 'login-token'")
    for token, note in (("wrong", "That one was not accepted."), ("a-long-random-text", None)):
        await tab.send("Input.insertText", text=token)
        await tab.run("document.getElementById('login-form').requestSubmit()")
        if note is not None:
            await tab.until(f"{shown('login-note')} === '{note}' && document.activeElement.id === 'login-token'")
    await tab.until(f"{STATUS} === 'Live over WebSocket'")
    assert await tab.run("location.href") == f"{control}/console"
    assert await tab.run("localStorage.length") == 0
    await tab.reload()
    await tab.until(f"{STATUS} === 'Live over WebSocket'")


async def test_a_page_whose_origin_is_not_allowed_says_so(tab: Page, watch: Watch, serve: Serve) -> None:
    gateway = await serve(cors={"origins": ["https://app.example"]})
    control = await watch(gateway, gateway.base_url)
    for path in ("/console", "/console/playground"):
        await tab.go(f"{control}{path}")
        await tab.until(f"{shown('problem')}.includes('cors.origins')")
        assert f'Add "{control}" to cors.origins' in await tab.run(shown("problem"))


async def test_a_gateway_that_browsers_cannot_reach_says_so(tab: Page, watch: Watch, gateway: ServedGateway) -> None:
    for data_plane in ("http://127.0.0.1:9", None):
        control = await watch(gateway, data_plane)
        await tab.go(f"{control}/console")
        await tab.until(f"{shown('problem')}.includes('control.gateway_url')")


async def test_a_thousand_streams(tab: Page, control: str, gateway: ServedGateway) -> None:
    """The list shows a hundred and says that there are more; a picture takes no longer for that."""
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(_create, gateway, 20)
    await open_console(tab, control)
    await tab.until(f"{RUNNING} === '1,000' && {ROWS} >= 99")
    await tab.until("document.getElementById('streams-more').checkVisibility()")
    await press(tab, "streams-more")
    await tab.until(f"{ROWS} >= 199")
    assert await tab.run(ROWS) <= 200
    assert tab.complaints == []


async def _create(gateway: ServedGateway, number: int) -> None:
    for _ in range(number):
        await gateway.create("demo-n2-gap600000", lease=60)
