"""A registry with nothing in it, running."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio

from stream_gateway.config import StreamSettings
from tests.gateway.streams.rig import BUDGET, Rig

MakeRig = Callable[..., Coroutine[Any, Any, Rig]]


@pytest.fixture
def make_rig(nursery: trio.Nursery) -> MakeRig:
    """Starts registries with settings of the test's own."""

    async def make(*, budget: int = BUDGET, **settings: Any) -> Rig:
        rig = Rig(nursery, StreamSettings(**settings), budget)
        await nursery.start(rig.registry.run)
        return rig

    return make


@pytest.fixture
async def rig(make_rig: MakeRig) -> Rig:
    """A running registry with the default settings."""
    return await make_rig()
