"""What the tests of the guard share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doubles.keyed import Keyed
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve


@pytest.fixture
async def keyed(serve: Serve, upstream: OpenAIServer, tmp_path: Path) -> Keyed:
    """A gateway with two people's keys, once it is started."""
    return Keyed(serve, upstream, tmp_path)
