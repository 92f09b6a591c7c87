"""The processes of a benchmark: each on its core, each with a log, none left behind."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.interrupts import INTERRUPTS

ROOT = Path(__file__).resolve().parent.parent
_STOP_SECONDS = 3.0


class ProcessFailed(Exception):
    """A process did not start, or ended too soon; the message is one sentence for the user."""


class Cores:
    """Who runs where: the target alone on a core, upstream and load on what is left."""

    def __init__(self) -> None:
        available = sorted(os.sched_getaffinity(0))
        self.pinned = len(available) > 1
        self.target = available[:1] if self.pinned else []
        rest = available[1:] if self.pinned else []
        self.upstream = rest[:1]
        self.load = rest[1:2] or rest[:1]

    def __str__(self) -> str:
        if not self.pinned:
            return "not pinned: there is only one core"
        return f"target on core {self.target[0]}, upstream on core {self.upstream[0]}, load on core {self.load[0]}"


class Child:
    """A running process, with all that it starts."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        cores: Sequence[int],
        log: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.tether", ",".join(map(str, cores)), "--", *command],
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "no_proxy": "*", **(env or {})},
                # A group of its own: Ctrl-C reaches only us, and one signal reaches all its children.
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip()[:300] if lines else "it said nothing"

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Polls until `ready()`; raises `ProcessFailed` if the process ends or time runs out first."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise ProcessFailed(f"{self.name} ended instead of starting: {self.last_words()}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.name} was not ready after {seconds:.0f} s: {self.last_words()}")
            time.sleep(0.05)

    def wait(self, seconds: float) -> None:
        """Waits for its end; raises `ProcessFailed` if that does not come."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProcessFailed(f"{self.name} was not done after {seconds:.0f} s") from None

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self) -> None:
        self._signal_group(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        # Also when it ended well: what it started may not have.
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


class Ready:
    """A test of readiness: whether something accepts connections on a port."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __call__(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
            return True
        return False


class Household:
    """All processes of a benchmark; leaving the `with` block ends them."""

    def __init__(self, folder: Path) -> None:
        self.cores = Cores()
        self.folder = folder
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with INTERRUPTS.held():
            for child in reversed(self._children):
                child.stop()

    def start(
        self, name: str, command: Sequence[str], cores: Sequence[int], env: Mapping[str, str] | None = None
    ) -> Child:
        with INTERRUPTS.held():
            child = Child(name, command, cores, self.folder / f"{name}.log", env)
            self._children.append(child)
        return child

    def stop(self, child: Child) -> None:
        with INTERRUPTS.held():
            child.stop()
            if child in self._children:
                self._children.remove(child)


def scratch(folder: Path) -> Path:
    """A folder for the logs and configurations of this run; those of runs that are over go."""
    for old in (folder / "run").glob("*"):
        if not Path("/proc", old.name).exists():
            shutil.rmtree(old, ignore_errors=True)
    return folder / "run" / str(os.getpid())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
