"""Google's SDK in front of the gateway, and each vendor in turn behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
from google import genai

from tests.doubles import gemini_sdk
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
async def gateway(serve: Serve, dialect: str) -> ServedGateway:
    """A gateway in front of it."""
    return await serve(provider={"dialect": dialect})


@pytest.fixture
def sdk(gateway: ServedGateway) -> Iterator[genai.Client]:
    """Google's SDK, pointed at the gateway."""
    client = gemini_sdk.client(gateway.base_url)
    yield client
    client.close()
