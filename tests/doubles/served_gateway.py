"""A gateway in this process, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import trio

from stream_gateway.config import config_from_toml
from stream_gateway.gateway import Gateway, Statistics
from tests.doubles.gateway_client import GatewayClient
from tests.doubles.gateway_config import Section, gateway_toml
from tests.doubles.gateway_process import GatewayProcess
from tests.doubles.waiting import until


class ServedGateway(GatewayClient):
    """A running gateway. What it counts can be looked at from the side, while the client talks to it."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway.host, gateway.port)
        self.gateway = gateway

    @property
    def now(self) -> Statistics:
        """The gateway's statistics."""
        return self.gateway.statistics()

    async def idle(self) -> None:
        """Wait until it serves nobody and asks nobody for anything."""
        try:
            await until(lambda: not any(self.busy.values()))
        except trio.TooSlowError:
            raise AssertionError(f"still busy: {self.busy}") from None

    @property
    def busy(self) -> dict[str, int]:
        """What has to be zero once everybody has left."""
        now = self.now
        return {
            "connections": now.connections,
            "running": now.running,
            "subscriptions": now.subscriptions,
            "upstream_busy": now.upstream_busy,
        }


Serve = Callable[..., Awaitable[ServedGateway]]
"""Starts a gateway with sections of a configuration: `await serve(server={"keepalive": 0.1})`.

With `nursery=` it runs in that one, and ends when that one is cancelled."""

Spawn = Callable[..., AbstractAsyncContextManager[GatewayProcess]]
"""The same with the real console script: `async with spawn() as process`."""


@asynccontextmanager
async def serving(nursery: trio.Nursery, base_url: str) -> AsyncIterator[Serve]:
    """Gateways in front of the upstream at `base_url`; their clients hang up at the end."""
    async with AsyncExitStack() as stack:

        async def serve(nursery: trio.Nursery = nursery, **sections: Section) -> ServedGateway:
            gateway = Gateway(config_from_toml(gateway_toml(base_url, **sections)))
            with trio.fail_after(10):
                await nursery.start(gateway.run)
            return await stack.enter_async_context(ServedGateway(gateway))

        yield serve
