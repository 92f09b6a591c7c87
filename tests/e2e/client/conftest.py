"""What the client's tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from stream_gateway.client import Client, Settings
from tests.doubles.chaos_proxy import ChaosProxy
from tests.doubles.served_gateway import ServedGateway

QUICK = Settings(
    connect_timeout=5.0,
    first_patience=1.0,
    patience=10.0,
    backoff_base=0.02,
    backoff_cap=0.1,
    probe=5.0,
    poll_wait=2.0,
)
"""Settings for tests that do not wait for anything on purpose."""

Connect = Callable[..., Client]


@pytest.fixture
async def proxy(nursery: trio.Nursery, gateway: ServedGateway) -> ChaosProxy:
    """A proxy in front of the gateway that does nothing by itself."""
    proxy = ChaosProxy(gateway.host, gateway.port)
    await nursery.start(proxy.run)
    return proxy


@pytest.fixture(params=["websocket", "sse", "sse2", "poll"])
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport; `sse2` is SSE over HTTP/2."""
    name: str = request.param
    return name


@pytest.fixture
def connect(transport: str) -> Connect:
    """Makes clients of one transport alone: `connect(url)`."""

    def make(url: str, **options: object) -> Client:
        given = {"settings": QUICK, **options}
        return Client(url, transports=[transport.removesuffix("2")], http2=transport == "sse2", **given)  # type: ignore[arg-type]

    return make
