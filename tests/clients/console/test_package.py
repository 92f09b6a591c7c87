"""The console's package: it is typed, tested, and what the gateway serves is made of these sources."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path

import pytest

from tests.doubles.js import npm

BUILT = {"console.js", "console.css", "playground.js"}
MAX_BYTES = 100_000
"""Of all that is built: an operator may be at the other end of a narrow tunnel."""


@pytest.fixture(autouse=True, scope="session")
def _installed() -> None:
    npm.installed(npm.CONSOLE)


def test_types() -> None:
    npm.script("check", folder=npm.CONSOLE)


def test_units() -> None:
    npm.script("units", folder=npm.CONSOLE)


def test_the_gateway_serves_what_the_sources_give(tmp_path: Path) -> None:
    npm.script("build", "--to", str(tmp_path), folder=npm.CONSOLE)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assets = importlib.resources.files("stream_gateway.control") / "assets"
    served = {path.name: path.read_text() for path in assets.iterdir() if not path.name.endswith(".html")}
    assert made == served, "renew it: cd clients/console && npm run build"
    assert made.keys() == BUILT
    assert sum(len(text) for text in made.values()) < MAX_BYTES


def test_nothing_is_needed_where_it_runs() -> None:
    package = json.loads((npm.CONSOLE / "package.json").read_text())
    assert not package.keys() & {"dependencies", "peerDependencies", "optionalDependencies"}
    assert package["private"]
