"""The real console script in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.doubles.secrets import watch

_SCRIPT = Path(sys.executable).with_name("stream-gateway")


class GatewayProcess:
    """A running `stream-gateway serve`, and what it has logged."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []
        self.host = ""
        self.port = 0
        self.control_port = 0
        self.exited = trio.Event()
        self._listening = trio.Event()
        self._controlled = trio.Event()

    async def controlled(self) -> None:
        """Wait until it says which port its control plane has."""
        await self._controlled.wait()

    async def listening(self) -> None:
        """Wait until it says which address it has bound; fail if it ends before that."""
        await self._listening.wait()
        assert self.port, f"ended with {self.process.returncode} before it listened: {self.log}"

    def resident_bytes(self) -> int:
        """Memory of the process that is in RAM (Linux)."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * 4096

    async def read_log(self) -> None:
        """Collect its log lines until it ends."""
        assert self.process.stderr is not None
        unread = b""
        async for data in self.process.stderr:
            *lines, unread = (unread + data).split(b"\n")
            for line in lines:
                self._take(line)
        self._listening.set()
        self.exited.set()

    def _take(self, line: bytes) -> None:
        watch(line, "the log of a gateway's process")
        try:
            entry = json.loads(line)
        except ValueError:
            entry = {"event": line.decode(errors="replace")}
        self.log.append(entry)
        if entry.get("event") == "listening":
            self.host, self.port = entry["host"], entry["port"]
            self._listening.set()
        elif entry.get("event") == "control_plane":
            self.control_port = entry["port"]
            self._controlled.set()


@asynccontextmanager
async def gateway_process(config: str, folder: Path) -> AsyncIterator[GatewayProcess]:
    """Start the console script with a configuration text, on a free port; stop it at the end."""
    path = folder / "gateway.toml"
    path.write_text(config)
    command = [
        str(_SCRIPT),
        "serve",
        "--config",
        str(path),
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--control-port",
        "0",
    ]
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        running = GatewayProcess(process)
        nursery.start_soon(running.read_log)
        try:
            with trio.fail_after(15):
                await running.listening()
            yield running
        finally:
            with trio.CancelScope(shield=True):
                await _stop(running)


async def _stop(running: GatewayProcess) -> None:
    if running.process.returncode is None:
        running.process.terminate()
    with trio.move_on_after(5):
        await running.process.wait()
    if running.process.returncode is None:
        running.process.kill()
        await running.process.wait()
    with trio.move_on_after(5):  # whoever reads its log may have been cancelled with the test
        await running.exited.wait()
    assert running.process.stderr is not None
    await running.process.stderr.aclose()
