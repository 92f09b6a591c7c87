"""Gets peers ready: each Python one in a virtual environment of its own, each Node one in a folder of its own."""

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.processes import ROOT
from bench.targets.target import Say, Unavailable

CACHE = Path(os.environ.get("BENCH_PEERS") or ROOT / ".bench" / "peers").absolute()
"""Where they are kept; checkouts may share a folder."""

_MINUTES = 15


class Venv:
    """A virtual environment in the cache, with what one peer needs."""

    def __init__(self, name: str, *packages: str) -> None:
        self.folder = CACHE / name
        self._packages = packages

    def bin(self, program: str) -> str:
        return str(self.folder / "bin" / program)

    def with_(self, *reported: str) -> Callable[[Say], str]:
        """What installs it and returns the versions of the packages `reported`."""

        def install(say: Say) -> str:
            self._install(say)
            return ", ".join(f"{name} {self._version(name)}" for name in reported)

        return install

    def _install(self, say: Say) -> None:
        stamp = self.folder / ".installed"
        wanted = "\n".join(self._packages)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        say(f"installing {', '.join(self._packages)} into {self.folder}")
        shutil.rmtree(self.folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(self.folder)])
        _run([self.bin("python"), "-m", "pip", "install", "--quiet", *self._packages])
        stamp.write_text(wanted)

    def _version(self, package: str) -> str:
        code = f"import importlib.metadata as m; print(m.version({package!r}))"
        return _run([self.bin("python"), "-c", code]).strip()


class NodeFolder:
    """A folder in the cache with one npm package."""

    def __init__(self, package: str, version: str, overrides: Mapping[str, str] | None = None) -> None:
        """`overrides` pin what the package itself depends on."""
        self.folder = CACHE / package.strip("@").replace("/", "-")
        self._package = package
        self._manifest = json.dumps({"dependencies": {package: version}, "overrides": dict(overrides or {})})

    def file(self, path: str) -> str:
        return str(self.folder / "node_modules" / path)

    def install(self, say: Say) -> str:
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                raise Unavailable(f"{program} is not installed on this machine")
        stamp = self.folder / ".installed"
        if not stamp.exists() or stamp.read_text() != self._manifest:
            say(f"installing {self._package} into {self.folder}")
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            (self.folder / "package.json").write_text(self._manifest)
            quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            _run(["npm", "install", "--prefix", str(self.folder), *quiet])
            stamp.write_text(self._manifest)
        return f"{self._version()}, Node {_node_version()}"

    def _version(self) -> str:
        package = self.file(self._package + "/package.json")
        return _run(["node", "-p", f"require({package!r}).version"]).strip()


@functools.cache
def _node_version() -> str:
    return _run(["node", "--version"]).strip().removeprefix("v")


def installed_program(name: str, *version: str) -> str:
    """The version that a program of this machine tells; raises `Unavailable` without it."""
    path = shutil.which(name)
    if path is None:
        raise Unavailable(f"{name} is not installed on this machine")
    return _run([path, *version]).strip().splitlines()[0]


def first_existing(paths: Sequence[str], what: str) -> str:
    for path in paths:
        if Path(path).exists():
            return path
    raise Unavailable(f"{what} is not installed on this machine")


def _run(command: list[str]) -> str:
    """Runs to the end; what goes wrong is one sentence."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MINUTES * 60, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"`{' '.join(command[-3:])}` was not done after {_MINUTES} minutes") from None
    except OSError as error:
        raise Unavailable(f"{command[0]} cannot be started: {error.strerror}") from None
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise Unavailable(f"`{' '.join(command[-3:])}` failed: {words[:200]}")
    return done.stdout or done.stderr
