"""The Autobahn testsuite: found or installed for Python 2.7, which is all that it runs on, and run with a deadline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.doubles.sockets.cache import cache_folder

SUITE = "autobahntestsuite==25.10.1"
BOOTSTRAP = "virtualenv<20.22"
"""The last ones that make environments for Python 2.7."""

INSTALL_TIMEOUT = 600.0
AGENT = "stream-gateway"

Results = dict[str, dict[str, Any]]
"""By the number of the case: `behavior`, `behaviorClose`, `duration` and others."""


class NotHere(Exception):
    """The suite cannot run here; the message says why."""


def python2() -> str:
    """A Python 2.7.

    Raises:
        NotHere: there is none.
    """
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [os.environ.get("PYTHON2"), shutil.which("python2.7"), shutil.which("python2")]
    found += [str(path) for path in sorted(versions.glob("2.7*/bin/python2.7"))]
    for path in filter(None, found):
        if _works(path):
            return path
    raise NotHere("needs Python 2.7 (python2.7 on the path, under pyenv, or named by PYTHON2)")


def _works(path: str) -> bool:
    command = [path, "-c", "import sys; sys.exit(sys.version_info[:2] != (2, 7))"]
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def installed() -> Path | None:
    """The suite's command, if it was installed before."""
    command = cache_folder("autobahn") / "venv" / "bin" / "wstest"
    return command if command.exists() else None


def install() -> Path:
    """The suite's command; it is installed into the cache if it is not there.

    Raises:
        NotHere: that does not work here.
    """
    command = installed()
    if command is not None:
        return command
    folder, python = cache_folder("autobahn"), python2()
    boot, venv = str(folder / "boot"), str(folder / "venv")
    _run([python, "-m", "pip", "install", "--quiet", "--target", boot, BOOTSTRAP])
    _run([python, "-m", "virtualenv", "--quiet", venv], PYTHONPATH=boot)
    _run([f"{venv}/bin/python", "-m", "pip", "install", "--quiet", SUITE])
    return folder / "venv" / "bin" / "wstest"


def _run(command: Sequence[str], **environ: str) -> None:
    env = {**os.environ, **environ}
    try:
        done = subprocess.run(command, capture_output=True, timeout=INSTALL_TIMEOUT, env=env, check=False)
    except subprocess.TimeoutExpired:
        raise NotHere(f"took more than {INSTALL_TIMEOUT:g} s: {' '.join(command)}") from None
    if done.returncode:
        raise NotHere(f"failed: {' '.join(command)}\n{done.stderr.decode(errors='replace')[-1000:]}")


@asynccontextmanager
async def echo_process(mode: str) -> AsyncIterator[str]:
    """The echo server in a process of its own, so that it has a processor of its own; the value is its URL."""
    command = [sys.executable, "-m", "tests.conformance.echo_server", mode]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        with trio.fail_after(30):
            line = b""
            while not line.endswith(b"\n"):
                data = await process.stdout.receive_some()
                assert data, "the echo server ended before it listened"
                line += data
        yield line.decode().strip()
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await pipe.aclose()


async def fuzz(command: Path, url: str, cases: Sequence[str], folder: Path, *, timeout: float) -> Results:
    """Run cases (`"1.*"`, `"9.1.6"`) against a server.

    Raises:
        trio.TooSlowError: they were not done after `timeout` seconds.
    """
    spec = _write_spec(url, cases, folder)
    with trio.fail_after(timeout), (folder / "log.txt").open("wb") as log:
        await trio.run_process(
            [str(command), "--mode", "fuzzingclient", "--spec", str(spec)], stdout=log, stderr=subprocess.STDOUT
        )
    results: Results = json.loads((folder / "index.json").read_text())[AGENT]
    return results


def _write_spec(url: str, cases: Sequence[str], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "outdir": str(folder),
        "servers": [{"agent": AGENT, "url": url, "options": {"version": 18}}],
        "cases": list(cases),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    return path
