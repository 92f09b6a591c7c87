"""The JavaScript client as a package: it is typed, tested, small, and the copy that the gateway serves is this one."""

from __future__ import annotations

import gzip
import json

from stream_gateway.server.pages import FOLDER
from tests.doubles.js import npm

MAX_BYTES = 8192
"""Of the client, minified and gzipped: it stands in front of the first word on a page."""


def test_types() -> None:
    npm.script("check")


def test_units() -> None:
    npm.script("units")


def test_it_is_small() -> None:
    assert len(gzip.compress(npm.BUNDLE.read_bytes(), 9)) < MAX_BYTES


def test_the_gateway_serves_what_the_sources_give() -> None:
    served = FOLDER / "stream-gateway.js"
    assert served.read_text() == npm.BUNDLE.read_text(), "renew it: cd clients/js && npm run build -- --copy"


def test_it_depends_on_nothing() -> None:
    package = json.loads((npm.FOLDER / "package.json").read_text())
    assert not package.keys() & {"dependencies", "peerDependencies", "optionalDependencies"}
