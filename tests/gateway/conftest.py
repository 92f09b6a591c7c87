"""What all unit tests of the gateway need."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings
from structlog.typing import EventDict

# Time says little on a busy machine; what takes too long is seen by the deadline of the test as a whole.
settings.register_profile("gateway", deadline=None)
settings.load_profile("gateway")


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """What the gateway writes into its log during the test."""
    with structlog.testing.capture_logs() as entries:
        yield entries
