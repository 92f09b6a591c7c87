"""A page in Chromium, with the browser's own WebSocket, which always offers compression."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doubles.gateway_client import MESSAGES
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sockets import browser
from tests.doubles.sockets.libraries import url
from tests.doubles.sockets.raw_socket import JSON, MSGPACK
from tests.doubles.sockets.session_client import session, text
from tests.doubles.waiting import until

pytestmark = [
    pytest.mark.skipif(browser.chromium() is None, reason="needs Chromium"),
    pytest.mark.deadline(60),
]


def plan(gateway: ServedGateway, protocol: str | None, cut: int = 0) -> dict[str, Any]:
    request = {"model": "demo-n60-gap2", "messages": MESSAGES}
    return {"url": url(gateway), "protocol": protocol, "cut": cut, "request": request, "key": "once"}


@pytest.mark.parametrize("mode", ["context", "shared", "off"])
@pytest.mark.parametrize("protocol", [None, JSON, MSGPACK])
async def test_a_page(serve: Serve, protocol: str | None, mode: str) -> None:
    """It creates, leaves in the middle, comes back on another socket, and reads to the end."""
    gateway = await serve(sockets={"compression": mode})
    seen = await browser.run_page(plan(gateway, protocol, cut=20))
    assert "failed" not in seen, seen
    assert seen["protocol"] == (protocol or "")
    assert ("permessage-deflate" in seen["extensions"]) is (mode != "off")
    assert ("server_no_context_takeover" in seen["extensions"]) is (mode == "shared")
    assert seen["sockets"] == 2
    assert seen["errors"] == [["bad", "invalid_field"]] * 2
    assert seen["close"] == [4321, "enough", True]
    client = await session(gateway)
    stream = seen["ids"][0].split(".")[0]
    await client.subscribe(stream)
    whole = await client.rest(stream)
    assert seen["ids"] == [push["id"] for push in whole]
    assert seen["text"] == text(whole)
    await client.socket.close()
    await until(lambda: gateway.now.sockets == 0)
    assert gateway.now.streams == 1


async def test_a_page_of_a_foreign_origin(serve: Serve) -> None:
    """All that a page can see of a refusal is 1006; no socket was ever there."""
    gateway = await serve(cors={"origins": ["https://app.example"]})
    seen = await browser.run_page(plan(gateway, JSON))
    assert seen["close"] == [1006, "", False]
    assert seen["sockets"] == 0
    assert gateway.now.streams == 0


async def test_a_page_that_is_left_alone_stays(serve: Serve) -> None:
    """The browser answers our pings by itself; the page knows nothing of them."""
    gateway = await serve(sockets={"ping_interval": 0.1, "pong_timeout": 10.0})
    slow = plan(gateway, JSON)
    slow["request"]["model"] = "demo-n3-gap0-first1500"
    seen = await browser.run_page(slow)
    assert seen["close"] == [4321, "enough", True]
