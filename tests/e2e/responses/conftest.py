"""Gateways in front of an upstream of any dialect, and OpenAI's SDK as their client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
import trio

from tests.conftest import UPSTREAM_KEY
from tests.doubles import sdk as openai_sdk
from tests.doubles.gateway_config import KEY_VARIABLE
from tests.doubles.served_gateway import Serve, ServedGateway, serving
from tests.doubles.vendor_server import VendorServer
from tests.doubles.vendors import VENDORS


@pytest.fixture(params=sorted(VENDORS))
def dialect(request: pytest.FixtureRequest) -> str:
    """The upstream's dialect: each in turn, unless a test says which."""
    name: str = request.param
    return name


@pytest.fixture
async def vendor(nursery: trio.Nursery, dialect: str) -> VendorServer:
    """A loopback server that speaks the dialect."""
    server = VENDORS[dialect](key=UPSTREAM_KEY)
    await nursery.start(server.run)
    return server


@pytest.fixture
async def serve(
    nursery: trio.Nursery, vendor: VendorServer, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Serve]:
    """Starts gateways in front of the vendor."""
    monkeypatch.setenv(KEY_VARIABLE, UPSTREAM_KEY)
    async with serving(nursery, vendor.base_url) as start:

        async def serve_dialect(nursery: trio.Nursery = nursery, **sections: object) -> ServedGateway:
            return await start(nursery, **{"provider": {"dialect": dialect}, **sections})

        yield serve_dialect


@pytest.fixture
async def gateway(serve: Serve) -> ServedGateway:
    """A gateway in front of the vendor."""
    return await serve()


@pytest.fixture
async def sdk(gateway: ServedGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official SDK, pointed at the gateway."""
    async with openai_sdk.client(f"{gateway.base_url}/v1") as client:
        yield client
