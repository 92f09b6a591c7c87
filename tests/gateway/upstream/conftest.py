"""A running pump, loopback providers, and pools that lead to them; afterwards nothing may be left open."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stream_gateway.upstream.pump import EpollPump, Pump, TaskPump
from tests.gateway.upstream.loopback import Handler, Loopback, Pool

Serve = Callable[..., Awaitable[Loopback]]
MakePool = Callable[..., Pool]


@pytest.fixture
async def pump(request: pytest.FixtureRequest, nursery: trio.Nursery) -> Pump:
    """The pump of this platform, or the other one when the test asks for it."""
    pump: Pump = TaskPump() if getattr(request, "param", None) == "tasks" else EpollPump()
    nursery.start_soon(pump.run)
    await wait_all_tasks_blocked()
    return pump


@pytest.fixture
async def make_pool(pump: Pump) -> AsyncIterator[MakePool]:
    """Makes pools, closes them, and looks whether a request has left something behind."""
    pools: list[Pool] = []

    def make(**options: object) -> Pool:
        pools.append(Pool(pump, **options))
        return pools[-1]

    yield make
    for pool in pools:
        assert pool.counts[0] == 0
        pool.close()
        assert pool.counts == (0, 0)


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """A clock that jumps when nothing happens, and gives the kernel time to deliver what was sent."""
    return trio.testing.MockClock(autojump_threshold=0.03)


@pytest.fixture
def pool(make_pool: MakePool) -> Pool:
    """A pool with default settings."""
    return make_pool()


@pytest.fixture
async def serve(nursery: trio.Nursery) -> Serve:
    """Starts loopback servers."""

    async def start(handler: Handler, context: ssl.SSLContext | None = None) -> Loopback:
        server = Loopback(handler, context)
        await nursery.start(server.run)
        return server

    return start
