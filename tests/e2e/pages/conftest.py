"""The demo page in a real browser, with a proxy between the two that can be told to break things."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.doubles.chaos_proxy import ChaosProxy
from tests.doubles.devtools import Page, page
from tests.doubles.served_gateway import ServedGateway


@pytest.fixture
async def proxy(nursery: trio.Nursery, gateway: ServedGateway) -> ChaosProxy:
    """A proxy in front of the gateway that does nothing by itself."""
    proxy = ChaosProxy(gateway.host, gateway.port)
    await nursery.start(proxy.run)
    return proxy


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Page]:
    """A blank page in Chromium."""
    async with page(tmp_path / "profile") as steered:
        yield steered
