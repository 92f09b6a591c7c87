"""Node.js and npm packages for tests: installed once, into a cache."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import trio

from tests.doubles.sockets.cache import cache_folder

PACKAGES = ("ws@^8.18", "@msgpack/msgpack@^3.1")
CLIENT = Path(__file__).with_name("node_client.cjs")
INSTALL_TIMEOUT = 120.0


@cache
def missing() -> str | None:
    """Why there is no Node client here; None when there is one."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        return "needs Node.js and npm"
    folder = cache_folder("node")
    stamp = folder / "installed"
    wanted = " ".join(PACKAGES)
    if stamp.exists() and stamp.read_text() == wanted:
        return None
    (folder / "package.json").write_text('{"private": true}\n')
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=INSTALL_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return f"npm install took more than {INSTALL_TIMEOUT:g} s"
    if done.returncode:
        return f"npm install failed: {done.stderr.decode(errors='replace')[-300:]}"
    stamp.write_text(wanted)
    return None


async def run_client(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Have the client on `ws` do what the plan says; what it saw."""
    command = ["node", str(CLIENT), json.dumps(plan), str(cache_folder("node"))]
    with trio.fail_after(15):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen
