"""Google's SDK in front of the gateway, and each vendor in turn behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google import genai

from tests.doubles import gemini_sdk
from tests.doubles.any_vendor import dialect, serve, upstream
from tests.doubles.served_gateway import ServedGateway

__all__ = ["dialect", "sdk", "serve", "upstream"]


@pytest.fixture
def sdk(gateway: ServedGateway) -> Iterator[genai.Client]:
    """Google's SDK, pointed at the gateway."""
    client = gemini_sdk.client(gateway.base_url)
    yield client
    client.close()
