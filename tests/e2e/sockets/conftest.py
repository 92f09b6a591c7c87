"""What the tests of sockets share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.doubles.gate import Gate
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.sockets.session_client import session, text

LIMITS = {"message_bytes": 20_000, "commands_per_second": 100_000.0, "close_timeout": 1.0}
"""Small, but for the rate: what floods with commands says so itself."""


@pytest.fixture
async def harmed(serve: Serve, upstream: OpenAIServer) -> AsyncIterator[ServedGateway]:
    """A gateway with small limits, and a neighbour on a socket of its own, whose stream has to arrive whole."""
    gateway = await serve(sockets=LIMITS)
    upstream.scripts["neighbour"] = script = Script(deltas=words(50), gate=(gate := Gate(3)))
    neighbour = await session(gateway)
    stream = await neighbour.create("neighbour", lease=60)
    seen = await neighbour.take(stream, 3)
    yield gateway
    gate.open()
    assert text(seen + await neighbour.rest(stream)) == script.text
    assert (await neighbour.ask("ping"))["type"] == "ok"
