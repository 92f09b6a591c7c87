"""A real browser without a window; a page reports what it has found to a small server of the test's."""

from __future__ import annotations

import contextlib
import json
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


async def visit(page: Path, profile: Path, *, patience: float = 45.0) -> Any:
    """Load a page in which REPORT stands for the URL that it posts its results to, as JSON."""
    if BROWSER is None:
        pytest.skip("Chromium is not installed")
    reports, reported = trio.open_memory_channel[Any](1)
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, _Receiver(reports).take, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        target = trio.Path(page)
        await target.write_text((await target.read_text()).replace("REPORT", f"http://127.0.0.1:{port}/"))
        command = [BROWSER, *_FLAGS, f"--user-data-dir={profile}", page.as_uri()]
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            with trio.fail_after(patience):
                return await reported.receive()
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()


class _Receiver:
    def __init__(self, reports: trio.MemorySendChannel[Any]) -> None:
        self._reports = reports

    async def take(self, stream: trio.SocketStream) -> None:
        """One POST, with a Content-Length, as browsers send it."""
        data = b""
        with contextlib.suppress(trio.BrokenResourceError):
            while more := await stream.receive_some():
                data += more
                _, found, body = data.partition(b"\r\n\r\n")
                with contextlib.suppress(ValueError):
                    if found:
                        await self._reports.send(json.loads(body))
                        await stream.send_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                        return
