"""A gateway with its control plane on a socket, a proxy between them and a real browser, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio

from stream_gateway.config import ControlSettings, ServerSettings
from stream_gateway.control.plane import ControlPlane
from stream_gateway.server.listener import bind
from tests.doubles.chaos_proxy import ChaosProxy
from tests.doubles.devtools import Page, page
from tests.doubles.served_gateway import ServedGateway
from tests.e2e.control.conftest import Subject, admin, subject  # noqa: F401 (fixtures of ours, too)

Watch = Callable[..., Awaitable[str]]
"""Serves a gateway's control plane; its address. `await watch(gateway, data_plane=None, token_file="…")`"""


@pytest.fixture
async def proxy(nursery: trio.Nursery, gateway: ServedGateway) -> ChaosProxy:
    """A proxy in front of the gateway that does nothing by itself."""
    proxy = ChaosProxy(gateway.host, gateway.port)
    await nursery.start(proxy.run)
    return proxy


@pytest.fixture
def watch(nursery: trio.Nursery) -> Watch:
    async def serve(gateway: ServedGateway, data_plane: str | None, **settings: str) -> str:
        watched = Subject(gateway)
        watched.data_plane = data_plane
        sock = bind(ServerSettings(host="127.0.0.1", port=0, send_buffer_bytes=0), "control")
        plane = ControlPlane(sock, watched, ControlSettings(port=0, **settings))  # type: ignore[arg-type]
        nursery.start_soon(plane.run)
        return f"http://127.0.0.1:{plane.port}"

    return serve


@pytest.fixture
async def control(watch: Watch, gateway: ServedGateway, proxy: ChaosProxy) -> str:
    """The address of the gateway's control plane, whose pages find the data plane behind the proxy."""
    return await watch(gateway, proxy.url)


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Page]:
    """A blank page in Chromium."""
    async with page(tmp_path / "profile") as steered:
        yield steered
