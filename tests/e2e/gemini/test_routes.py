"""A provider dies in mid-stream and one of another dialect goes on: Gemini's clients see one answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from tests.doubles.faults import Ending
from tests.doubles.gemini_sdk import Told, ask, client
from tests.doubles.http_requests import Request
from tests.doubles.openai_script import BROKEN, Script, words
from tests.doubles.routes import EAGER, ROUTE
from tests.doubles.served_gateway import Serve
from tests.doubles.vendor_server import VendorServer
from tests.doubles.vendors import VENDORS

ALL = words(60)
WHOLE = "".join(ALL)
ENDINGS = pytest.mark.parametrize("ending", [Ending.CLOSE, Ending.ERROR, Ending.NO_DONE])
pytestmark = pytest.mark.parametrize("dialect", ["openai_chat", "gemini"])


@pytest.fixture
async def second(nursery: trio.Nursery, dialect: str) -> VendorServer:
    """The one that goes on: of the other dialect."""
    server = VENDORS["openai_chat" if dialect == "gemini" else "gemini"](key="sk-upstream")
    await nursery.start(server.run)
    return server


def going_on(said_in: Callable[[Request], str]) -> Callable[[Request], Script]:
    """A model that goes on from what it is told that it has said."""

    def script(request: Request) -> Script:
        rest = WHOLE[len(said_in(request)) :]
        return Script(deltas=tuple(rest[start : start + 5] for start in range(0, len(rest), 5)))

    return script


def said_to_openai(request: Request) -> str:
    last = request.json["messages"][-1]
    return str(last["content"]) if last["role"] == "assistant" else ""


def said_to_gemini(request: Request) -> str:
    last = request.json["contents"][-1]
    return "".join(part["text"] for part in last["parts"]) if last["role"] == "model" else ""


@asynccontextmanager
async def asking(serve: Serve, dialect: str, second: VendorServer, *, stream: bool) -> AsyncIterator[Told]:
    other = {"dialect": "openai_chat" if dialect == "gemini" else "gemini", "base_url": second.base_url}
    key = {"api_key_env": "STREAM_GATEWAY_TEST_KEY"}
    targets = [
        {"provider": "mock", "model": "bad", "priority": 0, "capabilities": ["continue"]},
        {"provider": "other", "model": "good", "priority": 1, "capabilities": ["continue"]},
    ]
    route = {"retries": EAGER, "after_first_token": "continue", "targets": targets}
    gateway = await serve(
        provider={"dialect": dialect}, **{"providers.other": {**other, **key}, f"routes.{ROUTE}": route}
    )
    sdk = client(gateway.base_url)
    try:
        yield await ask(sdk, model=ROUTE, stream=stream)
    finally:
        sdk.close()


@ENDINGS
@pytest.mark.parametrize("deltas", [1, 20, 60])
async def test_another_goes_on(
    upstream: VendorServer, serve: Serve, second: VendorServer, dialect: str, ending: Ending, deltas: int
) -> None:
    upstream.scripts["bad"] = Script(deltas=ALL[:deltas], ending=ending)
    second.scripts["good"] = going_on(said_to_openai if dialect == "gemini" else said_to_gemini)
    async with asking(serve, dialect, second, stream=True) as told:
        assert (told.text(), told.reason()) == (WHOLE, "STOP")
    said = said_to_openai if dialect == "gemini" else said_to_gemini
    assert said(second.exchanges[0].request) == "".join(ALL[:deltas])


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_another_begins(
    upstream: VendorServer, serve: Serve, second: VendorServer, dialect: str, stream: bool
) -> None:
    upstream.scripts["bad"] = Script(refusal=BROKEN)
    second.scripts["good"] = Script(deltas=ALL)
    async with asking(serve, dialect, second, stream=stream) as told:
        assert (told.text(), told.reason()) == (WHOLE, "STOP")
    assert len(upstream.exchanges) == 1
