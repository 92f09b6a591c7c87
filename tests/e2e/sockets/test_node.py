"""npm's `ws`, the client that most servers in JavaScript use."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doubles.gateway_client import MESSAGES
from tests.doubles.served_gateway import ServedGateway
from tests.doubles.sockets import node
from tests.doubles.sockets.libraries import url
from tests.doubles.sockets.raw_socket import JSON, MSGPACK
from tests.doubles.sockets.session_client import session, text
from tests.doubles.waiting import until

DEFLATE = {
    "off": False,
    "default": True,
    "no context": {"serverNoContextTakeover": True, "clientNoContextTakeover": True},
    "windows": {"serverMaxWindowBits": 9, "clientMaxWindowBits": 10, "threshold": 0},
}


@pytest.fixture(autouse=True)
def _node() -> None:
    if (reason := node.missing()) is not None:
        pytest.skip(reason)


@pytest.mark.parametrize("protocol", [JSON, MSGPACK])
@pytest.mark.parametrize("deflate", DEFLATE)
@pytest.mark.parametrize("cut", [0, 1, 20])
async def test_ws(gateway: ServedGateway, protocol: str, deflate: str, cut: int) -> None:
    """Creates, is cut after so many events, comes back, reads to the end, and closes; errors and pongs on the way."""
    plan: dict[str, Any] = {
        "url": url(gateway),
        "protocol": protocol,
        "deflate": DEFLATE[deflate],
        "cut": cut,
        "request": {"model": "demo-n40-gap2", "messages": MESSAGES},
    }
    seen = await node.run_client(plan)
    assert seen["protocol"] == protocol
    assert ("permessage-deflate" in seen["extensions"]) is (deflate != "off")
    assert seen["sockets"] == (2 if cut else 1)
    assert seen["pongs"] >= 1
    assert seen["errors"][-1] == ["bad", "invalid_field"]
    assert seen["close"] == [4321, "enough"]
    client = await session(gateway)
    stream = seen["ids"][0].split(".")[0]
    await client.subscribe(stream)
    whole = await client.rest(stream)
    assert seen["ids"] == [push["id"] for push in whole]
    assert seen["text"] == text(whole)
    await client.socket.close()
    await until(lambda: gateway.now.sockets == 0)
