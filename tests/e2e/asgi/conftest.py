"""The gateway mounted in applications of other people, under real hypercorn, on Trio and on asyncio."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import hypercorn.asyncio
import hypercorn.config
import hypercorn.trio
import pytest
import trio
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from stream_gateway.asgi import GatewayApp
from stream_gateway.config import Config, config_from_toml
from tests.conftest import UPSTREAM_KEY
from tests.doubles.gateway_client import GatewayClient
from tests.doubles.gateway_config import KEY_VARIABLE, gateway_toml
from tests.doubles.openai_server import OpenAIServer

PREFIX = "/ai"
Host = Callable[[GatewayApp], Any]
ServeApp = Callable[[Any], Awaitable[GatewayClient]]


def in_fastapi(app: GatewayApp) -> Any:
    """As a newcomer does it: a mounted application hears of no lifespan."""
    host = FastAPI()

    @host.get("/hello")
    async def hello() -> str:
        return "hello"

    host.mount(PREFIX, app)
    return host


def in_starlette(app: GatewayApp) -> Any:
    """With everything that Starlette puts in between."""
    return Starlette(routes=[Mount("/a", routes=[Mount("/b", app=app)])])


@pytest.fixture
def settings(upstream: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> Config:
    """In front of the upstream double."""
    monkeypatch.setenv(KEY_VARIABLE, UPSTREAM_KEY)
    return config_from_toml(gateway_toml(upstream.base_url, streams={"chunking": "passthrough"}))


@pytest.fixture(params=["trio", "asyncio"])
async def serve_app(request: pytest.FixtureRequest, nursery: trio.Nursery) -> AsyncIterator[ServeApp]:
    """Serves an application on a free port, and shuts the server down at the end."""
    down = trio.Event()
    stopped: list[trio.Event] = []
    clients: list[GatewayClient] = []

    async def serve(app: Any) -> GatewayClient:
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        config = hypercorn.config.Config()
        config.bind = [f"fd://{sock.detach()}"]
        config.graceful_timeout = 0.5
        config.accesslog = config.errorlog = None
        ended = trio.Event()
        stopped.append(ended)
        nursery.start_soon(_run, request.param, app, config, down, ended)
        client = GatewayClient("127.0.0.1", port)
        clients.append(client)
        return client

    yield serve
    for client in clients:
        await client.__aexit__(None, None, None)
    down.set()
    with trio.fail_after(10):
        for ended in stopped:
            await ended.wait()


async def _run(library: str, app: Any, config: hypercorn.config.Config, down: trio.Event, ended: trio.Event) -> None:
    if library == "trio":
        await hypercorn.trio.serve(app, config, shutdown_trigger=down.wait)
    else:
        token = trio.lowlevel.current_trio_token()

        async def shut_down() -> None:
            await asyncio.to_thread(trio.from_thread.run, down.wait, trio_token=token)

        def run() -> None:
            asyncio.run(hypercorn.asyncio.serve(app, config, shutdown_trigger=shut_down))

        await trio.to_thread.run_sync(run)
    ended.set()
