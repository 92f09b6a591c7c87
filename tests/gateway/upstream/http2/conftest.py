"""Pools that speak HTTP/2 by prior knowledge."""

import pytest

from tests.gateway.upstream.conftest import MakePool
from tests.gateway.upstream.loopback import Pool


@pytest.fixture
def pool(make_pool: MakePool) -> Pool:
    """A pool with default settings."""
    return make_pool(http2="prior-knowledge")
