"""A real browser without a window; a page reports what it has found to a small server of the test's."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",
    "--remote-debugging-port=0",  # so that it stays when the page has loaded
]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


async def visit(page: str, profile: Path, *, patience: float = 45.0) -> Any:
    """Load a page from a server on loopback; what it posts back there, which has to be JSON."""
    if BROWSER is None:
        pytest.skip("Chromium is not installed")
    reports, reported = trio.open_memory_channel[Any](1)
    async with reports, reported, trio.open_nursery() as nursery:
        server = partial(trio.serve_tcp, _Server(page, reports).answer, 0, host="127.0.0.1")
        (listener,) = await nursery.start(server)
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
        process = await trio.lowlevel.open_process(
            [BROWSER, *_FLAGS, f"--user-data-dir={profile}", f"--log-net-log={net_log(profile)}", url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with trio.fail_after(patience):
                return await reported.receive()
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()


def net_log(profile: Path) -> Path:
    """Where the browser notes what it does on the network."""
    return profile.with_suffix(".netlog")


def http2_requests(profile: Path) -> list[dict[str, str]]:
    """The header fields of all requests that a visit sent over HTTP/2, by the browser's own log."""
    text = net_log(profile).read_text()
    # The browser may have been stopped in the middle of a line.
    lines = [line.rstrip(",") for line in text.splitlines()]
    kind = re.search(r'"HTTP2_SESSION_SEND_HEADERS":(\d+)', text)
    assert kind is not None, text[:500]
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("type") == int(kind[1]):
                pairs = (field.rpartition(": ") for field in event["params"]["headers"])
                found.append({name: value for name, _, value in pairs})
    return found


class _Server:
    """GET is answered with the page, POST is its report."""

    def __init__(self, page: str, reports: trio.MemorySendChannel[Any]) -> None:
        self._page = page.encode()
        self._reports = reports

    async def answer(self, stream: trio.SocketStream) -> None:
        data = b""
        with contextlib.suppress(trio.BrokenResourceError):
            while more := await stream.receive_some():
                data += more
                _, found, body = data.partition(b"\r\n\r\n")
                if found and data.startswith(b"GET"):
                    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(self._page)}\r\n\r\n"
                    await stream.send_all(head.encode() + self._page)
                    data = b""
                elif found:
                    with contextlib.suppress(ValueError):
                        await self._reports.send(json.loads(body))
