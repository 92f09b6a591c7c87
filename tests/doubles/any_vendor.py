"""Fixtures for a conftest: what a test sees is a gateway in front of a provider of every dialect in turn.

A test that is about one of them says so: `pytest.mark.parametrize("dialect", ["anthropic"], indirect=True)`.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.vendor_server import VendorServer
from tests.doubles.vendors import VENDORS


@pytest.fixture(params=VENDORS)
def dialect(request: pytest.FixtureRequest) -> str:
    """What the provider speaks."""
    return str(request.param)


@pytest.fixture
async def upstream(nursery: trio.Nursery, dialect: str) -> VendorServer:
    """The provider."""
    server = VENDORS[dialect](key="sk-upstream")
    await nursery.start(server.run)
    return server


@pytest.fixture
def serve(serve: Serve, dialect: str) -> Serve:
    """Starts gateways in front of it."""

    async def start(*args: Any, **sections: Any) -> ServedGateway:
        return await serve(*args, **{"provider": {"dialect": dialect}, **sections})

    return start
