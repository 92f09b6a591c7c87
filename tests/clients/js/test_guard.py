"""Tokens, as a browser can send them: with `fetch` as a header, with a WebSocket as a subprotocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_gateway.guard.keys import changing, new_key
from tests.chaos.node import TRANSPORTS
from tests.clients.js.conftest import QUICK
from tests.doubles.gateway_client import MESSAGES
from tests.doubles.js import npm
from tests.doubles.served_gateway import Serve

pytestmark = pytest.mark.deadline(60)

REQUEST = {"model": "demo-n5", "messages": MESSAGES}


@pytest.fixture
def key(tmp_path: Path) -> str:
    """The one key of a file of keys."""
    text, entry = new_key("page")
    with changing(tmp_path / "keys.json") as keys:
        keys.append(entry)
    return text


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_key_lets_in_and_nothing_else_does(serve: Serve, tmp_path: Path, key: str, transport: str) -> None:
    gateway = await serve(guard={"keys_file": str(tmp_path / "keys.json")})
    plan = {"url": gateway.base_url, "transports": [transport], "settings": QUICK, "streams": [REQUEST]}
    (good,) = (await npm.read({**plan, "token": key}))["streams"]
    assert (good["types"][-1], good["transport"]) == ("stream.finished", transport)
    for wrong in ({"token": "sgk_wrong"}, {}):
        (refused,) = (await npm.read({**plan, **wrong}))["streams"]
        assert refused["error"][0] == "Unauthorized", refused
