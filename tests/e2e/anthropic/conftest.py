"""Anthropic's SDK in front of the gateway, and each vendor in turn behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anthropic
import pytest

from tests.doubles import anthropic_sdk
from tests.doubles.any_vendor import dialect, serve, upstream
from tests.doubles.served_gateway import ServedGateway

__all__ = ["dialect", "sdk", "serve", "upstream"]


@pytest.fixture
async def sdk(gateway: ServedGateway) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Anthropic's SDK, pointed at the gateway."""
    async with anthropic_sdk.client(gateway.base_url) as client:
        yield client
