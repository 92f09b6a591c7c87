"""What a test may ask for: the upstream double, and a gateway in front of it, here or in its own process."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import openai
import pytest
import structlog
import trio

from tests.doubles import sdk as openai_sdk
from tests.doubles.gateway_config import KEY_VARIABLE, Section, gateway_toml
from tests.doubles.gateway_process import GatewayProcess, gateway_process
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.secrets import FOUND, secret, watch, watch_files
from tests.doubles.served_gateway import Serve, ServedGateway, Spawn, serving

UPSTREAM_KEY = secret("sk-upstream")
DEADLINE = 20.0
"""Seconds after which a test has failed. Nothing here takes this long; a wait that never ends does."""


def pytest_configure(config: pytest.Config) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):  # everything here is on loopback, whatever surrounds it
            del os.environ[name]
    config.addinivalue_line("markers", "deadline(seconds): how long this test may take, instead of 20 s")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put every asynchronous test under a deadline, so that a hang is a failure and not a silence."""
    for item in items:
        if isinstance(item, pytest.Function) and iscoroutinefunction(item.obj):
            marker = item.get_closest_marker("deadline")
            item.obj = _under_deadline(item.obj, marker.args[0] if marker else DEADLINE)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What a test has printed or logged, and how it failed, in this process."""
    for name, text in (*report.sections, ("failure", report.longreprtext)):
        watch(text, f"{report.nodeid}: {name}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail when a secret of some test was seen where it does not belong."""
    folders: pytest.TempPathFactory | None = getattr(session.config, "_tmp_path_factory", None)
    if folders is not None:
        watch_files(folders.getbasetemp())
    if FOUND:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for found in FOUND:
        terminalreporter.write_line(f"SECRET in {found}", red=True)


def _under_deadline(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def limited(*args: Any, **kwargs: Any) -> None:
        with trio.fail_after(seconds):
            await test(*args, **kwargs)

    return limited


@pytest.fixture(autouse=True)
def logs_of_its_own() -> Iterator[None]:
    """An embedded gateway leads logs to the standard library's, for the whole process; the next test has its own."""
    yield
    structlog.reset_defaults()


@pytest.fixture
async def upstream(nursery: trio.Nursery) -> OpenAIServer:
    """A loopback server that speaks OpenAI's dialect and fails on command."""
    server = OpenAIServer(key=UPSTREAM_KEY)
    await nursery.start(server.run)
    return server


@pytest.fixture
async def serve(nursery: trio.Nursery, upstream: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Serve]:
    """Starts gateways with configurations of the test's own."""
    monkeypatch.setenv(KEY_VARIABLE, UPSTREAM_KEY)
    async with serving(nursery, upstream.base_url) as start:
        yield start


@pytest.fixture
async def gateway(serve: Serve) -> ServedGateway:
    """A gateway with the default configuration."""
    return await serve()


@pytest.fixture
async def sdk(gateway: ServedGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official SDK, pointed at the gateway."""
    async with openai_sdk.client(f"{gateway.base_url}/v1") as client:
        yield client


@pytest.fixture
def spawn(upstream: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spawn:
    """Starts the real console script."""
    monkeypatch.setenv(KEY_VARIABLE, UPSTREAM_KEY)

    @asynccontextmanager
    async def start(**sections: Section) -> AsyncIterator[GatewayProcess]:
        config = gateway_toml(upstream.base_url, **{"log": {"level": "info"}, **sections})
        async with gateway_process(config, tmp_path) as process:
            yield process

    return start
