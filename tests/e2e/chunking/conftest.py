"""What the tests of chunking share."""

from __future__ import annotations

import pytest

from tests.doubles.served_gateway import Serve, ServedGateway


@pytest.fixture
async def default(serve: Serve) -> ServedGateway:
    """A gateway as its users get it: `adaptive` for whoever asks for nothing."""
    return await serve(streams={"chunking": "adaptive"})
