"""What the JavaScript client's tests share: without Node they are skipped, and say so."""

from __future__ import annotations

import pytest
import trio

from tests.doubles.chaos_proxy import ChaosProxy
from tests.doubles.js import npm
from tests.doubles.served_gateway import ServedGateway

QUICK = {
    "connectTimeout": 5,
    "firstPatience": 1,
    "patience": 10,
    "backoffBase": 0.02,
    "backoffCap": 0.1,
    "probe": 5,
    "pollWait": 2,
}
"""Settings for tests that do not wait for anything on purpose."""


@pytest.fixture(autouse=True, scope="session")
def _built() -> None:
    npm.built()


@pytest.fixture
async def proxy(nursery: trio.Nursery, gateway: ServedGateway) -> ChaosProxy:
    """A proxy in front of the gateway that does nothing by itself."""
    proxy = ChaosProxy(gateway.host, gateway.port)
    await nursery.start(proxy.run)
    return proxy
