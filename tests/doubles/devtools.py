"""A real, headless Chromium that is steered through its DevTools protocol: pages, their networks, their looks."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import ClientConnection, connect

from tests.doubles.sockets.browser import FLAGS, chromium
from tests.doubles.waiting import until

_PATIENCE = 30.0
_WAIT = """new Promise((resolve) => {{
  const look = () => {{
    let found;
    try {{ found = {condition}; }} catch {{}}
    found ? resolve(found) : setTimeout(look, 10);
  }};
  look();
}})"""


class DevToolsError(Exception):
    """The browser refuses a command, or a page's script has thrown."""


class Page:
    """One page.

    Attributes:
        complaints: what the page has logged as warnings and errors, its exceptions included.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.complaints: list[str] = []
        self._connection = connection
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[trio.Event, list[Any]]] = {}

    async def listen(self) -> None:
        """Take what the browser says, until it goes away."""
        try:
            async for message in self._connection:
                self._take(json.loads(message))
        except ConnectionClosed:
            return

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            came, answer = self._waiting.pop(message["id"])
            answer.append(message)
            came.set()
        elif message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(message["params"]["exceptionDetails"])[:500])
        elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] in ("warning", "error"):
            self.complaints.append(message["params"]["entry"]["text"])

    async def send(self, method: str, **params: Any) -> Any:
        """Say a command; its result.

        Raises:
            DevToolsError: it is refused.
        """
        number = next(self._numbers)
        came, answer = self._waiting[number] = trio.Event(), []
        await self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        with trio.fail_after(_PATIENCE):
            await came.wait()
        if "error" in answer[0]:
            raise DevToolsError(f"{method}: {answer[0]['error']['message']}")
        return answer[0]["result"]

    async def run(self, expression: str) -> Any:
        """Evaluate JavaScript, and wait for its promise; its value.

        Raises:
            DevToolsError: it has thrown.
        """
        done = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            raise DevToolsError(json.dumps(done["exceptionDetails"])[:500])
        return done["result"].get("value")

    async def until(self, condition: str) -> Any:
        """Wait until a JavaScript expression is true; its value. Outlives a reload."""
        while True:
            try:
                return await self.run(_WAIT.format(condition=condition))
            except DevToolsError as error:
                if "context was destroyed" not in str(error) and "navigated" not in str(error):
                    raise

    async def go(self, url: str) -> None:
        """Load a page, and wait for all of it."""
        await self.send("Page.navigate", url=url)
        await self.until(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    async def reload(self) -> None:
        """Reload the page, and wait for all of it."""
        await self.run("window.beforeReload = true")
        await self.send("Page.reload")
        await self.until("!window.beforeReload && document.readyState === 'complete'")

    async def network(self, *, offline: bool) -> None:
        """Take the network away, or give it back."""
        await self.send(
            "Network.emulateNetworkConditions", offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )

    async def look(self, width: int, height: int, *, dark: bool) -> None:
        """Give it a size (as a phone's, below 600 pixels), and the user's taste."""
        phone = width < 600
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[feature])

    async def picture(self, path: Path) -> None:
        """Save what it looks like, as PNG."""
        shot = await self.send("Page.captureScreenshot", format="png")
        await trio.Path(path).write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def page(profile: Path) -> AsyncIterator[Page]:
    """A browser with a profile of its own, and its one page, which is blank."""
    path = chromium()
    if path is None:
        pytest.skip("needs Chromium")
    command = [path, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        async with connect(await _address(profile), max_size=None) as connection, trio.open_nursery() as nursery:
            steered = Page(connection)
            nursery.start_soon(steered.listen)
            for domain in ("Page", "Runtime", "Network", "Log"):
                await steered.send(f"{domain}.enable")
            yield steered
            nursery.cancel_scope.cancel()
    finally:
        process.terminate()
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await process.wait()
        if process.returncode is None:
            process.kill()


async def _address(profile: Path) -> str:
    """Where the page can be steered, once the browser has said so."""
    said = profile / "DevToolsActivePort"
    await until(lambda: said.exists() and "\n" in said.read_text(), within=_PATIENCE)
    port = said.read_text().split("\n")[0]
    async with httpx.AsyncClient() as client:
        while True:
            pages = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
            for one in pages:
                if one["type"] == "page":
                    address: str = one["webSocketDebuggerUrl"]
                    return address
            await trio.sleep(0.05)
