"""What there is in JavaScript: where the client and the console are, and how their scripts are run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trio

FOLDER = Path(__file__).parents[3] / "clients" / "js"
READER = FOLDER / "test" / "reader.mjs"
CONSOLE = FOLDER.with_name("console")
BUNDLE = FOLDER / "dist" / "stream-gateway.min.js"
NODE = (20, 3)
"""The oldest Node that the client supports."""

_INSTALL_TIMEOUT = 180.0
_SCRIPT_TIMEOUT = 120.0


@cache
def missing() -> str | None:
    """Why there is no JavaScript here; None when there is."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "needs Node.js 20 and npm"
    said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < NODE:
        return f"needs Node.js 20.3 or newer, and finds {said.strip()}"
    return None


@cache
def installed(folder: Path = FOLDER) -> None:
    """Install a package's development tools as its lock file says, unless that has been done; skips without Node."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    lock, done = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if done.exists() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    _npm(folder, "ci", "--no-audit", "--no-fund", "--prefer-offline", timeout=_INSTALL_TIMEOUT)
    os.utime(done)


@cache
def built() -> None:
    """Have the client under `dist`, made from the sources as they are now."""
    installed()
    script("build")


def script(name: str, *arguments: str, folder: Path = FOLDER) -> str:
    """Run one of a package's scripts; what it printed. Fails with that if it fails."""
    return _npm(folder, "run", "--silent", name, *(("--", *arguments) if arguments else ()), timeout=_SCRIPT_TIMEOUT)


def _npm(folder: Path, *arguments: str, timeout: float) -> str:
    done = subprocess.run(["npm", *arguments], cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        pytest.fail(f"npm {' '.join(arguments)}:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}", pytrace=False)
    return done.stdout


class Reading:
    """A Node process that reads streams with the client (see `reader.mjs`), and what it has seen once it has ended.

    Attributes:
        reached: set when it has read as many events as the plan's `tell` says.
    """

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self.reached = trio.Event()
        self._plan = json.dumps(plan)
        self._seen: dict[str, Any] = {}
        self._said = b""
        self._ended = trio.Event()

    async def run(self) -> None:
        """Run it until it ends or this is cancelled."""
        process = await trio.lowlevel.open_process(
            ["node", str(READER), self._plan], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        printed = b""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, process)
                async for data in process.stdout:
                    printed += data
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
        assert process.returncode == 0, (printed[-2000:], self._said[-2000:])
        self._seen = json.loads(printed)
        self._ended.set()

    async def _listen(self, process: trio.Process) -> None:
        assert process.stderr is not None
        async for data in process.stderr:
            self._said += data
            if b"reached" in self._said:
                self.reached.set()

    async def seen(self) -> dict[str, Any]:
        """What it has seen: `streams`, `statistics`, and the `transports` of all connections in order."""
        await self._ended.wait()
        return self._seen


async def read(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Read streams as the plan says (see `reader.mjs`); what was seen."""
    reading = Reading(plan)
    await reading.run()
    return await reading.seen()
