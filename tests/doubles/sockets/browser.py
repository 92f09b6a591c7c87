"""A page in a real, headless Chromium: served here, run there, and what it saw comes back."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import trio

from tests.doubles.http_requests import Inbox, Request, read_request

PAGE = Path(__file__).with_name("page.html")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
)
PATIENCE = 45.0
"""Seconds for a browser to start, run a page and say what it saw."""


@cache
def chromium() -> str | None:
    """The browser's path; None when there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class PageServer:
    """Serves the page, its plan, and takes its result."""

    def __init__(self, page: bytes, plan: Mapping[str, Any]) -> None:
        self._page = page
        self._plan = json.dumps(plan).encode()
        self._result: dict[str, Any] = {}
        self._done = trio.Event()
        self.port = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on a free loopback port until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    async def result(self) -> dict[str, Any]:
        """What the page saw."""
        await self._done.wait()
        return self._result

    async def _serve(self, stream: trio.SocketStream) -> None:
        inbox = Inbox(stream)
        try:
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(inbox.pump)
                while (request := await read_request(inbox)) is not None:
                    await stream.send_all(self._answer(request))
                nursery.cancel_scope.cancel()
        except* trio.BrokenResourceError:
            pass

    def _answer(self, request: Request) -> bytes:
        kind, body = "application/json", b"{}"
        if request.target == "/plan":
            body = self._plan
        elif request.target == "/result":
            self._result = request.json
            self._done.set()
        elif request.target == "/":
            kind, body = "text/html; charset=utf-8", self._page
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


async def run_page(plan: Mapping[str, Any], page: bytes | None = None) -> dict[str, Any]:
    """Open the page in a browser with a profile of its own, and wait for what it saw."""
    path = chromium()
    assert path is not None, "look before you call: there is no browser"
    server = PageServer(PAGE.read_bytes() if page is None else page, plan)
    with trio.fail_after(PATIENCE), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            command = [path, *FLAGS, f"--user-data-dir={profile}", f"http://127.0.0.1:{server.port}/"]
            process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                result = await server.result()
            finally:
                with trio.CancelScope(shield=True):
                    await _stop(process)
            nursery.cancel_scope.cancel()
    return result


async def _stop(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(5):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
